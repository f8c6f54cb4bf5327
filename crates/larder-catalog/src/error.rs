//! What can go wrong in the catalogue, by what the caller can do about it.

use std::{error::Error as StdError, sync::Arc};

use larder_core::{Code, Fault};

/// The technical cause of an [`Error`]; shared, because a failed group commit has many waiters.
pub type Cause = Arc<dyn StdError + Send + Sync>;

/// Result of catalogue operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the catalogue. Each variant is something else that the caller can do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The record does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// The code under which callers see it.
        code: Code,
        /// Names the record: `bucket "media"`.
        what: String,
    },
    /// The record is not, or no longer, in the state that the operation starts from: a stale lease,
    /// another version, a name already taken. Nothing was changed; read again.
    #[error("{what}")]
    Precondition {
        /// What does not hold.
        what: String,
        /// The database's own words, for a broken unique constraint.
        #[source]
        cause: Option<Cause>,
    },
    /// The arguments or the configuration are wrong; fix them.
    #[error("{what}")]
    Invalid {
        /// What is wrong.
        what: String,
        /// What to change.
        remedy: String,
        /// The database's own words.
        #[source]
        cause: Option<Cause>,
    },
    /// The database does not answer or gave up on a conflict; the same operation may succeed later.
    /// After a lost connection the outcome of a commit is unknown.
    #[error("{what}")]
    Unavailable {
        /// What failed.
        what: String,
        /// The database's own words.
        #[source]
        cause: Option<Cause>,
    },
    /// The disk of the database is full; nothing was changed.
    #[error("{what}")]
    Full {
        /// What failed.
        what: String,
        /// The database's own words.
        #[source]
        cause: Option<Cause>,
    },
    /// The database file or a record in it is damaged; restore it.
    #[error("{what}")]
    Corrupt {
        /// What is damaged.
        what: String,
        /// The database's own words.
        #[source]
        cause: Option<Cause>,
    },
    /// A defect of Larder; report it.
    #[error("{what}")]
    Internal {
        /// What happened.
        what: String,
        /// The database's own words.
        #[source]
        cause: Option<Cause>,
    },
    /// A transaction's own code decided against itself: everything in it was rolled back, and this
    /// is what the caller is to be told. Made from a [`Fault`] with `?`.
    #[error("{0}")]
    Refused(Fault),
}

impl Error {
    /// A record that does not exist; `what` names it.
    pub(crate) fn not_found(code: Code, what: impl Into<String>) -> Self {
        Self::NotFound { code, what: what.into() }
    }

    /// A condition that does not hold.
    pub(crate) fn precondition(what: impl Into<String>) -> Self {
        Self::Precondition { what: what.into(), cause: None }
    }

    /// Wrong arguments or configuration, and what to change.
    pub(crate) fn invalid(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), remedy: remedy.into(), cause: None }
    }

    /// The database does not answer.
    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable { what: what.into(), cause: None }
    }

    /// A stored value that can't be read.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), cause: None }
    }

    /// A defect of ours.
    pub(crate) fn internal(what: impl Into<String>) -> Self {
        Self::Internal { what: what.into(), cause: None }
    }

    /// Whether this is [`Error::Precondition`]: somebody else was faster.
    pub fn is_precondition(&self) -> bool {
        matches!(self, Self::Precondition { .. })
    }

    /// Whether this is [`Error::NotFound`].
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether another connection holds SQLite's write lock (`SQLITE_BUSY`).
    pub(crate) fn is_busy(&self) -> bool {
        let Self::Unavailable { cause: Some(cause), .. } = self else { return false };
        let Some(sqlx::Error::Database(database)) = cause.downcast_ref::<sqlx::Error>() else { return false };
        let code = database.code().and_then(|code| code.parse::<u32>().ok());
        code.is_some_and(|extended| extended & 0xff == 5)
    }

    /// Whether the same operation may succeed later without a change of its arguments.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let (code, remedy) = match &error {
            Error::Refused(fault) => return fault.clone(),
            Error::NotFound { code, .. } => (*code, String::new()),
            Error::Precondition { .. } => (Code::Conflict, "read the record again and repeat".to_owned()),
            Error::Invalid { remedy, .. } => (Code::InvalidRequest, remedy.clone()),
            Error::Unavailable { .. } => (
                Code::CatalogUnavailable,
                "try again; if it lasts, check that the catalogue's database runs and can be reached"
                    .to_owned(),
            ),
            Error::Full { .. } => {
                (Code::StorageFull, "free space on the disk that holds the catalogue's database".to_owned())
            }
            Error::Corrupt { .. } => (
                Code::Internal,
                "the catalogue is damaged: stop Larder and restore its database from a backup".to_owned(),
            ),
            Error::Internal { .. } => (Code::Internal, "report this as a defect of Larder".to_owned()),
        };
        Fault::new(code, error.to_string()).remedy(remedy).caused_by(error)
    }
}

/// Translates what the driver reports. Kept beside the error, as the only place that knows the
/// numbers of both engines.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let class = match &error {
            sqlx::Error::Database(database) => {
                class_of_code(database.code().as_deref().unwrap_or_default(), database.is_unique_violation())
            }
            sqlx::Error::Configuration(_) => ErrorClass::Configuration,
            sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => ErrorClass::Full,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => ErrorClass::Unavailable,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => ErrorClass::Corrupt,
            _ => ErrorClass::Internal,
        };
        let cause: Option<Cause> = Some(Arc::new(error));
        match class {
            ErrorClass::Unique => Self::Precondition { what: "the record exists already".into(), cause },
            ErrorClass::Value => Self::Invalid {
                what: "the database refuses a value".into(),
                remedy: "remove NUL characters and over-long numbers".into(),
                cause,
            },
            ErrorClass::Configuration => Self::Invalid {
                what: "the catalogue's address is wrong".into(),
                remedy: "set LARDER_DATABASE_URL to postgres://user:password@host:port/database".into(),
                cause,
            },
            ErrorClass::Unavailable => {
                Self::Unavailable { what: "the catalogue's database does not answer".into(), cause }
            }
            ErrorClass::Full => {
                Self::Full { what: "the disk of the catalogue's database is full".into(), cause }
            }
            ErrorClass::Corrupt => {
                Self::Corrupt { what: "the catalogue's database is damaged".into(), cause }
            }
            ErrorClass::Internal => {
                Self::Internal { what: "the catalogue's database refused a statement".into(), cause }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ErrorClass {
    Unique,
    Value,
    Configuration,
    Unavailable,
    Full,
    Corrupt,
    Internal,
}

/// PostgreSQL's codes have five characters (PostgreSQL manual, appendix A), SQLite's are decimal
/// numbers whose low byte is the primary result code (SQLite, "Result and Error Codes").
fn class_of_code(code: &str, unique: bool) -> ErrorClass {
    if unique {
        return ErrorClass::Unique;
    }
    if code.len() == 5 {
        return match &code[..2] {
            "53" if code == "53100" => ErrorClass::Full,
            "08" | "28" | "40" | "53" | "55" | "57" | "58" | "3D" => ErrorClass::Unavailable,
            "22" => ErrorClass::Value,
            "XX" if code != "XX000" => ErrorClass::Corrupt,
            _ => ErrorClass::Internal,
        };
    }
    match code.parse::<u32>().map(|extended| extended & 0xff) {
        // BUSY, LOCKED, NOMEM, READONLY, IOERR, CANTOPEN, PROTOCOL
        Ok(5 | 6 | 7 | 8 | 10 | 14 | 15) => ErrorClass::Unavailable,
        Ok(13) => ErrorClass::Full,
        // CORRUPT, NOTADB
        Ok(11 | 26) => ErrorClass::Corrupt,
        // TOOBIG
        Ok(18) => ErrorClass::Value,
        _ => ErrorClass::Internal,
    }
}

#[cfg(test)]
mod tests {
    use larder_core::FaultKind;

    use super::*;

    #[test]
    fn codes_of_both_engines_say_what_the_caller_can_do() {
        for (code, class) in [
            ("5", ErrorClass::Unavailable),
            ("517", ErrorClass::Unavailable),
            ("13", ErrorClass::Full),
            ("11", ErrorClass::Corrupt),
            ("1", ErrorClass::Internal),
            ("40P01", ErrorClass::Unavailable),
            ("40001", ErrorClass::Unavailable),
            ("57P01", ErrorClass::Unavailable),
            ("53100", ErrorClass::Full),
            ("22021", ErrorClass::Value),
            ("42P01", ErrorClass::Internal),
            ("XX001", ErrorClass::Corrupt),
        ] {
            assert_eq!(class_of_code(code, false), class, "{code}");
        }
        assert_eq!(class_of_code("23505", true), ErrorClass::Unique);
    }

    #[test]
    fn a_refusal_reaches_the_caller_unchanged() {
        let fault = Fault::new(Code::FileTooLarge, "12 bytes").remedy("raise it");
        assert_eq!(Fault::from(Error::from(fault.clone())), fault);
    }

    #[test]
    fn every_fault_of_the_catalogue_but_its_absence_names_a_remedy() {
        for error in [
            Error::precondition("x"),
            Error::invalid("x", "y"),
            Error::unavailable("x"),
            Error::corrupt("x"),
            Error::internal("x"),
        ] {
            assert!(!Fault::from(error).remedy.is_empty());
        }
        assert_eq!(Fault::from(Error::unavailable("x")).kind(), FaultKind::Unavailable);
    }
}
