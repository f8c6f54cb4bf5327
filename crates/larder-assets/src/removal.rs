//! Deletion in two phases: into the trash, where it can be undone, and out of it.

use larder_catalog::{AssetRecord, Class, Fence};
use larder_core::{AssetId, BucketName, Code, Fault, ObjectKey, Timestamp};
use larder_store::{Condition, Place, RenameOptions, Stat};
use serde::{Deserialize, Serialize};

use crate::{
    assets::no_asset,
    cdn::Reason,
    commit::{Held, Intent},
    content::shares,
    fail_point,
    intake::uncut,
    larder::{Larder, own_place, place},
    reading::no_asset_at,
    view::{AssetView, asset_view, etag},
};

/// How an asset is deleted.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// At once and for good, past the trash.
    pub purge: bool,
    /// Only if the asset has one of these entity tags.
    pub if_match: Option<Vec<String>>,
}

/// What a deletion did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deleted {
    /// The asset.
    pub id: AssetId,
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key, which is free now.
    pub key: ObjectKey,
    /// Bytes it had.
    pub size_bytes: u64,
    /// Whether it is gone for good.
    pub purged: bool,
    /// Until when it can be restored.
    pub restore_until: Option<Timestamp>,
}

impl Larder {
    /// Deletes the asset under a key. When this returns, its place is empty (direct URLs answer 404)
    /// and its key is free; until the trash is emptied it can be restored. Bytes in the `hash` layout stay
    /// where they lie until then.
    ///
    /// # Errors
    /// [`Code::AssetNotFound`] if nothing was there; [`Code::PreconditionFailed`].
    pub async fn delete(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        options: &DeleteOptions,
    ) -> Result<Deleted, Fault> {
        self.delete_expected(bucket, key, Expected::Any, options).await
    }

    /// Deletes this asset, and no other that has its key by now. One that lies in the trash already
    /// can be purged.
    ///
    /// # Errors
    /// As [`Larder::delete`].
    pub async fn delete_asset(&self, id: AssetId, options: &DeleteOptions) -> Result<Deleted, Fault> {
        match self.catalog().asset(id).await? {
            Some(asset) if asset.deleted_at.is_none() => {
                self.delete_expected(&asset.bucket, &asset.key, Expected::Asset(id), options).await
            }
            Some(asset) if options.purge => {
                is_meant(&asset, options)?;
                self.purge_on_request(&asset).await?;
                Ok(Deleted {
                    id,
                    bucket: asset.bucket,
                    key: asset.key,
                    size_bytes: asset.size_bytes,
                    purged: true,
                    restore_until: None,
                })
            }
            _ => Err(no_asset(id)),
        }
    }

    /// Deletes an asset that a rule names, into the trash, unless it was replaced or given another end
    /// since it was looked at: then the rule has to look again.
    ///
    /// # Errors
    /// As [`Larder::delete`]; [`Code::AssetNotFound`] if it is not as it was.
    pub(crate) async fn delete_as_seen(&self, seen: &AssetRecord) -> Result<Deleted, Fault> {
        let expected = Expected::Seen(seen.id, seen.version, seen.expires_at);
        self.delete_expected(&seen.bucket, &seen.key, expected, &DeleteOptions::default()).await
    }

    /// Once begun, a deletion goes to its end even if its caller goes away: bytes in the trash with a
    /// record that says otherwise would have to be mended.
    async fn delete_expected(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        expected: Expected,
        options: &DeleteOptions,
    ) -> Result<Deleted, Fault> {
        let (larder, bucket, key, options) = (self.clone(), bucket.clone(), key.clone(), options.clone());
        uncut(async move { larder.delete_now(&bucket, &key, expected, &options).await }).await
    }

    async fn delete_now(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        expected: Expected,
        options: &DeleteOptions,
    ) -> Result<Deleted, Fault> {
        let rules = self.bucket(bucket).await?;
        if self.catalog().asset_at(bucket, key).await?.is_none() {
            return Err(no_asset_at(bucket, key));
        }
        let held = self.hold(bucket, key).await?;
        let asset = match self.deletable(&held, expected, options).await {
            Ok(asset) => asset,
            Err(fault) => {
                self.release(&held).await;
                return Err(fault);
            }
        };
        let trash = match shares(&asset) {
            true => asset.place.clone(),
            false => self.put_into_trash(&held, &asset).await?.to_string(),
        };
        fail_point::reached("delete.trashed");
        let deleted = match self.record_deletion(&held, asset.id, asset.version, &trash).await {
            Ok(deleted) => deleted,
            Err(fault) => {
                self.hand_on(&held).await;
                return Err(fault);
            }
        };
        fail_point::reached("delete.recorded");
        self.remove_void_copies(deleted.id).await;
        if options.purge {
            self.purge(&deleted).await?;
        }
        Ok(Deleted {
            id: deleted.id,
            bucket: deleted.bucket,
            key: deleted.key,
            size_bytes: deleted.size_bytes,
            purged: options.purge,
            restore_until: (!options.purge).then(|| self.ambient().now().plus(rules.policy.trash.0)),
        })
    }

    async fn deletable(
        &self,
        held: &Fence,
        expected: Expected,
        options: &DeleteOptions,
    ) -> Result<AssetRecord, Fault> {
        let asset = self.catalog().asset_at(&held.bucket, &held.key).await?;
        let asset = asset.ok_or_else(|| no_asset_at(&held.bucket, &held.key))?;
        match expected {
            // The key was free for a moment, and is another asset's now.
            Expected::Asset(id) | Expected::Seen(id, ..) if id != asset.id => return Err(no_asset(id)),
            Expected::Seen(id, version, expires_at)
                if (version, expires_at) != (asset.version, asset.expires_at) =>
            {
                return Err(no_asset(id));
            }
            _ => {}
        }
        is_meant(&asset, options)?;
        Ok(asset)
    }

    /// Moves an asset's bytes into the trash. On failure the turn of the key is given back.
    async fn put_into_trash(&self, held: &Held, asset: &AssetRecord) -> Result<Place, Fault> {
        let trash = own_place(&format!("trash/{}", asset.id))?;
        let intent = Intent::Delete { asset_id: asset.id, version: asset.version, trash: trash.to_string() };
        if let Err(fault) = self.declare_intent(held, &intent).await {
            self.release(held).await;
            return Err(fault);
        }
        if let Err(fault) = self.move_to_trash(held, asset, &trash).await {
            // A move that failed at its sync may have happened: then the intent stays for recovery.
            match self.lies_at(&asset.store, &asset.place).await {
                Ok(Some(_)) => self.release(held).await,
                _ => self.hand_on(held).await,
            }
            return Err(fault);
        }
        Ok(trash)
    }

    async fn move_to_trash(&self, held: &Held, asset: &AssetRecord, trash: &Place) -> Result<(), Fault> {
        held.may_move()?;
        let store = self.store(&asset.store)?;
        match store.rename(&place(&asset.place)?, trash, RenameOptions::default()).await {
            Ok(_) => Ok(()),
            // Bytes that are gone already need no moving; the record goes as well.
            Err(larder_store::Error::NotFound { .. }) => {
                tracing::warn!(place = asset.place, "the bytes of a deleted asset were gone already");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stores the deletion of an asset whose bytes lie in the trash, and removes its variants.
    pub(crate) async fn record_deletion(
        &self,
        held: &Fence,
        id: AssetId,
        version: i64,
        trash: &str,
    ) -> Result<AssetRecord, Fault> {
        let (fence, trash, noting) = (held.clone(), trash.to_owned(), self.noting()?);
        let deleted = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.confirm_place(&fence).await?;
                    let deleted = tx.mark_asset_deleted(id, version, Some(&trash)).await?;
                    if let Some(noting) = noting {
                        noting.asset(tx, &deleted, Reason::Deleted).await?;
                    }
                    tx.void_copies_of_asset(id).await?;
                    tx.release_place(&fence).await?;
                    Ok(deleted)
                })
            })
            .await?;
        self.record_cache().forget(&held.bucket, &held.key);
        // Nothing reads them any more, and they can be made again. What a crash leaves here is
        // removed with the trash.
        self.remove_variants_of(id).await?;
        Ok(deleted)
    }

    /// Brings a deleted asset back under its key.
    ///
    /// # Errors
    /// [`Code::AssetNotFound`] if it is not in the trash (any more); [`Code::Conflict`] if its key
    /// was taken since.
    pub async fn restore(&self, id: AssetId) -> Result<AssetView, Fault> {
        let larder = self.clone();
        uncut(async move { larder.restore_now(id).await }).await
    }

    async fn restore_now(&self, id: AssetId) -> Result<AssetView, Fault> {
        let gone = || {
            Fault::new(Code::AssetNotFound, format!("no deleted asset {id} is in the trash"))
                .remedy("restore it from a backup, or upload it again")
        };
        let asset =
            self.catalog().asset(id).await?.filter(|asset| asset.deleted_at.is_some()).ok_or_else(gone)?;
        let bucket = self.bucket(&asset.bucket).await?;
        let held = self.hold(&asset.bucket, &asset.key).await?;
        // A purge may have been faster, or a move to another store.
        let now = self.catalog().asset(id).await.map_err(Fault::from);
        let in_trash = now.and_then(|now| {
            let now = now.filter(|now| now.deleted_at.is_some()).ok_or_else(gone)?;
            let trash = now.trash_place.clone().ok_or_else(gone)?;
            Ok((now, trash))
        });
        let (asset, trash) = match in_trash {
            Ok(in_trash) => in_trash,
            Err(fault) => {
                self.release(&held).await;
                return Err(fault);
            }
        };
        let restored = self.restore_held(&held, &asset, &trash).await;
        if restored.is_err() {
            match self.lies_at(&asset.store, &trash).await {
                Ok(Some(_)) => self.release(&held).await,
                _ => self.hand_on(&held).await,
            }
        }
        let restored = restored?;
        if restored.width_px.is_some() {
            self.rebuild(id).await?;
        }
        Ok(asset_view(self, &bucket, &restored))
    }

    async fn restore_held(
        &self,
        held: &Held,
        asset: &AssetRecord,
        trash: &str,
    ) -> Result<AssetRecord, Fault> {
        if let Some(other) = self.catalog().asset_at(&held.bucket, &held.key).await? {
            return Err(Fault::new(
                Code::Conflict,
                format!("{}/{} is taken by the asset {}", held.bucket, held.key, other.id),
            )
            .remedy("delete or move that asset first"));
        }
        if trash == asset.place {
            // Its record has kept the bytes from being removed. Whoever reads them compares them with it.
            return match self.lies_at(&asset.store, trash).await? {
                Some(_) => self.record_restoration(held, asset.id, &asset.place, &asset.fingerprint).await,
                None => Err(Fault::new(Code::StoredBytesCorrupt, format!("the bytes at {trash} are gone"))
                    .remedy("restore the file from a backup, or upload it again")),
            };
        }
        let mut target = place(&asset.place)?;
        let mut moved = self.move_back(held, asset, trash, &target).await?;
        if moved.is_none() {
            // Another key came to lie in the way: `a/b` while `a` was in the trash.
            let bucket = self.bucket(&held.bucket).await?;
            target = Place::escaped(bucket.prefix(), &held.key);
            moved = self.move_back(held, asset, trash, &target).await?;
        }
        let moved = moved.ok_or_else(|| Fault::internal(format!("the escaped place {target} is blocked")))?;
        self.record_restoration(held, asset.id, target.as_str(), moved.fingerprint.as_str()).await
    }

    /// Moves bytes out of the trash; `None` if the file system can't give the place.
    async fn move_back(
        &self,
        held: &Held,
        asset: &AssetRecord,
        trash: &str,
        target: &Place,
    ) -> Result<Option<Stat>, Fault> {
        let intent = Intent::Restore {
            asset_id: asset.id,
            target: target.to_string(),
            trash: trash.to_owned(),
            store: asset.store.clone(),
        };
        self.declare_intent(held, &intent).await?;
        held.may_move()?;
        let store = self.store(&asset.store)?;
        let options = || RenameOptions { condition: Condition::IfAbsent, ..RenameOptions::default() };
        let mut moved = store.rename(&place(trash)?, target, options()).await;
        if matches!(moved, Err(larder_store::Error::Precondition { .. }))
            && self.remove_if_spare(&asset.store, target).await?
        {
            held.may_move()?;
            moved = store.rename(&place(trash)?, target, options()).await;
        }
        match moved {
            Err(larder_store::Error::Blocked { .. }) => Ok(None),
            moved => Ok(Some(moved?)),
        }
    }

    pub(crate) async fn record_restoration(
        &self,
        held: &Fence,
        id: AssetId,
        target: &str,
        fingerprint: &str,
    ) -> Result<AssetRecord, Fault> {
        let (fence, target, fingerprint) = (held.clone(), target.to_owned(), fingerprint.to_owned());
        let noting = self.noting()?;
        let restored = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.confirm_place(&fence).await?;
                    let restored = tx.restore_asset(id, &target, &fingerprint).await?;
                    if let Some(noting) = noting {
                        noting.asset(tx, &restored, Reason::Restored).await?;
                    }
                    tx.release_place(&fence).await?;
                    Ok(restored)
                })
            })
            .await?;
        self.record_cache().forget(&held.bucket, &held.key);
        Ok(restored)
    }

    /// As [`purge`](Self::purge), and caches are told of it once more: somebody wants it gone everywhere,
    /// and when it was deleted perhaps nobody could be told.
    async fn purge_on_request(&self, asset: &AssetRecord) -> Result<bool, Fault> {
        if let Some(noting) = self.noting()? {
            let asset = asset.clone();
            self.catalog()
                .commit(Class::Durable, move |tx| {
                    Box::pin(async move { noting.asset(tx, &asset, Reason::Purged).await })
                })
                .await?;
        }
        self.purge(asset).await
    }

    /// Removes a deleted asset for good: variants, bytes, then the record, so that whatever remains
    /// after a crash is still known and removed by the next attempt. Answers whether it was still there
    /// to be removed.
    pub(crate) async fn purge(&self, asset: &AssetRecord) -> Result<bool, Fault> {
        // Whoever restores it takes the same turn: one of the two finds nothing to do.
        let held = self.hold(&asset.bucket, &asset.key).await?;
        let outcome = self.purge_held(&held, asset).await;
        self.release(&held).await;
        if matches!(outcome, Ok(true)) {
            self.remove_void_copies(asset.id).await;
        }
        outcome
    }

    async fn purge_held(&self, held: &Held, asset: &AssetRecord) -> Result<bool, Fault> {
        let present = self.catalog().asset(asset.id).await?;
        let deleted = |now: &AssetRecord| now.deleted_at.is_some() && now.trash_place == asset.trash_place;
        let Some(asset) = present.filter(deleted) else { return Ok(false) };
        held.may_move()?;
        self.remove_variants_of(asset.id).await?;
        if shares(&asset) && asset.trash_place.as_ref() == Some(&asset.place) {
            self.purge_content(&asset).await?;
            return Ok(true);
        }
        if let Some(trash) = &asset.trash_place {
            self.store(&asset.store)?.remove(&place(trash)?).await?;
        }
        let id = asset.id;
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.void_copies_of_asset(id).await?;
                    tx.purge_asset(id).await
                })
            })
            .await?;
        Ok(true)
    }
}

/// What a deletion expects under its key.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// Any asset.
    Any,
    /// This one.
    Asset(AssetId),
    /// This one, at this version and with this end.
    Seen(AssetId, i64, Option<Timestamp>),
}

fn is_meant(asset: &AssetRecord, options: &DeleteOptions) -> Result<(), Fault> {
    let tag = etag(&asset.sha256);
    if options.if_match.as_ref().is_none_or(|tags| tags.is_empty() || tags.contains(&tag)) {
        return Ok(());
    }
    Err(Fault::new(Code::PreconditionFailed, format!("the asset's entity tag is {tag}"))
        .remedy("read the asset again and decide anew"))
}
