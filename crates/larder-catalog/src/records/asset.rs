//! Assets: what lies under a key, and all that is known of it.

use larder_core::{AssetId, BucketName, Code, ObjectKey, Timestamp};
use serde_json::Value;

use super::meta::MetaKind;
use crate::{
    change::Change,
    db::{FromRow, Param, Row, Statement, json, opt_json},
    error::{Error, Result},
    page::bounded,
    reads::reads,
    tx::{Class, Tx},
    words::words,
};

words! {
    /// How far an asset is.
    AssetStatus {
        /// It can be read; its variants are still to be made.
        Processing = "processing",
        /// Everything that its bucket asks for at upload is made, or finally failed.
        Ready = "ready",
        /// Its bytes turned out not to be what they claim.
        Failed = "failed",
    }
}

/// An asset. The record names the place of its bytes; readers need not know the layout.
#[derive(Debug, Clone, PartialEq)]
pub struct AssetRecord {
    /// Stays when the bytes under the key are replaced.
    pub id: AssetId,
    /// The bucket.
    pub bucket: BucketName,
    /// The key; unique in the bucket among assets that are not deleted.
    pub key: ObjectKey,
    /// Counts the bytes that lay under the key, from 1.
    pub version: i64,
    /// How far it is.
    pub status: AssetStatus,
    /// Name of the store that holds the bytes.
    pub store: String,
    /// Where the bytes lie in the store.
    pub place: String,
    /// What the store says of the bytes at the place, to notice that they changed behind our back:
    /// inode, mtime and size on a disk, the ETag on S3.
    pub fingerprint: String,
    /// Size of the bytes.
    pub size_bytes: u64,
    /// SHA-256 of the bytes, 64 hex digits.
    pub sha256: String,
    /// MD5 of the bytes, 32 hex digits: the ETag that S3 clients expect.
    pub md5: String,
    /// The sniffed media type, never the declared one.
    pub content_type: String,
    /// The name that the client gave the file.
    pub original_filename: Option<String>,
    /// Who it belongs to, in the words of the host application.
    pub owner: Option<String>,
    /// A JSON object of the user's.
    pub metadata: Value,
    /// Tags, in the user's order.
    pub tags: Vec<String>,
    /// Width as shown, after orientation.
    pub width_px: Option<u32>,
    /// Height as shown, after orientation.
    pub height_px: Option<u32>,
    /// Frames of an animation, 1 for a still picture.
    pub frames: Option<u32>,
    /// Whether the file tells where it was taken.
    pub has_gps: bool,
    /// What was computed of the picture: a placeholder, its colours.
    pub description: Option<Value>,
    /// 64 bits that are alike for pictures that look alike.
    pub perceptual_hash: Option<i64>,
    /// When the asset first came.
    pub created_at: Timestamp,
    /// When the bytes were last written: what rules of retention count from.
    pub written_at: Timestamp,
    /// When this record last changed.
    pub updated_at: Timestamp,
    /// When it is to be deleted by its bucket's rule or its uploader's wish.
    pub expires_at: Option<Timestamp>,
    /// When it was deleted; until it is purged it can be restored.
    pub deleted_at: Option<Timestamp>,
    /// Where the bytes lie while it is deleted: in the trash, or still at their place in the `hash` layout.
    pub trash_place: Option<String>,
}

/// A change of an asset that leaves its bytes alone; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AssetChange {
    /// How far it is.
    pub status: Option<AssetStatus>,
    /// Who it belongs to; `Some(None)` takes the owner away.
    pub owner: Option<Option<String>>,
    /// The user's JSON object.
    pub metadata: Option<Value>,
    /// Tags.
    pub tags: Option<Vec<String>>,
    /// Width, height and frames.
    pub dimensions: Option<(u32, u32, u32)>,
    /// Whether the file tells where it was taken.
    pub has_gps: Option<bool>,
    /// What was computed of the picture.
    pub description: Option<Value>,
    /// 64 bits that are alike for pictures that look alike.
    pub perceptual_hash: Option<i64>,
    /// When it is to be deleted; `Some(None)` never.
    pub expires_at: Option<Option<Timestamp>>,
    /// The bytes' fingerprint, after the bytes were found to be the same.
    pub fingerprint: Option<String>,
}

pub(super) const SELECT: &str = "SELECT id, bucket, key, version, status, store, place, fingerprint, size_bytes, sha256, \
    md5, content_type, original_filename, owner, metadata, tags, width_px, height_px, frames, has_gps, description, \
    perceptual_hash, created_at, written_at, updated_at, expires_at, deleted_at, trash_place FROM assets ";

impl FromRow for AssetRecord {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.parse("id")?,
            bucket: row.parse("bucket")?,
            key: row.parse("key")?,
            version: row.get("version")?,
            status: row.parse("status")?,
            store: row.get("store")?,
            place: row.get("place")?,
            fingerprint: row.get("fingerprint")?,
            size_bytes: row.count("size_bytes")?,
            sha256: row.get("sha256")?,
            md5: row.get("md5")?,
            content_type: row.get("content_type")?,
            original_filename: row.get("original_filename")?,
            owner: row.get("owner")?,
            metadata: row.json("metadata")?,
            tags: row.json("tags")?,
            width_px: row.opt_count("width_px")?,
            height_px: row.opt_count("height_px")?,
            frames: row.opt_count("frames")?,
            has_gps: row.flag("has_gps")?,
            description: row.opt_json("description")?,
            perceptual_hash: row.get("perceptual_hash")?,
            created_at: row.time("created_at")?,
            written_at: row.time("written_at")?,
            updated_at: row.time("updated_at")?,
            expires_at: row.opt_time("expires_at")?,
            deleted_at: row.opt_time("deleted_at")?,
            trash_place: row.get("trash_place")?,
        })
    }
}

impl AssetRecord {
    /// The columns that a replacement writes: all but identity, creation and deletion.
    fn content(&self) -> Vec<(&'static str, Param)> {
        vec![
            ("status", self.status.into()),
            ("store", (&self.store).into()),
            ("place", (&self.place).into()),
            ("fingerprint", (&self.fingerprint).into()),
            ("size_bytes", self.size_bytes.into()),
            ("sha256", (&self.sha256).into()),
            ("md5", (&self.md5).into()),
            ("content_type", (&self.content_type).into()),
            ("original_filename", (&self.original_filename).into()),
            ("owner", (&self.owner).into()),
            ("metadata", json(&self.metadata)),
            ("tags", json(&self.tags)),
            ("width_px", self.width_px.into()),
            ("height_px", self.height_px.into()),
            ("frames", self.frames.into()),
            ("has_gps", self.has_gps.into()),
            ("description", opt_json(&self.description)),
            ("perceptual_hash", self.perceptual_hash.into()),
            ("written_at", self.written_at.into()),
            ("updated_at", self.updated_at.into()),
            ("expires_at", self.expires_at.into()),
        ]
    }

    pub(super) fn columns(&self) -> Vec<(&'static str, Param)> {
        let mut columns = vec![
            ("id", self.id.into()),
            ("bucket", (&self.bucket).into()),
            ("key", (&self.key).into()),
            ("version", self.version.into()),
            ("created_at", self.created_at.into()),
            ("deleted_at", self.deleted_at.into()),
            ("trash_place", (&self.trash_place).into()),
        ];
        columns.extend(self.content());
        columns
    }
}

impl AssetChange {
    fn columns(self) -> Vec<(&'static str, Param)> {
        let mut columns = Vec::new();
        let mut set = |column, param: Option<Param>| columns.extend(param.map(|param| (column, param)));
        set("status", self.status.map(Into::into));
        set("owner", self.owner.map(Into::into));
        set("metadata", self.metadata.map(|metadata| json(&metadata)));
        set("tags", self.tags.map(|tags| json(&tags)));
        set("width_px", self.dimensions.map(|(width, _, _)| width.into()));
        set("height_px", self.dimensions.map(|(_, height, _)| height.into()));
        set("frames", self.dimensions.map(|(_, _, frames)| frames.into()));
        set("has_gps", self.has_gps.map(Into::into));
        set("description", self.description.map(|description| json(&description)));
        set("perceptual_hash", self.perceptual_hash.map(Into::into));
        set("expires_at", self.expires_at.map(Into::into));
        set("fingerprint", self.fingerprint.map(Into::into));
        columns
    }
}

reads! { Durable;
    /// The asset of an id, deleted or not.
    one asset(id: AssetId) -> AssetRecord = by_id(id);
    /// The asset under a key; deleted ones lie under none.
    one asset_at(bucket: &BucketName, key: &ObjectKey) -> AssetRecord = Statement::new(SELECT)
        .push("WHERE deleted_at IS NULL").and("bucket = ", bucket).and("key = ", key);
    /// An asset of the bucket with these bytes, the oldest first: for storing them once.
    one asset_with_sha256(bucket: &BucketName, sha256: &str) -> AssetRecord = Statement::new(SELECT)
        .push("WHERE deleted_at IS NULL").and("bucket = ", bucket).and("sha256 = ", sha256)
        .push(" ORDER BY created_at, id LIMIT 1");
    /// An asset whose bytes lie at a place, other than `except`: any of them, deleted ones included. In the
    /// `hash` layout there are several, and those that are deleted keep their bytes where they lie.
    one asset_at_place(store: &str, place: &str, except: Option<AssetId>) -> AssetRecord =
        at_place(store, place).and_if("id <> ", except).push(" LIMIT 1");
    /// As [`asset_at_place`](Self::asset_at_place), one that knows these bytes there as whole.
    one asset_with_bytes_at(store: &str, place: &str, sha256: &str, fingerprint: &str) -> AssetRecord =
        at_place(store, place).and("sha256 = ", sha256).and("fingerprint = ", fingerprint)
            .push(" AND status <> 'failed' LIMIT 1");
    /// As [`asset_at_place`](Self::asset_at_place), one that says that other bytes lie there.
    one asset_with_others_at(store: &str, place: &str, sha256: &str) -> AssetRecord =
        at_place(store, place).and("sha256 <> ", sha256).push(" LIMIT 1");
    /// Assets that say of bytes at a place what is no longer so: another fingerprint, or that they are
    /// damaged. At most `limit`.
    many assets_mistaken_at(store: &str, place: &str, sha256: &str, fingerprint: &str, limit: u32)
        -> AssetRecord = at_place(store, place).and("sha256 = ", sha256)
            .push(" AND (status = 'failed' OR fingerprint <> ").bind(fingerprint)
            .push(") ORDER BY id LIMIT ").bind(bounded(limit));
}

/// Assets whose bytes lie at a place. That of one in the trash of the `path` layout is free for others.
fn at_place(store: &str, place: &str) -> Statement {
    Statement::new(SELECT)
        .push("WHERE (deleted_at IS NULL OR trash_place = place)")
        .and("store = ", store)
        .and("place = ", place)
}

fn by_id(id: AssetId) -> Statement {
    Statement::new(SELECT).push("WHERE id = ").bind(id)
}

impl Tx {
    /// Inserts an asset.
    ///
    /// # Errors
    /// [`Error::Precondition`] if another asset lies under its key.
    pub async fn insert_asset(&mut self, asset: &AssetRecord) -> Result<()> {
        let insert = Statement::insert("assets", asset.columns()).push(" ON CONFLICT DO NOTHING");
        let inserted = self.execute(Class::Durable, insert).await?;
        self.asset_changed(asset.id).await?;
        changed_one(inserted, || format!("an asset lies already under {}/{}", asset.bucket, asset.key))?;
        self.counts().add(asset);
        Ok(())
    }

    /// Replaces the bytes under a key: writes all of `asset` but its id, bucket, key and creation, and
    /// raises the version. Answers the new version.
    ///
    /// # Errors
    /// [`Error::Precondition`] unless the asset exists with the version `expected`.
    pub async fn replace_asset(&mut self, asset: &AssetRecord, expected: i64) -> Result<i64> {
        let before = self.asset(asset.id).await?;
        let update = Statement::update("assets", asset.content())
            .push(", version = version + 1 WHERE deleted_at IS NULL")
            .and("id = ", asset.id)
            .and("version = ", expected);
        let updated = self.execute(Class::Durable, update).await?;
        self.asset_changed(asset.id).await?;
        changed_one(updated, || stale(asset.id))?;
        if let Some(before) = before {
            // Bucket and key stay what they are.
            let after = AssetRecord { bucket: before.bucket.clone(), deleted_at: None, ..asset.clone() };
            self.counts().take(&before);
            self.counts().add(&after);
        }
        Ok(expected + 1)
    }

    /// Changes what is known of an asset; answers the record as it is then.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such an asset; [`Error::Precondition`] if it is deleted or has another
    /// version than `expected`.
    pub async fn change_asset(
        &mut self,
        id: AssetId,
        expected: Option<i64>,
        change: AssetChange,
    ) -> Result<AssetRecord> {
        let mut columns = change.columns();
        columns.push(("updated_at", self.now().into()));
        let update = Statement::update("assets", columns)
            .push(" WHERE deleted_at IS NULL")
            .and("id = ", id)
            .and_if("version = ", expected);
        self.write_asset(id, update).await
    }

    /// Marks an asset deleted, after its bytes were moved to `trash_place`; frees its key.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such an asset; [`Error::Precondition`] if it is deleted already or has
    /// another version than `expected`.
    pub async fn mark_asset_deleted(
        &mut self,
        id: AssetId,
        expected: i64,
        trash_place: Option<&str>,
    ) -> Result<AssetRecord> {
        let now = self.now();
        let columns =
            vec![("deleted_at", now.into()), ("updated_at", now.into()), ("trash_place", trash_place.into())];
        let update = Statement::update("assets", columns)
            .push(" WHERE deleted_at IS NULL")
            .and("id = ", id)
            .and("version = ", expected);
        let deleted = self.write_asset(id, update).await?;
        self.counts().take(&AssetRecord { deleted_at: None, ..deleted.clone() });
        self.counts().add(&deleted);
        Ok(deleted)
    }

    /// Records that an asset's bytes lie in another store now, if they still lie where `from` says and are
    /// the same: those of a deleted asset in the trash. Its version and its times stay, since nothing of
    /// it changed. Answers whether it was so.
    pub async fn move_asset(
        &mut self,
        from: &AssetRecord,
        store: &str,
        place: &str,
        fingerprint: &str,
    ) -> Result<bool> {
        let at = if from.deleted_at.is_some() { "trash_place" } else { "place" };
        let columns = vec![("store", store.into()), (at, place.into()), ("fingerprint", fingerprint.into())];
        let mut update = Statement::update("assets", columns)
            .push(match from.deleted_at {
                Some(_) => " WHERE deleted_at IS NOT NULL",
                None => " WHERE deleted_at IS NULL",
            })
            .and("id = ", from.id)
            .and("version = ", from.version)
            .and("sha256 = ", &from.sha256)
            .and("fingerprint = ", &from.fingerprint)
            .and("store = ", &from.store)
            .and("place = ", &from.place);
        if from.deleted_at.is_some() {
            update = update.and("trash_place = ", &from.trash_place);
        }
        let moved = self.execute(Class::Durable, update).await? == 1;
        if moved {
            self.mark_meta(MetaKind::Asset, from.id).await?;
            self.counts().take(from);
            self.counts().add(&AssetRecord { store: store.to_owned(), ..from.clone() });
        }
        Ok(moved)
    }

    /// Records that whole bytes with this fingerprint lie at a place, for all assets that share it: a
    /// writer put them there anew. Answers how many said otherwise; at most `limit` are corrected.
    pub async fn bytes_lie_at(
        &mut self,
        (store, place): (&str, &str),
        sha256: &str,
        fingerprint: &str,
        limit: u32,
    ) -> Result<usize> {
        let mistaken = self.assets_mistaken_at(store, place, sha256, fingerprint, limit).await?;
        for asset in &mistaken {
            let mut columns = vec![("fingerprint", fingerprint.into())];
            if asset.status == AssetStatus::Failed {
                columns.push(("status", AssetStatus::Ready.into()));
            }
            let update = Statement::update("assets", columns)
                .push(" WHERE 1 = 1")
                .and("id = ", asset.id)
                .and("store = ", store)
                .and("place = ", place)
                .and("sha256 = ", sha256);
            self.execute(Class::Durable, update).await?;
            self.asset_changed(asset.id).await?;
        }
        Ok(mistaken.len())
    }

    /// Takes a deletion back, after the bytes were moved to `place`.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such an asset; [`Error::Precondition`] if it is not deleted or its key
    /// is taken.
    pub async fn restore_asset(
        &mut self,
        id: AssetId,
        place: &str,
        fingerprint: &str,
    ) -> Result<AssetRecord> {
        let asset = self.existing_asset(id).await?;
        if let Some(other) = self.asset_at(&asset.bucket, &asset.key).await? {
            return Err(Error::precondition(format!(
                "{}/{} is taken by asset {}",
                asset.bucket, asset.key, other.id
            )));
        }
        let columns = vec![
            ("deleted_at", None::<i64>.into()),
            ("trash_place", None::<&str>.into()),
            ("place", place.into()),
            ("fingerprint", fingerprint.into()),
            ("updated_at", self.now().into()),
        ];
        let update =
            Statement::update("assets", columns).push(" WHERE deleted_at IS NOT NULL").and("id = ", id);
        let restored = self.write_asset(id, update).await?;
        let before = AssetRecord { deleted_at: Some(restored.updated_at), ..restored.clone() };
        self.counts().take(&before);
        self.counts().add(&restored);
        Ok(restored)
    }

    /// Forgets a deleted asset for good. Its variants' records are left to their collector. Answers
    /// whether there was one.
    pub async fn purge_asset(&mut self, id: AssetId) -> Result<bool> {
        let delete = Statement::new("DELETE FROM assets WHERE deleted_at IS NOT NULL").and("id = ", id);
        let before = self.asset(id).await?;
        self.asset_changed(id).await?;
        let purged = self.execute(Class::Durable, delete).await? > 0;
        if purged && let Some(before) = before {
            self.counts().take(&before);
        }
        Ok(purged)
    }

    async fn write_asset(&mut self, id: AssetId, update: Statement) -> Result<AssetRecord> {
        let updated = self.execute(Class::Durable, update).await?;
        let asset = self.existing_asset(id).await?;
        self.asset_changed(id).await?;
        changed_one(updated, || stale(id))?;
        Ok(asset)
    }

    /// Tells of a change, here and in the store.
    async fn asset_changed(&mut self, id: AssetId) -> Result<()> {
        self.announce(Change::Asset(id));
        self.mark_meta(MetaKind::Asset, id).await
    }

    async fn existing_asset(&mut self, id: AssetId) -> Result<AssetRecord> {
        let found = self.asset(id).await?;
        found.ok_or_else(|| Error::not_found(Code::AssetNotFound, format!("asset {id}")))
    }
}

fn stale(id: AssetId) -> String {
    format!("asset {id} was changed or deleted at the same time")
}

/// A compare-and-set that changed no row found another state.
pub(crate) fn changed_one(rows: u64, otherwise: impl FnOnce() -> String) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::precondition(otherwise())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::{plan, sqlite};

    #[tokio::test]
    async fn who_has_bytes_at_a_place_is_found_by_the_place() {
        let (_directory, catalog) = sqlite().await;
        let plan = plan(&catalog, at_place("local", "a").push(" LIMIT 1")).await;
        assert!(plan.contains("assets_by_place (store=? AND place=?)"), "{plan}");
    }
}
