//! What went wrong, in the form in which it reaches a caller: a stable code, the cause and the
//! remedy.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// What the caller can do about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The thing does not exist.
    NotFound,
    /// A condition of the request does not hold (any more).
    Precondition,
    /// The request is wrong and stays wrong until it is changed.
    Invalid,
    /// The caller may not do this.
    Denied,
    /// Something that is needed does not answer; trying again later may help.
    Unavailable,
    /// Stored bytes or records are damaged; restore them.
    Corrupt,
    /// A defect of Larder; report it.
    Internal,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident;)*) => {
        /// The stable code of a fault. Callers may match on its text; codes are added, never
        /// renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The text of the code, as in the member `code` of a problem.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What the caller can do about a fault of this code.
            pub const fn kind(self) -> FaultKind {
                match self { $(Self::$name => FaultKind::$kind,)* }
            }
        }
    };
}

codes! {
    /// No bucket of this name.
    BucketNotFound = "bucket_not_found", NotFound;
    /// No asset under this key or id.
    AssetNotFound = "asset_not_found", NotFound;
    /// No upload of this id.
    UploadNotFound = "upload_not_found", NotFound;
    /// No variant for this recipe.
    VariantNotFound = "variant_not_found", NotFound;
    /// No preset of this name.
    PresetNotFound = "preset_not_found", NotFound;
    /// No job of this id.
    JobNotFound = "job_not_found", NotFound;
    /// No API key of this id.
    KeyNotFound = "key_not_found", NotFound;
    /// No such route.
    RouteNotFound = "route_not_found", NotFound;
    /// The route does not know this method.
    MethodNotAllowed = "method_not_allowed", Invalid;
    /// The request is malformed.
    InvalidRequest = "invalid_request", Invalid;
    /// The object key is not possible.
    InvalidKey = "invalid_key", Invalid;
    /// The bucket name is not possible.
    InvalidBucketName = "invalid_bucket_name", Invalid;
    /// The recipe does not parse or can't be made.
    InvalidRecipe = "invalid_recipe", Invalid;
    /// The file is larger than the bucket or door accepts.
    FileTooLarge = "file_too_large", Invalid;
    /// The file has no bytes.
    EmptyFile = "empty_file", Invalid;
    /// The body ended before the length that was announced.
    BodyIncomplete = "body_incomplete", Invalid;
    /// The body's digest is not the one that was announced.
    DigestMismatch = "digest_mismatch", Invalid;
    /// The bucket does not accept files of this type.
    UnsupportedType = "unsupported_type", Invalid;
    /// The bytes are not what the content type or extension says.
    TypeMismatch = "type_mismatch", Invalid;
    /// The file can't be decoded: truncated or damaged.
    UndecodableImage = "undecodable_image", Invalid;
    /// More pixels, frames or memory than the limits allow.
    ImageLimitExceeded = "image_limit_exceeded", Invalid;
    /// Decoding took longer than the limit.
    ProcessingTimeout = "processing_timeout", Invalid;
    /// Processing ends the process that does it.
    ProcessingCrashed = "processing_crashed", Invalid;
    /// More files or items in one request than allowed.
    BatchTooLarge = "batch_too_large", Invalid;
    /// The same idempotency key came with another body.
    IdempotencyKeyReused = "idempotency_key_reused", Invalid;
    /// The first request with this idempotency key has not ended.
    IdempotencyKeyInUse = "idempotency_key_in_use", Precondition;
    /// `If-Match`, `If-None-Match` or alike does not hold.
    PreconditionFailed = "precondition_failed", Precondition;
    /// The thing changed at the same time; read it again.
    Conflict = "conflict", Precondition;
    /// Defined by the configuration file and so read-only here.
    ManagedByFile = "managed_by_file", Precondition;
    /// The upload expired before anything used it.
    UploadExpired = "upload_expired", Invalid;
    /// The requested range lies outside the bytes.
    RangeNotSatisfiable = "range_not_satisfiable", Invalid;
    /// No valid credential came with the request.
    Unauthenticated = "unauthenticated", Denied;
    /// The credential does not cover this.
    Forbidden = "forbidden", Denied;
    /// A browser of another origin tried to write without a credential.
    CrossOrigin = "cross_origin", Denied;
    /// The URL's signature is wrong.
    SignatureInvalid = "signature_invalid", Denied;
    /// The URL's signature has expired.
    SignatureExpired = "signature_expired", Denied;
    /// The address of an import points where Larder may not go.
    AddressRefused = "address_refused", Invalid;
    /// The remote server of an import refused or failed.
    ImportFailed = "import_failed", Invalid;
    /// The hook that tells caches to forget refused; noted purges stay until it takes them.
    PurgeRefused = "purge_refused", Precondition;
    /// The client sent too slowly.
    RequestTimeout = "request_timeout", Invalid;
    /// Too much work waits; nothing was dropped.
    BacklogFull = "backlog_full", Unavailable;
    /// The store does not let this process do what it needs; an operator has to.
    BackendDenied = "backend_denied", Unavailable;
    /// The store does not answer.
    BackendUnavailable = "backend_unavailable", Unavailable;
    /// The catalogue does not answer.
    CatalogUnavailable = "catalog_unavailable", Unavailable;
    /// The store has no room left.
    StorageFull = "storage_full", Unavailable;
    /// The process is stopping.
    ShuttingDown = "shutting_down", Unavailable;
    /// Stored bytes do not match their record.
    StoredBytesCorrupt = "stored_bytes_corrupt", Corrupt;
    /// Not everything could be moved to another store.
    MigrationIncomplete = "migration_incomplete", Invalid;
    /// The job was cancelled.
    Cancelled = "cancelled", Invalid;
    /// A defect of Larder.
    Internal = "internal", Internal;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = Self::ALL.iter().copied().find(|code| code.as_str() == text);
        // A record of a newer version may name a code that this one does not know.
        Ok(known.unwrap_or(Self::Internal))
    }
}

/// A failure as its caller meets it: code, cause and remedy, with the technical source for the log.
///
/// The same value answers a request at once and lies in the record of an upload or job that failed
/// later. The source is never shown to callers and not stored.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{detail}")]
pub struct Fault {
    /// What happened, for programs.
    pub code: Code,
    /// What happened, for people: names the thing and the cause.
    pub detail: String,
    /// What to do about it; empty where nothing but trying again remains.
    #[serde(default)]
    pub remedy: String,
    /// When trying again may help, where that is known: a store said so, or is left alone until then. Not
    /// stored: it counts from the moment at which the fault arose.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// The technical cause, for the log.
    #[source]
    #[serde(skip)]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Fault {
    /// A fault of the given code whose `detail` names the thing and the cause.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), remedy: String::new(), retry_after: None, source: None }
    }

    /// Adds what the caller can do: which limit, variable or permission to change.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Adds after which time trying again may help.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Adds the technical cause for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A defect of Larder.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(Code::Internal, detail)
    }

    /// What the caller can do.
    pub fn kind(&self) -> FaultKind {
        self.code.kind()
    }

    /// Whether it lasts until somebody does something about it: gives a permission, makes room.
    pub fn needs_an_operator(&self) -> bool {
        matches!(self.code, Code::BackendDenied | Code::StorageFull)
    }
}

impl Clone for Fault {
    /// Copies what a caller may see; the source stays with the original.
    fn clone(&self) -> Self {
        Self {
            code: self.code,
            detail: self.detail.clone(),
            remedy: self.remedy.clone(),
            retry_after: self.retry_after,
            source: None,
        }
    }
}

impl PartialEq for Fault {
    /// What is stored of both is equal.
    fn eq(&self, other: &Self) -> bool {
        (self.code, &self.detail, &self.remedy) == (other.code, &other.detail, &other.remedy)
    }
}

impl From<crate::key::KeyError> for Fault {
    fn from(error: crate::key::KeyError) -> Self {
        let (code, remedy) = match error {
            crate::key::KeyError::Bucket(_) => {
                (Code::InvalidBucketName, "choose a name by the rules of S3 buckets")
            }
            _ => (
                Code::InvalidKey,
                "choose a key of 1 to 1,024 bytes without control characters, dot segments or a leading slash",
            ),
        };
        Self::new(code, error.to_string()).remedy(remedy)
    }
}

impl From<crate::id::IdError> for Fault {
    fn from(error: crate::id::IdError) -> Self {
        Self::new(Code::InvalidRequest, error.to_string()).remedy("use the id as the API answered it")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_snake_case_and_unique() {
        let texts: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(texts.iter().all(|text| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }

    #[test]
    fn a_stored_fault_reads_back_without_its_source() {
        let fault = Fault::new(Code::FileTooLarge, "11 bytes").remedy("raise it").caused_by("secret");
        let text = serde_json::to_string(&fault).unwrap();
        assert!(!text.contains("secret"));
        assert_eq!(serde_json::from_str::<Fault>(&text).unwrap(), fault);
    }

    #[test]
    fn a_code_of_a_newer_version_is_read_as_internal() {
        let fault: Fault = serde_json::from_str(r#"{"code":"moon_phase","detail":"x"}"#).unwrap();
        assert_eq!(fault.code, Code::Internal);
    }
}
