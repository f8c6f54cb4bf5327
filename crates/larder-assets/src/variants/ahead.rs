//! Variants that a reader does not wait for: it is shown another format, and a job makes this one.
//!
//! That is for formats that take seconds to encode. One job makes such a variant however many ask, in
//! however many processes; if it fails, the variant's record says so and nobody tries again.

use std::{sync::Arc, time::Duration};

use larder_catalog::{AssetRecord, Class, NewJob, VariantIdentity, VariantStatus};
use larder_core::{BucketName, Code, Fault, ObjectKey};
use larder_image::Recipe;

use super::{make::still_has, on_demand::refuse_other_files, recipe_digest};
use crate::{
    jobs::{self, make_variants::MakeVariants},
    larder::Larder,
};

/// Behind everything that somebody waits for: uploads have 0, their variants more.
const PRIORITY: i64 = -10;

/// How often a process makes sure that the job for a variant is there. Once is enough but for jobs that
/// were cancelled or forgotten; and a page that is asked for all the time must not commit each time.
pub(crate) const ENSURE_EVERY: Duration = Duration::from_secs(60);

/// How far a variant is that need not be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtHand {
    /// It can be read.
    Ready,
    /// A job makes it.
    Coming,
    /// It can't be made.
    Failed,
}

impl Larder {
    /// Whether a variant can be read at once. If it is not there yet, a job is enqueued that makes it.
    /// `preset` is the name under which it was asked for.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`], [`Code::AssetNotFound`]; [`Code::VariantNotFound`] if the asset is no
    /// picture.
    pub async fn variant_at_hand(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        recipe: &Recipe,
        preset: Option<&str>,
    ) -> Result<AtHand, Fault> {
        let bucket = self.bucket(bucket).await?;
        let asset = self.remembered_asset(&bucket.name, key).await?;
        refuse_other_files(&asset)?;
        let identity = VariantIdentity {
            asset_id: asset.id,
            source_sha256: asset.sha256.clone(),
            recipe_digest: recipe_digest(&recipe.to_string()),
        };
        if self.remembered_variant(&asset, &identity.recipe_digest).is_some() {
            return Ok(AtHand::Ready);
        }
        let awaited = &self.record_cache().awaited;
        let lookup = awaited.look_up();
        if let Some(known) = awaited.get(&identity) {
            return Ok(known);
        }
        let record = self.catalog().variant_of(&identity).await?;
        let at_hand = match record.map(|record| record.status) {
            Some(VariantStatus::Ready) => AtHand::Ready,
            Some(VariantStatus::Failed) => AtHand::Failed,
            Some(VariantStatus::Pending) if self.record_cache().was_ensured(&identity) => AtHand::Coming,
            _ => self.ensure_job(&asset, &identity, recipe, preset).await?,
        };
        awaited.remember(lookup, identity, at_hand);
        Ok(at_hand)
    }

    /// Stores that the variant is wanted, and the job that makes it, in one transaction.
    async fn ensure_job(
        &self,
        asset: &Arc<AssetRecord>,
        identity: &VariantIdentity,
        recipe: &Recipe,
        preset: Option<&str>,
    ) -> Result<AtHand, Fault> {
        let canonical = recipe.to_string();
        let args =
            MakeVariants { asset_id: asset.id, upload_id: None, recipes: Some(vec![canonical.clone()]) };
        // Asked for again while it runs, it need not run again: what it makes is what was asked for. It
        // does not count to the bucket's backlog, which would keep uploads out.
        let job = NewJob { rerun: false, ..jobs::new_job(&args)? }.priority(PRIORITY).subject(asset.id);
        let (wanted, preset) = (identity.clone(), preset.map(str::to_owned));
        let stored = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    still_has(tx, &wanted).await?;
                    let (record, _) = tx.want_variant(&wanted, &canonical, preset.as_deref()).await?;
                    if record.status == VariantStatus::Pending {
                        tx.enqueue(job).await?;
                    }
                    Ok(record.status)
                })
            })
            .await
            .map_err(Fault::from);
        match stored {
            Ok(VariantStatus::Ready) => Ok(AtHand::Ready),
            Ok(VariantStatus::Failed) => Ok(AtHand::Failed),
            Ok(VariantStatus::Pending | VariantStatus::Stale) => {
                self.record_cache().note_ensured(identity.clone());
                Ok(AtHand::Coming)
            }
            // Replaced or deleted since its record was read: the next reader asks for what is there then.
            Err(fault) if fault.code == Code::Conflict || fault.code == Code::PreconditionFailed => {
                Ok(AtHand::Coming)
            }
            Err(fault) => Err(fault),
        }
    }
}
