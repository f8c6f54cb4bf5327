//! The record of a file that stays where it lies.

use larder_catalog::{AssetRecord, AssetStatus, Class};
use larder_core::{AssetId, Code, Fault, ObjectKey, Timestamp};
use larder_store::{Entry, Place};
use serde_json::{Map, Value};

use super::{Adopted, Depth, How, Probed};
use crate::{buckets::Bucket, intake::key_taken, larder::Larder};

impl Larder {
    /// Makes an asset of a file, unless it is one.
    pub(crate) async fn adopt_file(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        entry: &Entry,
        how: How,
    ) -> Result<Adopted, Fault> {
        let store = self.stores().primary_name();
        if let Some(known) = self.known_at(store, &entry.place).await? {
            return known.as_adopted(entry);
        }
        if self.catalog().spare_copy(store, entry.place.as_str()).await?.is_some() {
            return Err(Fault::new(
                Code::Conflict,
                format!("{} is a copy of a move between stores", entry.place),
            )
            .remedy("remove what a move left with `larder migrate --cleanup`"));
        }
        if let Some(other) = self.catalog().asset_at(&bucket.name, key).await? {
            return Err(Fault::new(
                Code::Conflict,
                format!("{}/{key} is the asset {} at {}", bucket.name, other.id, other.place),
            )
            .remedy("delete or copy one of the two"));
        }
        let probed = self.probe(bucket, (store, &entry.place), key, how).await?;
        if how.depth != Depth::Header {
            self.register(bucket, key, &entry.place, probed, entry.modified).await?;
        }
        Ok(Adopted::Asset)
    }

    /// What the catalogue knows of the bytes at a place of a store.
    pub(crate) async fn known_at(&self, store: &str, place: &Place) -> Result<Option<KnownAt>, Fault> {
        if let Some(asset) = self.catalog().asset_at_place(store, place.as_str(), None).await? {
            return Ok(Some(KnownAt::Asset(Box::new(asset))));
        }
        let variants = self.catalog().variants_at_place(store, place.as_str()).await?;
        Ok(variants.into_iter().next().map(|_| KnownAt::Variant))
    }

    /// Stores the record of bytes that stay where they lie. Writers of the key wait meanwhile.
    ///
    /// # Errors
    /// [`Code::Conflict`] if the key was taken or the bytes changed since they were looked at.
    pub(crate) async fn register(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        place: &Place,
        probed: Probed,
        modified: Timestamp,
    ) -> Result<AssetRecord, Fault> {
        let asset = self.adopted_record(bucket, key, place, probed, modified);
        if place.content().is_some_and(|sha256| sha256 != asset.sha256) {
            return Err(Fault::new(
                Code::StoredBytesCorrupt,
                format!("the bytes at {place} are not those that its name stands for"),
            )
            .remedy("restore the file from a backup, or take it away"));
        }
        let held = self.hold(&bucket.name, key).await?;
        let content = match place.content() {
            Some(sha256) => match self.hold_content(&bucket.name, sha256).await {
                Ok(turn) => Some(turn),
                Err(fault) => {
                    self.release(&held).await;
                    return Err(fault);
                }
            },
            None => None,
        };
        let outcome = async {
            // As it was looked at, or not at all: and durable, whoever wrote it.
            let lies = self.stores().primary().settle(place).await?;
            if lies.is_none_or(|stat| stat.fingerprint.as_str() != asset.fingerprint) {
                return Err(Fault::new(Code::Conflict, format!("{place} changed while it was adopted"))
                    .remedy("run it again when nothing else writes there"));
            }
            let (fence, record) = ((*held).clone(), asset.clone());
            let content = content.as_deref().cloned();
            self.catalog()
                .commit(Class::Durable, move |tx| {
                    Box::pin(async move {
                        tx.confirm_place(&fence).await?;
                        if let Some(content) = content {
                            tx.confirm_place(&content).await?;
                            tx.release_place(&content).await?;
                        }
                        tx.insert_asset(&record).await?;
                        tx.release_place(&fence).await
                    })
                })
                .await
                .map_err(|error| match error.is_precondition() {
                    true => key_taken(bucket, key),
                    false => error.into(),
                })
        };
        if let Err(fault) = outcome.await {
            if let Some(content) = &content {
                self.release(content).await;
            }
            self.release(&held).await;
            return Err(fault);
        }
        self.record_cache().forget(&bucket.name, key);
        Ok(asset)
    }

    fn adopted_record(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        place: &Place,
        probed: Probed,
        modified: Timestamp,
    ) -> AssetRecord {
        let now = self.ambient().now();
        let picture = probed.picture;
        AssetRecord {
            id: AssetId::new(self.ambient()),
            bucket: bucket.name.clone(),
            key: key.clone(),
            version: 1,
            // Its variants are made when they are asked for.
            status: AssetStatus::Ready,
            store: self.stores().primary_name().to_owned(),
            place: place.to_string(),
            fingerprint: probed.fingerprint,
            size_bytes: probed.size_bytes,
            sha256: probed.sha256,
            md5: probed.md5,
            content_type: probed.content_type,
            original_filename: None,
            owner: None,
            metadata: Value::Object(Map::new()),
            tags: Vec::new(),
            width_px: picture.as_ref().map(|picture| picture.width_px),
            height_px: picture.as_ref().map(|picture| picture.height_px),
            frames: picture.as_ref().map(|picture| picture.frames),
            has_gps: picture.as_ref().is_some_and(|picture| picture.has_gps),
            perceptual_hash: picture.as_ref().and_then(|picture| picture.perceptual_hash),
            description: picture.and_then(|picture| picture.description),
            created_at: modified.min(now),
            // Rules of retention count from the adoption: a file must not be deleted for its age in the
            // hour in which it becomes an asset.
            written_at: now,
            updated_at: now,
            expires_at: None,
            deleted_at: None,
            trash_place: None,
        }
    }
}

/// What the catalogue knows of the bytes at a place.
#[derive(Debug)]
pub(crate) enum KnownAt {
    Asset(Box<AssetRecord>),
    Variant,
}

impl KnownAt {
    fn as_adopted(&self, entry: &Entry) -> Result<Adopted, Fault> {
        match self {
            Self::Asset(asset) if asset.fingerprint != entry.fingerprint.as_str() => Err(Fault::new(
                Code::Conflict,
                format!("the bytes are not those of the asset {} any more", asset.id),
            )
            .remedy("run `larder scrub`, which says what became of them")),
            _ => Ok(Adopted::Present),
        }
    }
}
