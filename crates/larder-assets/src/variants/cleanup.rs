//! Variants that are no longer wanted.

use larder_catalog::{Class, VariantRecord};
use larder_core::Fault;

use crate::larder::{Larder, place};

impl Larder {
    /// Removes a variant: first its record, so that no reader is sent to bytes that are gone, then
    /// its bytes. Cut off between the two, the bytes are adopted when the variant is made again, or
    /// found by a comparison of store and catalogue.
    pub(crate) async fn remove_variant(&self, variant: &VariantRecord) -> Result<bool, Fault> {
        let (id, asset, status) = (variant.id, variant.asset_id, variant.status);
        let at = (variant.store.clone(), variant.place.clone());
        let outcome = self.catalog().commit(Class::Durable, move |tx| {
            Box::pin(async move {
                // It may have been moved to another store since it was looked at.
                let lies = tx.variant(id).await?.map(|now| (now.store, now.place)).unwrap_or(at);
                let removed = tx.remove_variant(id, status).await?;
                let left = if removed { tx.void_copies_of_variant(asset, id).await? } else { 0 };
                Ok((removed, lies, left))
            })
        });
        let (removed, (store, at), left) = outcome.await?;
        // The same picture put under the same key again has its variants at the same places.
        let is_named = async || -> Result<bool, Fault> {
            Ok(!self.catalog().variants_at_place(&store, &at).await?.is_empty())
        };
        if removed && !at.is_empty() && !is_named().await? {
            self.store(&store)?.remove(&place(&at)?).await?;
        }
        if left > 0 {
            self.remove_void_variants(asset).await;
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
