//! `FILE.larder-lock`: who replicates a local database, on this machine.

use std::{
    fs::{File, OpenOptions},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    error::{Error, Result},
    pages::companion,
    session::Session,
    sidecar::Sidecar,
};

/// A lock that a process has on a local database as long as it lives, and that keeps nobody out: it only proves that
/// whoever had it before is dead.
#[derive(Debug)]
pub struct FileLock {
    _locked: File,
}

impl FileLock {
    /// Takes it, if no other process has it.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be made.
    pub fn try_take(database: &Path) -> Result<Option<Self>> {
        let path = companion(database, ".larder-lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| Error::io(&path, "written", error))?;
        Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(Self { _locked: file }))
    }

    /// Tells a writer that need not be waited for: the last one that wrote from this very file, on this machine. (A folder
    /// that was copied to another machine has its note, and that one may live.)
    pub fn tell(&self, session: &mut Session, database: &Path) {
        if session.is_held_on_this_machine() {
            session.knows_dead(Sidecar::read(database).map(|sidecar| sidecar.token));
        }
    }
}
