//! The lock by which processes tell whether leftovers in staging can belong to anyone.
//!
//! Every process that uses a folder holds a shared lock on `.larder/staging.lock`. One that gets the
//! exclusive lock at its start is alone: whatever lies in staging without a record is a dead
//! process's and can go at once, without waiting for an age.

use std::{
    fs::{File, OpenOptions},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use larder_core::{Code, Fault};
use rustix::fs::{FlockOperation, flock};

/// A held lock; released by the operating system when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct StagingLock {
    file: Arc<File>,
    alone: AtomicBool,
}

impl StagingLock {
    /// Takes the lock: exclusively if nobody else has it, else shared.
    pub(crate) async fn take(path: PathBuf) -> Result<Self, Fault> {
        let shown = path.display().to_string();
        tokio::task::spawn_blocking(move || lock(&path))
            .await
            .map_err(|error| Fault::internal("the staging lock could not be taken").caused_by(error))?
            .map_err(|error| {
                Fault::new(Code::BackendUnavailable, format!("{shown} can't be locked: {error}"))
                    .remedy("make the data directory writable for this user, on a file system with locks")
                    .caused_by(error)
            })
    }

    /// Whether no other process used the folder when this one started.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::SeqCst)
    }

    /// Lets others in, after the leftovers are gone.
    pub(crate) async fn share(&self) {
        if !self.alone.swap(false, Ordering::SeqCst) {
            return;
        }
        // Giving up exclusiveness is not atomic (flock(2)): another process may come first and hold
        // it for the moment of its own recovery, so this can wait.
        let file = self.file.clone();
        let shared = tokio::task::spawn_blocking(move || flock(&*file, FlockOperation::LockShared)).await;
        if !matches!(shared, Ok(Ok(()))) {
            tracing::warn!(
                ?shared,
                "the staging lock could not be shared; other processes wait for this one"
            );
        }
    }
}

fn lock(path: &PathBuf) -> std::io::Result<StagingLock> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    let alone = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => true,
        Err(rustix::io::Errno::WOULDBLOCK) => {
            flock(&file, FlockOperation::LockShared)?;
            false
        }
        Err(error) => return Err(error.into()),
    };
    Ok(StagingLock { file: Arc::new(file), alone: AtomicBool::new(alone) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_first_is_alone_until_it_shares() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("staging.lock");
        let first = StagingLock::take(path.clone()).await.unwrap();
        assert!(first.is_alone());
        first.share().await;
        let second = StagingLock::take(path.clone()).await.unwrap();
        assert!(!first.is_alone() && !second.is_alone());
        drop((first, second));
        assert!(StagingLock::take(path).await.unwrap().is_alone());
    }
}
