//! `<data>/replicating.lock`: one process of a machine replicates the catalogue at a time.
//!
//! The file names who holds the catalogue in the store. Whoever gets the lock knows that they are dead, and need not
//! wait for them.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tokio::time::Instant;

use crate::failure::Failure;

const FILE: &str = "replicating.lock";

/// For how long another process is waited for, as SQLite waits for a writer.
const BUSY: Duration = Duration::from_secs(10);

/// Time between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a writer is known by in the log.
type Token = [u8; 16];

/// The lock, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Waits a moment for a command that is about to end.
    ///
    /// # Errors
    /// Another process has it, and keeps it; the file can't be written.
    pub async fn take(data_dir: &Path) -> Result<Self, Failure> {
        let path = data_dir.join(FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| Failure::file(&path, "written", error))?;
        let begun = Instant::now();
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if begun.elapsed() > BUSY {
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
        let first = Lock::take(folder.path()).await.unwrap();
        assert!(first.holders().unwrap().is_empty());
        first.tell(&[[1; 16], [2; 16]]).unwrap();
        first.tell(&[[2; 16]]).unwrap();
        drop(first);
        let second = Lock::take(folder.path()).await.unwrap();
        assert_eq!(second.holders().unwrap(), [[2; 16]]);
        std::fs::write(folder.path().join(FILE), "of a newer version\n").unwrap();
        assert!(second.holders().unwrap().is_empty());
    }
}
