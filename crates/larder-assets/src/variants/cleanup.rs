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
        if removed && !variant.place.is_empty() {
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
