//! Variants that somebody asks for before they are made.
//!
//! In one process, [`Flights`](super::Flights) lets one reader make the variant while the others
//! wait. Across processes two may make it at the same time; the store's create-if-absent and the
//! catalogue's first record decide, so that all readers see the same bytes.

use larder_catalog::{AssetRecord, Class, VariantIdentity, VariantRecord, VariantStatus};
use larder_core::{Code, Fault};
use larder_image::Recipe;

use super::{
    make::{failed_before, still_has},
    recipe_digest,
};
use crate::{buckets::Bucket, larder::Larder, reading::refuse_damaged};

impl Larder {
    /// The variant's record, made first if need be.
    ///
    /// # Errors
    /// [`Code::VariantNotFound`] if the asset is no picture; the reason if it can't be made.
    pub(crate) async fn variant_on_demand(
        &self,
        bucket: &Bucket,
        asset: &AssetRecord,
        recipe: &Recipe,
        preset: Option<&str>,
    ) -> Result<VariantRecord, Fault> {
        refuse_other_files(asset)?;
        let canonical = recipe.to_string();
        let identity = VariantIdentity {
            asset_id: asset.id,
            source_sha256: asset.sha256.clone(),
            recipe_digest: recipe_digest(&canonical),
        };
        if let Some(found) = self.usable(&identity).await? {
            return Ok(found);
        }
        refuse_damaged(asset)?;
        let _turn = self.flights().board(asset.id, &identity.recipe_digest).await;
        if let Some(found) = self.usable(&identity).await? {
            return Ok(found);
        }
        let (wanted, preset) = (identity.clone(), preset.map(str::to_owned));
        let (record, _) = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    still_has(tx, &wanted).await?;
                    tx.want_variant(&wanted, &canonical, preset.as_deref()).await
                })
            })
            .await?;
        if record.status == VariantStatus::Pending {
            let made = self.make(bucket, asset, vec![(record, recipe.clone())], None).await?;
            self.record_made(asset, made, None, None).await?;
        }
        self.usable(&identity).await?.ok_or_else(|| {
            Fault::new(Code::Conflict, "the asset was replaced while its variant was made")
                .remedy("ask again")
        })
    }

    /// A variant that is there. One that failed for good is an error, so that a bad recipe or file is
    /// not tried for every reader anew.
    async fn usable(&self, identity: &VariantIdentity) -> Result<Option<VariantRecord>, Fault> {
        let record = self.catalog().variant_of(identity).await?;
        match record {
            Some(record) if record.status == VariantStatus::Ready => Ok(Some(record)),
            Some(record) if record.status == VariantStatus::Failed => Err(failed_before(&record)),
            _ => Ok(None),
        }
    }
}

/// Refuses what is no picture.
pub(super) fn refuse_other_files(asset: &AssetRecord) -> Result<(), Fault> {
    if asset.width_px.is_some() {
        return Ok(());
    }
    let detail =
        format!("{}/{} is {}, of which no variants are made", asset.bucket, asset.key, asset.content_type);
    Err(Fault::new(Code::VariantNotFound, detail).remedy("ask for the asset itself under /m/"))
}
