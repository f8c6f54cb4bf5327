//! Which pages a WAL has frames of: a hint that spares reading the whole database (SQLite file format, section 4).
//!
//! Only numbers of pages are taken from here, never contents. A frame that is missed would be a change that is lost, so
//! the reader goes back as far as it has to: a commit is certain to be part of a snapshot only if another one followed
//! it in the file before the snapshot began, since that one's writer has seen it.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    pages::companion,
};

const HEADER_BYTES: u64 = 32;

const FRAME_HEADER_BYTES: usize = 24;

/// The first four bytes of a WAL; the lowest bit tells the byte order of its checksums.
const MAGIC: u32 = 0x377f_0682;

/// A place in a WAL up to which frames were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    /// Of the WAL's present use; it begins anew with others.
    salts: [u8; 8],
    offset: u64,
    /// Of all frames before.
    checksum: (u32, u32),
}

/// A WAL that is read as it grows.
#[derive(Debug)]
pub struct WalTail {
    path: PathBuf,
    /// Everything before is part of the last snapshot that was taken.
    settled: Option<Position>,
}

/// What was found in a WAL.
#[derive(Debug, Default)]
pub struct Found {
    /// Pages with frames.
    pub pages: BTreeSet<u32>,
    /// Bytes of the WAL that are in use.
    pub bytes: u64,
    /// After the last commit but one.
    settled: Option<Position>,
}

impl WalTail {
    /// The WAL of a database. Everything in it is new.
    pub fn of(database: &Path) -> Self {
        Self { path: companion(database, "-wal"), settled: None }
    }

    /// Reads what came since the last settled snapshot, before the next one is taken.
    pub fn look(&self) -> Result<Found> {
        self.read(self.settled)
    }

    /// Everything that may have changed since the last settled snapshot, after the next one was taken: what was found
    /// before, and what came since; all of the WAL if it is used anew. The caller has kept a read transaction open since
    /// the last snapshot, so that it was begun anew at most once, and only after all of it had been part of that one.
    pub fn changed(&self, before: &Found) -> Result<Found> {
        let mut found = self.read(before.settled)?;
        found.pages.extend(&before.pages);
        Ok(found)
    }

    /// A snapshot was taken after `look` had found this, and compared.
    pub fn settle(&mut self, found: &Found) {
        self.settled = found.settled;
    }

    fn read(&self, from: Option<Position>) -> Result<Found> {
        let failed = |error| Error::io(&self.path, "read", error);
        // Reading and closing the WAL drops no locks: those are on the database and its -shm file.
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Found::default()),
            Err(error) => return Err(failed(error)),
        };
        read_frames(file, from).map_err(failed)
    }
}

/// What a WAL of these bytes has; for the fuzzer.
pub fn frames_of(bytes: &[u8]) -> Found {
    read_frames(std::io::Cursor::new(bytes), None).unwrap_or_default()
}

fn read_frames(file: impl Read + Seek, settled: Option<Position>) -> std::io::Result<Found> {
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut header = [0; HEADER_BYTES as usize];
    if !fill(&mut reader, &mut header)? {
        return Ok(Found::default());
    }
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let is_big_endian = word(0) & 1 == 1;
    let page_size = if word(8) == 1 { 65_536 } else { word(8) } as usize;
    let checksum = sum((0, 0), &header[..24], is_big_endian);
    if word(0) & !1 != MAGIC
        || checksum != (word(24), word(28))
        || !page_size.is_power_of_two()
        || page_size < 512
    {
        return Ok(Found::default());
    }
    let mut salts = [0; 8];
    salts.copy_from_slice(&header[16..24]);
    let begin = Position { salts, offset: HEADER_BYTES, checksum };
    let mut at = settled.filter(|settled| settled.salts == salts).unwrap_or(begin);
    reader.seek(SeekFrom::Start(at.offset))?;
    let mut found = Found { settled: Some(at), bytes: at.offset, ..Found::default() };
    let mut last_commit = None;
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_size];
    while fill(&mut reader, &mut frame)? {
        let word = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        let checksum =
            sum(sum(at.checksum, &frame[..8], is_big_endian), &frame[FRAME_HEADER_BYTES..], is_big_endian);
        if frame[8..16] != salts || checksum != (word(16), word(20)) || word(0) == 0 {
            break;
        }
        at = Position { salts, offset: at.offset + frame.len() as u64, checksum };
        found.pages.insert(word(0));
        found.bytes = at.offset;
        // The size of the database after a commit, zero in other frames.
        if word(4) != 0 {
            found.settled = last_commit.or(found.settled);
            last_commit = Some(at);
        }
    }
    Ok(found)
}

/// Fills the buffer; `false` if the file ends before.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The checksum of a WAL (section 4.2), carried on over some bytes.
fn sum((mut one, mut two): (u32, u32), bytes: &[u8], is_big_endian: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        one = one.wrapping_add(word(pair)).wrapping_add(two);
        two = two.wrapping_add(word(&pair[4..])).wrapping_add(one);
    }
    (one, two)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn database() -> (tempfile::TempDir, Connection, WalTail) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(x);")
            .unwrap();
        let tail = WalTail::of(&path);
        (folder, connection, tail)
    }

    #[test]
    fn the_pages_of_every_commit_are_found() {
        let (_folder, connection, mut tail) = database();
        assert_eq!(tail.look().unwrap().pages, BTreeSet::from([1, 2]));
        for _ in 0..3 {
            connection.execute("INSERT INTO t VALUES (zeroblob(9000))", []).unwrap();
            let before = tail.look().unwrap();
            tail.settle(&before);
        }
        // The last two commits may still be new to the last snapshot, and those before it are not read again.
        connection.execute("INSERT INTO t VALUES (1)", []).unwrap();
        let found = tail.changed(&tail.look().unwrap()).unwrap();
        assert!(found.pages.contains(&2) && !found.pages.contains(&3), "{found:?}");
        assert!(found.bytes > 5 * 4_096);
    }

    #[test]
    fn a_wal_that_is_used_anew_is_read_from_its_beginning() {
        let (_folder, connection, mut tail) = database();
        connection.execute("INSERT INTO t VALUES (zeroblob(90000))", []).unwrap();
        connection.execute("INSERT INTO t VALUES (1)", []).unwrap();
        let before = tail.look().unwrap();
        tail.settle(&before);
        let before = tail.look().unwrap();
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
        connection.execute("INSERT INTO t VALUES (1)", []).unwrap();
        let found = tail.changed(&before).unwrap();
        assert!(
            !found.pages.is_empty() && found.bytes < 3 * 4_200,
            "what is left of its former use is no frame: {found:?}"
        );
    }

    #[test]
    fn no_wal_and_no_readable_one_have_no_pages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        assert!(WalTail::of(&path).look().unwrap().pages.is_empty());
        std::fs::write(folder.path().join("a.db-wal"), [7; 5_000]).unwrap();
        assert!(WalTail::of(&path).look().unwrap().pages.is_empty());
    }
}
