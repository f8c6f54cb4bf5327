//! `<data>/replicating.lock`: one process of a machine replicates the catalogue at a time.
//!
//! The file names who holds the catalogue in the store. Whoever gets the lock knows that they are dead, and need not
//! wait for them. It names the address of a server, too: what commands do has to go through that one, also where another
//! server of the same data directory keeps `server.json`.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tokio::time::Instant;

use crate::{failure::Failure, service::open::Opening};

const FILE: &str = "replicating.lock";

/// Before the address of a server and the key of its owner.
const AT: &str = "at ";

/// For how long another process is waited for, as SQLite waits for a writer.
const BUSY: Duration = Duration::from_secs(10);

/// Time between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a writer is known by in the log.
type Token = [u8; 16];

/// A server that replicates, for commands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Its address.
    pub address: String,
    /// The bearer secret of who may read the data directory.
    pub key: String,
}

/// The lock, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes it when no other process has it. A server waits for as long as one does; a command a moment, for another that
    /// is about to end.
    ///
    /// # Errors
    /// Another process has it, and keeps it; the file can't be written.
    pub async fn take(data_dir: &Path, opening: Opening) -> Result<Self, Failure> {
        let path = data_dir.join(FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Failure::file(&path, "written", error))?;
        let begun = Instant::now();
        let mut is_told = false;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if opening == Opening::Server {
                if !is_told {
                    tracing::warn!(
                        "another process replicates the catalogue of this data directory: waiting for its end"
                    );
                    is_told = true;
                }
            } else if begun.elapsed() > BUSY {
                return Err(Failure::configuration(
                    format!("another process replicates the catalogue in {}", data_dir.display()),
                    "wait until it has ended, or give this one another data directory; a server is asked by --server",
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(Self { path, file })
    }

    /// Who may hold the catalogue, and has had this lock before. What can't be read names nobody.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn holders(&self) -> Result<Vec<Token>, Failure> {
        let mut text = String::new();
        self.rewound()?
            .read_to_string(&mut text)
            .map_err(|error| Failure::file(&self.path, "read", error))?;
        let token = |line: &str| Token::try_from(hex::decode(line).ok()?).ok();
        Ok(text.lines().filter_map(token).collect())
    }

    /// Stores who may hold the catalogue from now on.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn tell(&self, holders: &[Token]) -> Result<(), Failure> {
        let lines: String = holders.iter().map(|token| hex::encode(token) + "\n").collect();
        let mut file = self.rewound()?;
        // Not synced: after the end of the machine one waits as for any other.
        file.set_len(0)
            .and_then(|()| file.write_all(lines.as_bytes()))
            .map_err(|error| Failure::file(&self.path, "written", error))
    }

    /// Adds where the server that has this lock answers.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn tell_server(&self, address: &str, key: &str) -> Result<(), Failure> {
        let mut file = &self.file;
        file.seek(SeekFrom::End(0))
            .and_then(|_| file.write_all(format!("{AT}{address} {key}\n").as_bytes()))
            .map_err(|error| Failure::file(&self.path, "written", error))
    }

    /// The server that replicates the catalogue of a data directory, if one does.
    pub fn server(data_dir: &Path) -> Option<Serving> {
        let mut file = File::open(data_dir.join(FILE)).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        let (address, key) = text.lines().find_map(|line| line.strip_prefix(AT))?.split_once(' ')?;
        Some(Serving { address: address.to_owned(), key: key.to_owned() })
    }

    fn rewound(&self) -> Result<&File, Failure> {
        (&self.file).rewind().map_err(|error| Failure::file(&self.path, "read", error))?;
        Ok(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_gets_the_lock_learns_who_had_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path(), Opening::Writer).await.unwrap();
        assert!(first.holders().unwrap().is_empty());
        first.tell(&[[1; 16], [2; 16]]).unwrap();
        first.tell(&[[2; 16]]).unwrap();
        assert_eq!(Lock::server(folder.path()), None, "it is no server");
        first.tell_server("http://127.0.0.1:7", "key").unwrap();
        let serving = Lock::server(folder.path()).unwrap();
        assert_eq!((serving.address.as_str(), serving.key.as_str()), ("http://127.0.0.1:7", "key"));
        drop(first);
        assert_eq!(Lock::server(folder.path()), None, "nobody has the lock");
        let second = Lock::take(folder.path(), Opening::Writer).await.unwrap();
        assert_eq!(second.holders().unwrap(), [[2; 16]]);
        std::fs::write(folder.path().join(FILE), "of a newer version\n").unwrap();
        assert!(second.holders().unwrap().is_empty());
    }
}
