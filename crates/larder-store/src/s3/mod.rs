//! An S3 bucket as a store.
//!
//! Requests are ours, so that conditions, attributes, parts, errors and repetitions are what [`Store`] promises;
//! signatures and the credentials of roles are those of the crate `object_store`.
//!
//! | file | idea |
//! |---|---|
//! | `options` | what is said of a bucket |
//! | `endpoint` | addresses of the bucket and its objects |
//! | `credentials`, `shared_profile`, `env_file` | whose requests these are |
//! | `client` | one request: signed, sent, sent again |
//! | `failure` | what the store answers instead, and what the operator can do |
//! | `attributes` | headers of attributes, stat and encryption |
//! | `reading`, `writing`, `multipart`, `moving`, `listing` | the operations |
//! | `presign` | addresses for others |
//! | `signer` | requests to other services of AWS |
//! | `probe` | what a bucket honours |
//! | `admin`, `check` | setting a bucket up, and looking it over |

mod admin;
mod attributes;
mod check;
mod client;
mod credentials;
mod endpoint;
mod env_file;
mod failure;
mod listing;
mod moving;
mod multipart;
mod options;
mod presign;
mod probe;
mod reading;
mod shared_profile;
mod signer;
mod writing;
mod xml;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use larder_core::Ambient;
use url::Url;

pub use self::{
    admin::{BucketSetup, SetupOutcome, SetupStep, iam_policy},
    check::{Finding, Verdict},
    env_file::read_env_file,
    options::{Addressing, Encryption, Profile, S3Checksum, S3Credentials, S3Key, S3Options},
    shared_profile::SharedProfile,
    signer::AwsSigner,
};
use self::{client::Client, writing::Manner};
use crate::{
    body::ByteStream,
    error::Result,
    listing::{ListOptions, Listing},
    place::Place,
    store::{
        Capabilities, CopyOptions, OpenOptions, Opened, PutOptions, RenameOptions, SignedAction, Stat, Store,
        UnfinishedOptions,
    },
};

/// A bucket of AWS, MinIO, Tigris or any other server that speaks S3. Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Arc<Client>,
    manner: Arc<Manner>,
    public_url: Option<Url>,
}

impl S3Store {
    /// Connects to a bucket and looks what it honours: conditions at writing are tried out below
    /// `.larder/probe/`, unless it is AWS, which obeys them.
    ///
    /// # Errors
    /// [`Refused`](crate::Error::Refused) with cause and remedy for what the configuration gets wrong: keys,
    /// region, bucket, permissions, clock, certificates. [`Unavailable`](crate::Error::Unavailable) if the
    /// server does not answer.
    pub async fn connect(options: &S3Options, ambient: Ambient) -> Result<Self> {
        let mut store = Self::unprobed(options, ambient)?;
        if options.create
            && let SetupOutcome::Failed(error) = store.create_bucket().await
        {
            return Err(error);
        }
        let honoured = probe::conditions(&store, options).await?;
        store.manner = Arc::new(Manner {
            obeys_if_absent: honoured.if_absent,
            obeys_if_match: honoured.if_match,
            ..Manner::of(options)
        });
        Ok(store)
    }

    /// Another folder of the same bucket. Nothing is asked: what the bucket honours is known.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), for credentials and certificates that can't be read.
    pub fn folder(&self, prefix: &str, options: &S3Options, ambient: Ambient) -> Result<Self> {
        let options = S3Options { prefix: prefix.to_owned(), ..options.clone() };
        let store = Self::unprobed(&options, ambient)?;
        Ok(Self { manner: Arc::clone(&self.manner), ..store })
    }

    /// A bucket that nobody has asked anything yet.
    fn unprobed(options: &S3Options, ambient: Ambient) -> Result<Self> {
        let client = Arc::new(Client::new(options, ambient)?);
        let endpoint = client.endpoint();
        let public_url = match (&options.public_url, options.is_public) {
            (Some(url), _) => Some(url.clone()),
            (None, true) => endpoint.bucket_root().parse().ok(),
            (None, false) => None,
        };
        Ok(Self { manner: Arc::new(Manner::of(options)), public_url, client })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for S3Store {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            attributes: true,
            create_if_absent: self.manner.obeys_if_absent,
            replace_if_match: self.manner.obeys_if_match,
            local_files: false,
            rename_keeps_fingerprint: false,
            folders_block: false,
            fingerprints_tell_puts: false,
            puts_tell_time: false,
        }
    }

    fn local_path(&self, _: &Place) -> Option<PathBuf> {
        None
    }

    fn public_url(&self, place: &Place) -> Option<Url> {
        self.client.endpoint().object_at(self.public_url.as_ref()?, place)
    }

    async fn signed_url(&self, place: &Place, action: &SignedAction, life: Duration) -> Result<Option<Url>> {
        self.client.signed_url(place, action, life).await
    }

    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat> {
        writing::put(&self.client, &self.manner, place, body, options).await
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        reading::open(&self.client, place, options).await
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        reading::stat(&self.client, place).await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        match reading::stat(&self.client, place).await {
            Ok(stat) => Ok(Some(stat)),
            Err(crate::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        listing::list(&self.client, options).await
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        moving::remove(&self.client, place).await
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        moving::copy(&self.client, &self.manner, from, to, &options.condition, options.attributes).await
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        if from == to && options.attributes.is_none() {
            let stat = reading::stat(&self.client, from).await?;
            writing::check(&self.client, to, &options.condition).await?;
            return Ok(stat);
        }
        let RenameOptions { condition, attributes } = options;
        let stat = moving::copy(&self.client, &self.manner, from, to, &condition, attributes).await?;
        if from != to {
            moving::delete(&self.client, from).await?;
        }
        Ok(stat)
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        listing::remove_unfinished(&self.client, options).await
    }
}
