//! A database that others write while it is followed: each look gives a snapshot and the pages that may have changed.
//!
//! In WAL mode there is always a read transaction open, the next one begun before the last one ends. It keeps the WAL
//! from being begun anew more than once between two looks, which is what makes the hint of [`WalTail`] complete. The
//! price is that only we can let the WAL begin anew, so the checkpoints are ours, too.

use std::{collections::BTreeSet, path::Path};

use crate::{
    error::Result,
    pages::{Database, Snapshot},
    wal::{Found, WalTail},
};

/// Bytes of a WAL from which on a checkpoint is tried after a look. SQLite's own default is 1,000 pages.
const CHECKPOINT_BYTES: u64 = 4 << 20;

/// Bytes of a WAL from which on writers wait a moment so that it can begin anew.
const INSIST_BYTES: u64 = 16 << 20;

/// Checkpoints that are made ahead of that moment, each of what came while the one before was made, so that little is
/// left to wait for.
const AHEAD: usize = 3;

/// A database that is followed. Everything here blocks.
#[derive(Debug)]
pub struct Live {
    /// One of them reads, the other is the next.
    readers: [Database; 2],
    reading: usize,
    /// Asks whether anything changed, makes checkpoints, and keeps writers waiting.
    third: Database,
    wal: WalTail,
    /// Of the last look, by `third`.
    seen: Option<u32>,
    /// Whether the last look left a read transaction open in WAL mode.
    holds: bool,
    wal_bytes: u64,
}

/// What a look found.
#[derive(Debug)]
pub struct Look<'a> {
    /// What is committed.
    pub snapshot: Snapshot<'a>,
    /// The pages that may differ from the last look; all of them may if this is `None`.
    pub candidates: Option<BTreeSet<u32>>,
}

impl Live {
    /// Begins to follow a database.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            readers: [Database::open(path)?, Database::open(path)?],
            reading: 0,
            third: Database::open(path)?,
            wal: WalTail::of(path),
            seen: None,
            holds: false,
            wal_bytes: 0,
        })
    }

    /// Looks at the database, if anything was committed since the last look; gives `compare` what it finds. If that
    /// fails, the next look gives all of it again.
    ///
    /// # Errors
    /// Those of `compare`, and of SQLite.
    pub fn look<T>(&mut self, compare: impl FnOnce(Look<'_>) -> Result<T>) -> Result<Option<T>> {
        let version = self.third.data_version()?;
        if self.seen == Some(version) {
            return Ok(None);
        }
        let compared = if self.third.is_wal()? && self.third.has_page_table() {
            self.look_at_wal(compare)
        } else {
            self.let_go();
            let snapshot = self.readers[0].snapshot()?;
            compare(Look { snapshot, candidates: None })
        };
        match compared {
            Ok(compared) => {
                self.seen = Some(version);
                Ok(Some(compared))
            }
            Err(error) => {
                self.let_go();
                Err(error)
            }
        }
    }

    fn look_at_wal<T>(&mut self, compare: impl FnOnce(Look<'_>) -> Result<T>) -> Result<T> {
        if self.wal_bytes > CHECKPOINT_BYTES {
            self.checkpoint()?;
        }
        let before = self.wal.look()?;
        let found = match self.wal_bytes > INSIST_BYTES {
            true => self.next_at_the_end_of_the_wal(&before)?,
            false => {
                self.next()?;
                self.wal.changed(&before)?
            }
        };
        let candidates = self.holds.then_some(found.pages);
        self.holds = true;
        let snapshot = self.readers[self.reading].begun()?;
        let compared = compare(Look { snapshot, candidates })?;
        self.wal.settle(&before);
        self.wal_bytes = found.bytes;
        Ok(compared)
    }

    /// Begins to read with the reader that does not, and ends the other's reading.
    fn next(&mut self) -> Result<()> {
        let next = 1 - self.reading;
        self.readers[next].begin()?;
        if self.holds {
            self.readers[self.reading].end();
        }
        self.reading = next;
        Ok(())
    }

    /// As [`next`](Self::next), with all of the WAL in the database, so that the next writer begins it anew. Writers
    /// wait for as long as this takes.
    fn next_at_the_end_of_the_wal(&mut self, before: &Found) -> Result<Found> {
        for _ in 0..AHEAD {
            // While one of both reads, the WAL is not begun anew, so nothing that comes is missed.
            self.next()?;
            self.checkpoint()?;
        }
        let failed = |error| self.third.failed(error);
        self.third.connection().execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        let outcome = (|| {
            self.next()?;
            let found = self.wal.changed(before)?;
            self.holds = true;
            // By the idle reader: one that writes, or reads, can't.
            self.checkpoint_by(1 - self.reading)?;
            self.next()?;
            Ok(found)
        })();
        self.third.end();
        outcome
    }

    fn checkpoint(&self) -> Result<()> {
        self.third
            .connection()
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .map_err(|error| self.third.failed(error))
    }

    fn checkpoint_by(&self, reader: usize) -> Result<()> {
        let reader = &self.readers[reader];
        let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
        reader.connection().query_row(checkpoint, [], |_| Ok(())).map_err(|error| reader.failed(error))
    }

    /// Gives up what is known: the next look gives everything.
    pub fn let_go(&mut self) {
        if self.holds {
            self.readers[self.reading].end();
        }
        (self.holds, self.seen, self.wal_bytes) = (false, None, 0);
    }
}
