//! Making a local file a version: a new file, or one transaction on a database that may be in use.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, backup::Backup, params};
use tempfile::NamedTempFile;

use crate::{
    error::{Error, Result},
    fail_point,
    fetch::{Layout, Target, fetch},
    format::PageMap,
    hash::lock_page,
    history::Along,
    pages::{Database, companion, folder_of},
    progress::Watch,
    remote::Remote,
};

/// Bytes that are left free on a disk beyond what is written.
const SPARE_BYTES: u64 = 8 << 20;

/// Name of files on their way, between the name of the database and random letters.
const ON_THE_WAY: &str = ".larder-new-";

/// All pages that a version has.
fn all_pages(map: &PageMap) -> Vec<u32> {
    (1..=map.page_count()).filter(|number| *number != lock_page(map.page_size)).collect()
}

/// Makes a new file of a version. It appears whole and synced, or not at all; one that is there is not replaced.
///
/// # Errors
/// [`Error::Invalid`] if something lies there, [`Error::Full`], [`Error::Io`], and those of fetching.
pub async fn create(
    remote: &Remote,
    map: &Arc<PageMap>,
    along: &Along,
    path: &Path,
    watch: &Watch,
) -> Result<()> {
    refuse_leftovers(path)?;
    remove_unfinished(path);
    let new = download(remote, map, along, path, watch).await?;
    publish(new, path).await
}

/// A file on its way to `path`, in the same folder. Nobody sees it, and what a killed process leaves of it is removed by
/// the next one.
pub fn on_the_way(path: &Path) -> Result<NamedTempFile> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ON_THE_WAY);
    let new = tempfile::Builder::new()
        .prefix(&name)
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(folder_of(path))
        .map_err(|error| Error::io(path, "written", error))?;
    // Held until this process is done with it or dead: whoever comes later removes what nobody holds.
    let _ = rustix::fs::flock(new.as_file(), rustix::fs::FlockOperation::NonBlockingLockExclusive);
    Ok(new)
}

/// Syncs a file that is whole, and gives it its name.
///
/// # Errors
/// [`Error::Invalid`] if something lies there, [`Error::Io`].
pub async fn publish(new: NamedTempFile, path: &Path) -> Result<()> {
    let path = path.to_owned();
    blocking(move || {
        let failed = |error| Error::io(&path, "written", error);
        new.as_file().sync_all().map_err(failed)?;
        fail_point::reached("db.renaming");
        match new.persist_noclobber(&path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::Invalid {
                    detail: format!("{} has just been created by somebody else", path.display()),
                    remedy: "give the command again",
                });
            }
            Err(error) => return Err(failed(error.error)),
        }
        fail_point::reached("db.renamed");
        File::open(folder_of(&path)).and_then(|folder| folder.sync_all()).map_err(failed)
    })
    .await
}

/// A file with all pages of a version, beside `path`; not synced.
async fn download(
    remote: &Remote,
    map: &Arc<PageMap>,
    along: &Along,
    path: &Path,
    watch: &Watch,
) -> Result<NamedTempFile> {
    let folder = folder_of(path);
    check_room(folder, map.size_bytes())?;
    let failed = |error| Error::io(path, "written", error);
    let new = on_the_way(path)?;
    new.as_file().set_len(map.size_bytes()).map_err(failed)?;
    let file = Arc::new(new.as_file().try_clone().map_err(failed)?);
    let target = Target { file, layout: Layout::Database };
    fetch(remote, map, &all_pages(map), along, (&target, path), watch).await?;
    fail_point::reached("db.fetched");
    Ok(new)
}

/// A new database under a name whose WAL or journal is still there would be read as another one.
pub fn refuse_leftovers(path: &Path) -> Result<()> {
    for suffix in ["-wal", "-journal"] {
        let left = companion(path, suffix);
        if fs::metadata(&left).is_ok_and(|left| left.len() > 0) {
            return Err(Error::Invalid {
                detail: format!("{} is there without its database", left.display()),
                remedy: "move it away: it belongs to a database that is gone, and SQLite would take it for part of the \
                         new one",
            });
        }
    }
    Ok(())
}

/// Removes files that processes that died were about to make.
pub fn remove_unfinished(path: &Path) {
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(ON_THE_WAY);
    let Ok(entries) = fs::read_dir(folder_of(path)) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else { continue };
        let lock = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        if lock.is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether there is room for so many bytes more.
pub fn check_room(folder: &Path, needed_bytes: u64) -> Result<()> {
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    match free_bytes >= needed_bytes + SPARE_BYTES {
        true => Ok(()),
        false => {
            Err(Error::Full { path: folder.to_owned(), free_bytes, needed_bytes: needed_bytes + SPARE_BYTES })
        }
    }
}

/// Pages that were fetched and wait to be applied.
#[derive(Debug)]
pub struct Fetched {
    spool: Arc<File>,
    places: Arc<HashMap<u32, u64>>,
}

/// Fetches pages of a version into a file without a name, in the folder of the database.
///
/// # Errors
/// [`Error::Full`], [`Error::Io`], and those of fetching.
pub async fn fetch_some(
    remote: &Remote,
    map: &Arc<PageMap>,
    wanted: &[u32],
    along: &Along,
    path: &Path,
    watch: &Watch,
) -> Result<Fetched> {
    let page_size = u64::from(map.page_size);
    let folder = folder_of(path);
    // Once here and once in the journal or WAL of the transaction.
    check_room(folder, 2 * wanted.len() as u64 * page_size)?;
    let places = wanted.iter().copied().zip((0..).map(|index: u64| index * page_size)).collect();
    let spool = tempfile::tempfile_in(folder).map_err(|error| Error::io(path, "written", error))?;
    let fetched = Fetched { spool: Arc::new(spool), places: Arc::new(places) };
    let target =
        Target { file: Arc::clone(&fetched.spool), layout: Layout::Spool(Arc::clone(&fetched.places)) };
    fetch(remote, map, wanted, along, (&target, path), watch).await?;
    fail_point::reached("db.fetched");
    Ok(fetched)
}

/// Makes an existing database a version, in one transaction: whoever reads it sees the old one or the new one, and
/// after a crash it is one of both. `wanted` are the pages of `fetched`, all others are there. It must still be what it
/// was when `data_version` was read.
///
/// # Errors
/// [`Error::Diverged`] if somebody wrote meanwhile, [`Error::Busy`], [`Error::Sqlite`], [`Error::Io`].
pub fn apply(
    database: &Database,
    map: &PageMap,
    wanted: &[u32],
    fetched: &Fetched,
    data_version: u32,
) -> Result<()> {
    let failed = |error| database.failed(error);
    let connection = database.connection();
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let applied = apply_in_transaction(database, map, wanted, fetched, data_version);
    match applied {
        Ok(()) => {
            fail_point::reached("db.applying");
            connection.execute_batch("COMMIT").map_err(failed)?;
            fail_point::reached("db.applied");
            Ok(())
        }
        Err(error) => {
            let _ = connection.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}

fn apply_in_transaction(
    database: &Database,
    map: &PageMap,
    wanted: &[u32],
    fetched: &Fetched,
    data_version: u32,
) -> Result<()> {
    let failed = |error| database.failed(error);
    let connection = database.connection();
    if database.data_version()? != data_version {
        return Err(Error::Diverged {
            detail: format!("{} was written to while it was pulled", database.path().display()),
        });
    }
    let local_count: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).map_err(failed)?;
    // Half-way through, the schema may lie in pages of both versions: nobody shall mind.
    connection.pragma_update(None, "writable_schema", "ON").map_err(failed)?;
    let mut page = vec![0; map.page_size as usize];
    let own = first_page(database)?;
    // One statement for all, and the schema cookie as it is: with another one SQLite would prepare the statement again
    // in the middle of it, and read a schema that is not there yet.
    let mut insert =
        connection.prepare("INSERT INTO sqlite_dbpage(pgno, data) VALUES (?1, ?2)").map_err(failed)?;
    for number in wanted {
        let at = fetched.places[number];
        fetched
            .spool
            .read_exact_at(&mut page, at)
            .map_err(|error| Error::io(database.path(), "read", error))?;
        if *number == 1 {
            keep_own_bytes(&mut page, &own);
        }
        insert.execute(params![number, page]).map_err(failed)?;
    }
    if map.page_count() < local_count {
        // Cuts off this page and all after it; another page that was written later would make it forget that.
        insert.execute(params![map.page_count() + 1, rusqlite::types::Null]).map_err(failed)?;
    }
    // What others who have the database open know of its tables may not hold any more.
    let cookie = u32::from_be_bytes([own[40], own[41], own[42], own[43]]).wrapping_add(1);
    connection.pragma_update(None, "schema_version", cookie).map_err(failed)
}

fn first_page(database: &Database) -> Result<Vec<u8>> {
    database
        .connection()
        .query_row("SELECT data FROM sqlite_dbpage('main') WHERE pgno = 1", [], |row| row.get(0))
        .map_err(|error| database.failed(error))
}

/// Leaves in a first page what belongs to the file that is there, which others may have open: whether there is a WAL,
/// and the cookie of its schema. SQLite sees to the change counter.
fn keep_own_bytes(page: &mut [u8], own: &[u8]) {
    for kept in [18..20, 40..44] {
        page[kept.clone()].copy_from_slice(&own[kept]);
    }
}

/// Makes an existing database a version by way of a whole copy of it, in one transaction of the backup interface: where
/// the page size is another one, or single pages can't be written.
///
/// # Errors
/// As [`create`] and [`apply`].
pub async fn replace(
    remote: &Remote,
    map: &Arc<PageMap>,
    along: &Along,
    database: Database,
    data_version: u32,
    watch: &Watch,
) -> Result<Database> {
    remove_unfinished(database.path());
    let new = download(remote, map, along, database.path(), watch).await?;
    blocking(move || {
        replace_by_copy(&database, &new, data_version)?;
        fail_point::reached("db.applied");
        Ok(database)
    })
    .await
}

fn replace_by_copy(database: &Database, new: &NamedTempFile, data_version: u32) -> Result<()> {
    let path = database.path();
    let failed = |error| Error::sqlite(path, error);
    // A copy of a database with a WAL would be opened with one beside it; contents are the same without.
    new.as_file().write_all_at(&[1, 1], 18).map_err(|error| Error::io(path, "written", error))?;
    let copy = Connection::open(new.path()).map_err(failed)?;
    let was_wal = database.is_wal()?;
    if was_wal {
        // Pages of another size don't go into a WAL. Others that have it open keep this from succeeding.
        set_mode(database.connection(), "delete").map_err(failed)?;
    }
    let copied = copy_over(database, &copy, data_version);
    if was_wal {
        set_mode(database.connection(), "wal").map_err(failed)?;
    }
    copied
}

fn set_mode(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    let now: String = connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |row| row.get(0))?;
    match now.eq_ignore_ascii_case(mode) {
        true => Ok(()),
        false => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some(format!("the journal mode stays {now}")),
        )),
    }
}

fn copy_over(database: &Database, copy: &Connection, data_version: u32) -> Result<()> {
    let path = database.path();
    let failed = |error| Error::sqlite(path, error);
    if database.data_version()? != data_version {
        return Err(Error::Diverged {
            detail: format!("{} was written to while it was pulled", path.display()),
        });
    }
    let mut target = Connection::open(path).map_err(failed)?;
    target.busy_handler(Some(crate::pages::ask_again)).map_err(failed)?;
    fail_point::reached("db.applying");
    Backup::new(copy, &mut target)
        .and_then(|backup| backup.run_to_completion(i32::MAX, Duration::from_millis(50), None))
        .map_err(failed)
}

/// Whether a file begins as a SQLite database does.
pub fn begins_as_database(bytes: &[u8]) -> bool {
    bytes.starts_with(b"SQLite format 3\0")
}

/// Runs work that blocks.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Error::Internal(error.to_string())),
    }
}
