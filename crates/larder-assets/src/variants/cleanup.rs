//! Variants that are no longer wanted.

use larder_catalog::{Class, VariantRecord};
use larder_core::Fault;

use super::source_of_shared;
use crate::{
    commit::Held,
    larder::{Larder, place},
};

impl Larder {
    /// Removes a variant: first its record, so that no reader is sent to bytes that are gone, then
    /// its bytes, unless others share them. Cut off between the two, the bytes are adopted when the variant
    /// is made again, or found by a comparison of store and catalogue.
    pub(crate) async fn remove_variant(&self, variant: &VariantRecord) -> Result<bool, Fault> {
        let turn = self.hold_variants_at(&variant.place).await?;
        let removed = self.remove_variant_held(variant, turn.as_ref()).await;
        self.give_back(&turn).await;
        let (removed, left) = removed?;
        if left > 0 {
            self.remove_void_variants(variant.asset_id).await;
        }
        self.record_cache().forget_variants(variant.asset_id);
        Ok(removed)
    }

    /// Answers whether it was removed, and how many copies of it moves left in other stores.
    async fn remove_variant_held(
        &self,
        variant: &VariantRecord,
        turn: Option<&Held>,
    ) -> Result<(bool, u64), Fault> {
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
        if removed && !at.is_empty() {
            self.remove_unnamed(&store, &at, turn).await?;
        }
        Ok((removed, left))
    }

    /// Removes the bytes at a place of variants, unless a record names it: the same picture put under the
    /// same key again has its variants at the same places, and so may others.
    async fn remove_unnamed(&self, store: &str, at: &str, turn: Option<&Held>) -> Result<(), Fault> {
        if !self.catalog().variants_at_place(store, at).await?.is_empty() {
            return Ok(());
        }
        let (store, at) = (self.store(store)?, place(at)?);
        match turn {
            Some(turn) => turn.remove(store, &at).await?,
            None => store.remove(&at).await?,
        };
        Ok(())
    }

    /// Removes bytes of variants in the primary store that no record names.
    pub(crate) async fn remove_unrecorded(&self, places: &[String]) -> Result<(), Fault> {
        for at in places {
            let turn = self.hold_variants_at(at).await?;
            let removed = self.remove_unnamed(self.stores().primary_name(), at, turn.as_ref()).await;
            self.give_back(&turn).await;
            removed?;
        }
        Ok(())
    }

    /// Removes a variant whose bytes are lost or not what they were, and with it all that share them: nobody
    /// may take them up again.
    pub(crate) async fn remove_lost_variant(&self, variant: &VariantRecord) -> Result<bool, Fault> {
        let removed = self.remove_variant(variant).await?;
        // Whoever was faster took all of them, and they may have been made again since.
        if removed && source_of_shared(&variant.place).is_some() {
            loop {
                let others = self.catalog().variants_at_place(&variant.store, &variant.place).await?;
                let mut any = false;
                for other in others {
                    any |= self.remove_variant(&other).await?;
                }
                if !any {
                    break;
                }
            }
        }
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
