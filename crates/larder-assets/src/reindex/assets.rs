//! Assets as they were, held against what lies at their places.

use futures::{StreamExt, stream};
use larder_catalog::{AssetRecord, AssetStatus, Class};
use larder_core::Fault;
use larder_store::Stat;

use super::{AT_A_TIME, Difference, DifferenceKind, Reindex, Source, short};
use crate::{
    adopt::{Depth, How},
    content::shares,
    jobs::{self, make_variants::MakeVariants},
    larder::{own_place, place},
};

/// An asset after the look at the store.
struct Judged {
    asset: AssetRecord,
    /// Whether it differs from its record in the store.
    is_new: bool,
    difference: Option<(DifferenceKind, String)>,
    /// Nothing of it is left.
    is_gone: bool,
}

/// What became of it.
enum Outcome {
    Rebuilt(Judged),
    Present(AssetRecord),
    KeyTaken(AssetRecord),
    Gone,
}

impl Reindex<'_> {
    pub(super) async fn assets(&mut self, assets: Vec<AssetRecord>) -> Result<(), Fault> {
        let this = &*self;
        let outcomes: Vec<_> =
            stream::iter(assets).map(|asset| this.asset(asset)).buffer_unordered(AT_A_TIME).collect().await;
        for outcome in outcomes {
            self.follow.check()?;
            match outcome? {
                Outcome::Rebuilt(judged) => self.count(judged),
                Outcome::Present(asset) => {
                    self.report.present += 1;
                    self.remember(&asset);
                }
                Outcome::KeyTaken(asset) => {
                    let detail = "another asset has its key; its record is left in the store".to_owned();
                    self.differs(difference(&asset, DifferenceKind::KeyTaken, detail));
                }
                Outcome::Gone => {}
            }
        }
        Ok(())
    }

    fn count(&mut self, judged: Judged) {
        match judged.asset.deleted_at {
            Some(_) => self.report.deleted += 1,
            None => {
                self.report.assets += 1;
                self.report.asset_bytes += judged.asset.size_bytes;
            }
        }
        self.remember(&judged.asset);
        if let Some((kind, detail)) = judged.difference {
            self.differs(difference(&judged.asset, kind, detail));
        }
    }

    fn remember(&mut self, asset: &AssetRecord) {
        let source = Source { sha256: short(&asset.sha256), is_live: asset.deleted_at.is_none() };
        self.sources.insert(asset.id, source);
        if self.options.dry_run && (asset.deleted_at.is_none() || shares(asset)) {
            self.places.insert(asset.place.clone());
        }
    }

    async fn asset(&self, asset: AssetRecord) -> Result<Outcome, Fault> {
        if !shares(&asset) || self.options.dry_run {
            return self.asset_alone(asset).await;
        }
        // Nobody removes the bytes between the look at them and the record.
        let turn = self.larder.hold_content(&asset.bucket, &asset.sha256).await?;
        let outcome = self.asset_alone(asset).await;
        self.larder.release(&turn).await;
        outcome
    }

    async fn asset_alone(&self, asset: AssetRecord) -> Result<Outcome, Fault> {
        if let Some(present) = self.larder.catalog().asset(asset.id).await? {
            return Ok(Outcome::Present(present));
        }
        let judged = match asset.deleted_at {
            None => self.judge_live(asset).await?,
            Some(_) => self.judge_deleted(asset).await?,
        };
        if judged.is_gone {
            return Ok(Outcome::Gone);
        }
        if self.options.dry_run {
            return Ok(Outcome::Rebuilt(judged));
        }
        let (record, is_new) = (judged.asset.clone(), judged.is_new);
        // Its job went with the lost catalogue.
        let job = match record.status == AssetStatus::Processing && record.deleted_at.is_none() {
            true => {
                let job = MakeVariants { asset_id: record.id, upload_id: None, recipes: None };
                Some(jobs::new_job(&job)?.bucket(record.bucket.clone()).subject(record.id))
            }
            false => None,
        };
        let inserted = self
            .larder
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    let inserted = tx.rebuild_asset(&record, is_new).await?;
                    if let Some(job) = job.filter(|_| inserted) {
                        tx.enqueue(job).await?;
                    }
                    Ok(inserted)
                })
            })
            .await?;
        self.larder.record_cache().forget(&judged.asset.bucket, &judged.asset.key);
        Ok(if inserted { Outcome::Rebuilt(judged) } else { Outcome::KeyTaken(judged.asset) })
    }

    async fn judge_live(&self, mut asset: AssetRecord) -> Result<Judged, Fault> {
        let at = place(&asset.place)?;
        let Some((store, stat)) = self.larder.found_in(&asset.store, &at).await? else {
            return self.judge_absent(asset).await;
        };
        let is_elsewhere = asset.store != store;
        asset.store = store;
        if self.is_as_recorded(&asset, &stat).await? {
            let is_new = is_elsewhere || asset.fingerprint != stat.fingerprint.as_str();
            asset.fingerprint = stat.fingerprint.to_string();
            return Ok(Judged { asset, is_new, difference: None, is_gone: false });
        }
        // Other bytes at a digest are damaged ones, whenever they came.
        if !shares(&asset)
            && stat.modified > asset.written_at
            && let Some(newer) = self.newer(&asset, &stat).await?
        {
            let detail =
                format!("its bytes were written at {} and are taken as its next version", stat.modified);
            let difference = Some((DifferenceKind::Newer, detail));
            return Ok(Judged { asset: newer, is_new: true, difference, is_gone: false });
        }
        asset.status = AssetStatus::Failed;
        let detail = format!(
            "its {} bytes are not those that were stored ({} bytes); it is marked as damaged",
            stat.size_bytes, asset.size_bytes
        );
        let difference = Some((DifferenceKind::Damaged, detail));
        Ok(Judged { asset, is_new: true, difference, is_gone: false })
    }

    async fn is_as_recorded(&self, asset: &AssetRecord, stat: &Stat) -> Result<bool, Fault> {
        if stat.size_bytes != asset.size_bytes {
            return Ok(false);
        }
        if !self.options.verify {
            return Ok(true);
        }
        let opened = self
            .larder
            .opened((&asset.store, &place(&asset.place)?), stat.fingerprint.as_str(), None)
            .await?;
        Ok(self.larder.digest(opened.body).await? == asset.sha256)
    }

    /// The asset with the bytes that lie at its place, if they pass as an upload would.
    async fn newer(&self, asset: &AssetRecord, stat: &Stat) -> Result<Option<AssetRecord>, Fault> {
        let Ok(bucket) = self.larder.bucket(&asset.bucket).await else { return Ok(None) };
        let how = How { depth: Depth::Decode, ignore_extensions: true };
        let probed =
            match self.larder.probe(&bucket, (&asset.store, &place(&asset.place)?), &asset.key, how).await {
                Ok(probed) => probed,
                Err(fault) if fault.kind() == larder_core::FaultKind::Unavailable => return Err(fault),
                Err(_) => return Ok(None),
            };
        let picture = probed.picture;
        Ok(Some(AssetRecord {
            version: asset.version + 1,
            status: AssetStatus::Ready,
            fingerprint: probed.fingerprint,
            size_bytes: probed.size_bytes,
            sha256: probed.sha256,
            md5: probed.md5,
            content_type: probed.content_type,
            width_px: picture.as_ref().map(|picture| picture.width_px),
            height_px: picture.as_ref().map(|picture| picture.height_px),
            frames: picture.as_ref().map(|picture| picture.frames),
            has_gps: picture.as_ref().is_some_and(|picture| picture.has_gps),
            perceptual_hash: picture.as_ref().and_then(|picture| picture.perceptual_hash),
            description: picture.and_then(|picture| picture.description),
            written_at: stat.modified,
            updated_at: stat.modified,
            ..asset.clone()
        }))
    }

    /// Nothing lies at its place: it was deleted since its record was written, or its bytes are lost.
    async fn judge_absent(&self, mut asset: AssetRecord) -> Result<Judged, Fault> {
        let trash = own_place(&format!("trash/{}", asset.id))?;
        if let Some((store, _)) = self.larder.found_in(&asset.store, &trash).await? {
            asset.store = store;
            let now = self.larder.ambient().now();
            (asset.deleted_at, asset.updated_at) = (Some(now), now);
            asset.trash_place = Some(trash.to_string());
            let detail = "its bytes are in the trash, and so it is".to_owned();
            let difference = Some((DifferenceKind::Deleted, detail));
            return Ok(Judged { asset, is_new: true, difference, is_gone: false });
        }
        asset.store = self.larder.stores().primary_name().to_owned();
        asset.status = AssetStatus::Failed;
        let detail = "nothing lies at its place; it is marked, so that reads say so".to_owned();
        let difference = Some((DifferenceKind::Missing, detail));
        Ok(Judged { asset, is_new: true, difference, is_gone: false })
    }

    async fn judge_deleted(&self, mut asset: AssetRecord) -> Result<Judged, Fault> {
        let trash = asset.trash_place.as_deref().map(place).transpose()?;
        let in_trash = match &trash {
            Some(trash) => self.larder.found_in(&asset.store, trash).await?,
            None => None,
        };
        if let Some((store, _)) = in_trash {
            let is_new = asset.store != store;
            asset.store = store;
            return Ok(Judged { asset, is_new, difference: None, is_gone: false });
        }
        let back = self.larder.found_in(&asset.store, &place(&asset.place)?).await?;
        let back = back.filter(|(_, stat)| stat.fingerprint.as_str() == asset.fingerprint);
        if let Some((store, _)) = back {
            asset.store = store;
            (asset.deleted_at, asset.trash_place) = (None, None);
            let detail = "its bytes lie at its place again, and so it is no longer deleted".to_owned();
            let difference = Some((DifferenceKind::Restored, detail));
            return Ok(Judged { asset, is_new: true, difference, is_gone: false });
        }
        // It was purged since its record was written.
        Ok(Judged { asset, is_new: false, difference: None, is_gone: true })
    }
}

fn difference(asset: &AssetRecord, kind: DifferenceKind, detail: String) -> Difference {
    Difference {
        kind,
        bucket: asset.bucket.clone(),
        key: asset.key.to_string(),
        asset: asset.id,
        place: asset.trash_place.clone().unwrap_or_else(|| asset.place.clone()),
        detail,
    }
}
