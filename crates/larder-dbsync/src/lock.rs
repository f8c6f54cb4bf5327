//! `FILE.larder-lock`: who replicates a local database, on this machine.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    error::{Error, Result},
    pages::companion,
    session::Session,
};

/// A lock that a process has on a local database as long as it lives, and that keeps nobody out: it only proves that
/// whoever had it before is dead. It says who that was, and of which file it is the lock: a copy of a folder proves nothing.
#[derive(Debug)]
pub struct FileLock {
    path: PathBuf,
    file: File,
}

impl FileLock {
    /// Takes it, if no other process has it.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be made.
    pub fn try_take(database: &Path) -> Result<Option<Self>> {
        let path = companion(database, ".larder-lock");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| Error::io(&path, "written", error))?;
        Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(Self { path, file }))
    }

    /// Tells a writer that need not be waited for: the one that had this lock before, on this machine.
    pub fn tell(&self, session: &mut Session) {
        let mut text = String::new();
        if !session.is_held_on_this_machine() || (&self.file).read_to_string(&mut text).is_err() {
            return;
        }
        let token = self.identity().and_then(|identity| text.strip_prefix(&identity));
        let mut dead = [0; 16];
        if token.is_some_and(|token| hex::decode_to_slice(token.trim(), &mut dead).is_ok()) {
            session.knows_dead([dead]);
        }
    }

    /// Writes down that a writer has this lock.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn record(&self, session: &Session) -> Result<()> {
        let Some(identity) = self.identity() else { return Ok(()) };
        let text = format!("{identity}{}\n", hex::encode(session.token()));
        let mut file = &self.file;
        let written =
            file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(text.as_bytes()));
        written.map_err(|error| Error::io(&self.path, "written", error))
    }

    /// Which file this is.
    fn identity(&self) -> Option<String> {
        let file = self.file.metadata().ok()?;
        Some(format!("{} {} ", file.dev(), file.ino()))
    }
}
