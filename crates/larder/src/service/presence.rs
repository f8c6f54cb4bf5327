//! `<data>/server.json`: which server runs on a data directory, for the commands beside it.
//!
//! The server holds a lock on the file as long as it lives, so that a file left behind by a crash is
//! known for what it is: nobody holds its lock.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

const FILE: &str = "server.json";

/// What a running server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its address on this machine, such as `http://127.0.0.1:8000`.
    pub address: String,
    /// Its process.
    pub pid: u32,
    /// Whether it runs jobs.
    pub runs_jobs: bool,
}

/// The mark of a running server; the file goes when this is dropped.
#[derive(Debug)]
pub struct Presence {
    path: PathBuf,
    _locked: File,
}

impl Presence {
    /// Marks the data directory. `None`: another server runs on it and keeps its mark.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn mark(data_dir: &Path, server: &Server) -> io::Result<Option<Self>> {
        let path = data_dir.join(FILE);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(serde_json::to_string(server)?.as_bytes())?;
        Ok(Some(Self { path, _locked: file }))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // A file that stays is known as stale by its lock.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The server that runs on the data directory, if one does.
pub fn find(data_dir: &Path) -> Option<Server> {
    let mut file = File::open(data_dir.join(FILE)).ok()?;
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_while_it_lives_and_its_leftovers_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server { address: "http://127.0.0.1:1".to_owned(), pid: 7, runs_jobs: true };
        let presence = Presence::mark(dir.path(), &server).unwrap().unwrap();
        assert_eq!(find(dir.path()), Some(server.clone()));
        assert!(Presence::mark(dir.path(), &server).unwrap().is_none(), "the first keeps its mark");
        drop(presence);
        assert_eq!(find(dir.path()), None);
        std::fs::write(dir.path().join(FILE), serde_json::to_string(&server).unwrap()).unwrap();
        assert_eq!(find(dir.path()), None, "left behind by a crash");
        assert!(Presence::mark(dir.path(), &server).unwrap().is_some());
    }
}
