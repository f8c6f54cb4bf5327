//! Which folders must be synced for a change to survive a power cut.
//!
//! A new file is durable when its folder is synced, and that helps only if the folder itself is
//! durable in the folder above, and so on to the root. Syncing the whole chain for every file would
//! cost a disk flush a level, so folders known to be durable are remembered by what they are (inode
//! and birth), not by name alone: a folder that was removed and made again, by this process or another,
//! is not the one that was synced.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use rustix::io::Errno;

use super::{
    dir_sync::DirSync,
    root::{LOOK, Root},
};

/// How many folders are remembered, of about 150 bytes each. Beyond, all are forgotten, which costs
/// a few syncs.
const KNOWN_MAX: usize = 16_384;

#[derive(Debug)]
pub(super) struct Durable {
    root: Arc<Root>,
    syncs: DirSync,
    known: Mutex<HashMap<String, Identity>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    birth: Option<SystemTime>,
}

impl Identity {
    /// Whether both are the same folder. File systems give a freed inode to the next folder, so where
    /// births are not told, nothing proves it, and the folders above are synced each time.
    fn is_surely(&self, other: &Self) -> bool {
        self.birth.is_some() && self == other
    }
}

/// Folders whose entries are still to be made durable, the changed one first.
#[derive(Debug, Default)]
pub(super) struct Unsettled(Vec<(String, Identity)>);

impl Durable {
    pub(super) fn new(root: Arc<Root>) -> Self {
        let syncs = DirSync::new({
            let root = Arc::clone(&root);
            move |folder| sync(&root, folder)
        });
        Self { root, syncs, known: Mutex::default() }
    }

    /// How many folders were synced.
    pub(super) fn syncs_total(&self) -> u64 {
        self.syncs.syncs_total()
    }

    /// What must be synced for a change in `folder` that was just made: the folder, and those above
    /// up to the first that is known to be durable. Called after the change: the new file keeps its
    /// folder from being removed, so what is seen here is where the file lies.
    pub(super) fn unsettled(&self, folder: &str) -> Result<Unsettled, Errno> {
        let mut chain = Vec::new();
        let mut at = folder;
        loop {
            match self.identity(at) {
                Ok(identity) => {
                    let known = self.known().get(at).is_some_and(|known| known.is_surely(&identity));
                    chain.push((at.to_owned(), identity));
                    if known {
                        break;
                    }
                }
                // Everything in it was removed meanwhile, and then the folder.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
            if at.is_empty() {
                break;
            }
            at = at.rsplit_once('/').map_or("", |(above, _)| above);
        }
        Ok(Unsettled(chain))
    }

    /// Makes a change durable.
    pub(super) async fn settle(&self, Unsettled(chain): Unsettled) -> io::Result<()> {
        for (folder, _) in &chain {
            self.syncs.sync(folder).await?;
        }
        self.remember(chain);
        Ok(())
    }

    /// Makes folders durable without sharing syncs, at the start.
    pub(super) fn settle_blocking(&self, folders: &[&str]) -> Result<(), Errno> {
        for folder in folders {
            let Unsettled(chain) = self.unsettled(folder)?;
            for (folder, _) in &chain {
                sync(&self.root, folder)
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            }
            self.remember(chain);
        }
        Ok(())
    }

    fn remember(&self, chain: Vec<(String, Identity)>) {
        let mut known = self.known();
        if known.len() + chain.len() > KNOWN_MAX {
            known.clear();
        }
        known.extend(chain);
    }

    fn identity(&self, folder: &str) -> Result<Identity, Errno> {
        let folder = File::from(self.root.resolve(folder, LOOK)?);
        let metadata =
            folder.metadata().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(Identity { device: metadata.dev(), inode: metadata.ino(), birth: metadata.created().ok() })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Identity>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sync(root: &Root, folder: &str) -> io::Result<()> {
    match root.folder(folder) {
        Ok(folder) => File::from(folder).sync_all(),
        // Removed since: there is nothing in it to keep.
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durable() -> (tempfile::TempDir, Arc<Root>, Durable) {
        let folder = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::open(folder.path()).unwrap());
        let durable = Durable::new(Arc::clone(&root));
        (folder, root, durable)
    }

    fn folders(unsettled: &Unsettled) -> Vec<&str> {
        unsettled.0.iter().map(|(folder, _)| folder.as_str()).collect()
    }

    #[tokio::test]
    async fn new_folders_are_synced_up_to_the_root_and_known_ones_alone() {
        let (_folder, root, durable) = durable();
        root.make_folders("a/b").unwrap();
        let first = durable.unsettled("a/b").unwrap();
        assert_eq!(folders(&first), ["a/b", "a", ""]);
        durable.settle(first).await.unwrap();
        assert_eq!(durable.syncs_total(), 3);
        assert_eq!(folders(&durable.unsettled("a/b").unwrap()), ["a/b"]);
        root.make_folders("a/c").unwrap();
        assert_eq!(folders(&durable.unsettled("a/c").unwrap()), ["a/c", "a"]);
    }

    #[tokio::test]
    async fn a_folder_made_again_is_not_the_one_that_was_synced() {
        let (_folder, root, durable) = durable();
        root.make_folders("a/b").unwrap();
        durable.settle(durable.unsettled("a/b").unwrap()).await.unwrap();
        std::fs::remove_dir(root.path().join("a/b")).unwrap();
        // File systems give a freed inode to the next folder; the time of birth tells them apart.
        std::thread::sleep(std::time::Duration::from_millis(20));
        root.make_folders("a/b").unwrap();
        assert_eq!(folders(&durable.unsettled("a/b").unwrap()), ["a/b", "a"]);
    }

    #[test]
    fn a_folder_of_unknown_birth_is_never_known() {
        let born = Identity { device: 1, inode: 2, birth: Some(SystemTime::UNIX_EPOCH) };
        let unknown = Identity { birth: None, ..born.clone() };
        assert!(born.is_surely(&born));
        assert!(!unknown.is_surely(&unknown) && !unknown.is_surely(&born) && !born.is_surely(&unknown));
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_leaves_those_above_to_sync() {
        let (_folder, root, durable) = durable();
        root.make_folders("a").unwrap();
        let unsettled = durable.unsettled("a/gone").unwrap();
        assert_eq!(folders(&unsettled), ["a", ""]);
        std::fs::remove_dir(root.path().join("a")).unwrap();
        durable.settle(unsettled).await.unwrap();
    }
}
