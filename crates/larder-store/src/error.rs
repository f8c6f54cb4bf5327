//! What can go wrong in a store, by what the caller can do about it.

use std::{path::PathBuf, time::Duration};

use larder_core::{Code, Fault};

use crate::place::{Place, PlaceError};

/// Any error, as it travels through streams and sources.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of a store's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation of a store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing lies at the place.
    #[error("nothing lies at {place}")]
    NotFound {
        /// Where it was looked for.
        place: Place,
    },
    /// The operation's [`Condition`](crate::Condition) does not hold; nothing was changed.
    #[error("what lies at {place} is not what the condition asks for")]
    Precondition {
        /// Where the condition was checked.
        place: Place,
    },
    /// The store can't hold bytes at this place as long as its neighbours lie where they lie (a file
    /// where a folder is needed, or the reverse), or at all (too long for the file system). The bytes
    /// fit at [`Place::escaped`].
    #[error("{place} is blocked: {reason}")]
    Blocked {
        /// Where the bytes were to lie.
        place: Place,
        /// What is in the way.
        reason: &'static str,
    },
    /// The range of an [`OpenOptions`](crate::OpenOptions) holds no byte of what lies there.
    #[error("the range lies outside the {size_bytes} bytes at {place}")]
    Range {
        /// What was opened.
        place: Place,
        /// How many bytes there are.
        size_bytes: u64,
    },
    /// The request is wrong and stays wrong.
    #[error("{detail}")]
    Invalid {
        /// What is wrong with it.
        detail: String,
    },
    /// The store has no room left; nothing was changed.
    #[error("no room left for {place}")]
    Full {
        /// Where the bytes were to lie.
        place: String,
        /// What the store said.
        #[source]
        source: BoxError,
    },
    /// The store does not answer, or not now; nothing is known to have been changed.
    #[error("the store failed at {place}")]
    Unavailable {
        /// What the operation was about.
        place: String,
        /// When it may answer again, if the store said so or is left alone until then.
        retry_after: Option<Duration>,
        /// What the store said.
        #[source]
        source: BoxError,
    },
    /// The process lacks a permission, which only an operator can give.
    #[error("no permission for {}", path.as_ref().map_or(place.clone(), |path| path.display().to_string()))]
    Denied {
        /// What the operation was about.
        place: String,
        /// The file or folder on this machine, for stores that have one.
        path: Option<PathBuf>,
        /// What the store said.
        #[source]
        source: BoxError,
    },
    /// The store refuses to work with this configuration: keys, region, bucket, permissions, clock,
    /// certificates. Only an operator can mend it, and nothing was changed.
    #[error("{cause}")]
    Refused {
        /// What the operation was about.
        place: String,
        /// What is wrong, for people.
        cause: String,
        /// What to do about it, with the names of settings and commands.
        remedy: String,
        /// What the store said.
        #[source]
        source: BoxError,
    },
    /// The incoming stream of a `put` failed; nothing was changed. Holds the stream's own error, which
    /// can be downcast.
    #[error("the incoming bytes broke off")]
    Body(#[source] BoxError),
    /// Stored bytes are damaged, or fewer than the store said.
    #[error("the bytes at {place} are damaged: {detail}")]
    Corrupt {
        /// Where they lie.
        place: Place,
        /// What is wrong with them.
        detail: String,
    },
    /// A defect of this crate or an answer of the system that it does not know.
    #[error("unexpected failure at {place}")]
    Internal {
        /// What the operation was about.
        place: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
}

impl Error {
    /// A store that does not answer, and does not say until when.
    pub fn unavailable(place: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Unavailable { place: place.into(), retry_after: None, source: source.into() }
    }

    /// Adds to [`Unavailable`](Self::Unavailable) when the store may answer again; leaves others as they
    /// are.
    #[must_use]
    pub fn retry_after(mut self, wait: impl Into<Option<Duration>>) -> Self {
        if let Self::Unavailable { retry_after, .. } = &mut self {
            *retry_after = wait.into();
        }
        self
    }

    /// The kind of the error as a short word, for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Precondition { .. } => "precondition",
            Self::Blocked { .. } => "blocked",
            Self::Range { .. } => "range",
            Self::Invalid { .. } => "invalid",
            Self::Full { .. } => "full",
            Self::Unavailable { .. } => "unavailable",
            Self::Denied { .. } => "denied",
            Self::Refused { .. } => "refused",
            Self::Body(_) => "body",
            Self::Corrupt { .. } => "corrupt",
            Self::Internal { .. } => "internal",
        }
    }

    /// The same error for another one who waited for the same operation; of its source only the text.
    pub(crate) fn for_another(&self) -> Self {
        let text = |source: &BoxError| BoxError::from(chain(&**source));
        match self {
            Self::NotFound { place } => Self::NotFound { place: place.clone() },
            Self::Precondition { place } => Self::Precondition { place: place.clone() },
            Self::Blocked { place, reason } => Self::Blocked { place: place.clone(), reason },
            Self::Range { place, size_bytes } => {
                Self::Range { place: place.clone(), size_bytes: *size_bytes }
            }
            Self::Invalid { detail } => Self::Invalid { detail: detail.clone() },
            Self::Full { place, source } => Self::Full { place: place.clone(), source: text(source) },
            Self::Unavailable { place, retry_after, source } => {
                Self::unavailable(place.clone(), text(source)).retry_after(*retry_after)
            }
            Self::Denied { place, path, source } => {
                Self::Denied { place: place.clone(), path: path.clone(), source: text(source) }
            }
            Self::Refused { place, cause, remedy, source } => Self::Refused {
                place: place.clone(),
                cause: cause.clone(),
                remedy: remedy.clone(),
                source: text(source),
            },
            Self::Body(source) => Self::Body(text(source)),
            Self::Corrupt { place, detail } => Self::Corrupt { place: place.clone(), detail: detail.clone() },
            Self::Internal { place, source } => Self::Internal { place: place.clone(), source: text(source) },
        }
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl From<PlaceError> for Error {
    fn from(error: PlaceError) -> Self {
        Self::Invalid { detail: error.to_string() }
    }
}

impl From<Error> for Fault {
    /// Names cause and remedy. A [`Fault`] that the incoming stream of a `put` carried comes back as
    /// itself.
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let retry_after = match &error {
            Error::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        };
        let (code, remedy) = match error {
            Error::Body(source) => return fault_of_body(source),
            Error::Refused { remedy, source, .. } => {
                return Self::new(Code::BackendDenied, detail).remedy(remedy).caused_by(source);
            }
            Error::NotFound { .. } => (Code::AssetNotFound, ""),
            Error::Precondition { .. } => (Code::PreconditionFailed, "read it again and repeat the request"),
            Error::Blocked { .. } => {
                (Code::Conflict, "choose a key that is neither the folder of another one nor too long")
            }
            Error::Range { .. } => (Code::RangeNotSatisfiable, "ask for a range within the size"),
            Error::Invalid { .. } => (Code::InvalidRequest, "choose another key"),
            Error::Full { .. } => (
                Code::StorageFull,
                "free some room on the store: `larder gc` removes what nothing needs; or enlarge it",
            ),
            Error::Unavailable { .. } => (Code::BackendUnavailable, "try again later"),
            Error::Denied { path: Some(_), .. } => (
                Code::BackendDenied,
                "give the user that runs larder read and write permission on the folder (chown, chmod, a mount that is \
                 not read-only), without symbolic links or mounts below it; or choose another one with LARDER_DATA_DIR",
            ),
            Error::Denied { path: None, .. } => {
                (Code::BackendDenied, "give larder's credentials the permission that they lack")
            }
            Error::Corrupt { .. } => (Code::StoredBytesCorrupt, "restore the file from a backup"),
            Error::Internal { .. } => (Code::Internal, "report this with the log"),
        };
        let fault = Self::new(code, detail).remedy(remedy).retry_after(retry_after);
        match error {
            Error::Full { source, .. }
            | Error::Unavailable { source, .. }
            | Error::Denied { source, .. }
            | Error::Internal { source, .. } => fault.caused_by(source),
            _ => fault,
        }
    }
}

fn fault_of_body(source: BoxError) -> Fault {
    let source = match source.downcast::<Fault>() {
        Ok(fault) => return *fault,
        Err(source) => source,
    };
    match source.downcast::<Error>() {
        // Bytes that came out of a store: its failure is the failure.
        Ok(error) => Fault::from(*error),
        Err(source) => Fault::new(Code::BodyIncomplete, "the incoming bytes broke off")
            .remedy("send the whole body again")
            .caused_by(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_of_an_incoming_body_comes_back_as_itself() {
        let own = Fault::new(Code::FileTooLarge, "11 bytes").remedy("raise the limit");
        assert_eq!(Fault::from(Error::Body(Box::new(own.clone()))), own);
    }

    #[test]
    fn a_copy_out_of_a_failing_store_is_that_stores_failure() {
        let wait = Duration::from_secs(7);
        let inner = Error::unavailable("a", "gone").retry_after(wait);
        let fault = Fault::from(Error::Body(Box::new(inner)));
        assert_eq!((fault.code, fault.retry_after), (Code::BackendUnavailable, Some(wait)));
    }

    #[test]
    fn a_client_that_hangs_up_is_an_incomplete_body() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(Fault::from(Error::Body(Box::new(reset))).code, Code::BodyIncomplete);
    }

    #[test]
    fn a_full_disk_suggests_cleaning_up() {
        let fault = Fault::from(Error::Full { place: "a".into(), source: "ENOSPC".into() });
        assert_eq!(fault.code, Code::StorageFull);
        assert!(fault.remedy.contains("larder gc"));
        assert_eq!(fault.source.unwrap().to_string(), "ENOSPC");
    }

    #[test]
    fn a_folder_without_permission_is_named() {
        let error =
            Error::Denied { place: "a".into(), path: Some("/srv/media".into()), source: "EACCES".into() };
        let fault = Fault::from(error);
        assert!(fault.detail.contains("/srv/media"), "{}", fault.detail);
        assert!(fault.remedy.contains("permission"), "{}", fault.remedy);
    }
}
