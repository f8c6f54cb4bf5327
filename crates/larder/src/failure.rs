//! How a command ends.

use std::{error::Error, fmt, io, path::Path, process::ExitCode};

use larder_core::{Code, Fault};
use serde_json::{Value, json};

use crate::config::ConfigError;

/// How a command ended. The numbers are documented in `docs/cli.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done,
    /// It failed, or nothing was there to do it to.
    Failed,
    /// The command or configuration is wrong; nothing was done.
    Usage,
    /// Some of several things failed; each was named.
    Partly,
    /// A database was changed on both sides, or taken over by another writer.
    Parted,
    /// What is stored is damaged.
    Corrupt,
    /// A signal ended it.
    Interrupted,
    /// As a program ended that it ran.
    Child(u8),
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partly | Self::Parted => 3,
            Self::Corrupt => 4,
            // 128 + SIGINT, as shells have it.
            Self::Interrupted => 130,
            Self::Child(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed, with its remedy.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// A stable word for programs: that of the fault, `usage` or `configuration`.
    pub code: String,
    /// What happened.
    pub cause: String,
    /// What to do about it; may be empty.
    pub remedy: String,
    /// Technical causes, outermost first.
    pub because: Vec<String>,
    /// The reader of our output has gone: nothing is wrong and nobody listens.
    pub pipe_closed: bool,
}

impl Failure {
    /// A failure with its remedy.
    pub fn new(code: Code, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::with(Exit::Failed, code.as_str(), cause, remedy)
    }

    /// The command line is wrong in a way that clap can't see.
    pub fn usage(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::with(Exit::Usage, "usage", cause, remedy)
    }

    /// A signal came before the end.
    pub fn interrupted() -> Self {
        let remedy = "give the command again; what was done stays done";
        Self::with(Exit::Interrupted, Code::Cancelled.as_str(), "interrupted", remedy)
    }

    /// The environment of the process does not fit: address taken, folder not writable.
    pub fn configuration(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::with(Exit::Usage, "configuration", cause, remedy)
    }

    /// A file or folder could not be read or written. Where the path is wrong or not ours, the
    /// command was; a disk that fails or fills up is a failure of the work.
    pub fn file(path: &Path, doing: &str, error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let (exit, code, remedy) = match error.kind() {
            Kind::NotFound => (Exit::Usage, "file", "check the path"),
            Kind::PermissionDenied => (
                Exit::Usage,
                "file",
                "check the permissions of the file and its folders, or run as their owner",
            ),
            Kind::AlreadyExists | Kind::NotADirectory => {
                (Exit::Usage, "file", "a file lies where a folder belongs; remove it, or name another folder")
            }
            Kind::IsADirectory => (Exit::Usage, "file", "a folder lies there; name a file"),
            Kind::ReadOnlyFilesystem => {
                (Exit::Usage, "file", "the file system is mounted read-only; name a folder on another")
            }
            Kind::StorageFull | Kind::QuotaExceeded => {
                (Exit::Failed, Code::StorageFull.as_str(), "make room on the disk")
            }
            _ => (Exit::Failed, "file", ""),
        };
        Self::with(exit, code, format!("{} can't be {doing}: {error}", path.display()), remedy)
    }

    fn with(exit: Exit, code: &str, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            cause: cause.into(),
            remedy: remedy.into(),
            because: Vec::new(),
            pipe_closed: false,
        }
    }

    /// Adds the technical causes below `error`, without repeating what is said already.
    #[must_use]
    pub fn because_of(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            if !self.cause.contains(&text) && !self.because.contains(&text) {
                self.because.push(text);
            }
            next = error.source();
        }
        self
    }

    /// The failure as a problem object.
    pub fn to_json(&self) -> Value {
        let mut problem = json!({ "code": self.code, "detail": self.cause, "remedy": self.remedy });
        if !self.because.is_empty() {
            problem["because"] = json!(self.because);
        }
        problem
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let failure = Self::new(fault.code, fault.detail.clone(), fault.remedy.clone());
        match &fault.source {
            Some(source) => failure.because_of(source.as_ref()),
            None => failure,
        }
    }
}

/// Diverged and fenced end with their own code, damage too.
impl From<larder_dbsync::Error> for Failure {
    fn from(error: larder_dbsync::Error) -> Self {
        let exit = match () {
            () if error.is_parting() => Exit::Parted,
            () if error.is_corruption() => Exit::Corrupt,
            () => Exit::Failed,
        };
        Self { exit, ..Self::from(Fault::from(error)) }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::configuration(error.cause, error.remedy)
    }
}

/// An error of writing our answer.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let pipe_closed = error.kind() == io::ErrorKind::BrokenPipe;
        let failure = Self::with(Exit::Failed, "output", format!("the answer can't be written: {error}"), "");
        Self { pipe_closed, exit: if pipe_closed { Exit::Done } else { Exit::Failed }, ..failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_keeps_code_and_remedy_and_tells_its_causes_once() {
        let source = io::Error::other("disk on fire");
        let fault = Fault::new(Code::BackendUnavailable, "the store does not answer")
            .remedy("wait")
            .caused_by(source);
        let failure = Failure::from(fault);
        assert_eq!(failure.code, "backend_unavailable");
        assert_eq!(failure.because, ["disk on fire"]);
        assert_eq!(failure.to_json()["remedy"], "wait");
    }

    #[test]
    fn a_wrong_path_is_wrong_usage_and_a_full_disk_a_failure() {
        use io::ErrorKind as Kind;
        for kind in [Kind::NotFound, Kind::PermissionDenied, Kind::NotADirectory, Kind::ReadOnlyFilesystem] {
            let failure = Failure::file(Path::new("x"), "written", kind.into());
            assert_eq!((failure.exit, failure.code.as_str()), (Exit::Usage, "file"), "{kind}");
            assert!(!failure.remedy.is_empty(), "{kind}");
        }
        let full = Failure::file(Path::new("x"), "written", Kind::StorageFull.into());
        assert_eq!((full.exit, full.code.as_str()), (Exit::Failed, "storage_full"));
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.pipe_closed);
        assert_eq!(failure.exit, Exit::Done);
    }
}
