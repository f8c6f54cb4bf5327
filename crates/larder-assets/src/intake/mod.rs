//! How files come in: one intake behind every door.
//!
//! [`Larder::stage`] streams the body to durable bytes in staging; [`Larder::accept_staged`] judges
//! them and answers with an upload whose job does the rest, [`Larder::put_staged`] does all of it at
//! once. `accept` and `put` are both steps in one call.

pub mod check;
pub mod direct;
pub mod ingest;
pub mod polyglot;
pub mod stage;
pub mod template;

mod accept;
mod backlog;
mod in_flight;
mod recover;
mod said;
mod staging_lock;
mod uploads;

use std::time::{Duration, Instant};

use larder_core::{BucketName, Code, Fault, FaultKind, KeyId, ObjectKey, Timestamp, UploadId};
use larder_store::ByteStream;
use serde_json::Map;

pub use accept::{Accepted, Idempotency};
pub use direct::DirectUpload;
pub use uploads::UploadQuery;

pub(crate) use accept::key_taken;
pub(crate) use backlog::Backlogs;
pub(crate) use in_flight::{Arrival, InFlight};
pub(crate) use said::Said;
pub(crate) use staging_lock::StagingLock;

use crate::{buckets::Bucket, larder::Larder, sweep::LEFTOVER_AGE};

/// Through which door a file came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A multipart form.
    Form,
    /// The body of a POST.
    Raw,
    /// A PUT under a key.
    Put,
    /// The address of a remote file.
    Url,
    /// A PUT into the store, at a signed address.
    Direct,
    /// One of several files in one request.
    Batch,
    /// The command line, on the data directory itself.
    CommandLine,
}

impl Door {
    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Raw => "raw",
            Self::Put => "put",
            Self::Url => "url",
            Self::Direct => "direct",
            Self::Batch => "batch",
            Self::CommandLine => "command_line",
        }
    }
}

/// What a client says of a file that it sends.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The bucket it goes to.
    pub bucket: BucketName,
    /// Under which key; from the bucket's template unless given.
    pub key: Option<ObjectKey>,
    /// The name the file had at the client.
    pub file_name: Option<String>,
    /// The declared media type.
    pub declared_type: Option<String>,
    /// The announced length in bytes.
    pub declared_bytes: Option<u64>,
    /// The announced SHA-256 in hex.
    pub expect_sha256: Option<String>,
    /// The announced MD5 in hex.
    pub expect_md5: Option<String>,
    /// Who it belongs to, in the words of the application.
    pub owner: Option<String>,
    /// A JSON object of the application's.
    pub metadata: Map<String, serde_json::Value>,
    /// Tags.
    pub tags: Vec<String>,
    /// When the asset is to be deleted.
    pub expires_at: Option<Timestamp>,
    /// The door.
    pub door: Door,
    /// The API key.
    pub credential: Option<KeyId>,
}

impl Incoming {
    /// A file for `bucket` of which nothing else is said.
    pub fn new(bucket: BucketName, door: Door) -> Self {
        Self {
            bucket,
            key: None,
            file_name: None,
            declared_type: None,
            declared_bytes: None,
            expect_sha256: None,
            expect_md5: None,
            owner: None,
            metadata: Map::new(),
            tags: Vec::new(),
            expires_at: None,
            door,
            credential: None,
        }
    }
}

/// Runs to its end what must not be cut off in the middle: a request's own future is dropped when its
/// client goes away.
pub(crate) async fn uncut<T: Send + 'static>(
    work: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> Result<T, Fault> {
    tokio::spawn(work)
        .await
        .map_err(|error| Fault::internal("storing an upload broke off").caused_by(error))?
}

/// How long bytes may lie in staging without a record: half of the age at which a process that does
/// not know their request removes them.
const STAGED_MAX: Duration = Duration::from_secs(LEFTOVER_AGE.as_secs() / 2);

/// Bytes in staging that no record names yet. Dropped without being accepted, they are removed.
#[derive(Debug)]
pub struct Staged {
    pub(crate) id: UploadId,
    pub(crate) bytes: stage::Staged,
    larder: Larder,
    kept: bool,
    since: Instant,
    /// Shows the upload until its record does.
    _arrival: Arrival,
}

impl Staged {
    /// How many bytes there are.
    pub fn size_bytes(&self) -> u64 {
        self.bytes.size_bytes
    }

    /// Their SHA-256 in hex.
    pub fn sha256(&self) -> &str {
        &self.bytes.sha256
    }

    /// Refuses bytes that lay in staging for so long that another process might take them for a
    /// leftover soon: the other files of their request took hours.
    pub(crate) fn check_age(&self) -> Result<(), Fault> {
        if self.since.elapsed() < STAGED_MAX {
            return Ok(());
        }
        Err(Fault::new(Code::RequestTimeout, "the files of the request took too long to arrive")
            .remedy("send the files one by one, or fewer in one request"))
    }

    /// From now on a record names the bytes, or may name them: what no record names after all is
    /// swept.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// Keeps the bytes unless the transaction that was to name them certainly did not. A commit that
    /// was `Unavailable` may have happened all the same: its answer can be lost.
    pub(crate) fn keep_unless_refused<T>(self, outcome: &Result<T, Fault>) {
        match outcome {
            Ok(_) => self.keep(),
            Err(fault) if fault.kind() == FaultKind::Unavailable => self.keep(),
            Err(_) => {}
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (larder, place) = (self.larder.clone(), self.bytes.place.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // New bytes are staged in the primary store.
            runtime.spawn(async move { stage::discard(&**larder.stores().primary(), &place).await });
        }
    }
}

impl Larder {
    /// The largest file that a bucket takes.
    pub(crate) fn upload_bytes_max(&self, bucket: &Bucket) -> u64 {
        bucket.policy.max_bytes.0.min(self.settings().upload_bytes_max)
    }

    /// Streams a body into staging. What `incoming` announces of it is checked on the way.
    ///
    /// The bytes are durable when this returns. The body may hand a
    /// [`Fault`] through as its error.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`](larder_core::Code::BucketNotFound) before a byte is read; those of
    /// [`stage::stage`].
    pub async fn stage(&self, incoming: &Incoming, body: ByteStream) -> Result<Staged, Fault> {
        let id = UploadId::new(self.ambient());
        self.stage_at(id, &id.to_string(), incoming, body).await
    }

    /// As [`stage`](Self::stage), for an upload that has a record already. Each try has a place of its own,
    /// so that one whose lease ran out takes nothing from the next.
    pub(crate) async fn stage_for(
        &self,
        upload: UploadId,
        incoming: &Incoming,
        body: ByteStream,
    ) -> Result<Staged, Fault> {
        let name = format!("{upload}.{}", UploadId::new(self.ambient()));
        self.stage_at(upload, &name, incoming, body).await
    }

    async fn stage_at(
        &self,
        id: UploadId,
        name: &str,
        incoming: &Incoming,
        body: ByteStream,
    ) -> Result<Staged, Fault> {
        let bucket = self.bucket(&incoming.bucket).await?;
        let place = crate::larder::own_place(&format!("staging/{name}"))?;
        let expected = stage::Expected {
            bytes_max: self.upload_bytes_max(&bucket),
            bytes: incoming.declared_bytes,
            sha256: incoming.expect_sha256.clone(),
            md5: incoming.expect_md5.clone(),
        };
        let arrival = self.in_flight().begin(id, incoming, self.ambient().now());
        let bytes =
            stage::stage(&**self.stores().primary(), place, body, &expected, arrival.received()).await?;
        crate::fail_point::reached("intake.staged");
        Ok(Staged { id, bytes, larder: self.clone(), kept: false, since: Instant::now(), _arrival: arrival })
    }
}
