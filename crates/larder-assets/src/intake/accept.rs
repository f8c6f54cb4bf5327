//! From staged bytes to an upload that is acknowledged.

use std::sync::Arc;

use larder_catalog::{
    Begun, Class, IdempotencyAnswer, IdempotencyRecord, NewIdempotency, NewJob, UploadRecord, UploadStatus,
};
use larder_core::{BucketName, Code, Fault, FileType, ObjectKey, UploadId};
use larder_store::{ByteStream, OpenOptions, Store};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Incoming, Said, Staged, check, polyglot, stage, uncut};
use crate::{
    buckets::Bucket,
    fail_point,
    jobs::{self, ingest_upload::IngestUpload},
    larder::Larder,
    view::{UploadView, upload_view},
};

/// A request that its client may repeat.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// Who asks for what: credential and route.
    pub scope: String,
    /// The client's key.
    pub key: String,
}

/// An acknowledged upload.
#[derive(Debug)]
pub struct Accepted {
    /// The upload.
    pub upload: UploadView,
    /// Whether this answer was given before.
    pub replayed: bool,
}

impl Larder {
    /// Takes a file in: stages it, judges what can be judged at once, records the upload and enqueues
    /// its job. When this returns, bytes and record are durable.
    ///
    /// # Errors
    /// Those of [`Larder::check_room`], [`Larder::stage`] and [`Larder::accept_staged`].
    pub async fn accept(
        &self,
        incoming: Incoming,
        body: ByteStream,
        idempotency: Option<&Idempotency>,
    ) -> Result<Accepted, Fault> {
        self.check_room(&incoming.bucket).await?;
        let staged = self.stage(&incoming, body).await?;
        self.accept_staged(incoming, staged, idempotency).await
    }

    /// Acknowledges staged bytes as an upload. Once its record is being stored, that goes to its end
    /// even if the caller goes away.
    ///
    /// # Errors
    /// [`Code::UnsupportedType`], [`Code::TypeMismatch`], [`Code::ImageLimitExceeded`],
    /// [`Code::UndecodableImage`], [`Code::FileTooLarge`] for bytes the bucket does not take;
    /// [`Code::Conflict`] if the wanted key is taken; [`Code::BacklogFull`];
    /// [`Code::IdempotencyKeyReused`], [`Code::IdempotencyKeyInUse`]. Nothing of the bytes remains.
    pub async fn accept_staged(
        &self,
        incoming: Incoming,
        staged: Staged,
        idempotency: Option<&Idempotency>,
    ) -> Result<Accepted, Fault> {
        staged.check_age()?;
        let bucket = self.bucket(&incoming.bucket).await?;
        self.check_backlog(&bucket).await?;
        Said::from(&incoming).check(self.ambient().now())?;
        let lies = (self.stores().primary(), &staged.bytes);
        let file_type = self.judge(&bucket, &incoming, lies).await?;
        if let Some(key) = &incoming.key {
            self.refuse_taken(&bucket, key).await?;
        }
        let record = self.upload_record(&incoming, &staged, file_type);
        let job = jobs::new_job(&IngestUpload { upload_id: record.id })?;
        let claim = idempotency.map(|wanted| self.claim(wanted, &incoming, &staged.bytes.sha256));
        let larder = self.clone();
        uncut(async move {
            let accepted = larder.store_upload(record, job, claim).await;
            match &accepted {
                // An earlier request is this upload: its own bytes are there already.
                Ok(Accepted { replayed: true, .. }) => {}
                stored => {
                    fail_point::reached("intake.accepted");
                    staged.keep_unless_refused(stored);
                }
            }
            accepted
        })
        .await
    }

    /// Refuses an upload before its bytes are taken, if too many wait in the bucket already, or if the
    /// store is known not to answer.
    ///
    /// # Errors
    /// [`Code::BacklogFull`], [`Code::BucketNotFound`], [`Code::BackendUnavailable`].
    pub async fn check_room(&self, bucket: &BucketName) -> Result<(), Fault> {
        self.check_store()?;
        self.check_backlog(&*self.bucket(bucket).await?).await
    }

    /// Judges staged bytes; see [`check::check`].
    pub(crate) async fn judge(
        &self,
        bucket: &Bucket,
        incoming: &Incoming,
        (store, bytes): (&Arc<dyn Store>, &stage::Staged),
    ) -> Result<Option<&'static FileType>, Fault> {
        let limit = bucket.policy.max_bytes.0;
        if bytes.size_bytes > limit {
            return Err(Fault::new(
                Code::FileTooLarge,
                format!("the file has {} bytes, the bucket {} takes {limit}", bytes.size_bytes, bucket.name),
            )
            .remedy("send a smaller file, or raise max_bytes of the bucket"));
        }
        let tail = tail(store, bytes).await?;
        let claims = check::Claims {
            content_type: incoming.declared_type.as_deref(),
            file_name: incoming.file_name.as_deref(),
            key: incoming.key.as_ref(),
        };
        let glimpse = check::Glimpse { head: &bytes.head, tail: &tail, is_whole: bytes.is_whole_in_head() };
        let limits = self.settings().image.lower(&bucket.policy.image);
        check::check(&bucket.policy, &limits, &claims, &glimpse)
    }

    pub(crate) async fn refuse_taken(&self, bucket: &Bucket, key: &ObjectKey) -> Result<(), Fault> {
        match self.catalog().asset_at(&bucket.name, key).await? {
            Some(_) => Err(key_taken(bucket, key)),
            None => Ok(()),
        }
    }

    fn upload_record(
        &self,
        incoming: &Incoming,
        staged: &Staged,
        file_type: Option<&FileType>,
    ) -> UploadRecord {
        let content_type = file_type.map_or("application/octet-stream", |known| known.content_type);
        UploadRecord {
            progress_percentage: 50,
            bytes_received: staged.bytes.size_bytes,
            bytes_total: Some(staged.bytes.size_bytes),
            staging_place: Some(staged.bytes.place.to_string()),
            sha256: Some(staged.bytes.sha256.clone()),
            md5: Some(staged.bytes.md5.clone()),
            size_bytes: Some(staged.bytes.size_bytes),
            content_type: Some(content_type.to_owned()),
            ..self.new_record(staged.id, incoming)
        }
    }

    /// The record of an upload of which no bytes have come.
    pub(crate) fn new_record(&self, id: UploadId, incoming: &Incoming) -> UploadRecord {
        let now = self.ambient().now();
        UploadRecord {
            id,
            bucket: incoming.bucket.clone(),
            key: incoming.key.clone(),
            status: UploadStatus::Pending,
            stage: "queued".to_owned(),
            progress_percentage: 0,
            bytes_received: 0,
            bytes_total: None,
            error: None,
            asset_id: None,
            asset_version: None,
            staging_place: None,
            staging_store: self.stores().primary_name().to_owned(),
            sha256: None,
            md5: None,
            size_bytes: None,
            content_type: None,
            declared_type: incoming.declared_type.clone(),
            original_filename: incoming.file_name.clone(),
            owner: incoming.owner.clone(),
            metadata: Value::Object(incoming.metadata.clone()),
            tags: incoming.tags.clone(),
            door: incoming.door.as_str().to_owned(),
            credential: incoming.credential,
            created_at: now,
            updated_at: now,
            expires_at: now.plus(self.settings().upload_life),
            asset_expires_at: incoming.expires_at,
            finished_at: None,
        }
    }

    /// The claim of a request's key; `content` is what tells its file: its digest, or its address.
    pub(crate) fn claim(&self, wanted: &Idempotency, incoming: &Incoming, content: &str) -> NewIdempotency {
        let now = self.ambient().now();
        NewIdempotency {
            scope: wanted.scope.clone(),
            key: wanted.key.clone(),
            body_digest: request_digest(incoming, content),
            expires_at: now.plus(self.settings().idempotency_life),
            running_until: now.plus(self.settings().idempotency_life),
        }
    }

    /// Upload, job and the answer for its idempotency key are stored together or not at all. Where
    /// the key was used before, the upload of then is the answer.
    pub(crate) async fn store_upload(
        &self,
        record: UploadRecord,
        job: NewJob,
        claim: Option<NewIdempotency>,
    ) -> Result<Accepted, Fault> {
        let view = upload_view(&record, None, Default::default());
        let job = job.bucket(record.bucket.clone()).subject(record.id);
        let claim = match claim {
            Some(claim) => Some((answer_of(&view)?, claim)),
            None => None,
        };
        let claimed = claim.clone();
        let existing = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    if let Some((answer, claim)) = &claimed {
                        if let Begun::Existing(existing) = tx.begin_idempotency(claim).await? {
                            return Ok(Some(existing));
                        }
                        tx.finish_idempotency(&claim.scope, &claim.key, &claim.body_digest, answer).await?;
                    }
                    tx.insert_upload(&record).await?;
                    tx.enqueue(job).await?;
                    Ok(None)
                })
            })
            .await?;
        match existing {
            None => Ok(Accepted { upload: view, replayed: false }),
            Some(existing) => replay(*existing, claim.map(|(_, claim)| claim)),
        }
    }
}

async fn tail(store: &Arc<dyn Store>, bytes: &stage::Staged) -> Result<Vec<u8>, Fault> {
    if bytes.is_whole_in_head() {
        let from = bytes.head.len().saturating_sub(polyglot::TAIL_BYTES);
        return Ok(bytes.head[from..].to_vec());
    }
    let from = bytes.size_bytes.saturating_sub(polyglot::TAIL_BYTES as u64);
    let opened = store.open(&bytes.place, OpenOptions::range(from..bytes.size_bytes)).await?;
    Ok(opened.exact().body.read_all(polyglot::TAIL_BYTES as u64).await?.to_vec())
}

fn answer_of(view: &UploadView) -> Result<IdempotencyAnswer, Fault> {
    Ok(IdempotencyAnswer {
        status: 202,
        headers: Value::Object(Default::default()),
        body: serde_json::to_value(view)
            .map_err(|error| Fault::internal("an upload does not print").caused_by(error))?,
        upload_id: Some(view.id),
    })
}

pub(crate) fn key_taken(bucket: &Bucket, key: &ObjectKey) -> Fault {
    Fault::new(Code::Conflict, format!("an asset lies already under {}/{key}", bucket.name))
        .remedy("choose another key, leave it out to get one, or replace the asset with PUT")
}

/// A digest of everything that makes two requests the same.
fn request_digest(incoming: &Incoming, content: &str) -> String {
    let said = serde_json::json!([
        content,
        incoming.bucket,
        incoming.key,
        incoming.file_name,
        incoming.owner,
        incoming.metadata,
        incoming.tags,
        incoming.expires_at,
    ]);
    hex::encode(Sha256::digest(said.to_string().as_bytes()))
}

fn replay(existing: IdempotencyRecord, claim: Option<NewIdempotency>) -> Result<Accepted, Fault> {
    if claim.is_none_or(|claim| claim.body_digest != existing.body_digest) {
        return Err(Fault::new(
            Code::IdempotencyKeyReused,
            "this Idempotency-Key came with another request before",
        )
        .remedy("use a new key for a new request"));
    }
    let Some(answer) = existing.answer else {
        return Err(Fault::new(
            Code::IdempotencyKeyInUse,
            "the first request with this Idempotency-Key has not ended",
        )
        .remedy("send again after the time in Retry-After"));
    };
    let upload = serde_json::from_value(answer.body)
        .map_err(|error| Fault::internal("a stored answer can't be read").caused_by(error))?;
    Ok(Accepted { upload, replayed: true })
}

/// Names an upload in messages.
pub(crate) fn no_upload(id: UploadId) -> Fault {
    Fault::new(Code::UploadNotFound, format!("there is no upload {id}"))
        .remedy("uploads are listed for 30 days after their end")
}
