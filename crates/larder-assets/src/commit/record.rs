//! The record of bytes that lie at their place, with everything that its transaction stores.

use larder_catalog::{
    AssetRecord, AssetStatus, Class, CopyState, Fence, SpareCopy, Tx, UploadChange, UploadStatus,
    VariantIdentity,
};
use larder_core::{Code, Fault, UploadId};
use larder_store::Fingerprint;

use super::{intent::WriteIntent, turn::Turns};
use crate::{
    buckets::Bucket,
    cdn::{Noting, Reason},
    jobs::{self, JobContext, make_variants::MakeVariants},
    larder::{Larder, place},
    variants::Wanted,
};

/// Assets with equal bytes whose records are corrected at once when damaged bytes were replaced by whole
/// ones; a scrub that repairs corrects what is beyond.
const CORRECTED_MAX: u32 = 1_000;

impl Larder {
    /// Stores the record for bytes that lie at their place.
    pub(crate) async fn record_write(
        &self,
        bucket: &Bucket,
        turns: Turns<'_>,
        intent: WriteIntent,
        moved: &Fingerprint,
        job: Option<&JobContext>,
    ) -> Result<(AssetRecord, bool), Fault> {
        let held = turns.key;
        let store = self.store(&intent.bytes.store)?;
        let fingerprint = store.stat(&place(&intent.target)?).await?.fingerprint;
        if fingerprint != *moved {
            return Err(Fault::new(
                Code::Conflict,
                format!("{}/{} was overwritten while it was stored", held.bucket, held.key),
            )
            .remedy("try again"));
        }
        let created = intent.replaces.is_none();
        let wanted = match intent.bytes.picture {
            Some(_) => self.wanted_at_upload(bucket).await?,
            None => Vec::new(),
        };
        let asset = self.asset_record(held, &intent, &fingerprint, wanted.is_empty());
        let work = RecordWork {
            held: held.clone(),
            content: turns.content.cloned(),
            corrects: turns.corrects,
            replaces: intent.replaces,
            upload: intent.upload,
            job: match wanted.is_empty() {
                true => None,
                false => Some(
                    jobs::new_job(&MakeVariants {
                        asset_id: asset.id,
                        upload_id: intent.upload,
                        recipes: None,
                    })?
                    .bucket(held.bucket.clone())
                    .subject(asset.id),
                ),
            },
            wanted,
            asset,
            ended: job.map(JobContext::lease),
            noting: self.noting()?,
        };
        let asset = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { work.store(tx).await }))
            .await?;
        self.record_cache().forget(&asset.bucket, &asset.key);
        Ok((asset, created))
    }

    fn asset_record(
        &self,
        held: &Fence,
        intent: &WriteIntent,
        fingerprint: &Fingerprint,
        is_ready: bool,
    ) -> AssetRecord {
        let now = self.ambient().now();
        let bytes = intent.bytes.clone();
        let picture = bytes.picture;
        AssetRecord {
            id: intent.asset_id,
            bucket: held.bucket.clone(),
            key: held.key.clone(),
            version: 1,
            status: if is_ready { AssetStatus::Ready } else { AssetStatus::Processing },
            store: bytes.store,
            place: intent.target.clone(),
            fingerprint: fingerprint.to_string(),
            size_bytes: bytes.size_bytes,
            sha256: bytes.sha256,
            md5: bytes.md5,
            content_type: bytes.content_type,
            original_filename: bytes.original_filename,
            owner: bytes.owner,
            metadata: bytes.metadata,
            tags: bytes.tags,
            width_px: picture.as_ref().map(|picture| picture.width_px),
            height_px: picture.as_ref().map(|picture| picture.height_px),
            frames: picture.as_ref().map(|picture| picture.frames),
            has_gps: picture.as_ref().is_some_and(|picture| picture.has_gps),
            perceptual_hash: picture.as_ref().map(|picture| picture.perceptual_hash),
            description: picture.map(|picture| picture.description),
            created_at: now,
            written_at: now,
            updated_at: now,
            expires_at: bytes.expires_at,
            deleted_at: None,
            trash_place: None,
        }
    }
}

/// Everything that one transaction stores for bytes at their place.
struct RecordWork {
    held: Fence,
    content: Option<Fence>,
    corrects: bool,
    asset: AssetRecord,
    replaces: Option<i64>,
    upload: Option<UploadId>,
    wanted: Vec<Wanted>,
    job: Option<larder_catalog::NewJob>,
    ended: Option<larder_catalog::Lease>,
    noting: Option<Noting>,
}

impl RecordWork {
    async fn store(mut self, tx: &mut Tx) -> larder_catalog::Result<AssetRecord> {
        tx.confirm_place(&self.held).await?;
        if let Some(content) = &self.content {
            tx.confirm_place(content).await?;
            if self.corrects {
                let asset = &self.asset;
                let lies = (asset.store.as_str(), asset.place.as_str());
                tx.bytes_lie_at(lies, &asset.sha256, &asset.fingerprint, CORRECTED_MAX).await?;
            }
            tx.release_place(content).await?;
        }
        match self.replaces {
            None => tx.insert_asset(&self.asset).await?,
            Some(expected) => {
                let before = tx.asset(self.asset.id).await?;
                if let (Some(noting), Some(before)) = (self.noting.take(), &before) {
                    noting.asset(tx, before, Reason::Replaced).await?;
                }
                self.asset.version = tx.replace_asset(&self.asset, expected).await?;
                let lay = |asset: &AssetRecord| (asset.store.clone(), asset.place.clone());
                if let Some(before) = before.filter(|before| lay(before) != lay(&self.asset)) {
                    tx.note_spare(&SpareCopy::left_by(&before), CopyState::Void).await?;
                }
                tx.void_copies_of_asset(self.asset.id).await?;
                tx.mark_variants_stale(self.asset.id, &self.asset.sha256).await?;
            }
        }
        for wanted in &self.wanted {
            let identity = VariantIdentity {
                asset_id: self.asset.id,
                source_sha256: self.asset.sha256.clone(),
                recipe_digest: wanted.digest.clone(),
            };
            tx.want_variant(&identity, &wanted.recipe.to_string(), Some(&wanted.preset)).await?;
        }
        if let Some(upload) = self.upload {
            let change = upload_change(&self.asset, self.job.is_some());
            tx.change_upload(upload, &[UploadStatus::Pending, UploadStatus::Processing], change).await?;
        }
        if let Some(job) = self.job {
            tx.enqueue(job).await?;
        }
        if let Some(lease) = self.ended {
            tx.finish_job(lease).await?;
        }
        tx.release_place(&self.held).await?;
        Ok(self.asset)
    }
}

fn upload_change(asset: &AssetRecord, variants_follow: bool) -> UploadChange {
    let (status, stage, progress) = match variants_follow {
        true => (UploadStatus::Processing, "variants", 75),
        false => (UploadStatus::Completed, "done", 100),
    };
    UploadChange {
        status: Some(status),
        stage: Some(stage.to_owned()),
        progress_percentage: Some(progress),
        key: Some(asset.key.clone()),
        asset: Some((asset.id, asset.version)),
        staging_place: Some(None),
        ..UploadChange::default()
    }
}
