//! Making variants and recording them: the first record wins.

use std::sync::Arc;

use bytes::Bytes;
use larder_catalog::{
    AssetChange, AssetRecord, AssetStatus, Class, Lease, Tx, UploadChange, UploadStatus, VariantIdentity,
    VariantRecord, VariantResult, VariantStatus,
};
use larder_core::{Code, Fault, UploadId};
use larder_image::{Deadline, Recipe, Rendition};
use larder_store::{Attributes, Condition, Place, PutOptions, Stat, StoreExt};
use sha2::{Digest, Sha256};

use super::{
    SourceFacts, Wanted,
    decode::{Known, Loaded},
    output_format, recipe_digest, source_of_shared, variant_place,
};
use crate::{
    buckets::Bucket,
    commit::Held,
    fail_point,
    jobs::{Ended, JobContext, make_variants::MakeVariants},
    larder::{Larder, place},
    policy::Layout,
};

impl MakeVariants {
    /// Whether a variant was this job's to make. What a bucket wants of every picture has the name of a
    /// preset, maybe of one that has changed since.
    fn is_about(&self, variant: &VariantRecord) -> bool {
        match &self.recipes {
            Some(recipes) => recipes.contains(&variant.recipe),
            None => variant.preset.is_some(),
        }
    }
}

/// A variant whose making ended, before it is recorded.
pub(crate) struct Made {
    pub(crate) id: larder_core::VariantId,
    pub(crate) result: VariantResult,
}

impl Made {
    /// What it was made of, if its bytes lie where others may share them.
    fn source(&self) -> Option<&str> {
        match &self.result {
            VariantResult::Ready { place, .. } => source_of_shared(place),
            VariantResult::Failed(_) => None,
        }
    }
}

/// The result that a variant's record tells of.
fn result_of(variant: VariantRecord) -> Option<VariantResult> {
    Some(VariantResult::Ready {
        store: variant.store,
        place: variant.place,
        fingerprint: variant.fingerprint,
        size_bytes: variant.size_bytes,
        sha256: variant.sha256,
        content_type: variant.content_type,
        width_px: variant.width_px?,
        height_px: variant.height_px?,
        frames: variant.frames?,
        encoder: variant.encoder?,
    })
}

impl Larder {
    /// The body of the variants job.
    pub(crate) async fn make_wanted_variants(
        &self,
        job: &MakeVariants,
        context: &JobContext,
    ) -> Result<Ended, Fault> {
        let Some(asset) =
            self.catalog().asset(job.asset_id).await?.filter(|asset| asset.deleted_at.is_none())
        else {
            // Deleted since: nothing is to be made, and whoever follows the upload is told so.
            if let Some(upload) = job.upload_id {
                self.complete_upload(upload).await?;
            }
            return Ok(Ended::Open);
        };
        let bucket = self.bucket(&asset.bucket).await?;
        let wanted = match &job.recipes {
            Some(recipes) => self.named_or_free(recipes).await?,
            None => self.wanted_at_upload(&bucket).await?,
        };
        let pending = self.pending(&asset, &wanted).await?;
        context.progress(0.1, "decoding");
        let made = self.make(&bucket, &asset, pending, Some(context)).await?;
        self.record_made(&asset, made, job.upload_id, Some(context.lease())).await?;
        fail_point::reached("variants.recorded");
        Ok(Ended::Recorded)
    }

    /// What remains to be said when the variants job ended for good: the variants that it was to make, and
    /// no others, have failed, the upload and the asset are complete without them.
    pub(crate) async fn give_variants_up(&self, job: &MakeVariants, fault: &Fault) -> Result<(), Fault> {
        let Some(asset) = self.catalog().asset(job.asset_id).await? else {
            if let Some(upload) = job.upload_id {
                self.complete_upload(upload).await?;
            }
            return Ok(());
        };
        let made = self
            .catalog()
            .variants(asset.id)
            .await?
            .into_iter()
            .filter(|variant| variant.status == VariantStatus::Pending && job.is_about(variant))
            .map(|variant| Made { id: variant.id, result: VariantResult::Failed(fault.clone()) })
            .collect();
        self.record_made(&asset, made, job.upload_id, None).await
    }

    async fn named_or_free(&self, recipes: &[String]) -> Result<Vec<Wanted>, Fault> {
        let presets = self.catalog().presets().await?;
        recipes
            .iter()
            .map(|text| {
                let recipe: Recipe = text.parse()?;
                let canonical = recipe.to_string();
                let preset = presets.iter().find(|preset| preset.recipe == canonical);
                Ok(Wanted {
                    preset: preset.map(|preset| preset.name.clone()).unwrap_or_default(),
                    digest: recipe_digest(&canonical),
                    recipe,
                })
            })
            .collect()
    }

    /// Records of those wanted variants that are still to be made.
    async fn pending(
        &self,
        asset: &AssetRecord,
        wanted: &[Wanted],
    ) -> Result<Vec<(VariantRecord, Recipe)>, Fault> {
        let identities: Vec<_> = wanted
            .iter()
            .map(|wanted| {
                let identity = VariantIdentity {
                    asset_id: asset.id,
                    source_sha256: asset.sha256.clone(),
                    recipe_digest: wanted.digest.clone(),
                };
                let preset = Some(wanted.preset.clone()).filter(|name| !name.is_empty());
                (identity, wanted.recipe.to_string(), preset)
            })
            .collect();
        let known = self.catalog().variants(asset.id).await?;
        let complete = identities.iter().all(|(identity, _, _)| {
            known.iter().any(|variant| {
                variant.source_sha256 == identity.source_sha256
                    && variant.recipe_digest == identity.recipe_digest
                    && variant.status != VariantStatus::Stale
            })
        });
        let records = match complete {
            // What the upload stored is usually all there is to it: no need for a commit.
            true => known,
            false => {
                self.catalog()
                    .commit(Class::Durable, move |tx| {
                        Box::pin(async move {
                            let mut records = Vec::new();
                            if let Some((identity, _, _)) = identities.first() {
                                still_has(tx, identity).await?;
                            }
                            for (identity, recipe, preset) in identities {
                                records.push(tx.want_variant(&identity, &recipe, preset.as_deref()).await?.0);
                            }
                            Ok(records)
                        })
                    })
                    .await?
            }
        };
        let is_wanted = |variant: &VariantRecord| {
            let recipe = wanted.iter().find(|wanted| wanted.digest == variant.recipe_digest)?;
            Some(recipe.recipe.clone())
        };
        Ok(records
            .into_iter()
            .filter(|variant| {
                variant.status == VariantStatus::Pending && variant.source_sha256 == asset.sha256
            })
            .filter_map(|variant| is_wanted(&variant).map(|recipe| (variant, recipe)))
            .collect())
    }

    /// Renders from one decode and puts each result to its place. A recipe that can't be made fails
    /// alone; an error of the whole is one that trying again may cure, or concerns the file.
    pub(crate) async fn make(
        &self,
        bucket: &Bucket,
        asset: &AssetRecord,
        pending: Vec<(VariantRecord, Recipe)>,
        context: Option<&JobContext>,
    ) -> Result<Vec<Made>, Fault> {
        let (mut made, pending) = self.taken_from_others(bucket, asset, pending).await?;
        if pending.is_empty() {
            return Ok(made);
        }
        let recipes: Vec<Recipe> = pending.iter().map(|(_, recipe)| recipe.clone()).collect();
        let renditions =
            self.render(bucket, asset, recipes, context.is_some_and(JobContext::is_suspect)).await?;
        fail_point::reached("variants.rendered");
        let total = pending.len() as f64;
        for (index, ((variant, _), rendition)) in pending.into_iter().zip(renditions).enumerate() {
            if let Some(context) = context {
                context.check()?;
                context.progress(0.5 + 0.5 * index as f64 / total, "storing");
            }
            let result = match rendition {
                Ok(rendition) => self.keep(bucket, asset, &variant, rendition).await?,
                Err(fault) => VariantResult::Failed(fault),
            };
            made.push(Made { id: variant.id, result });
        }
        fail_point::reached("variants.moved");
        Ok(made)
    }

    /// Results for those variants that another asset with the same bytes has already, and the rest.
    async fn taken_from_others(
        &self,
        bucket: &Bucket,
        asset: &AssetRecord,
        pending: Vec<(VariantRecord, Recipe)>,
    ) -> Result<(Vec<Made>, Vec<(VariantRecord, Recipe)>), Fault> {
        let (mut made, mut rest) = (Vec::new(), Vec::new());
        if bucket.policy.layout == Layout::Path {
            return Ok((made, pending));
        }
        let facts = SourceFacts {
            content_type: &asset.content_type,
            width_px: asset.width_px.unwrap_or(0),
            height_px: asset.height_px.unwrap_or(0),
            frames: asset.frames.unwrap_or(1),
        };
        for (variant, recipe) in pending {
            let format = output_format(&recipe, &facts);
            let (at, _) = variant_place(bucket, asset, &variant.recipe_digest, format)?;
            let primary = self.stores().primary_name();
            let others = self.catalog().variants_at_place(primary, at.as_str()).await?;
            let is_alike = |other: &VariantRecord| {
                (other.status, &other.source_sha256, &other.recipe_digest)
                    == (VariantStatus::Ready, &asset.sha256, &variant.recipe_digest)
            };
            match others.into_iter().find(is_alike).and_then(result_of) {
                Some(result) => made.push(Made { id: variant.id, result }),
                None => rest.push((variant, recipe)),
            }
        }
        Ok((made, rest))
    }

    async fn render(
        &self,
        bucket: &Bucket,
        asset: &AssetRecord,
        recipes: Vec<Recipe>,
        suspect: bool,
    ) -> Result<Vec<Result<Rendition, Fault>>, Fault> {
        let time = self.settings().image.decode_time_max();
        let (decoded, share) = match self.pixels().take_warm(&asset.sha256, &recipes) {
            Some(warm) => warm,
            None => {
                let Loaded { decoded, share, .. } = self
                    .decode(
                        (self.store(&asset.store)?, &place(&asset.place)?, &asset.fingerprint),
                        bucket.policy.image,
                        recipes.clone(),
                        Known { sound: true, suspect },
                    )
                    .await?;
                (decoded, share)
            }
        };
        let slot = self.pixels().render_slot().await?;
        let renditions = self
            .pixels()
            .run(move || {
                let _held = (slot, share);
                decoded.render(&recipes, Deadline::after(time))
            })
            .await?;
        Ok(renditions.into_iter().map(|rendition| rendition.map_err(Fault::from)).collect())
    }

    /// Puts a rendition to its place. If bytes lie there already, another worker was faster or died
    /// before its record: files at places are always whole, so those bytes are the variant.
    async fn keep(
        &self,
        bucket: &Bucket,
        asset: &AssetRecord,
        variant: &VariantRecord,
        rendition: Rendition,
    ) -> Result<VariantResult, Fault> {
        let (natural, escaped) = variant_place(bucket, asset, &variant.recipe_digest, rendition.format)?;
        let bytes = Bytes::from(rendition.bytes);
        let options = || PutOptions {
            condition: Condition::IfAbsent,
            attributes: Attributes {
                content_type: Some(rendition.format.content_type().to_owned()),
                ..Attributes::default()
            },
            size_hint: Some(bytes.len() as u64),
        };
        let mut at = natural;
        let store = self.stores().primary();
        let mut put = store.put_bytes(&at, bytes.clone(), options()).await;
        if let Err(larder_store::Error::Blocked { .. }) = put {
            at = escaped;
            put = store.put_bytes(&at, bytes.clone(), options()).await;
        }
        fail_point::reached("variants.staged");
        let (stat, bytes) = match put {
            Ok(stat) if stat.size_bytes == bytes.len() as u64 => (stat, bytes),
            Ok(stat) => {
                store.remove(&at).await?;
                let detail =
                    format!("the store kept {} of the {} bytes of {at}", stat.size_bytes, bytes.len());
                return Err(Fault::new(Code::BackendUnavailable, detail));
            }
            Err(larder_store::Error::Precondition { .. }) => self.found_at(&at).await?,
            Err(error) => return Err(error.into()),
        };
        Ok(VariantResult::Ready {
            store: self.stores().primary_name().to_owned(),
            place: at.to_string(),
            fingerprint: stat.fingerprint.to_string(),
            size_bytes: bytes.len() as u64,
            sha256: hex::encode(Sha256::digest(&bytes)),
            content_type: rendition.format.content_type().to_owned(),
            width_px: rendition.width_px,
            height_px: rendition.height_px,
            frames: rendition.frames,
            encoder: larder_image::encoder_version(rendition.format).to_owned(),
        })
    }

    async fn found_at(&self, at: &Place) -> Result<(Stat, Bytes), Fault> {
        let opened = self.stores().primary().open(at, Default::default()).await?;
        let stat = opened.stat.clone();
        Ok((stat, opened.exact().body.read_all(self.settings().upload_bytes_max).await?))
    }

    /// Records how the making of variants ended and completes the asset, the upload that waits and
    /// the job, in one transaction.
    pub(crate) async fn record_made(
        &self,
        asset: &AssetRecord,
        made: Vec<Made>,
        upload: Option<UploadId>,
        lease: Option<Lease>,
    ) -> Result<(), Fault> {
        let turn = match made.iter().any(|made| made.source().is_some()) {
            true => Some(self.hold_variants(&asset.sha256).await?),
            false => None,
        };
        let recorded = self.record_made_held(asset, made, upload, lease, turn.as_ref()).await;
        if let (Err(_), Some(turn)) = (&recorded, &turn) {
            self.release(turn).await;
        }
        self.remove_unrecorded(&recorded?).await?;
        self.record_cache().forget_variants(asset.id);
        Ok(())
    }

    /// Fails unless the bytes of variants that others share still lie there. Nobody removes them as long as
    /// the turn is held.
    async fn check_shared(&self, made: &[Made]) -> Result<(), Fault> {
        for made in made.iter().filter(|made| made.source().is_some()) {
            if let VariantResult::Ready { store, place, fingerprint, .. } = &made.result
                && self.lies_at(store, place).await?.as_ref() != Some(fingerprint)
            {
                return Err(Fault::new(
                    Code::Conflict,
                    format!("the variant at {place} was removed meanwhile"),
                )
                .remedy("ask again"));
            }
        }
        Ok(())
    }

    /// Answers where bytes lie that no record names after all.
    async fn record_made_held(
        &self,
        asset: &AssetRecord,
        made: Vec<Made>,
        upload: Option<UploadId>,
        lease: Option<Lease>,
        turn: Option<&Held>,
    ) -> Result<Vec<String>, Fault> {
        self.check_shared(&made).await?;
        let turn = turn.map(|turn| (**turn).clone());
        let (id, version, processing) = (asset.id, asset.version, asset.status == AssetStatus::Processing);
        let made = Arc::new(made);
        let unrecorded = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    if let Some(lease) = lease {
                        tx.confirm_lease(lease).await?;
                    }
                    if let Some(turn) = turn {
                        tx.confirm_place(&turn).await?;
                        tx.release_place(&turn).await?;
                    }
                    let mut unrecorded = Vec::new();
                    for made in made.iter() {
                        let won = tx.finish_variant(made.id, made.result.clone()).await?;
                        if let (false, VariantResult::Ready { place, .. }) = (won, &made.result) {
                            unrecorded.push(place.clone());
                        }
                    }
                    if processing {
                        let change =
                            AssetChange { status: Some(AssetStatus::Ready), ..AssetChange::default() };
                        // A replacement or deletion meanwhile has its own end.
                        ignore_precondition(tx.change_asset(id, Some(version), change).await.map(drop))?;
                    }
                    if let Some(upload) = upload {
                        let change = UploadChange {
                            status: Some(UploadStatus::Completed),
                            stage: Some("done".to_owned()),
                            progress_percentage: Some(100),
                            ..UploadChange::default()
                        };
                        let completed = tx.change_upload(upload, &[UploadStatus::Processing], change).await;
                        ignore_precondition(completed.map(drop))?;
                    }
                    if let Some(lease) = lease {
                        tx.finish_job(lease).await?;
                    }
                    Ok(unrecorded)
                })
            })
            .await?;
        Ok(unrecorded)
    }
}

/// Refuses variants of bytes that an asset does not have any more.
pub(super) async fn still_has(tx: &mut Tx, identity: &VariantIdentity) -> larder_catalog::Result<()> {
    let asset = tx.asset(identity.asset_id).await?;
    let has = |asset: &AssetRecord| asset.deleted_at.is_none() && asset.sha256 == identity.source_sha256;
    match asset.as_ref().is_some_and(has) {
        true => Ok(()),
        false => Err(larder_catalog::Error::Precondition {
            what: format!("the asset {} was replaced or deleted meanwhile", identity.asset_id),
            cause: None,
        }),
    }
}

fn ignore_precondition(outcome: larder_catalog::Result<()>) -> larder_catalog::Result<()> {
    match outcome {
        Err(larder_catalog::Error::Precondition { .. } | larder_catalog::Error::NotFound { .. }) => Ok(()),
        outcome => outcome,
    }
}

/// Why a variant that failed is not tried again by readers.
pub(crate) fn failed_before(record: &VariantRecord) -> Fault {
    record
        .error
        .clone()
        .unwrap_or_else(|| Fault::new(Code::UndecodableImage, "this variant could not be made"))
}
