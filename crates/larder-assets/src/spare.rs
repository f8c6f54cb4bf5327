//! Spare copies: bytes that no record names, beside those that one does.
//!
//! They come from moves between stores, and are removed when nothing they are copies of is there any
//! more, when a move was cut off, or when somebody asks for what was left. None is removed unless no
//! record names its place and it is certainly ours: by the fingerprint that was noted, or by digest.

use futures::future::BoxFuture;
use larder_catalog::{Class, CopyState, SpareCopy};
use larder_core::{AssetId, Code, Fault};
use larder_store::{OpenOptions, Place};

use crate::{
    commit::Held,
    content::is_shared_copy,
    fail_point,
    larder::{Larder, place},
    sweep::LEFTOVER_AGE,
};

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Its bytes are gone.
    Removed,
    /// There were none (any more).
    Gone,
    /// A record names its place again: they are no spare ones.
    Named,
    /// Other bytes lie there, which are not ours.
    Foreign,
}

/// When the note of a copy that is gone is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forget {
    /// At once.
    Now,
    /// When nobody can be about to put the copy any more: until then the note stays, as void. By it the bytes
    /// are known as ours if they come late, and no record is switched to them.
    WhenOld,
}

impl Larder {
    /// Removes a copy that is void, or that has been on its way for too long.
    pub(crate) async fn remove_spare(&self, copy: &SpareCopy, forget: Forget) -> Result<Dropped, Fault> {
        let held = self.hold_for(copy).await?;
        let outcome = self.drop_copy(copy, held.as_ref(), forget).await;
        self.give_back(&held).await;
        outcome
    }

    /// Takes the turn that the removal of a copy needs: that of its key, or of its content where bytes are
    /// shared. Variants that are not shared are written without one.
    pub(crate) async fn hold_for(&self, copy: &SpareCopy) -> Result<Option<Held>, Fault> {
        match copy.variant_id {
            Some(_) => self.hold_variants_at(&copy.place).await,
            None if is_shared_copy(copy) => self.hold_content(&copy.bucket, &copy.sha256).await.map(Some),
            None => self.hold(&copy.bucket, &copy.key).await.map(Some),
        }
    }

    /// Removes what became void with a change of an asset. What fails is removed by the next sweep.
    pub(crate) async fn remove_void_copies(&self, asset: AssetId) {
        for copy in self.void_copies_of(asset).await {
            told(self.remove_spare(&copy, Forget::WhenOld).await, &copy);
        }
    }

    /// Removes what became void with the removal of variants. What fails is removed by the next sweep.
    pub(crate) async fn remove_void_variants(&self, asset: AssetId) {
        for copy in self.void_copies_of(asset).await.into_iter().filter(|copy| copy.variant_id.is_some()) {
            told(self.drop_variant_copy(&copy).await, &copy);
        }
    }

    /// Removes a copy of a variant, in the turn of its source where bytes are shared.
    async fn drop_variant_copy(&self, copy: &SpareCopy) -> Result<Dropped, Fault> {
        let held = self.hold_variants_at(&copy.place).await?;
        let outcome = self.drop_copy(copy, held.as_ref(), Forget::WhenOld).await;
        self.give_back(&held).await;
        outcome
    }

    async fn void_copies_of(&self, asset: AssetId) -> Vec<SpareCopy> {
        match self.catalog().spare_copies_of(asset).await {
            Ok(copies) => copies.into_iter().filter(|copy| copy.state == CopyState::Void).collect(),
            Err(error) => {
                tracing::warn!(%asset, %error, "an asset's former copies were not looked for; the sweep will");
                Vec::new()
            }
        }
    }

    /// Removes the bytes at a place if they are a spare copy, and says whether the place is free now. For
    /// those who hold the turn of the key, and are about to write there.
    pub(crate) async fn remove_if_spare(&self, store: &str, at: &Place) -> Result<bool, Fault> {
        let Some(copy) = self.catalog().spare_copy(store, at.as_str()).await? else { return Ok(false) };
        Ok(matches!(self.drop_copy(&copy, None, Forget::WhenOld).await?, Dropped::Removed | Dropped::Gone))
    }

    /// Removes the bytes of a copy, if they are ours and no record names their place, and its note.
    pub(crate) async fn drop_copy(
        &self,
        copy: &SpareCopy,
        held: Option<&Held>,
        forget: Forget,
    ) -> Result<Dropped, Fault> {
        let dropped = match self.is_named(copy).await? {
            true => Dropped::Named,
            false => self.remove_ours(copy, held).await?,
        };
        if dropped == Dropped::Foreign {
            tracing::warn!(
                store = copy.store,
                place = copy.place,
                "other bytes lie where a copy was; they stay"
            );
        }
        fail_point::reached("cleanup.removed");
        // One that was left may be about to be put again by a move that found it there.
        let is_old = self.ambient().now().since(copy.noted_at) >= LEFTOVER_AGE;
        let may_come = forget == Forget::WhenOld && (copy.state == CopyState::Left || !is_old);
        let (noted, fence) = (copy.clone(), held.map(|held| (**held).clone()));
        let forgotten = self.catalog().commit(Class::Durable, move |tx| {
            Box::pin(async move {
                if let Some(fence) = fence {
                    tx.confirm_place(&fence).await?;
                }
                let is_same = match may_come {
                    true => tx.void_copy(&noted).await?,
                    false => tx.forget_copy(&noted).await?,
                };
                if !is_same {
                    tx.void_coming_copy(&noted).await?;
                }
                Ok(is_same)
            })
        });
        if !forgotten.await? && dropped == Dropped::Removed {
            self.forget_variants_without_bytes(copy).await?;
        }
        Ok(dropped)
    }

    /// Where no turn keeps a move away, one may have found the bytes of a variant a moment before they were removed, and
    /// have switched its record to them. Those are made again.
    ///
    /// Boxed, since a variant that is removed takes its copies along.
    fn forget_variants_without_bytes<'a>(&'a self, copy: &'a SpareCopy) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            for variant in self.catalog().variants_at_place(&copy.store, &copy.place).await? {
                if self.lies_at(&copy.store, &copy.place).await?.is_none() {
                    self.remove_lost_variant(&variant).await?;
                }
            }
            Ok(())
        })
    }

    async fn remove_ours(&self, copy: &SpareCopy, held: Option<&Held>) -> Result<Dropped, Fault> {
        let (store, at) = (self.store(&copy.store)?, place(&copy.place)?);
        let opened = match store.open(&at, OpenOptions::default()).await {
            Err(larder_store::Error::NotFound { .. }) => return Ok(Dropped::Gone),
            opened => opened?.exact(),
        };
        // On its way, or written again by a move that was cut off: only the bytes themselves tell.
        let ours = opened.stat.fingerprint.as_str() == copy.fingerprint
            || self.digest(opened.body).await? == copy.sha256;
        if !ours {
            return Ok(Dropped::Foreign);
        }
        match held {
            Some(held) => held.remove(store, &at).await?,
            None => store.remove(&at).await?,
        };
        Ok(Dropped::Removed)
    }

    /// Whether a record says that its bytes lie where a copy does.
    async fn is_named(&self, copy: &SpareCopy) -> Result<bool, Fault> {
        let lies = (copy.store.as_str(), copy.place.as_str());
        let is_needed = match is_shared_copy(copy) {
            true => self.is_content_needed((&copy.bucket, &copy.sha256), lies, None).await?,
            false => self.catalog().asset_at_place(lies.0, lies.1, None).await?.is_some(),
        };
        if is_needed {
            return Ok(true);
        }
        let asset = self.catalog().asset(copy.asset_id).await?;
        let in_trash = asset.is_some_and(|asset| {
            asset.store == copy.store && asset.trash_place.as_deref() == Some(copy.place.as_str())
        });
        Ok(in_trash || !self.catalog().variants_at_place(&copy.store, &copy.place).await?.is_empty())
    }
}

fn told(outcome: Result<Dropped, Fault>, copy: &SpareCopy) {
    match outcome {
        Ok(_) => {}
        Err(fault) if fault.code == Code::Conflict => {
            tracing::debug!(store = copy.store, place = copy.place, %fault, "a former copy is left to the sweep");
        }
        Err(fault) => {
            tracing::warn!(store = copy.store, place = copy.place, %fault, "a former copy could not be removed; the next sweep tries again");
        }
    }
}
