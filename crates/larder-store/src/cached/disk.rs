//! The layer on the disk: one file a page, in a folder that one process has for itself.
//!
//! Which files there are is known in memory; the folder is looked through once, at the start. One thread
//! writes, removes and looks through, so that the files never take more than the limit and the one page in
//! hand. A file that is torn is told by its checksum when it is read. Whatever goes wrong costs hits, never
//! a read: after the first failure of the disk the layer is off until the next start.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::{
    meters::{Layer, Meters},
    page::{PageKey, PlaceId},
    page_file::{self, HEAD_BYTES, room_bytes},
    pages::Pages,
};

/// Bytes that may wait to be written: pages that come while the disk is that far behind are not kept.
const WAITING_BYTES_MAX: u64 = 16 << 20;

/// The layer, as long as it is held; its folder is free for others afterwards.
#[derive(Debug)]
pub(super) struct Disk {
    files: Arc<Files>,
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Files {
    folder: PathBuf,
    page_bytes: u64,
    pages: Pages<()>,
    waiting_bytes: AtomicU64,
    off: AtomicBool,
    closing: AtomicBool,
    meters: Meters,
    _lock: File,
}

enum Job {
    Keep(PageKey, Bytes),
    Remove(PageKey),
    Forget(PlaceId),
    Flush(oneshot::Sender<()>),
}

impl Disk {
    /// Opens the layer in `folder`, which is made if it is missing. `None`, with the reason in the log, if
    /// the folder can't be used or another process uses it: the cache then goes without.
    pub(super) fn open(folder: &Path, limit_bytes: u64, page_bytes: u64, meters: Meters) -> Option<Self> {
        match Self::try_open(folder, limit_bytes, page_bytes, meters) {
            Ok(Some(disk)) => return Some(disk),
            Ok(None) => tracing::info!(
                folder = %folder.display(),
                "another process has the cache on disk; this one keeps pages in memory only"
            ),
            Err(error) => tracing::warn!(
                folder = %folder.display(), %error,
                "the cache on disk can't be opened; pages are kept in memory only (cache.dir names another folder)"
            ),
        }
        None
    }

    fn try_open(
        folder: &Path,
        limit_bytes: u64,
        page_bytes: u64,
        meters: Meters,
    ) -> io::Result<Option<Self>> {
        // Bytes of private buckets lie here.
        DirBuilder::new().recursive(true).mode(0o700).create(folder.join("tmp"))?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let files = Arc::new(Files {
            folder: folder.to_owned(),
            page_bytes,
            pages: Pages::new(limit_bytes),
            waiting_bytes: AtomicU64::new(0),
            off: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            meters,
            _lock: lock,
        });
        let (jobs, inbox) = channel();
        let worker = Arc::clone(&files);
        let writer =
            std::thread::Builder::new().name("cache-writer".to_owned()).spawn(move || worker.work(&inbox))?;
        Ok(Some(Self { files, jobs: Some(jobs), writer: Some(writer) }))
    }

    /// Whether a page is there, as far as is known.
    pub(super) fn holds(&self, key: &PageKey) -> bool {
        self.files.pages.holds(key)
    }

    /// Counts a page as asked for that the memory has too: else the disk would let go of those that are
    /// asked for most.
    pub(super) fn touch(&self, key: &PageKey) {
        self.files.pages.get(key);
    }

    /// A page, if it is there and whole.
    pub(super) async fn get(&self, key: PageKey) -> Option<Bytes> {
        self.files.pages.get(&key)?;
        let files = Arc::clone(&self.files);
        match tokio::task::spawn_blocking(move || files.read(&key)).await.ok()? {
            Ok(bytes) => Some(bytes),
            Err(Damaged) => {
                self.send(Job::Remove(key));
                None
            }
        }
    }

    /// Keeps a page, soon, unless the disk is too far behind.
    pub(super) fn keep(&self, key: PageKey, bytes: Bytes) {
        if self.files.off.load(Ordering::Relaxed) {
            return;
        }
        let waiting = self.files.waiting_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if waiting > WAITING_BYTES_MAX {
            self.files.waiting_bytes.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
            self.files.meters.left_out();
            return;
        }
        self.send(Job::Keep(key, bytes));
    }

    /// Removes the pages of a place, soon; those that wait to be written too.
    pub(super) fn forget(&self, place: PlaceId) {
        self.send(Job::Forget(place));
    }

    /// Returns when everything that was to be kept or removed so far is.
    pub(super) async fn flushed(&self) {
        let (done, is_done) = oneshot::channel();
        self.send(Job::Flush(done));
        // A writer that ended has nothing left to do.
        let _ = is_done.await;
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The writer ends before its inbox only if it panicked; then nothing is kept any more.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.files.closing.store(true, Ordering::Relaxed);
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The file of a page is torn, or gone.
struct Damaged;

impl Files {
    fn path(&self, key: &PageKey) -> PathBuf {
        let name = key.to_string();
        self.folder.join(&name[..2]).join(name)
    }

    fn read(&self, key: &PageKey) -> Result<Bytes, Damaged> {
        match page_file::read(&self.path(key), key, self.page_bytes) {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => {
                self.meters.damaged();
                tracing::info!(file = %self.path(key).display(), "a page of the cache is damaged; it is removed");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.failed("read", &error),
        }
        self.pages.remove(key);
        Err(Damaged)
    }

    fn work(&self, inbox: &Receiver<Job>) {
        if let Err(error) = self.look_through() {
            self.failed("looked through", &error);
        }
        self.meters.holds(Layer::Disk, self.pages.weight());
        while let Ok(job) = inbox.recv() {
            let done = match job {
                Job::Keep(key, bytes) => {
                    self.waiting_bytes.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
                    self.keep(&key, &bytes)
                }
                // It may have been written anew since it was found damaged.
                Job::Remove(key) if self.pages.holds(&key) => Ok(()),
                Job::Remove(key) => self.remove(&key),
                Job::Forget(place) => self.pages.forget(place).iter().try_for_each(|key| self.remove(key)),
                Job::Flush(done) => {
                    let _ = done.send(());
                    Ok(())
                }
            };
            if let Err(error) = done {
                self.failed("changed", &error);
            }
            self.meters.holds(Layer::Disk, self.pages.weight());
        }
    }

    fn keep(&self, key: &PageKey, bytes: &[u8]) -> io::Result<()> {
        if self.off.load(Ordering::Relaxed) || self.pages.holds(key) {
            return Ok(());
        }
        page_file::write(&self.folder.join("tmp/page"), &self.path(key), key, bytes)?;
        self.list(*key, bytes.len() as u64)
    }

    /// Takes a file into the account, and removes those that have to go for it.
    fn list(&self, key: PageKey, bytes: u64) -> io::Result<()> {
        let gone = self.pages.insert(key, room_bytes(bytes), ());
        self.meters.evicted(Layer::Disk, gone.len());
        gone.iter().try_for_each(|key| self.remove(key))
    }

    fn remove(&self, key: &PageKey) -> io::Result<()> {
        absent_or(fs::remove_file(self.path(key)))
    }

    /// Takes into account what an earlier process left, the oldest first. What is no page is left alone, but for
    /// what was never finished.
    fn look_through(&self) -> io::Result<()> {
        absent_or(fs::remove_file(self.folder.join("tmp/page")))?;
        let mut found = Vec::new();
        for folder in fs::read_dir(&self.folder)? {
            let folder = folder?;
            if folder.file_name().len() != 2 || !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                if self.closing.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let file = file?;
                let Some(key) = file.file_name().to_str().and_then(|name| name.parse::<PageKey>().ok())
                else {
                    continue;
                };
                let metadata = file.metadata()?;
                match metadata.len().checked_sub(HEAD_BYTES) {
                    Some(bytes @ 1..) if bytes <= self.page_bytes => {
                        found.push((metadata.modified()?, key, bytes));
                    }
                    _ => self.remove(&key)?,
                }
            }
        }
        found.sort_unstable_by_key(|(modified, ..)| *modified);
        found.into_iter().try_for_each(|(_, key, bytes)| self.list(key, bytes))
    }

    /// Turns the layer off, unless the failure is not the disk's. On a full one it gives its room back.
    fn failed(&self, what: &'static str, error: &io::Error) {
        let passes = [Errno::MFILE, Errno::NFILE, Errno::INTR];
        if passes.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
            return;
        }
        if !self.off.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                folder = %self.folder.display(), %error,
                "the cache on disk could not be {what}: it is off until the next start, reads go on without"
            );
        }
        let held = self.pages.clear();
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            // The catalogue may lie on the same disk, and needs the room more.
            for key in held {
                let _ = self.remove(&key);
            }
        }
    }
}

fn absent_or(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
