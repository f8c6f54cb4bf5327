//! A local database that makes room for what is in the store, and is kept.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use larder_core::Timestamp;

use crate::{
    backup::stamped,
    error::{Error, Result},
    pages::{companion, folder_of},
};

/// What belongs to a database, in the order in which it goes: without its WAL a database is an older one, and the note of
/// what it was goes last, so that whoever was cut off can begin again.
const PARTS: [&str; 7] = ["-wal", "-journal", "-shm", "", ".larder-lock", ".larder", ".larder-map"];

/// Moves a database that nobody has open, with all that belongs to it, into a new folder beside it, and answers which:
/// `FILE-aside-YYYYmmdd-HHMMSS`, in UTC. It can be opened there.
///
/// # Errors
/// [`Error::Io`]: what was not moved is where it was.
pub fn set_aside(database: &Path, now: Timestamp) -> Result<PathBuf> {
    let name = database.file_name().unwrap_or_default().to_string_lossy();
    let name = stamped(&format!("{name}-aside-"), now);
    let mut folder = folder_of(database).join(&name);
    for number in 2.. {
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                folder = folder_of(database).join(format!("{name}-{number}"));
            }
            Err(error) => return Err(Error::io(&folder, "created", error)),
            Ok(()) => break,
        }
    }
    for part in PARTS {
        let from = companion(database, part);
        let to = folder.join(from.file_name().unwrap_or_default());
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(&from, "moved", error));
            }
            _ => {}
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_set_aside_with_its_wal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let now = Timestamp::from_millis(1_800_000_000_000);
        for row in 1..3 {
            let a = rusqlite::Connection::open(&path).unwrap();
            a.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t(x)").unwrap();
            a.execute("INSERT INTO t VALUES (?1)", [row]).unwrap();
            // As a process that is killed leaves it.
            for part in ["", "-wal", "-shm"] {
                fs::copy(companion(&path, part), companion(&folder.path().join("b.db"), part)).unwrap();
            }
            drop(a);
            fs::remove_file(&path).unwrap();
            let aside = set_aside(&folder.path().join("b.db"), now).unwrap();
            assert!(aside.to_string_lossy().contains("b.db-aside-20270115-080000"), "{aside:?}");
            let kept = rusqlite::Connection::open(aside.join("b.db")).unwrap();
            assert_eq!(kept.query_row("SELECT x FROM t", [], |row| row.get(0)), Ok(row));
            let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
            assert_eq!(left.len() as i32, row, "only what was set aside");
        }
    }
}
