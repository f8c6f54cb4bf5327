//! A transaction.

use larder_core::{Ambient, Timestamp};

use crate::{
    change::Change,
    db::{Connection, FromRow, Row, Statement},
    error::{Error, Result},
    records::Counts,
};

/// How durable a write is, and so where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Acknowledged once it survives the loss of power, and once the
    /// [`CommitBarrier`](crate::CommitBarrier) has passed: records and jobs, in `catalog.db`.
    Durable,
    /// May be lost with the process: heartbeats, progress, last uses. In `state.db`, which is never
    /// replicated; on PostgreSQL with `synchronous_commit = off`.
    Ephemeral,
}

/// An open transaction. Reads in it see what it wrote; nothing of it exists for others before
/// [`Catalog::commit`](crate::Catalog::commit) returns.
///
/// On SQLite it holds the only writer, so nothing but database work belongs in it.
pub struct Tx {
    connection: Connection,
    class: Class,
    ambient: Ambient,
    changes: Vec<Change>,
    jobs_enqueued: u64,
    counts: Counts,
    failed: bool,
}

/// What a transaction will tell others after its commit.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    pub(crate) changes: Vec<Change>,
    pub(crate) jobs_enqueued: u64,
}

/// Where a savepoint's announcements begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    changes: usize,
    jobs_enqueued: u64,
}

impl Tx {
    pub(crate) fn new(connection: Connection, class: Class, ambient: Ambient) -> Self {
        Self {
            connection,
            class,
            ambient,
            changes: Vec::new(),
            jobs_enqueued: 0,
            counts: Counts::default(),
            failed: false,
        }
    }

    /// Tells those who [subscribed](crate::Catalog::subscribe) of a change, if this transaction
    /// commits. Writes of this crate announce themselves.
    pub fn announce(&mut self, change: Change) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// What changed of the figures that are counted, until it is written.
    pub(crate) fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// Wakes workers after the commit.
    pub(crate) fn announce_job(&mut self) {
        self.jobs_enqueued += 1;
    }

    /// The clock and randomness of the catalogue.
    pub fn ambient(&self) -> &Ambient {
        &self.ambient
    }

    /// The present instant.
    pub(crate) fn now(&self) -> Timestamp {
        self.ambient.now()
    }

    /// Whether the engine runs several writing transactions at a time.
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.connection, Connection::Postgres(_))
    }

    /// Runs a statement on the tables of this transaction's class; answers the rows it changed.
    pub(crate) async fn execute(&mut self, class: Class, statement: Statement) -> Result<u64> {
        self.check(class)?;
        let outcome = self.connection.execute(statement).await;
        self.failed |= outcome.is_err();
        outcome
    }

    /// Runs a statement and reads its rows.
    pub(crate) async fn rows<T: FromRow>(&mut self, class: Class, statement: Statement) -> Result<Vec<T>> {
        self.check(class)?;
        let outcome: Result<Vec<Row>> = self.connection.fetch(statement).await;
        self.failed |= outcome.is_err();
        outcome?.iter().map(T::from_row).collect()
    }

    /// Runs a statement and reads its first row.
    pub(crate) async fn first<T: FromRow>(
        &mut self,
        class: Class,
        statement: Statement,
    ) -> Result<Option<T>> {
        Ok(self.rows(class, statement).await?.into_iter().next())
    }

    /// On PostgreSQL one connection could reach the tables of both classes; refusing it there too
    /// keeps such a mistake from passing the tests of one engine only.
    fn check(&self, class: Class) -> Result<()> {
        if class == self.class {
            return Ok(());
        }
        Err(Error::internal(format!("a {class:?} statement ran in a {:?} transaction", self.class)))
    }

    /// Whether a statement failed since the last call. After that PostgreSQL undoes everything at
    /// `COMMIT` and calls it a success; code that went on regardless must not be told so.
    pub(crate) fn take_failed(&mut self) -> bool {
        std::mem::take(&mut self.failed)
    }

    /// Runs constant SQL without parameters: transaction control.
    pub(crate) async fn control(&mut self, text: &'static str) -> Result<()> {
        self.connection.control(text).await
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { changes: self.changes.len(), jobs_enqueued: self.jobs_enqueued }
    }

    /// Forgets the announcements made since the mark.
    pub(crate) fn forget_since(&mut self, mark: Mark) {
        self.counts = Counts::default();
        self.changes.truncate(mark.changes);
        self.jobs_enqueued = mark.jobs_enqueued;
    }

    pub(crate) fn take_announcements(&mut self) -> Announcements {
        Announcements {
            changes: std::mem::take(&mut self.changes),
            jobs_enqueued: std::mem::take(&mut self.jobs_enqueued),
        }
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
