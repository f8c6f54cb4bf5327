//! Files that are being written: gone unless they are kept, however the writing ends.

use std::{
    fs::{File, TryLockError},
    io::{self, IoSlice, Write},
    sync::Arc,
};

use bytes::{Buf, Bytes};
use larder_core::Ambient;
use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags},
    io::Errno,
};

use super::root::Root;

/// Where they lie. The writer of each holds a lock on it, which the kernel releases when the
/// writer's process ends; [`sweep`] removes those without one.
pub(super) const FOLDER: &str = ".larder/local/tmp";

/// Files may be read by others as the umask allows: any tool may read the store.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// How often a sweeper may take a new file away between its creation and its lock.
const CREATE_ATTEMPTS: usize = 16;

/// A file being written. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Temporary {
    root: Arc<Root>,
    relative: String,
    file: File,
    in_place: bool,
    kept: bool,
}

impl Temporary {
    /// A new file in [`FOLDER`].
    pub(super) fn create(root: &Arc<Root>, ambient: &Ambient) -> Result<Self, Errno> {
        for _ in 0..CREATE_ATTEMPTS {
            let relative = format!("{FOLDER}/{}", hex::encode(ambient.random_bytes::<16>()));
            let new = match Self::create_at(root, relative, false) {
                // Only a repeatable world draws a name twice.
                Err(Errno::EXIST) => continue,
                created => created?,
            };
            match new.file.try_lock() {
                Ok(()) => {}
                // A sweeper was quicker and is about to remove it.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(errno_of(&error)),
            }
            if rustix::fs::fstat(&new.file)?.st_nlink > 0 {
                return Ok(new);
            }
        }
        Err(Errno::AGAIN)
    }

    /// A new file at its final path, where nothing may lie yet (`EEXIST`).
    pub(super) fn create_in_place(root: &Arc<Root>, relative: &str) -> Result<Self, Errno> {
        Self::create_at(root, relative.to_owned(), true)
    }

    fn create_at(root: &Arc<Root>, relative: String, in_place: bool) -> Result<Self, Errno> {
        let (folder, name) = relative.rsplit_once('/').unwrap_or(("", &relative));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(root.folder(folder)?, name, flags, FILE_MODE)?.into();
        Ok(Self { root: Arc::clone(root), relative, file, in_place, kept: false })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn relative(&self) -> &str {
        &self.relative
    }

    /// Whether the file lies at its final path already.
    pub(super) fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// Appends chunks, as few system calls as possible.
    pub(super) fn write(&self, chunks: &[Bytes]) -> io::Result<()> {
        let mut chunks: Vec<Bytes> = chunks.iter().filter(|chunk| !chunk.is_empty()).cloned().collect();
        let mut first = 0;
        while first < chunks.len() {
            let slices: Vec<_> =
                chunks[first..].iter().take(1_024).map(|chunk| IoSlice::new(chunk)).collect();
            let mut written = match (&self.file).write_vectored(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            while written > 0 {
                let step = written.min(chunks[first].len());
                chunks[first].advance(step);
                written -= step;
                first += usize::from(chunks[first].is_empty());
            }
        }
        Ok(())
    }

    /// The file has found its place: it is not removed.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let (folder, name) = self.relative.rsplit_once('/').unwrap_or(("", &self.relative));
            let removed = self
                .root
                .folder(folder)
                .and_then(|folder| rustix::fs::unlinkat(folder, name, AtFlags::empty()));
            if let Err(error) = removed
                && error != Errno::NOENT
            {
                tracing::warn!(file = self.relative, %error, "a temporary file could not be removed");
            }
        }
    }
}

/// Removes the files of writers that are gone, or only counts them, and answers how many there are.
/// Those of living ones, in this process or another, stay.
pub(super) fn sweep(root: &Root, dry_run: bool) -> Result<u64, Errno> {
    let folder = root.folder(FOLDER)?;
    let mut abandoned = 0;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&folder, name, flags, Mode::empty()) else {
            continue;
        };
        // Held until the file is removed: its writer may be between creation and lock, and must see that.
        let file = File::from(file);
        if file.try_lock().is_ok() {
            let gone = dry_run || rustix::fs::unlinkat(&folder, name, AtFlags::empty()).is_ok();
            abandoned += u64::from(gone);
        }
    }
    Ok(abandoned)
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Arc<Root>) {
        let folder = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::open(folder.path()).unwrap());
        root.make_folders(FOLDER).unwrap();
        (folder, root)
    }

    fn names(root: &Root) -> usize {
        std::fs::read_dir(root.path().join(FOLDER)).unwrap().count()
    }

    #[test]
    fn what_is_not_kept_is_removed() {
        let (_folder, root) = root();
        let file = Temporary::create(&root, &Ambient::system()).unwrap();
        assert_eq!(names(&root), 1);
        drop(file);
        assert_eq!(names(&root), 0);
    }

    #[test]
    fn a_sweep_takes_the_files_of_the_dead_and_leaves_those_of_the_living() {
        let (_folder, root) = root();
        let _living = Temporary::create(&root, &Ambient::system()).unwrap();
        let dead = Temporary::create(&root, &Ambient::system()).unwrap();
        let path = root.path().join(dead.relative());
        dead.keep();
        assert_eq!(sweep(&root, true).unwrap(), 1);
        assert!(path.exists());
        assert_eq!(sweep(&root, false).unwrap(), 1);
        assert!(!path.exists());
        assert_eq!(names(&root), 1);
    }

    #[test]
    fn chunks_of_every_size_are_written_in_order() {
        let (_folder, root) = root();
        let file = Temporary::create(&root, &Ambient::system()).unwrap();
        let chunks: Vec<Bytes> =
            (0..3_000_u32).map(|index| vec![index as u8; (index % 7) as usize].into()).collect();
        file.write(&chunks).unwrap();
        assert_eq!(std::fs::read(root.path().join(file.relative())).unwrap(), chunks.concat());
    }
}
