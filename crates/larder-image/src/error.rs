//! Why a file or a recipe was refused.

use larder_core::{Code, Fault};

use crate::formats::Format;

/// Why a file or a recipe was refused. A variant is what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a type, or not a kind of it, that this build decodes or encodes: convert it.
    #[error("{what} is not supported")]
    Unsupported {
        /// The type or feature.
        what: String,
    },
    /// Truncated or damaged: send the file again.
    #[error("the {format} file can't be decoded: {reason}")]
    Undecodable {
        /// What the file is by its first bytes.
        format: Format,
        /// What is wrong in it, in a few words.
        reason: String,
    },
    /// More than a limit allows: send a smaller picture or raise the limit.
    #[error("{what}: {found} is more than the limit of {limit}")]
    LimitExceeded {
        /// The limited quantity, with its unit.
        what: &'static str,
        /// How much the file has, or how much it would take.
        found: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// The deadline passed before the work was done.
    #[error("the picture could not be processed in time")]
    TimedOut,
    /// The recipe does not parse, or can't be made of this picture: change it.
    #[error("recipe: {reason}")]
    Recipe {
        /// The step and what is wrong with it.
        reason: String,
    },
    /// A codec panicked on this file, which is therefore refused.
    #[error("the {format} codec failed on this file: {message}")]
    Panicked {
        /// The codec.
        format: Format,
        /// The message of the panic, for the log.
        message: String,
    },
    /// A defect of this crate: report it.
    #[error("{what}")]
    Internal {
        /// What went wrong.
        what: String,
    },
}

impl Error {
    pub(crate) fn undecodable(format: Format, reason: impl ToString) -> Self {
        Self::Undecodable { format, reason: reason.to_string() }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }

    pub(crate) fn recipe(reason: impl Into<String>) -> Self {
        Self::Recipe { reason: reason.into() }
    }

    pub(crate) fn internal(what: impl Into<String>) -> Self {
        Self::Internal { what: what.into() }
    }

    /// A codec's I/O error: the deadline if that was its cause, else damage.
    pub(crate) fn from_io(format: Format, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::TimedOut {
            Self::TimedOut
        } else {
            Self::undecodable(format, error)
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Unsupported { .. } => Code::UnsupportedType,
            Self::Undecodable { .. } | Self::Panicked { .. } => Code::UndecodableImage,
            Self::LimitExceeded { .. } => Code::ImageLimitExceeded,
            Self::TimedOut => Code::ProcessingTimeout,
            Self::Recipe { .. } => Code::InvalidRecipe,
            Self::Internal { .. } => Code::Internal,
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Unsupported { .. } => format!("send one of {}", Format::decodable_names()),
            Self::Undecodable { .. } => {
                "check that the file opens elsewhere and was transferred completely, then send it again"
                    .into()
            }
            Self::Panicked { .. } => "re-save the file with an image program and send it again".into(),
            Self::LimitExceeded { what, .. } => {
                format!("send a smaller picture, or raise the setting for {what} under `limits.image`")
            }
            Self::TimedOut => {
                "send a smaller picture, or raise the setting `limits.image.decode_time_max_ms`".into()
            }
            Self::Recipe { .. } => "write steps as `name:argument` joined by commas, for example \
                 `resize:inside:300x300,format:webp,quality:85`"
                .into(),
            Self::Internal { .. } => "report this with the file's format and size".into(),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string()).remedy(error.remedy()).caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_its_remedy() {
        let errors = [
            Error::unsupported("text"),
            Error::undecodable(Format::Png, "cut"),
            Error::LimitExceeded { what: "pixels", found: 2, limit: 1 },
            Error::TimedOut,
            Error::recipe("x"),
            Error::Panicked { format: Format::Gif, message: "x".into() },
            Error::internal("x"),
        ];
        for error in errors {
            let fault = Fault::from(error.clone());
            assert!(!fault.remedy.is_empty(), "{error}");
            assert_eq!(fault.detail, error.to_string());
        }
    }

    #[test]
    fn a_panicking_codec_is_the_files_fault() {
        let fault = Fault::from(Error::Panicked { format: Format::Webp, message: "index".into() });
        assert_eq!(fault.code, Code::UndecodableImage);
    }
}
