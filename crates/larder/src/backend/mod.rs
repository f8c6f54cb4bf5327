//! What commands ask: one trait, answered by the data directory itself or by a server over HTTP.
//!
//! Both give the same views, so that each command is written once and prints the same.

mod embedded;
mod remote;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use larder_assets::{
    AdoptOptions, AdoptReport, AssetPage, AssetQuery, AssetView, Bucket, BucketPolicy, Deleted, Follow,
    IssuedKey, JobQuery, JobView, KeyView, MigrateOptions, MigrateReport, NewKey, Page, PresetView,
    PutPreset, ReindexOptions, ReindexReport, ScrubOptions, ScrubReport, Statistics, SweepOptions,
    SweepReport, UploadView, VariantView,
    migrate::Watch,
    operation::{QueueView, WorkerView},
};
use larder_core::{AssetId, BucketName, Fault, JobId, KeyId, ObjectKey, Timestamp, UploadId, text::Span};
use larder_store::ByteStream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{embedded::Embedded, remote::Remote};

/// Items that a page of a list asks for.
pub const PAGE_ITEMS: u32 = 1_000;

/// What went wrong, as every backend tells it.
pub type Outcome<T> = Result<T, Fault>;

/// A file to bring in.
#[derive(Clone)]
pub struct Sending {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256 in hex, checked at arrival.
    pub sha256: String,
    /// Where it goes.
    pub bucket: BucketName,
    /// Under which key; from the bucket's template unless given.
    pub key: Option<ObjectKey>,
    /// Owner to record.
    pub owner: Option<String>,
    /// Tags to record.
    pub tags: Vec<String>,
    /// User metadata to record.
    pub metadata: Map<String, Value>,
    /// When the asset is to be deleted.
    pub expires_at: Option<Timestamp>,
    /// Is told the number of bytes as they go.
    pub on_bytes: Arc<dyn Fn(u64) + Send + Sync>,
}

/// Bytes on their way out, with what was said of exactly these bytes: the record may change meanwhile.
pub struct Download {
    /// How many, if that was said.
    pub size_bytes: Option<u64>,
    /// How their SHA-256 begins, in hex; none where a copy is served that is made for reading.
    pub digest_start: Option<String>,
    /// The bytes.
    pub body: ByteStream,
}

/// What a link is wanted for.
#[derive(Debug, Clone, Serialize)]
pub struct LinkRequest {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The variant of this preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// The variant of this recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// A signed link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignedLink {
    /// The link.
    pub url: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A move between stores.
pub enum Migration {
    /// It was done here.
    Done(Box<MigrateReport>),
    /// A server does it.
    Job(JobId),
}

/// Larder, wherever it is.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Brings a file in. Its bytes are durable when this returns; what follows is a job. A key that
    /// is taken is refused.
    async fn upload(&self, file: Sending) -> Outcome<UploadView>;
    /// Writes a file over what lies under its key, checked and durable when this returns.
    async fn replace(&self, file: Sending) -> Outcome<AssetView>;
    /// The upload, when it has ended or the time is over.
    async fn wait(&self, id: UploadId, at_most: Duration) -> Outcome<UploadView>;
    /// An asset's bytes.
    async fn download(&self, bucket: &BucketName, key: &ObjectKey) -> Outcome<Download>;
    /// An asset, if there is one under the key.
    async fn asset_at(&self, bucket: &BucketName, key: &ObjectKey) -> Outcome<Option<AssetView>>;
    /// A page of a bucket's assets by key.
    async fn assets(&self, bucket: &BucketName, query: &AssetQuery) -> Outcome<AssetPage>;
    /// Deletes an asset; that nothing was there is a fault.
    async fn delete(&self, bucket: &BucketName, key: &ObjectKey, purge: bool) -> Outcome<Deleted>;
    /// Brings a deleted asset back.
    async fn restore(&self, id: AssetId) -> Outcome<AssetView>;
    /// An asset's variants.
    async fn variants(&self, id: AssetId) -> Outcome<Vec<VariantView>>;
    /// Makes an asset's variants anew.
    async fn rebuild(&self, id: AssetId) -> Outcome<JobId>;
    /// Makes a signed link.
    async fn sign(&self, request: &LinkRequest) -> Outcome<SignedLink>;
    /// All buckets.
    async fn buckets(&self) -> Outcome<Vec<Bucket>>;
    /// One bucket.
    async fn bucket(&self, name: &BucketName) -> Outcome<Bucket>;
    /// Makes a bucket or replaces its rules.
    async fn put_bucket(&self, name: &BucketName, policy: BucketPolicy) -> Outcome<Bucket>;
    /// Makes what a bucket's assets lack: of one preset, or of all.
    async fn backfill(&self, bucket: &BucketName, preset: Option<&str>) -> Outcome<JobId>;
    /// Removes an empty bucket.
    async fn remove_bucket(&self, name: &BucketName) -> Outcome<()>;
    /// All presets.
    async fn presets(&self) -> Outcome<Vec<PresetView>>;
    /// Defines a preset.
    async fn put_preset(&self, name: &str, recipe: &str) -> Outcome<PutPreset>;
    /// Removes a preset.
    async fn remove_preset(&self, name: &str) -> Outcome<()>;
    /// A page of jobs, the newest first.
    async fn jobs(&self, query: &JobQuery) -> Outcome<Page<JobView>>;
    /// A job with its history.
    async fn job(&self, id: JobId) -> Outcome<JobView>;
    /// Runs a dead or cancelled job again.
    async fn retry_job(&self, id: JobId) -> Outcome<JobView>;
    /// Cancels a job.
    async fn cancel_job(&self, id: JobId) -> Outcome<JobView>;
    /// Jobs by queue and state.
    async fn queues(&self) -> Outcome<Vec<QueueView>>;
    /// Who runs jobs.
    async fn workers(&self) -> Outcome<Vec<WorkerView>>;
    /// How much there is.
    async fn statistics(&self, bucket: Option<&BucketName>) -> Outcome<Statistics>;
    /// Removes what rules say.
    async fn sweep(&self, options: &SweepOptions) -> Outcome<SweepReport>;
    /// Makes assets of files that lie in the store.
    async fn adopt(&self, options: &AdoptOptions, follow: Arc<dyn Follow>) -> Outcome<AdoptReport>;
    /// Rebuilds the catalogue from the store.
    async fn reindex(&self, options: ReindexOptions, follow: Arc<dyn Follow>) -> Outcome<ReindexReport>;
    /// Compares catalogue and store.
    async fn scrub(&self, options: &ScrubOptions, follow: Arc<dyn Follow>) -> Outcome<ScrubReport>;
    /// Moves what lies in one store to another; `watch` is told of it where it is done here.
    async fn migrate(&self, options: &MigrateOptions, watch: &Watch<'_>) -> Outcome<Migration>;
    /// All keys.
    async fn keys(&self) -> Outcome<Vec<KeyView>>;
    /// Makes a key.
    async fn create_key(&self, new: NewKey) -> Outcome<IssuedKey>;
    /// Ends a key.
    async fn revoke_key(&self, id: KeyId) -> Outcome<KeyView>;
    /// Replaces a key's secret.
    async fn rotate_key(&self, id: KeyId, overlap: Span) -> Outcome<IssuedKey>;
    /// Where its server answers or would, without a slash at the end: what comes before the paths of
    /// URLs if no public address is set.
    fn address(&self) -> &str;
    /// Begins to run jobs here, if nobody else does; until [`Backend::close`].
    async fn run_jobs(&self) -> Outcome<()>;
    /// Ends what runs in the background.
    async fn close(&self);
}

/// The file as a stream that reports its bytes.
///
/// # Errors
/// The file can't be opened.
pub async fn body_of(file: &Sending) -> Outcome<ByteStream> {
    use futures::StreamExt;
    let opened = tokio::fs::File::open(&file.path).await.map_err(|error| {
        Fault::new(
            larder_core::Code::InvalidRequest,
            format!("{} can't be read: {error}", file.path.display()),
        )
        .remedy("check path and permissions")
    })?;
    let on_bytes = Arc::clone(&file.on_bytes);
    let stream = tokio_util::io::ReaderStream::with_capacity(opened, 128 * 1_024);
    Ok(stream
        .map(move |chunk| match chunk {
            Ok(bytes) => {
                on_bytes(bytes.len() as u64);
                Ok(bytes)
            }
            Err(error) => Err(error.into()),
        })
        .boxed())
}
