//! What the system's error numbers mean to a caller of the store.

use std::{io, path::Path};

use rustix::io::Errno;

use crate::error::Error;

/// The error for a failed system call about `place` below `folder`. What means "not there" or
/// "blocked" depends on the call and is told apart where it is made.
pub(super) fn failed(folder: &Path, place: &str, error: Errno) -> Error {
    let text = place.to_owned();
    let path = Some(if place.is_empty() { folder.to_owned() } else { folder.join(place) });
    let source = || Box::new(io::Error::from(error)).into();
    match error {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Error::Full { place: text, source: source() },
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Error::Denied { place: text, path, source: source() },
        Errno::LOOP => Error::Denied {
            place: text,
            path,
            source: "symbolic links below the store's folder are not followed".into(),
        },
        Errno::XDEV => Error::Denied {
            place: text,
            path,
            source: "the store's folder must be one file system, without mounts below it".into(),
        },
        Errno::IO
        | Errno::NOENT
        | Errno::MFILE
        | Errno::NFILE
        | Errno::NOMEM
        | Errno::INTR
        | Errno::AGAIN
        | Errno::BUSY
        | Errno::NOLCK
        | Errno::STALE
        | Errno::TIMEDOUT
        | Errno::NODEV => Error::unavailable(text, source()),
        _ => Error::Internal { place: text, source: source() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_what_can_be_done() {
        let kind = |error| failed(Path::new("/srv"), "a", error).kind();
        assert_eq!(kind(Errno::NOSPC), "full");
        assert_eq!(kind(Errno::DQUOT), "full");
        assert_eq!(kind(Errno::ACCESS), "denied");
        assert_eq!(kind(Errno::ROFS), "denied");
        assert_eq!(kind(Errno::LOOP), "denied");
        assert_eq!(kind(Errno::IO), "unavailable");
        assert_eq!(kind(Errno::MFILE), "unavailable");
        assert_eq!(kind(Errno::BADF), "internal");
    }

    #[test]
    fn a_missing_permission_names_the_file() {
        assert!(failed(Path::new("/srv"), "a/b", Errno::ACCESS).to_string().contains("/srv/a/b"));
        assert!(failed(Path::new("/srv"), "", Errno::ACCESS).to_string().ends_with("/srv"));
    }
}
