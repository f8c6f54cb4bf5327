//! The pages of a local database, as SQLite gives them out within a transaction.
//!
//! Contents never come from the database file or the WAL themselves: only SQLite knows which of both has the newest,
//! and closing either by ordinary means would drop the locks of the whole process (SQLite, "How to corrupt").

use std::{
    collections::BTreeSet,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, backup::Backup};

use crate::{
    error::{Error, Result},
    hash::lock_page,
};

/// How often a lock that others have is asked for, and the longest pause between two times: 10 s in all. SQLite's own
/// pauses grow to a tenth of a second; beside a writer that begins again at once, they find the lock taken for ever.
const ASKED_MAX: i32 = 5_000;
const PAUSE_MAX: Duration = Duration::from_millis(2);

/// A connection to a local database.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    connection: Connection,
    has_page_table: bool,
}

/// Pauses before a lock is asked for again, for the `asked`th time.
pub fn ask_again(asked: i32) -> bool {
    let pause = Duration::from_micros(100) * u32::try_from(asked / 16 + 1).unwrap_or(u32::MAX);
    std::thread::sleep(pause.min(PAUSE_MAX));
    asked < ASKED_MAX
}

impl Database {
    /// Opens an existing database for reading and writing: what a writer left half done is rolled back.
    ///
    /// # Errors
    /// [`Error::NotADatabase`], [`Error::Invalid`] if it is empty, [`Error::Io`], [`Error::Busy`], [`Error::Sqlite`].
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::metadata(path).map_err(|error| Error::io(path, "read", error))?;
        if !is_there(path) {
            return Err(empty(path));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |error| Error::sqlite(path, error);
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_handler(Some(ask_again)).map_err(failed)?;
        // Others decide about their WAL; ours would be checkpointed in the middle of a read.
        connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(failed)?;
        connection.query_row("PRAGMA schema_version", [], |_| Ok(())).map_err(failed)?;
        let has_page_table = connection
            .query_row("SELECT count(*) FROM pragma_module_list WHERE name = 'sqlite_dbpage'", [], |row| {
                row.get(0)
            })
            .map_err(failed)?;
        Ok(Self { path: path.to_owned(), connection, has_page_table })
    }

    /// As for a SQLite without the table `sqlite_dbpage`.
    #[cfg(test)]
    pub fn without_page_table(mut self) -> Self {
        self.has_page_table = false;
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether pages are read and written one by one; else by way of a copy.
    pub fn has_page_table(&self) -> bool {
        self.has_page_table
    }

    pub(crate) fn failed(&self, error: rusqlite::Error) -> Error {
        Error::sqlite(&self.path, error)
    }

    /// Whether it has a WAL.
    pub fn is_wal(&self) -> Result<bool> {
        let mode: String = self
            .connection
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))
            .map_err(|e| self.failed(e))?;
        Ok(mode.eq_ignore_ascii_case("wal"))
    }

    /// Begins to read: what is committed now, whatever is committed meanwhile, until the snapshot is dropped. In WAL
    /// mode no writer waits for it.
    pub fn snapshot(&self) -> Result<Snapshot<'_>> {
        self.begin()?;
        let mut snapshot = Snapshot { database: self, page_size: 0, page_count: 0, copy: None, ends: true };
        snapshot.look()?;
        Ok(snapshot)
    }

    /// Begins to read, until [`end`](Self::end).
    pub fn begin(&self) -> Result<()> {
        self.connection.execute_batch("BEGIN").map_err(|error| self.failed(error))?;
        // Only reading takes the lock.
        self.number("PRAGMA schema_version").map(|_| ())
    }

    /// What [`begin`](Self::begin) began to read.
    pub fn begun(&self) -> Result<Snapshot<'_>> {
        let mut snapshot = Snapshot { database: self, page_size: 0, page_count: 0, copy: None, ends: false };
        snapshot.look()?;
        Ok(snapshot)
    }

    /// Ends what [`begin`](Self::begin) began.
    pub fn end(&self) {
        // Nothing was written; a connection that can't even end a read is of no further use, and says so next time.
        let _ = self.connection.execute_batch("ROLLBACK");
    }

    /// A number that changes whenever another connection has committed.
    pub fn data_version(&self) -> Result<u32> {
        self.number("PRAGMA data_version")
    }

    fn number(&self, pragma: &str) -> Result<u32> {
        self.connection.query_row(pragma, [], |row| row.get(0)).map_err(|error| self.failed(error))
    }

    /// A copy of the whole, by the backup interface. It has no name, and goes with its handle.
    fn copied(&self) -> Result<File> {
        let folder = folder_of(&self.path);
        let file =
            tempfile::NamedTempFile::new_in(folder).map_err(|error| Error::io(folder, "written", error))?;
        let mut copy = Connection::open(file.path()).map_err(|error| self.failed(error))?;
        copy.pragma_update(None, "synchronous", "OFF").map_err(|error| self.failed(error))?;
        Backup::new(&self.connection, &mut copy)
            .and_then(|backup| backup.run_to_completion(4_096, Duration::ZERO, None))
            .map_err(|error| self.failed(error))?;
        copy.close().map_err(|(_, error)| self.failed(error))?;
        file.reopen().map_err(|error| Error::io(&self.path, "read", error))
    }

    /// Looks through the whole for damage (`PRAGMA integrity_check`, or the quicker `quick_check`).
    ///
    /// # Errors
    /// [`Error::NotADatabase`] with the first finding.
    pub fn check(&self, is_full: bool) -> Result<()> {
        let pragma = if is_full { "PRAGMA integrity_check(1)" } else { "PRAGMA quick_check(1)" };
        let found: String =
            self.connection.query_row(pragma, [], |row| row.get(0)).map_err(|error| self.failed(error))?;
        match found.as_str() {
            "ok" => Ok(()),
            _ => Err(Error::NotADatabase {
                path: self.path.clone(),
                detail: format!("it is damaged ({found})"),
            }),
        }
    }
}

/// One committed version of a local database, for as long as this lives.
#[derive(Debug)]
pub struct Snapshot<'a> {
    database: &'a Database,
    page_size: u32,
    page_count: u32,
    copy: Option<File>,
    /// Whether its end is that of the transaction.
    ends: bool,
}

impl Snapshot<'_> {
    fn look(&mut self) -> Result<()> {
        self.page_size = self.database.number("PRAGMA page_size")?;
        self.page_count = self.database.number("PRAGMA page_count")?;
        if self.page_count == 0 {
            return Err(empty(&self.database.path));
        }
        if !self.database.has_page_table {
            self.copy = Some(self.database.copied()?);
        }
        Ok(())
    }

    /// Bytes of a page.
    pub fn page_size(&self) -> u32 {
        self.page_size
    }

    /// Pages of the database.
    pub fn page_count(&self) -> u32 {
        self.page_count
    }

    /// Gives all pages to `take`, in order, but the one with the lock bytes.
    pub fn all(&self, mut take: impl FnMut(u32, &[u8]) -> Result<()>) -> Result<()> {
        if let Some(copy) = &self.copy {
            return (1..=self.page_count).try_for_each(|number| self.of_copy(copy, number, &mut take));
        }
        let failed = |error| self.database.failed(error);
        let mut statement = self
            .database
            .connection
            .prepare("SELECT pgno, data FROM sqlite_dbpage('main')")
            .map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut expected = 1;
        while let Some(row) = rows.next().map_err(failed)? {
            let number: u32 = row.get(0).map_err(failed)?;
            let page = row.get_ref(1).ok().and_then(|value| value.as_blob().ok()).unwrap_or_default();
            if number != expected {
                return Err(self.unreadable(expected));
            }
            self.give(number, page, &mut take)?;
            expected += 1;
        }
        if expected <= self.page_count { Err(self.unreadable(expected)) } else { Ok(()) }
    }

    /// Gives these pages to `take`, in order.
    pub fn some(
        &self,
        numbers: &BTreeSet<u32>,
        mut take: impl FnMut(u32, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let numbers = numbers.range(1..=self.page_count);
        if let Some(copy) = &self.copy {
            return numbers.copied().try_for_each(|number| self.of_copy(copy, number, &mut take));
        }
        let failed = |error| self.database.failed(error);
        let mut statement = self
            .database
            .connection
            .prepare_cached("SELECT data FROM sqlite_dbpage('main') WHERE pgno = ?1")
            .map_err(failed)?;
        for number in numbers.copied() {
            let mut rows = statement.query([number]).map_err(failed)?;
            let row = rows.next().map_err(failed)?.ok_or_else(|| self.unreadable(number))?;
            let page = row.get_ref(0).ok().and_then(|value| value.as_blob().ok()).unwrap_or_default();
            self.give(number, page, &mut take)?;
        }
        Ok(())
    }

    fn give(&self, number: u32, page: &[u8], take: &mut impl FnMut(u32, &[u8]) -> Result<()>) -> Result<()> {
        if number == lock_page(self.page_size) {
            return Ok(());
        }
        if page.len() != self.page_size as usize {
            return Err(self.unreadable(number));
        }
        take(number, page)
    }

    fn of_copy(
        &self,
        copy: &File,
        number: u32,
        take: &mut impl FnMut(u32, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut page = vec![0; self.page_size as usize];
        let at = u64::from(number - 1) * u64::from(self.page_size);
        copy.read_exact_at(&mut page, at).map_err(|error| Error::io(&self.database.path, "read", error))?;
        self.give(number, &page, take)
    }

    fn unreadable(&self, number: u32) -> Error {
        Error::NotADatabase {
            path: self.database.path.clone(),
            detail: format!("page {number} of {} can't be read", self.page_count),
        }
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if self.ends {
            self.database.end();
        }
    }
}

fn empty(path: &Path) -> Error {
    Error::Invalid {
        detail: format!("{} is empty: there is no database in it yet", path.display()),
        remedy: "create a table first, or name another file",
    }
}

/// Whether there is a file with something in it. SQLite takes an empty one for a new database, whatever lies beside
/// it, and removes a WAL that does; so nothing here lets it open one.
pub fn is_there(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// A file that lies beside a database under its name and a suffix.
pub fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The folder of a file.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::page_hash;

    #[test]
    fn a_sqlite_without_the_table_of_pages_gives_the_same_by_a_copy() {
        for mode in ["wal", "delete"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.db");
            let writer = Connection::open(&path).unwrap();
            writer.execute_batch(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t(x);")).unwrap();
            writer.execute_batch("INSERT INTO t VALUES (zeroblob(100000)), (randomblob(9000));").unwrap();
            let read = |database: &Database| {
                let snapshot = database.snapshot().unwrap();
                let (mut all, mut some) = (Vec::new(), Vec::new());
                snapshot
                    .all(|number, page| {
                        all.push((number, page_hash(number, page)));
                        Ok(())
                    })
                    .unwrap();
                let wanted: BTreeSet<u32> = [1, 3, 20, 900].into();
                snapshot
                    .some(&wanted, |number, page| {
                        some.push((number, page_hash(number, page)));
                        Ok(())
                    })
                    .unwrap();
                assert_eq!(all.len(), snapshot.page_count() as usize);
                assert_eq!(some, [all[0], all[2], all[19]]);
                all
            };
            let by_table = read(&Database::open(&path).unwrap());
            let by_copy = read(&Database::open(&path).unwrap().without_page_table());
            assert_eq!(by_table, by_copy, "{mode}");
        }
    }

    #[test]
    fn the_sqlite_of_this_program_has_the_table_of_pages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
        assert!(
            Database::open(&path).unwrap().has_page_table(),
            "LIBSQLITE3_FLAGS of .cargo/config.toml is not in effect"
        );
    }
}
