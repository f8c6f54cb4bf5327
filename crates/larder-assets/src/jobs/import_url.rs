//! Import: fetches a remote file and takes it in like any other.

use async_trait::async_trait;
use larder_catalog::{Class, UploadChange, UploadRecord, UploadStatus};
use larder_core::{Code, Fault, FaultKind, KeyId, ObjectKey, UploadId};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    Ended, Job, JobContext,
    ingest_upload::{IngestUpload, fail_upload},
    new_job,
};
use crate::{
    intake::{Accepted, Door, Idempotency, Incoming, Said, uncut},
    larder::Larder,
};

/// How often a remote server is asked that fails or does not answer: about a minute altogether, as
/// the waits between tries grow.
const FETCHES_MAX: i64 = 6;

/// Arguments of the job.
#[derive(Debug, Serialize, Deserialize)]
pub struct ImportUrl {
    /// The upload that the file becomes.
    pub upload_id: UploadId,
    /// Where the file is.
    pub url: Url,
}

#[async_trait]
impl Job for ImportUrl {
    const NAME: &'static str = "import";
    const DOC: &'static str = "fetches a remote file for an upload";
    const QUEUE: &'static str = "intake";

    fn unique_key(&self) -> Option<String> {
        Some(self.upload_id.to_string())
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        match context.larder().fetch(&self, &context).await {
            Err(fault) if fault.kind() == FaultKind::Invalid && fault.code != Code::Cancelled => {
                fail_upload(context.larder(), self.upload_id, fault, Some(context.lease())).await?;
                Ok(Ended::Recorded)
            }
            outcome => outcome,
        }
    }

    async fn gave_up(self, larder: &Larder, fault: &Fault) -> Result<(), Fault> {
        fail_upload(larder, self.upload_id, fault.clone(), None).await
    }
}

impl Larder {
    /// Takes a file in by its address: the upload is acknowledged at once, a job fetches the file.
    ///
    /// # Errors
    /// [`Code::AddressRefused`] for what the address itself shows; what it resolves to is judged by
    /// the job. [`Code::BucketNotFound`], [`Code::BacklogFull`], [`Code::InvalidRequest`],
    /// [`Code::IdempotencyKeyReused`].
    pub async fn import(
        &self,
        incoming: Incoming,
        url: Url,
        idempotency: Option<&Idempotency>,
    ) -> Result<Accepted, Fault> {
        let bucket = self.bucket(&incoming.bucket).await?;
        self.guarded().check(&url)?;
        Said::from(&incoming).check(self.ambient().now())?;
        self.check_backlog(&bucket).await?;
        let claim = idempotency.map(|wanted| self.claim(wanted, &incoming, url.as_str()));
        let record = self.new_record(UploadId::new(self.ambient()), &incoming);
        let job = new_job(&ImportUrl { upload_id: record.id, url })?;
        let larder = self.clone();
        uncut(async move { larder.store_upload(record, job, claim).await }).await
    }

    async fn fetch(&self, job: &ImportUrl, context: &JobContext) -> Result<Ended, Fault> {
        let upload = self.catalog().upload(job.upload_id).await?;
        let Some(upload) = upload.filter(|upload| !upload.status.is_final() && upload.sha256.is_none())
        else {
            return Ok(Ended::Open);
        };
        context.progress(0.1, "fetching");
        // What a remote server sends may take as long as it likes: whoever cancels the job need not wait.
        let fetched = async {
            let remote =
                self.guarded().get(&job.url).await.map_err(|fault| remote_failure(fault, context))?;
            let incoming = incoming_of(&upload, remote.content_type, remote.size_bytes, remote.file_name);
            let staged = self.stage_for(upload.id, &incoming, remote.body).await.map_err(|fault| {
                match fault.code {
                    // The remote server broke off: trying again may help.
                    Code::BodyIncomplete => {
                        remote_failure(Fault::new(Code::BackendUnavailable, fault.detail), context)
                    }
                    _ => fault,
                }
            })?;
            Ok((incoming, staged))
        };
        let (incoming, staged) = context.unless_stopped(fetched).await?;
        let bucket = self.bucket(&upload.bucket).await?;
        let lies = (self.stores().primary(), &staged.bytes);
        let file_type = self.judge(&bucket, &incoming, lies).await?;
        let content_type = file_type.map_or("application/octet-stream", |known| known.content_type);
        let change = UploadChange {
            status: Some(UploadStatus::Pending),
            stage: Some("queued".to_owned()),
            progress_percentage: Some(50),
            bytes_received: Some(staged.size_bytes()),
            bytes_total: Some(staged.size_bytes()),
            staging_place: Some(Some(staged.bytes.place.to_string())),
            staging_store: Some(self.stores().primary_name().to_owned()),
            digests: Some((staged.bytes.sha256.clone(), staged.bytes.md5.clone(), staged.bytes.size_bytes)),
            content_type: Some(content_type.to_owned()),
            original_filename: incoming.file_name.clone(),
            ..UploadChange::default()
        };
        let ingest =
            new_job(&IngestUpload { upload_id: upload.id })?.bucket(bucket.name.clone()).subject(upload.id);
        let (larder, lease) = (self.clone(), context.lease());
        // Dropped in the middle, it would take the bytes away of a record that is about to be there.
        uncut(async move {
            let stored = larder
                .catalog()
                .commit(Class::Durable, move |tx| {
                    Box::pin(async move {
                        tx.confirm_lease(lease).await?;
                        tx.change_upload(
                            upload.id,
                            &[UploadStatus::Pending, UploadStatus::Processing],
                            change,
                        )
                        .await?;
                        tx.enqueue(ingest).await?;
                        tx.finish_job(lease).await
                    })
                })
                .await
                .map_err(Fault::from);
            staged.keep_unless_refused(&stored);
            stored.map(|()| Ended::Recorded)
        })
        .await
    }
}

/// A remote server that fails is no store of ours, for which jobs wait as long as it takes: after
/// [`FETCHES_MAX`] tries its last error is the import's. Tries are counted by leases, since one that
/// ends by `Unavailable` is given back and does not count as an attempt.
fn remote_failure(fault: Fault, context: &JobContext) -> Fault {
    if fault.code == Code::BackendUnavailable && context.lease().number >= FETCHES_MAX {
        return Fault::new(Code::ImportFailed, fault.detail).remedy("try again when the server answers");
    }
    fault
}

fn incoming_of(
    upload: &UploadRecord,
    content_type: Option<String>,
    size_bytes: Option<u64>,
    file_name: Option<String>,
) -> Incoming {
    let key: Option<ObjectKey> = upload.key.clone();
    let credential: Option<KeyId> = upload.credential;
    Incoming {
        key,
        credential,
        file_name: upload.original_filename.clone().or(file_name),
        declared_type: content_type,
        declared_bytes: size_bytes,
        ..Incoming::new(upload.bucket.clone(), Door::Url)
    }
}
