//! Switching one record by itself to the store in which a copy of its bytes lies now.

use larder_catalog::{AssetRecord, Class, CopyState, Error, Fence, SpareCopy, Tx};
use larder_core::Fault;

use super::{copying::Landed, item::Item};
use crate::{
    commit::HELD_FOR, content::is_shared, fail_point, larder::Larder, liveness::ProcessName,
    variants::source_of_shared,
};

impl Larder {
    /// Switches the record of an item, in one transaction that proves the turn of its key; answers `false`
    /// if the record is another one by now, or the copy was removed.
    ///
    /// Usually nobody else writes the key: then that transaction takes the turn as well and gives it back,
    /// so that no writer ever waits for a move. A variant has no turn; its record alone decides.
    pub(super) async fn switch_alone(&self, item: &Item, to: &str, landed: &Landed) -> Result<bool, Fault> {
        let work = SwitchWork {
            item: item.clone(),
            to: to.to_owned(),
            place: landed.place.to_string(),
            fingerprint: landed.fingerprint.clone(),
            is_shared: false,
        };
        let asset = match item {
            Item::Asset(asset) if is_shared(&work.place, &asset.sha256) => {
                return self.switch_shared(item, Some(asset), work).await;
            }
            Item::Variant(..) if source_of_shared(&work.place).is_some() => {
                return self.switch_shared(item, None, work).await;
            }
            Item::Variant(..) => {
                let commit = self
                    .catalog()
                    .commit(Class::Durable, move |tx| Box::pin(async move { work.store(tx).await }));
                return self.switched(item, commit.await?);
            }
            Item::Asset(asset) => asset,
        };
        let (bucket, key, again) = (asset.bucket.clone(), asset.key.clone(), work.clone());
        let until = self.ambient().now().plus(HELD_FOR);
        let at_once = self.catalog().commit(Class::Durable, move |tx| {
            Box::pin(async move {
                let row = tx.take_place(&bucket, &key, &ProcessName::current().to_string(), until).await?;
                if row.intent.is_some() {
                    return Err(Error::Precondition {
                        what: format!("a write of {bucket}/{key} was cut off"),
                        cause: None,
                    });
                }
                let switched = work.store(tx).await?;
                tx.release_place(&row.fence()).await?;
                Ok(switched)
            })
        });
        let switched = match at_once.await {
            Ok(switched) => switched,
            Err(Error::Precondition { .. }) => {
                let held = self.hold(&asset.bucket, &asset.key).await?;
                let fence = (*held).clone();
                let commit = self.catalog().commit(Class::Durable, move |tx| {
                    Box::pin(async move {
                        tx.confirm_place(&fence).await?;
                        let switched = again.store(tx).await?;
                        tx.release_place(&fence).await?;
                        Ok(switched)
                    })
                });
                match commit.await {
                    Ok(switched) => switched,
                    Err(error) => {
                        self.release(&held).await;
                        return Err(error.into());
                    }
                }
            }
            Err(error) => return Err(error.into()),
        };
        self.switched(item, switched)
    }

    /// As [`switch_alone`](Self::switch_alone), to bytes that others may share: none is removed meanwhile, and they are
    /// looked at again.
    async fn switch_shared(
        &self,
        item: &Item,
        asset: Option<&AssetRecord>,
        work: SwitchWork,
    ) -> Result<bool, Fault> {
        let held = match asset {
            Some(asset) => Some(self.hold(&asset.bucket, &asset.key).await?),
            None => None,
        };
        let turn = match asset {
            Some(asset) => self.hold_content(&asset.bucket, &asset.sha256).await.map(Some),
            None => self.hold_variants_at(&work.place).await,
        };
        let outcome = match &turn {
            Ok(turn) => {
                let fences = [&held, turn].into_iter().flatten().map(|held| (**held).clone()).collect();
                self.switch_held(work, fences).await
            }
            Err(fault) => Err(fault.clone()),
        };
        if !matches!(outcome, Ok(Some(_))) {
            for held in [turn.ok().flatten(), held].into_iter().flatten() {
                self.release(&held).await;
            }
        }
        outcome?.map_or(Ok(false), |switched| self.switched(item, switched))
    }

    /// Looks at the copy and switches the record in turns, which it gives back; `None` if the copy is not
    /// there.
    async fn switch_held(&self, work: SwitchWork, fences: Vec<Fence>) -> Result<Option<bool>, Fault> {
        let lies = self.lies_at(&work.to, &work.place).await?;
        if lies.is_none_or(|found| found != work.fingerprint) {
            return Ok(None);
        }
        let work = SwitchWork { is_shared: true, ..work };
        let commit = self.catalog().commit(Class::Durable, move |tx| {
            Box::pin(async move {
                for fence in &fences {
                    tx.confirm_place(fence).await?;
                }
                let switched = work.store(tx).await?;
                for fence in &fences {
                    tx.release_place(fence).await?;
                }
                Ok(switched)
            })
        });
        Ok(Some(commit.await?))
    }

    fn switched(&self, item: &Item, switched: bool) -> Result<bool, Fault> {
        fail_point::reached("migrate.switched");
        match item {
            Item::Asset(asset) => self.record_cache().forget(&asset.bucket, &asset.key),
            Item::Variant(variant, _) => self.record_cache().forget_variants(variant.asset_id),
        }
        Ok(switched)
    }
}

/// Everything that one transaction stores when a record is switched.
#[derive(Clone)]
struct SwitchWork {
    item: Item,
    to: String,
    place: String,
    fingerprint: String,
    /// Whether others may share the bytes; they are held then. A note of them may be another asset's.
    is_shared: bool,
}

impl SwitchWork {
    async fn store(self, tx: &mut Tx) -> larder_catalog::Result<bool> {
        let noted = tx.spare_copy(&self.to, &self.place).await?;
        if !self.is_shared && !noted.is_some_and(|copy| self.may_take_up(&copy)) {
            return Ok(false);
        }
        let moved = match &self.item {
            Item::Asset(asset) => tx.move_asset(asset, &self.to, &self.place, &self.fingerprint).await?,
            Item::Variant(variant, _) => {
                tx.move_variant(variant, &self.to, &self.place, &self.fingerprint).await?
            }
        };
        if !moved {
            return Ok(false);
        }
        if !tx.take_up_copy(&self.to, &self.place, self.item.sha256()).await? && !self.is_shared {
            return Err(Error::Precondition { what: "the copy was removed".to_owned(), cause: None });
        }
        if let Some(left) = self.item.left() {
            tx.note_spare(&left, CopyState::Left).await?;
        }
        Ok(true)
    }

    fn may_take_up(&self, copy: &SpareCopy) -> bool {
        copy.state != CopyState::Void && copy.sha256 == self.item.sha256()
    }
}
