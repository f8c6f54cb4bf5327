//! Variants that are no longer wanted.

use larder_catalog::{Class, VariantRecord};
use larder_core::Fault;

use crate::larder::{Larder, place};

impl Larder {
    /// Removes a variant: first its record, so that no reader is sent to bytes that are gone, then
    /// its bytes. Cut off between the two, the bytes are adopted when the variant is made again, or
    /// found by a comparison of store and catalogue.
    pub(crate) async fn remove_variant(&self, variant: &VariantRecord) -> Result<bool, Fault> {
        let (id, status) = (variant.id, variant.status);
        let removed = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.remove_variant(id, status).await }))
            .await?;
        // The same picture put under the same key again has its variants at the same places.
        let is_named = async || -> Result<bool, Fault> {
            Ok(!self.catalog().variants_at_place(&variant.store, &variant.place).await?.is_empty())
        };
        if removed && !variant.place.is_empty() && !is_named().await? {
            self.store().remove(&place(&variant.place)?).await?;
        }
        self.record_cache().forget_variants(variant.asset_id);
        Ok(removed)
    }

    /// Removes all variants of an asset.
    pub(crate) async fn remove_variants_of(&self, asset: larder_core::AssetId) -> Result<(), Fault> {
        for variant in self.catalog().variants(asset).await? {
            self.remove_variant(&variant).await?;
        }
        Ok(())
    }
}
