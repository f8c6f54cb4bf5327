//! The store's folder, held open: every path is resolved below it and through no symbolic link.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
};

/// Flags for a file that is only looked at, which needs no permission to read it.
#[cfg(target_os = "linux")]
pub(super) const LOOK: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
pub(super) const LOOK: OFlags = OFlags::RDONLY;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY);

/// Folders may be entered by others as the umask allows: any tool may read the store.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);

#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    folder: OwnedFd,
}

impl Root {
    /// Opens the folder, making it and its parents durably if they are absent. Whoever made them
    /// before, an installer for instance, may not have synced anything.
    pub(super) fn open(path: &Path) -> Result<Self, Errno> {
        create_durably(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let path = path.canonicalize().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let folder = rustix::fs::openat(CWD, &path, FOLDER | OFlags::CLOEXEC, Mode::empty())?;
        for above in above(&path) {
            sync_if_possible(above).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        }
        Ok(Self { path, folder })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what lies at a path below the root; an empty path is the root itself.
    pub(super) fn resolve(&self, relative: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if relative.is_empty() {
            return rustix::fs::openat(&self.folder, ".", flags, Mode::empty());
        }
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(&self.folder, relative, flags, Mode::empty(), inside) {
                // Linux before 5.6, or a sandbox that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) => {}
                resolved => return resolved.and_then(|opened| refuse_link(opened, flags)),
            }
        }
        self.resolve_by_steps(relative, flags)
    }

    /// As [`resolve`](Self::resolve), one segment at a time.
    fn resolve_by_steps(&self, relative: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut at: Option<OwnedFd> = None;
        let mut segments = relative.split('/').peekable();
        while let Some(segment) = segments.next() {
            let folder = at.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
            let last = segments.peek().is_none();
            let step = if last { flags } else { FOLDER | OFlags::CLOEXEC | OFlags::NOFOLLOW };
            let opened = rustix::fs::openat(folder, segment, step, Mode::empty());
            at = Some(opened.map_err(|error| link_or(folder, segment, error))?);
        }
        refuse_link(at.ok_or(Errno::NOENT)?, flags)
    }

    /// Opens a folder below the root; an empty path is the root itself.
    pub(super) fn folder(&self, relative: &str) -> Result<OwnedFd, Errno> {
        match self.resolve(relative, FOLDER) {
            // Said of a link as well as of a file.
            Err(Errno::NOTDIR) => Err(self.resolve(relative, LOOK).err().unwrap_or(Errno::NOTDIR)),
            opened => opened,
        }
    }

    /// Opens a folder, making it and its parents if they are absent.
    pub(super) fn make_folders(&self, relative: &str) -> Result<OwnedFd, Errno> {
        match self.folder(relative) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let mut folder = self.folder("")?;
        for segment in relative.split('/') {
            match rustix::fs::mkdirat(&folder, segment, FOLDER_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            let flags = FOLDER | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let opened = rustix::fs::openat(&folder, segment, flags, Mode::empty());
            folder = opened.map_err(|error| link_or(folder.as_fd(), segment, error))?;
        }
        Ok(folder)
    }

    /// Removes the folders above a path, upwards, as long as they are empty. Best effort: a folder
    /// that stays is no harm, and one that a put needs is made again. The top two levels of
    /// `.larder/` stay.
    pub(super) fn prune_above(&self, relative: &str) {
        let mut path = relative;
        while let Some((folder, _)) = path.rsplit_once('/') {
            let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
            let own = folder == ".larder" || above == ".larder";
            let removed = |above: OwnedFd| rustix::fs::unlinkat(&above, name, AtFlags::REMOVEDIR).is_ok();
            if own || !self.folder(above).is_ok_and(removed) {
                return;
            }
            path = folder;
        }
    }

    /// Removes the folder `name` if nothing but empty folders lies below it, and says whether it is
    /// gone. A crash before [`prune_above`](Self::prune_above) may have left such a folder, and it
    /// must not block a place for ever.
    pub(super) fn remove_hollow(&self, above: &OwnedFd, name: &str) -> bool {
        let flags = FOLDER | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let Ok(folder) = rustix::fs::openat(above, name, flags, Mode::empty()) else {
            return false;
        };
        let Ok(entries) = Dir::read_from(&folder) else {
            return false;
        };
        for entry in entries {
            let Ok(entry) = entry else { return false };
            let inner = match entry.file_name().to_str() {
                Ok("." | "..") => continue,
                Ok(inner) => inner,
                Err(_) => return false,
            };
            if entry.file_type() != FileType::Directory || !self.remove_hollow(&folder, inner) {
                return false;
            }
        }
        rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR).is_ok()
    }
}

/// With `O_PATH`, `O_NOFOLLOW` opens a link itself instead of failing.
fn refuse_link(opened: OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    let is_link = || {
        let mode = rustix::fs::fstat(&opened)?.st_mode;
        Ok::<_, Errno>(FileType::from_raw_mode(mode) == FileType::Symlink)
    };
    if flags.contains(LOOK) && is_link()? { Err(Errno::LOOP) } else { Ok(opened) }
}

/// `O_DIRECTORY | O_NOFOLLOW` reports a symbolic link as "not a directory"; callers must be able to
/// tell a link from a file that is in the way.
fn link_or(folder: rustix::fd::BorrowedFd<'_>, segment: &str, error: Errno) -> Errno {
    if error != Errno::NOTDIR {
        return error;
    }
    match rustix::fs::statat(folder, segment, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => Errno::LOOP,
        _ => error,
    }
}

/// Makes a folder with its parents and syncs each folder that got a new entry.
fn create_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    create_durably(parent)?;
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(error),
    }
    fs::File::open(parent)?.sync_all()
}

/// The folders that hold the entries of a root and of the folder around it, which programs make
/// together (`larder-data/media`).
fn above(root: &Path) -> impl Iterator<Item = &Path> {
    root.ancestors().skip(1).take(2)
}

/// Syncs a folder that others made, unless it is closed to us or can't be synced: then it was there
/// before us, and who made it answers for it.
fn sync_if_possible(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    match fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error)
            if matches!(error.kind(), PermissionDenied | InvalidInput | ReadOnlyFilesystem | Unsupported) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(&folder.path().join("new/root")).unwrap();
        (folder, root)
    }

    #[test]
    fn the_entries_of_a_root_and_of_the_folder_around_it_are_synced() {
        let folders: Vec<_> = above(Path::new("/srv/larder-data/media")).collect();
        assert_eq!(folders, [Path::new("/srv/larder-data"), Path::new("/srv")]);
        assert_eq!(above(Path::new("/")).count(), 0);
        sync_if_possible(Path::new("/proc")).unwrap();
    }

    #[test]
    fn links_are_not_followed_in_any_part_of_a_path() {
        let (outside, root) = root();
        fs::create_dir_all(outside.path().join("secret/inner")).unwrap();
        fs::write(outside.path().join("secret/inner/file"), "x").unwrap();
        root.make_folders("real").unwrap();
        fs::write(root.path().join("real/file"), "x").unwrap();
        symlink(outside.path().join("secret"), root.path().join("link")).unwrap();
        symlink(root.path().join("real/file"), root.path().join("real/alias")).unwrap();
        for path in ["link", "link/inner", "link/inner/file", "real/alias"] {
            for flags in [OFlags::RDONLY, LOOK] {
                assert_eq!(root.resolve(path, flags).unwrap_err(), Errno::LOOP, "{path}");
                let by_steps = root.resolve_by_steps(path, flags | OFlags::NOFOLLOW).unwrap_err();
                assert_eq!(by_steps, Errno::LOOP, "{path} by steps");
            }
        }
        for path in ["link", "link/new", "link/inner"] {
            assert_eq!(root.make_folders(path).unwrap_err(), Errno::LOOP, "{path}");
        }
        assert!(!outside.path().join("secret/new").exists());
    }

    #[test]
    fn both_ways_of_resolving_agree() {
        let (_folder, root) = root();
        root.make_folders("a/b").unwrap();
        fs::write(root.path().join("a/b/file"), "x").unwrap();
        for path in ["a", "a/b", "a/b/file", "absent", "a/absent/c", "a/b/file/c"] {
            let one = root.resolve(path, OFlags::RDONLY).map(drop);
            let two = root.resolve_by_steps(path, OFlags::RDONLY | OFlags::NOFOLLOW).map(drop);
            assert_eq!(one, two, "{path}");
        }
    }

    #[test]
    fn empty_folders_are_removed_up_to_the_first_that_is_not() {
        let (_folder, root) = root();
        root.make_folders("a/b/c").unwrap();
        fs::write(root.path().join("a/file"), "x").unwrap();
        root.prune_above("a/b/c/gone");
        assert!(!root.path().join("a/b").exists());
        assert!(root.path().join("a/file").exists());
    }

    #[test]
    fn the_folders_of_the_store_itself_stay() {
        let (_folder, root) = root();
        root.make_folders(".larder/staging/deep").unwrap();
        root.prune_above(".larder/staging/deep/gone");
        assert!(root.path().join(".larder/staging").exists());
        assert!(!root.path().join(".larder/staging/deep").exists());
    }

    #[test]
    fn a_tree_of_empty_folders_is_hollow_and_one_with_a_file_is_not() {
        let (_folder, root) = root();
        root.make_folders("a/b/c").unwrap();
        root.make_folders("a/d").unwrap();
        root.make_folders("full/b").unwrap();
        fs::write(root.path().join("full/b/file"), "x").unwrap();
        let above = root.folder("").unwrap();
        assert!(root.remove_hollow(&above, "a"));
        assert!(!root.remove_hollow(&above, "full"));
        assert!(root.path().join("full/b/file").exists());
    }
}
