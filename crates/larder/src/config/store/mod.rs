//! The store: which one it is, why, and how an S3 bucket is reached.
//!
//! `selection` decides between disk and bucket, `access` finds out whose requests those to a bucket are,
//! `bucket` makes the options of the S3 store of both.

mod access;
mod bucket;
mod selection;

use std::path::PathBuf;

use larder_core::text::Span;
use larder_store::{Addressing, Profile, S3Checksum, S3Options};
use url::Url;

pub use self::{bucket::options, selection::Selection};
use super::raw::{FromRaw, Raw, Secret};

/// The words of `store.backend`.
pub const STORES: &[&str] = &["auto", "local", "local2", "s3", "minio", "tigris", "memory"];

/// Where bytes lie.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// What is asked for.
    pub choice: StoreChoice,
    /// What it comes to.
    pub backend: StoreBackend,
    /// Why it is that one, for people.
    pub reason: String,
    /// Folder of the local store; none means `media` in the data directory.
    pub root: Option<PathBuf>,
    /// Folder of a second local store, if there is one.
    pub second_root: Option<PathBuf>,
    /// The bucket's address for the public.
    pub public_url: Option<Url>,
    /// What is set of an S3 bucket.
    pub s3: S3Config,
    /// How the bucket is reached, and by whom; there if `backend` is `S3`, and beside a local store if
    /// enough is set to read there what was not moved away.
    pub s3_options: Option<S3Options>,
}

/// What `store.backend` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreChoice {
    /// S3 if there are credentials for it, else the local disk.
    Auto,
    /// The local disk.
    Local,
    /// A second folder.
    Local2,
    /// An S3 bucket.
    S3,
    /// An S3 bucket of MinIO or a server like it, set by names of its own.
    Minio,
    /// An S3 bucket of Tigris.
    Tigris,
    /// The memory of this process.
    Memory,
}

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreBackend {
    /// Files on the local disk.
    Local,
    /// Files in a second folder, on another disk.
    Local2,
    /// Objects of an S3 bucket.
    S3,
    /// The memory of this process, for tests: everything is gone at its end.
    Memory,
}

impl StoreBackend {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::Local, Self::Local2, Self::S3, Self::Memory];

    /// Its name, in records and figures too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Local2 => "local2",
            Self::S3 => "s3",
            Self::Memory => "memory",
        }
    }
}

/// What is set of an S3 bucket, before defaults of its server are laid below.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The kind of server.
    pub profile: Option<Profile>,
    /// The bucket, or `s3://bucket/prefix`.
    pub bucket: Option<String>,
    /// The bucket of variants.
    pub variants_bucket: Option<String>,
    /// The folder in the bucket.
    pub prefix: Option<String>,
    /// The server's address.
    pub endpoint: Option<Url>,
    /// The region.
    pub region: Option<String>,
    /// The access key's public part.
    pub access_key_id: Option<String>,
    /// The access key's secret part.
    pub secret_access_key: Option<Secret>,
    /// The token of a temporary access key.
    pub session_token: Option<Secret>,
    /// A shared credentials file.
    pub credentials_file: Option<PathBuf>,
    /// The profile in it.
    pub credentials_profile: Option<String>,
    /// Whether requests are signed by nobody.
    pub anonymous: bool,
    /// Whether the bucket is public; decides the visibility of the shipped buckets.
    pub public_bucket: Option<bool>,
    /// Where in a URL the bucket stands; none goes by server and name.
    pub addressing: Option<Addressing>,
    /// What the store is asked to encrypt with.
    pub encryption: EncryptionChoice,
    /// The key of `aws:kms`.
    pub kms_key_id: Option<String>,
    /// The checksum that the store keeps.
    pub checksum: Option<S3Checksum>,
    /// An authority that the system does not know.
    pub ca_file: Option<PathBuf>,
    /// Whether plain `http:` is refused.
    pub require_tls: bool,
    /// Whether a missing bucket is made.
    pub create: bool,
    /// Time for a connection.
    pub connect_within: Span,
    /// Time for the next bytes of an answer.
    pub answer_within: Span,
    /// Repetitions of a request.
    pub retries: u32,
    /// Time for all of them.
    pub retry_within: Span,
}

/// What the store is asked to encrypt objects with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncryptionChoice {
    /// Nothing is asked for.
    None,
    /// Keys of the store.
    Aes256,
    /// A key of the key management service.
    Kms,
}

impl StoreConfig {
    /// Nothing is set: what the defaults of the table are laid over.
    pub(super) fn unset() -> Self {
        let never = Span::seconds(0);
        let s3 = S3Config {
            profile: None,
            bucket: None,
            variants_bucket: None,
            prefix: None,
            endpoint: None,
            region: None,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            credentials_file: None,
            credentials_profile: None,
            anonymous: false,
            public_bucket: None,
            addressing: None,
            encryption: EncryptionChoice::None,
            kms_key_id: None,
            checksum: None,
            ca_file: None,
            require_tls: false,
            create: false,
            connect_within: never,
            answer_within: never,
            retries: 0,
            retry_within: never,
        };
        Self {
            choice: StoreChoice::Auto,
            backend: StoreBackend::Local,
            reason: String::new(),
            root: None,
            second_root: None,
            public_url: None,
            s3,
            s3_options: None,
        }
    }
}

/// One of several words, in letters of either case.
fn word<T: Copy>(raw: &Raw, what: &str, words: &[(&str, T)]) -> Result<T, String> {
    let text = String::from_raw(raw)?;
    words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)).map(|(_, value)| *value).ok_or_else(
        || {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!("\"{text}\" is no {what}; use one of {}", known.join(", "))
        },
    )
}

impl FromRaw for StoreChoice {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        let all = [Self::Auto, Self::Local, Self::Local2, Self::S3, Self::Minio, Self::Tigris, Self::Memory];
        let words: Vec<(&str, Self)> = STORES.iter().copied().zip(all).collect();
        word(raw, "store", &words)
    }
}

impl FromRaw for Profile {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        word(raw, "kind of server", &[Self::Aws, Self::Minio, Self::Tigris].map(|one| (one.name(), one)))
    }
}

impl FromRaw for Option<Addressing> {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        let words =
            [("auto", None), ("path", Some(Addressing::Path)), ("virtual", Some(Addressing::VirtualHost))];
        word(raw, "addressing", &words)
    }
}

impl FromRaw for EncryptionChoice {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        word(raw, "encryption", &[("none", Self::None), ("AES256", Self::Aes256), ("aws:kms", Self::Kms)])
    }
}

impl FromRaw for Option<S3Checksum> {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        word(raw, "checksum", &[("none", None), ("sha256", Some(S3Checksum::Sha256))])
    }
}
