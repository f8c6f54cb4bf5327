//! Switching a record to the store in which a copy of its bytes lies now.

use larder_catalog::{Class, CopyState, Error, SpareCopy, Tx};
use larder_core::Fault;

use super::{copying::Landed, item::Item};
use crate::{commit::HELD_FOR, fail_point, larder::Larder, liveness::ProcessName};

impl Larder {
    /// Switches the record of an item, in one transaction that proves the turn of its key; answers `false`
    /// if the record is another one by now, or the copy was removed.
    ///
    /// Usually nobody else writes the key: then that transaction takes the turn as well and gives it back,
    /// so that no writer ever waits for a move. A variant has no turn; its record alone decides.
    pub(super) async fn switch(&self, item: &Item, to: &str, landed: &Landed) -> Result<bool, Fault> {
        let work = SwitchWork {
            item: item.clone(),
            to: to.to_owned(),
            place: landed.place.to_string(),
            fingerprint: landed.fingerprint.clone(),
        };
        let Item::Asset(asset) = item else {
            let commit = self
                .catalog()
                .commit(Class::Durable, move |tx| Box::pin(async move { work.store(tx).await }));
            return self.switched(item, commit.await?);
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
}

impl SwitchWork {
    async fn store(self, tx: &mut Tx) -> larder_catalog::Result<bool> {
        let noted = tx.spare_copy(&self.to, &self.place).await?;
        if !noted.is_some_and(|copy| self.may_take_up(&copy)) {
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
        if !tx.take_up_copy(&self.to, &self.place, self.item.sha256()).await? {
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
