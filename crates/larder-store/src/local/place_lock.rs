//! Locks that make conditions atomic, among threads and among processes on the same folder.
//!
//! Whoever changes what lies at a place holds the lock of the place's stripe from the check of the
//! condition to the rename, which is a few system calls and never a sync.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::fs::{Mode, OFlags};

use super::root::Root;
use crate::place::Place;

/// Where the lock files lie.
pub(super) const FOLDER: &str = ".larder/local/locks";

/// Enough that threads rarely meet, few enough to keep all open.
const STRIPES: usize = 64;

#[derive(Debug)]
pub(super) struct PlaceLocks {
    root: Arc<Root>,
    /// The lock file of each stripe, opened at first use. Locks on files exclude processes, the mutexes
    /// exclude threads, which share the open file.
    stripes: Vec<Mutex<Option<File>>>,
}

/// Holds stripes; released when it is dropped.
#[derive(Debug)]
pub(super) struct PlaceLock<'a>(Vec<MutexGuard<'a, Option<File>>>);

impl PlaceLocks {
    pub(super) fn new(root: Arc<Root>) -> Self {
        Self { root, stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }

    /// Waits for the locks of these places and takes them. Blocks.
    pub(super) fn lock(&self, places: &[&Place]) -> io::Result<PlaceLock<'_>> {
        let mut stripes: Vec<_> = places.iter().map(|place| stripe(place)).collect();
        // Always in the same order, so that no two holders wait for each other.
        stripes.sort_unstable();
        stripes.dedup();
        let mut held = PlaceLock(Vec::with_capacity(stripes.len()));
        for stripe in stripes {
            let mut slot = self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner);
            let file = match slot.take() {
                Some(file) => file,
                None => self.open(stripe)?,
            };
            file.lock()?;
            *slot = Some(file);
            held.0.push(slot);
        }
        Ok(held)
    }

    fn open(&self, stripe: usize) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let folder = self.root.folder(FOLDER)?;
        Ok(rustix::fs::openat(folder, stripe.to_string(), flags, Mode::from_raw_mode(0o666))?.into())
    }
}

/// The stripe of a place: the same in every process of one version, which is all that is needed of
/// processes that run at the same time; `DefaultHasher::new` has fixed keys.
fn stripe(place: &Place) -> usize {
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    hasher.finish() as usize % STRIPES
}

impl Drop for PlaceLock<'_> {
    fn drop(&mut self) {
        for file in self.0.iter().filter_map(|slot| slot.as_ref()) {
            // Fails only for a file that is not open; then there is no lock either.
            let _ = file.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_place_is_held_once_among_threads_and_stores() {
        let folder = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::open(folder.path()).unwrap());
        root.make_folders(FOLDER).unwrap();
        // Two lock tables on one folder stand for two processes: their files are opened apart.
        let tables = [PlaceLocks::new(Arc::clone(&root)), PlaceLocks::new(root)];
        let (one, two): (Place, Place) = ("a".parse().unwrap(), "b".parse().unwrap());
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for turn in 0..8 {
                let (inside, locks) = (&inside, &tables[turn % 2]);
                let places = if turn < 4 { [&one, &two] } else { [&two, &one] };
                scope.spawn(move || {
                    for _ in 0..50 {
                        let _held = locks.lock(&places).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
