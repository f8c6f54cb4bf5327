//! What can go wrong, by what the caller can do about it.

use std::path::{Path, PathBuf};

use larder_core::{Code, Fault};
use rustix::io::Errno;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of a synchronisation. After any of them the local file is the old or the new version, and what the
/// store acknowledged is there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Local file and store both moved on since they were the same. Nothing was changed.
    #[error("{detail}")]
    Diverged {
        /// Which of them is where.
        detail: String,
    },
    /// Somebody else has taken the database over: what this writer did since stays in its file.
    #[error("{detail}")]
    Fenced {
        /// Who, and at which number of the log.
        detail: String,
    },
    /// Somebody else holds the database, and goes on holding it.
    #[error("{owner} is writing the database")]
    Held {
        /// The holder, as it names itself.
        owner: String,
    },
    /// An object of the store is not what was written there.
    #[error("{object} is damaged: {detail}")]
    Corrupt {
        /// Where it lies in the store.
        object: String,
        /// What is wrong.
        detail: String,
    },
    /// A local file is no database that can be read.
    #[error("{} is no readable SQLite database: {detail}", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// There is no database in the store, or not the version that was asked for.
    #[error("{detail}")]
    Absent {
        /// What is missing.
        detail: String,
    },
    /// A program of another version wrote this.
    #[error("{object} has format {version}, this program knows {known}")]
    Version {
        /// Where it lies.
        object: String,
        /// The format of the object.
        version: u16,
        /// The format that is known.
        known: u16,
    },
    /// The store does not create objects only where there are none, on which everything rests.
    #[error("the store does not honour If-None-Match: two writers could overwrite each other")]
    NoConditions,
    /// The request makes no sense.
    #[error("{detail}")]
    Invalid {
        /// Why.
        detail: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// There is too little room on the disk.
    #[error("{} has room for {free_bytes} bytes, {needed_bytes} are needed", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
        /// What is free.
        free_bytes: u64,
        /// What is needed.
        needed_bytes: u64,
    },
    /// Others keep the local database locked.
    #[error("{} stays locked by another process", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] larder_store::Error),
    /// SQLite failed.
    #[error("SQLite failed on {}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Its error.
        #[source]
        source: rusqlite::Error,
    },
    /// A local file could not be read or written.
    #[error("{} can't be {doing}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "read", "written".
        doing: &'static str,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A defect of this program.
    #[error("unexpected failure: {0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn corrupt(object: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Corrupt { object: object.into(), detail: detail.into() }
    }

    pub(crate) fn io(path: &Path, doing: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), doing, source }
    }

    /// The error of a call of SQLite, told apart by what the caller can do.
    pub(crate) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Busy { path },
            Some(Code::NotADatabase) => Self::NotADatabase {
                path,
                detail: "it does not begin as one does; it may be encrypted, or another kind of file"
                    .to_owned(),
            },
            Some(Code::DatabaseCorrupt) => {
                Self::NotADatabase { path, detail: format!("it is damaged ({source})") }
            }
            _ => Self::Sqlite { path, source },
        }
    }

    /// Whether the two sides have parted: others wrote what this side does not have.
    pub fn is_parting(&self) -> bool {
        matches!(self, Self::Diverged { .. } | Self::Fenced { .. } | Self::Held { .. })
    }

    /// Whether trying again may help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Store(larder_store::Error::Unavailable { .. }) | Self::Busy { .. } => true,
            // Too many open files, of this process or of all: others are closed sooner or later.
            Self::Io { source, .. } => {
                matches!(Errno::from_io_error(source), Some(Errno::MFILE | Errno::NFILE | Errno::INTR))
            }
            _ => false,
        }
    }

    /// Whether bytes are damaged, here or in the store.
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::NotADatabase { .. })
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let (code, remedy) = match &error {
            Error::Diverged { .. } => (
                Code::Conflict,
                "keep a copy of the file, pull the newest with --force and repeat your changes there; or let this file win \
                 with `larder db push --force`",
            ),
            Error::Fenced { .. } => (
                Code::Conflict,
                "the file is as it was left: keep a copy of it, then pull with --force, or push it with --force if it \
                 shall win",
            ),
            Error::Held { .. } => (
                Code::Conflict,
                "wait until it ends; if it has died, `larder db unlock` lets the next one in at once",
            ),
            Error::Corrupt { .. } => (
                Code::StoredBytesCorrupt,
                "see with `larder db verify` what is whole, and restore an earlier version with `larder db restore --seq`",
            ),
            Error::NotADatabase { .. } => {
                (Code::InvalidRequest, "name another file, or restore this one from a backup")
            }
            Error::Absent { .. } => (Code::AssetNotFound, "see with `larder db ls` what is there"),
            Error::Version { .. } => (Code::InvalidRequest, "use the newest version of larder"),
            Error::NoConditions => (
                Code::BackendDenied,
                "use a store that does (AWS, MinIO, Tigris, a folder), or give --single-writer and see to it that there \
                 is never a second one",
            ),
            Error::Invalid { remedy, .. } => (Code::InvalidRequest, *remedy),
            Error::Full { .. } => (Code::StorageFull, "make room, or name a file on another disk"),
            Error::Busy { .. } => {
                (Code::Conflict, "end the process that holds it, or try again when it is done")
            }
            Error::Sqlite { .. } | Error::Io { .. } => {
                (Code::InvalidRequest, "check the file and its permissions")
            }
            Error::Internal(_) => (Code::Internal, "report this with the log"),
            Error::Store(_) => (Code::BackendUnavailable, ""),
        };
        let fault = Self::new(code, detail).remedy(remedy);
        match error {
            Error::Store(error) => error.into(),
            Error::Sqlite { source, .. } => fault.caused_by(source),
            Error::Io { source, .. } => fault.caused_by(source),
            _ => fault,
        }
    }
}
