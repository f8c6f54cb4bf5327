//! Spare copies: bytes in a store that no record names.
//!
//! An asset that moves to another store is copied there first, then its record is switched, and what
//! it left stays for a while. Both copies are listed here, so that whatever is cut off in between is
//! known: a copy on its way is noted before its first byte, one that was left in the transaction that
//! leaves it.

use larder_core::{AssetId, BucketName, ObjectKey, Timestamp, VariantId};

use super::{asset::AssetRecord, variant::VariantRecord};
use crate::{
    db::{Columns, FromRow, Row, Statement},
    error::Result,
    page::bounded,
    reads::reads,
    tx::{Class, Tx},
    words::words,
};

words! {
    /// Why no record names a copy.
    CopyState {
        /// It is on its way into the store; its record is yet to be switched.
        Coming = "coming",
        /// Its record was switched to another store; it stays until somebody asks for its removal.
        Left = "left",
        /// What it was a copy of was replaced or removed; it is to go.
        Void = "void",
    }
}

/// A copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpareCopy {
    /// Name of the store.
    pub store: String,
    /// Where in the store.
    pub place: String,
    /// Why no record names it.
    pub state: CopyState,
    /// The asset of which it is a copy.
    pub asset_id: AssetId,
    /// The variant of which it is a copy; none for an original.
    pub variant_id: Option<VariantId>,
    /// The asset's bucket.
    pub bucket: BucketName,
    /// The asset's key, whose turn covers the copy.
    pub key: ObjectKey,
    /// How many bytes there are.
    pub size_bytes: u64,
    /// Their SHA-256, 64 hex digits.
    pub sha256: String,
    /// What the store says of them; empty while they are on their way.
    pub fingerprint: String,
    /// Since when they are as they are.
    pub noted_at: Timestamp,
}

impl SpareCopy {
    /// What an asset's record leaves when it is switched away from where it lies.
    pub fn left_by(asset: &AssetRecord) -> Self {
        Self {
            store: asset.store.clone(),
            place: asset.trash_place.clone().unwrap_or_else(|| asset.place.clone()),
            state: CopyState::Left,
            asset_id: asset.id,
            variant_id: None,
            bucket: asset.bucket.clone(),
            key: asset.key.clone(),
            size_bytes: asset.size_bytes,
            sha256: asset.sha256.clone(),
            fingerprint: asset.fingerprint.clone(),
            noted_at: asset.updated_at,
        }
    }

    /// What a variant's record leaves when it is switched away from where it lies.
    pub fn left_by_variant(variant: &VariantRecord, bucket: &BucketName, key: &ObjectKey) -> Self {
        Self {
            store: variant.store.clone(),
            place: variant.place.clone(),
            state: CopyState::Left,
            asset_id: variant.asset_id,
            variant_id: Some(variant.id),
            bucket: bucket.clone(),
            key: key.clone(),
            size_bytes: variant.size_bytes,
            sha256: variant.sha256.clone(),
            fingerprint: variant.fingerprint.clone(),
            noted_at: variant.updated_at,
        }
    }

    pub(super) fn columns(&self, state: CopyState, now: Timestamp) -> Columns {
        vec![
            ("store", (&self.store).into()),
            ("place", (&self.place).into()),
            ("state", state.into()),
            ("asset_id", self.asset_id.into()),
            ("variant_id", self.variant_id.into()),
            ("bucket", (&self.bucket).into()),
            ("key", (&self.key).into()),
            ("size_bytes", self.size_bytes.into()),
            ("sha256", (&self.sha256).into()),
            ("fingerprint", (&self.fingerprint).into()),
            ("noted_at", now.into()),
        ]
    }
}

const SELECT: &str = "SELECT store, place, state, asset_id, variant_id, bucket, key, size_bytes, sha256, \
    fingerprint, noted_at FROM spare_copies ";

pub(super) const REPLACE: &str = " ON CONFLICT (store, place) DO UPDATE SET state = excluded.state, \
    asset_id = excluded.asset_id, variant_id = excluded.variant_id, bucket = excluded.bucket, \
    key = excluded.key, size_bytes = excluded.size_bytes, sha256 = excluded.sha256, \
    noted_at = excluded.noted_at";

impl FromRow for SpareCopy {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            store: row.get("store")?,
            place: row.get("place")?,
            state: row.parse("state")?,
            asset_id: row.parse("asset_id")?,
            variant_id: row.opt_parse("variant_id")?,
            bucket: row.parse("bucket")?,
            key: row.parse("key")?,
            size_bytes: row.count("size_bytes")?,
            sha256: row.get("sha256")?,
            fingerprint: row.get("fingerprint")?,
            noted_at: row.time("noted_at")?,
        })
    }
}

reads! { Durable;
    /// The copy at a place.
    one spare_copy(store: &str, place: &str) -> SpareCopy = Statement::new(SELECT)
        .push("WHERE 1 = 1").and("store = ", store).and("place = ", place);
    /// All copies of an asset and of its variants.
    many spare_copies_of(asset: AssetId) -> SpareCopy = Statement::new(SELECT)
        .push("WHERE asset_id = ").bind(asset).push(" ORDER BY store, place");
    /// Copies in a store, by place; those behind the place `after`, if it is given.
    many spare_copies_in(store: &str, after: Option<&str>, limit: u32) -> SpareCopy = Statement::new(SELECT)
        .push("WHERE 1 = 1").and("store = ", store).and_if("place > ", after)
        .push(" ORDER BY place LIMIT ").bind(bounded(limit));
    /// Copies that are to go, the longest void first; those behind `after`, if it is given.
    many void_copies(after: Option<&SpareCopy>, limit: u32) -> SpareCopy = Statement::new(SELECT)
        .push("WHERE state = 'void'")
        .and_after("noted_at, place", after.map(|copy| (copy.noted_at, &copy.place)))
        .push(" ORDER BY noted_at, place LIMIT ").bind(bounded(limit));
    /// Copies that have been on their way since before an instant, the oldest first; those behind `after`,
    /// if it is given.
    many overdue_copies(before: Timestamp, after: Option<&SpareCopy>, limit: u32) -> SpareCopy =
        Statement::new(SELECT)
            .push("WHERE state = 'coming'").and("noted_at < ", before)
            .and_after("noted_at, place", after.map(|copy| (copy.noted_at, &copy.place)))
            .push(" ORDER BY noted_at, place LIMIT ").bind(bounded(limit));
}

impl Tx {
    /// Notes that a copy is on its way, and answers whether it is noted like that now. What was left there
    /// stays as it is noted: with the same bytes it may be taken up again, other bytes have to be removed
    /// first, and are known as ours by that note only.
    pub async fn note_coming(&mut self, copy: &SpareCopy) -> Result<bool> {
        let columns = copy.columns(CopyState::Coming, self.now());
        let insert = Statement::insert("spare_copies", columns)
            .push(REPLACE)
            .push(" WHERE spare_copies.state <> 'left' AND spare_copies.sha256 = excluded.sha256");
        Ok(self.execute(Class::Durable, insert).await? == 1)
    }

    /// Notes a copy that no record names from now on: [`CopyState::Left`] or [`CopyState::Void`].
    pub async fn note_spare(&mut self, copy: &SpareCopy, state: CopyState) -> Result<()> {
        let insert = Statement::insert("spare_copies", copy.columns(state, self.now()))
            .push(REPLACE)
            .push(", fingerprint = excluded.fingerprint");
        self.execute(Class::Durable, insert).await.map(drop)
    }

    /// Takes up a copy that a record is about to name: one on its way, or one that was left there with the
    /// same bytes. Answers whether it was still noted; if not, somebody may have removed its bytes.
    pub async fn take_up_copy(&mut self, store: &str, place: &str, sha256: &str) -> Result<bool> {
        let delete = Statement::new("DELETE FROM spare_copies WHERE state <> 'void'")
            .and("store = ", store)
            .and("place = ", place)
            .and("sha256 = ", sha256);
        Ok(self.execute(Class::Durable, delete).await? == 1)
    }

    /// Marks what was left of an asset's original as to be removed, since it is a copy of nothing any
    /// more. Answers how many copies there are.
    pub async fn void_copies_of_asset(&mut self, asset: AssetId) -> Result<u64> {
        let update = self.void().push(" AND variant_id IS NULL").and("asset_id = ", asset);
        self.execute(Class::Durable, update).await
    }

    /// Marks what was left of a variant as to be removed. Answers how many copies there are.
    pub async fn void_copies_of_variant(&mut self, asset: AssetId, variant: VariantId) -> Result<u64> {
        let update = self.void().and("asset_id = ", asset).and("variant_id = ", variant);
        self.execute(Class::Durable, update).await
    }

    fn void(&self) -> Statement {
        let columns = vec![("state", CopyState::Void.into()), ("noted_at", self.now().into())];
        Statement::update("spare_copies", columns).push(" WHERE state = 'left'")
    }

    /// Marks a copy as to be removed, unless it is noted otherwise by now. Answers whether it was there.
    pub async fn void_copy(&mut self, copy: &SpareCopy) -> Result<bool> {
        let since = if copy.state == CopyState::Void { copy.noted_at } else { self.now() };
        let columns = vec![("state", CopyState::Void.into()), ("noted_at", since.into())];
        let update = same(Statement::update("spare_copies", columns).push(" WHERE 1 = 1"), copy);
        Ok(self.execute(Class::Durable, update).await? == 1)
    }

    /// Marks a copy as to be removed that is on its way again to where one with the same bytes was removed: what was found
    /// there is not there any more.
    pub async fn void_coming_copy(&mut self, removed: &SpareCopy) -> Result<()> {
        let columns = vec![("state", CopyState::Void.into()), ("noted_at", self.now().into())];
        let update = Statement::update("spare_copies", columns)
            .push(" WHERE state = 'coming'")
            .and("store = ", &removed.store)
            .and("place = ", &removed.place)
            .and("sha256 = ", &removed.sha256);
        self.execute(Class::Durable, update).await.map(drop)
    }

    /// Forgets a copy that is gone, unless it is noted otherwise by now. Answers whether it was there.
    pub async fn forget_copy(&mut self, copy: &SpareCopy) -> Result<bool> {
        let delete = same(Statement::new("DELETE FROM spare_copies WHERE 1 = 1"), copy);
        Ok(self.execute(Class::Durable, delete).await? == 1)
    }
}

/// Limits a statement to a copy as it was read.
fn same(statement: Statement, copy: &SpareCopy) -> Statement {
    statement
        .and("store = ", &copy.store)
        .and("place = ", &copy.place)
        .and("state = ", copy.state)
        // Of bytes that several assets shared, another one may have left the same place since.
        .and("asset_id = ", copy.asset_id)
        .and("sha256 = ", &copy.sha256)
        .and("fingerprint = ", &copy.fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::{plan, sqlite};

    #[tokio::test]
    async fn what_is_to_go_is_found_without_reading_what_stays() {
        let (_directory, catalog) = sqlite().await;
        let void = Statement::new(SELECT).push("WHERE state = 'void' ORDER BY noted_at, place LIMIT 10");
        assert!(plan(&catalog, void).await.contains("spare_copies_void"));
        let overdue =
            Statement::new(SELECT).push("WHERE state = 'coming' AND noted_at < 5 ORDER BY noted_at, place");
        assert!(plan(&catalog, overdue).await.contains("spare_copies_coming (noted_at<?)"));
    }
}
