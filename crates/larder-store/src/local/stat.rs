//! What the file system says of a file, in the store's words.

use std::{fs::File, os::fd::OwnedFd};

use larder_core::{Ambient, Timestamp};
use rustix::{
    fs::{AtFlags, FileType, Timespec, Timestamps},
    io::Errno,
};

use crate::{
    place::Place,
    store::{Attributes, Fingerprint, Stat},
};

const NANOS_PER_MILLI: i64 = 1_000_000;

/// The folder of a place, empty for the root.
pub(super) fn parent(place: &Place) -> &str {
    place.as_str().rsplit_once('/').map_or("", |(parent, _)| parent)
}

pub(super) fn is_file(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// The regular file of this name in a folder, if there is one.
pub(super) fn find(folder: &OwnedFd, name: &str) -> Result<Option<rustix::fs::Stat>, Errno> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat).filter(is_file)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn stat(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        size_bytes: size_bytes(stat),
        fingerprint: fingerprint(stat),
        modified: modified(stat),
        attributes: Attributes::default(),
    }
}

pub(super) fn size_bytes(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

pub(super) fn fingerprint(stat: &rustix::fs::Stat) -> Fingerprint {
    let (seconds, nanos) = mtime(stat);
    let mtime_ns = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Fingerprint::new(format!("{:x}-{mtime_ns:x}-{:x}", stat.st_ino, size_bytes(stat)))
}

pub(super) fn modified(stat: &rustix::fs::Stat) -> Timestamp {
    let (seconds, nanos) = mtime(stat);
    Timestamp::from_millis(seconds.saturating_mul(1_000).saturating_add(nanos / NANOS_PER_MILLI))
}

#[expect(clippy::unnecessary_cast, reason = "the types of these members differ from system to system")]
fn mtime(stat: &rustix::fs::Stat) -> (i64, i64) {
    (stat.st_mtime as i64, stat.st_mtime_nsec as i64)
}

/// Draws the time of modification anew within its millisecond.
///
/// The kernel's clock for files moves in steps of some milliseconds and an inode is used again at
/// once, so that without this, two versions of a small file of equal size that are written quickly one
/// after the other could have the same fingerprint.
pub(super) fn make_unique(file: &File, ambient: &Ambient) -> Result<(), Errno> {
    let (seconds, nanos) = mtime(&rustix::fs::fstat(file)?);
    let drawn = i64::from(u32::from_le_bytes(ambient.random_bytes())) % NANOS_PER_MILLI;
    let mtime = Timespec { tv_sec: seconds, tv_nsec: nanos - nanos % NANOS_PER_MILLI + drawn };
    rustix::fs::futimens(file, &Timestamps { last_access: mtime, last_modification: mtime })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_written_at_once_differ_within_their_millisecond() {
        let ambient = Ambient::system();
        let file = tempfile::tempfile().unwrap();
        let before = modified(&rustix::fs::fstat(&file).unwrap());
        make_unique(&file, &ambient).unwrap();
        let one = rustix::fs::fstat(&file).unwrap();
        make_unique(&file, &ambient).unwrap();
        let two = rustix::fs::fstat(&file).unwrap();
        assert_ne!(fingerprint(&one), fingerprint(&two));
        assert_eq!((modified(&one), modified(&two)), (before, before));
    }
}
