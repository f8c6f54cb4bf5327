//! From an acknowledged upload to an asset: the full check, then the commit.

use std::{sync::Arc, time::Instant};

use larder_catalog::{AssetStatus, Class, Lease, UploadChange, UploadRecord, UploadStatus};
use larder_core::{Code, Fault, FileType, ObjectKey, UploadId};
use larder_store::{ByteStream, Place, Store};
use serde_json::Value;

use super::{Incoming, Said, Staged, accept, template, uncut};
use crate::{
    buckets::Bucket,
    commit::{NewBytes, Picture, PutOutcome, WriteCondition},
    fail_point,
    jobs::{self, Ended, JobContext, ingest_upload::fail_upload, make_variants::MakeVariants},
    larder::{Larder, place},
    policy::BucketPolicy,
    variants::Known,
};

impl Larder {
    /// Puts an object under its key at once: all checks, then the commit. Variants follow as a job.
    ///
    /// # Errors
    /// Those of [`Larder::accept_staged`], and [`Code::PreconditionFailed`].
    pub async fn put(
        &self,
        incoming: Incoming,
        condition: WriteCondition,
        body: ByteStream,
    ) -> Result<PutOutcome, Fault> {
        self.check_room(&incoming.bucket).await?;
        let staged = self.stage(&incoming, body).await?;
        self.put_staged(incoming, condition, staged).await
    }

    /// Puts staged bytes under their key at once. Once the bytes are on their way to their place, that
    /// goes to its end even if the caller goes away: the key would stay held for the next writer.
    ///
    /// # Errors
    /// As [`Larder::put`]. Nothing of the bytes remains.
    pub async fn put_staged(
        &self,
        incoming: Incoming,
        condition: WriteCondition,
        staged: Staged,
    ) -> Result<PutOutcome, Fault> {
        staged.check_age()?;
        let bucket = self.bucket(&incoming.bucket).await?;
        Said::from(&incoming).check(self.ambient().now())?;
        let lies = (self.stores().primary(), &staged.bytes);
        let file_type = self.judge(&bucket, &incoming, lies).await?;
        let bytes = &staged.bytes;
        let key = match &incoming.key {
            Some(key) => key.clone(),
            None => {
                self.key_for(&bucket, staged.id, incoming.file_name.as_deref(), &bytes.sha256, file_type)?
            }
        };
        let lies = (self.stores().primary(), &bytes.place, bytes.fingerprint.as_str());
        let picture = self.examine(&bucket, lies, &bytes.sha256, file_type, false).await?;
        let new = NewBytes {
            store: self.stores().primary_name().to_owned(),
            staged_at: bytes.place.to_string(),
            fingerprint: bytes.fingerprint.to_string(),
            size_bytes: bytes.size_bytes,
            sha256: bytes.sha256.clone(),
            md5: bytes.md5.clone(),
            content_type: content_type(file_type),
            original_filename: incoming.file_name,
            owner: incoming.owner,
            metadata: Value::Object(incoming.metadata),
            tags: incoming.tags,
            expires_at: incoming.expires_at,
            picture,
        };
        let larder = self.clone();
        uncut(async move {
            let committed = larder.commit_bytes(&bucket, &key, new, &condition, None, None).await;
            let (asset, created) = committed?;
            staged.keep();
            Ok(larder.outcome(&bucket, &asset, created))
        })
        .await
    }

    /// The body of the ingest job. May run again after a crash at any point.
    pub(crate) async fn ingest(&self, id: UploadId, context: &JobContext) -> Result<Ended, Fault> {
        let upload = self.catalog().upload(id).await?.ok_or_else(|| accept::no_upload(id))?;
        if upload.status.is_final() || upload.asset_id.is_some() {
            return Ok(Ended::Open);
        }
        let bucket = self.bucket(&upload.bucket).await?;
        let file_type = upload.content_type.as_deref().and_then(FileType::of_content_type);
        let (key, condition) = match &upload.key {
            Some(key) => (key.clone(), WriteCondition::IfAbsent),
            None => {
                let sha256 = upload.sha256.as_deref().unwrap_or_default();
                let name = upload.original_filename.as_deref();
                (self.key_for(&bucket, id, name, sha256, file_type)?, WriteCondition::None)
            }
        };
        let Some((staged_at, fingerprint)) = self.staged_bytes(&upload).await? else {
            return self.resume_moved(&upload, &key).await;
        };
        context.progress(0.1, "checking");
        self.begin_processing(&upload).await?;
        let sha256 = upload.sha256.clone().unwrap_or_default();
        let lies = (self.store(&upload.staging_store)?, &staged_at, fingerprint.as_str());
        let picture = self.examine(&bucket, lies, &sha256, file_type, context.is_suspect()).await?;
        fail_point::reached("ingest.decoded");
        context.check()?;
        context.progress(0.8, "storing");
        let new = NewBytes {
            store: upload.staging_store.clone(),
            staged_at: staged_at.to_string(),
            fingerprint,
            size_bytes: upload.size_bytes.unwrap_or_default(),
            sha256: sha256.clone(),
            md5: upload.md5.clone().unwrap_or_default(),
            content_type: content_type(file_type),
            original_filename: upload.original_filename.clone(),
            owner: upload.owner.clone(),
            metadata: upload.metadata.clone(),
            tags: upload.tags.clone(),
            expires_at: upload.asset_expires_at,
            picture,
        };
        if !bucket.policy.deduplicate || upload.key.is_some() {
            return self.commit_upload(&bucket, &key, &condition, &upload, new, context).await;
        }
        let turn = self.hold(&bucket.name, &turn_of_content(&sha256)?).await?;
        let ended = match self.adopt_duplicate(&bucket, &upload, &staged_at, context.lease()).await {
            Ok(None) => self.commit_upload(&bucket, &key, &condition, &upload, new, context).await,
            Ok(Some(ended)) => Ok(ended),
            Err(fault) => Err(fault),
        };
        self.release(&turn).await;
        ended
    }

    async fn commit_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        condition: &WriteCondition,
        upload: &UploadRecord,
        new: NewBytes,
        context: &JobContext,
    ) -> Result<Ended, Fault> {
        match self.commit_bytes(bucket, key, new, condition, Some(upload.id), Some(context)).await {
            Ok(_) => Ok(Ended::Recorded),
            // Another upload took the wanted key since this one was accepted.
            Err(fault) if fault.code == Code::PreconditionFailed => {
                let taken = accept::key_taken(bucket, key);
                fail_upload(self, upload.id, taken, Some(context.lease())).await?;
                Ok(Ended::Recorded)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Decodes a picture in full, strictly, and says what is recorded of it; `None` for other files.
    pub(crate) async fn examine(
        &self,
        bucket: &Bucket,
        (store, staged, fingerprint): (&Arc<dyn Store>, &Place, &str),
        sha256: &str,
        file_type: Option<&FileType>,
        suspect: bool,
    ) -> Result<Option<Picture>, Fault> {
        if !file_type.is_some_and(BucketPolicy::is_picture) {
            return Ok(None);
        }
        let began = Instant::now();
        let recipes: Vec<_> =
            self.wanted_at_upload(bucket).await?.into_iter().map(|wanted| wanted.recipe).collect();
        let known = Known { sound: false, suspect };
        let loaded =
            self.decode((store, staged, fingerprint), bucket.policy.image, recipes.clone(), known).await?;
        let (decoded, description) = self
            .pixels()
            .run(move || {
                let description = loaded.decoded.describe()?;
                Ok::<_, larder_image::Error>((loaded, description))
            })
            .await??;
        let (width_px, height_px) = decoded.inspection.oriented_size();
        let picture = Picture {
            width_px,
            height_px,
            frames: decoded.inspection.frames,
            has_gps: decoded.inspection.has_gps,
            description: serde_json::json!({
                "blurhash": description.blurhash,
                "thumbhash": description.thumbhash,
                "dominant_color": description.dominant_color,
            }),
            perceptual_hash: description.perceptual_hash.cast_signed(),
        };
        tracing::debug!(%staged, elapsed_ms = began.elapsed().as_millis() as u64, "examined a picture");
        self.pixels().keep_warm(sha256, recipes, decoded.decoded, decoded.share);
        Ok(Some(picture))
    }

    /// Where the staged bytes lie, with their fingerprint; `None` if they have moved already.
    async fn staged_bytes(&self, upload: &UploadRecord) -> Result<Option<(Place, String)>, Fault> {
        let Some(staged) = &upload.staging_place else { return Ok(None) };
        let staged = place(staged)?;
        match self.store(&upload.staging_store)?.stat(&staged).await {
            Ok(stat) => Ok(Some((staged, stat.fingerprint.to_string()))),
            Err(larder_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes are no longer in staging: an earlier run moved them and was cut off before their
    /// record. Holding the key settles that.
    async fn resume_moved(&self, upload: &UploadRecord, key: &ObjectKey) -> Result<Ended, Fault> {
        let held = self.hold(&upload.bucket, key).await?;
        self.release(&held).await;
        let now = self.catalog().upload(upload.id).await?.ok_or_else(|| accept::no_upload(upload.id))?;
        if now.asset_id.is_some() || now.status.is_final() {
            return Ok(Ended::Open);
        }
        Err(Fault::new(
            Code::StoredBytesCorrupt,
            format!("the staged bytes of the upload {} are gone", upload.id),
        )
        .remedy("something outside Larder removed them; send the file again"))
    }

    async fn begin_processing(&self, upload: &UploadRecord) -> Result<(), Fault> {
        if upload.status == UploadStatus::Processing {
            return Ok(());
        }
        let id = upload.id;
        let change = UploadChange {
            status: Some(UploadStatus::Processing),
            stage: Some("checking".to_owned()),
            ..UploadChange::default()
        };
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(
                    async move { tx.change_upload(id, &[UploadStatus::Pending], change).await.map(drop) },
                )
            })
            .await?;
        Ok(())
    }

    /// If the bucket holds these bytes already, the upload becomes that asset.
    async fn adopt_duplicate(
        &self,
        bucket: &Bucket,
        upload: &UploadRecord,
        staged: &Place,
        lease: Lease,
    ) -> Result<Option<Ended>, Fault> {
        let sha256 = upload.sha256.as_deref().unwrap_or_default();
        let Some(asset) = self.catalog().asset_with_sha256(&bucket.name, sha256).await? else {
            return Ok(None);
        };
        let ready = asset.status == AssetStatus::Ready;
        let change = UploadChange {
            status: Some(if ready { UploadStatus::Completed } else { UploadStatus::Processing }),
            stage: Some(if ready { "done" } else { "variants" }.to_owned()),
            progress_percentage: Some(if ready { 100 } else { 75 }),
            key: Some(asset.key.clone()),
            asset: Some((asset.id, asset.version)),
            staging_place: Some(None),
            ..UploadChange::default()
        };
        let id = upload.id;
        // The other upload's variants job does not know this one: it gets its own.
        let job = match ready {
            true => None,
            false => {
                let job = MakeVariants { asset_id: asset.id, upload_id: Some(id), recipes: None };
                Some(jobs::new_job(&job)?.bucket(bucket.name.clone()).subject(asset.id))
            }
        };
        let (found, sha256) = (asset.id, sha256.to_owned());
        let adopted = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.confirm_lease(lease).await?;
                    let asset = tx.asset(found).await?;
                    if asset.is_none_or(|now| now.deleted_at.is_some() || now.sha256 != sha256) {
                        return Ok(false);
                    }
                    tx.change_upload(id, &[UploadStatus::Pending, UploadStatus::Processing], change).await?;
                    if let Some(job) = job {
                        tx.enqueue(job).await?;
                    }
                    tx.finish_job(lease).await?;
                    Ok(true)
                })
            })
            .await?;
        if !adopted {
            return Ok(None);
        }
        super::stage::discard(&**self.store(&upload.staging_store)?, staged).await;
        Ok(Some(Ended::Recorded))
    }

    fn key_for(
        &self,
        bucket: &Bucket,
        id: UploadId,
        file_name: Option<&str>,
        sha256: &str,
        file_type: Option<&FileType>,
    ) -> Result<ObjectKey, Fault> {
        let own_extension = file_name
            .and_then(larder_core::key::extension_of)
            .filter(|text| text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        // The name's extension agrees with the bytes, or it would have been refused; it says more
        // where bytes say little (text, ZIP).
        let extension = own_extension.as_deref().or(file_type.map(FileType::extension)).unwrap_or("bin");
        let at = larder_core::Timestamp::from_millis(millis_of(id));
        let fields = template::Fields { at, id, file_name, sha256, extension };
        Ok(template::fill(&bucket.policy.key_template, &fields)?)
    }
}

/// The instant that a UUIDv7 carries (RFC 9562, section 5.7), so that a key is the same whenever it
/// is made.
fn millis_of(id: UploadId) -> i64 {
    let mut bytes = [0; 8];
    bytes[2..].copy_from_slice(&id.as_bytes()[..6]);
    i64::from_be_bytes(bytes)
}

/// Equal bytes take turns in a bucket that deduplicates, as writers of one key do, and by the same
/// means: of two that come at once, the second finds the first's asset. The name is an ordinary key, so
/// that whoever writes an asset under it waits a moment, and no more.
fn turn_of_content(sha256: &str) -> Result<ObjectKey, Fault> {
    Ok(format!("deduplicate/{sha256}").parse()?)
}

fn content_type(file_type: Option<&FileType>) -> String {
    file_type.map_or("application/octet-stream", |known| known.content_type).to_owned()
}
