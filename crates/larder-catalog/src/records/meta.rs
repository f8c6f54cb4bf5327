//! What has changed since it was last written to the store beside the bytes.
//!
//! Each write of a record leaves a mark in its own transaction. Whoever writes the records to the store
//! takes the log's row, which numbers what it writes, reads marks and records in that transaction, and
//! removes exactly the marks that it saw once the store holds them. Numbers and reads have one order, so
//! that the record with the higher number is the newer one.

use larder_core::{AssetId, Timestamp, VariantId};
use serde_json::Value;

use super::{
    asset::{AssetRecord, SELECT as SELECT_ASSET},
    variant::{SELECT as SELECT_VARIANT, VariantRecord},
};
use crate::{
    catalog::Catalog,
    db::{Columns, FromRow, Row, Statement, json},
    error::{Error, Result},
    page::bounded,
    reads::reads,
    tx::{Class, Tx},
    words::words,
};

words! {
    /// What a record in the store is about.
    MetaKind {
        /// An asset, by its id.
        Asset = "asset",
        /// A variant, by its id.
        Variant = "variant",
        /// A bucket, by its name.
        Bucket = "bucket",
        /// A preset, by its name.
        Preset = "preset",
    }
}

/// A change that the store does not know yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaChange {
    /// Names the change; no two have the same.
    pub mark: i64,
    /// What changed.
    pub kind: MetaKind,
    /// Its id or name.
    pub id: String,
}

impl FromRow for MetaChange {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { mark: row.get("mark")?, kind: row.parse("kind")?, id: row.get("id")? })
    }
}

/// The right to write to the log in the store, as of one taking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaLog {
    /// Tells this catalogue from every other, for as long as it exists.
    pub catalogue: String,
    /// The number of what is written now: higher than every earlier one.
    pub seq: i64,
}

impl FromRow for MetaLog {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { catalogue: row.get("catalogue")?, seq: row.get("seq")? })
    }
}

/// Bytes without a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanRecord {
    /// Where they lie.
    pub place: String,
    /// Which ones they are.
    pub fingerprint: String,
    /// When they were first seen without a record.
    pub seen_at: Timestamp,
}

impl FromRow for OrphanRecord {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            place: row.get("place")?,
            fingerprint: row.get("fingerprint")?,
            seen_at: row.time("seen_at")?,
        })
    }
}

const SELECT_LOG: &str = "SELECT catalogue, seq FROM meta_log WHERE id = 1";

reads! { Durable;
    /// Changes that the store does not know yet, in no particular order.
    many meta_changes(limit: u32) -> MetaChange = Statement::new(
        "SELECT mark, kind, id FROM meta_changes ORDER BY mark LIMIT ").bind(bounded(limit));
    /// Who this catalogue is, and the number of what was written last; `None` before the first writing.
    one meta_log() -> MetaLog = Statement::new(SELECT_LOG);
    /// The assets of these ids, deleted ones included.
    many assets_of_ids(ids: &[String]) -> AssetRecord =
        Statement::new(SELECT_ASSET).push("WHERE 1 = 1").and_in("id", ids);
    /// The variants of these ids.
    many variants_of_ids(ids: &[String]) -> VariantRecord =
        Statement::new(SELECT_VARIANT).push("WHERE 1 = 1").and_in("id", ids);
    /// What is kept under names that begin with `prefix`, by name.
    many checkpoints_under(prefix: &str, limit: u32) -> Checkpoint = Statement::new(
        "SELECT name, value FROM checkpoints WHERE 1 = 1").and("name >= ", prefix)
        .and_if("name < ", crate::db::prefix_end(prefix)).push(" ORDER BY name LIMIT ").bind(bounded(limit));
    /// All assets by id, deleted ones included; `after` is the last of the previous page.
    many assets_by_id(after: Option<AssetId>, limit: u32) -> AssetRecord = Statement::new(SELECT_ASSET)
        .push("WHERE 1 = 1").and_if("id > ", after).push(" ORDER BY id LIMIT ").bind(bounded(limit));
    /// All variants by id; `after` is the last of the previous page.
    many variants_by_id(after: Option<VariantId>, limit: u32) -> VariantRecord = Statement::new(SELECT_VARIANT)
        .push("WHERE 1 = 1").and_if("id > ", after).push(" ORDER BY id LIMIT ").bind(bounded(limit));
    /// The bytes without a record at a place, if they were noted.
    one orphan(store: &str, place: &str) -> OrphanRecord = Statement::new(
        "SELECT place, fingerprint, seen_at FROM orphans WHERE 1 = 1").and("store = ", store).and("place = ", place);
}

/// What is kept under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The name.
    pub name: String,
    /// What was kept.
    pub value: Value,
}

impl FromRow for Checkpoint {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { name: row.get("name")?, value: row.json("value")? })
    }
}

impl Catalog {
    /// How far some long work is, by its name.
    pub async fn checkpoint(&self, name: &str) -> Result<Option<Value>> {
        let select = Statement::new("SELECT value FROM checkpoints WHERE name = ").bind(name);
        let found: Option<String> = self.first(Class::Durable, select).await?;
        // One that can't be read is as good as none: the work begins anew.
        Ok(found.and_then(|text| serde_json::from_str(&text).ok()))
    }
}

impl Tx {
    /// Leaves a mark of a change.
    pub(crate) async fn mark_meta(&mut self, kind: MetaKind, id: impl std::fmt::Display) -> Result<()> {
        self.mark_all_meta([(kind, id.to_string())]).await
    }

    /// Leaves marks of many changes.
    pub(crate) async fn mark_all_meta(
        &mut self,
        changes: impl IntoIterator<Item = (MetaKind, String)>,
    ) -> Result<()> {
        // 63 random bits: no two marks are the same, and nobody waits for another's row. Marks of one
        // transaction follow each other, which keeps them on one page of the table.
        let first = i64::from_le_bytes(self.ambient().random_bytes());
        let marks: Vec<Columns> = (0..)
            .zip(changes)
            .map(|(index, (kind, id))| {
                let mark = first.wrapping_add(index) & i64::MAX;
                vec![("mark", mark.into()), ("kind", kind.into()), ("id", id.into())]
            })
            .collect();
        match Statement::insert_rows("meta_changes", &marks, self.is_postgres()) {
            Some(insert) => self.execute(Class::Durable, insert).await.map(drop),
            None => Ok(()),
        }
    }

    /// Takes the log for `holder` until `expires_at`, with the next number. `None` while another holds it.
    pub async fn take_meta_log(&mut self, holder: &str, expires_at: Timestamp) -> Result<Option<MetaLog>> {
        let now = self.ambient().now();
        let catalogue = hex_of(self.ambient().random_bytes::<16>());
        let columns = vec![
            ("id", 1_i64.into()),
            ("catalogue", catalogue.into()),
            ("seq", 1_i64.into()),
            ("holder", holder.into()),
            ("expires_at", expires_at.into()),
        ];
        let take = Statement::insert("meta_log", columns)
            .push(
                " ON CONFLICT (id) DO UPDATE SET seq = meta_log.seq + 1, holder = excluded.holder, \
                 expires_at = excluded.expires_at WHERE meta_log.holder IS NULL OR meta_log.expires_at <= ",
            )
            .bind(now)
            .push(" OR meta_log.holder = ")
            .bind(holder);
        match self.execute(Class::Durable, take).await? {
            0 => Ok(None),
            _ => self.meta_log().await,
        }
    }

    /// Gives the log back.
    pub async fn release_meta_log(&mut self, holder: &str) -> Result<()> {
        let columns = vec![("holder", None::<&str>.into())];
        let update = Statement::update("meta_log", columns).push(" WHERE id = 1").and("holder = ", holder);
        self.execute(Class::Durable, update).await.map(drop)
    }

    /// Sees to it that the next number is higher than `seq`.
    ///
    /// # Errors
    /// [`Error::Precondition`] before the log was taken for the first time.
    pub async fn raise_meta_seq(&mut self, seq: i64) -> Result<()> {
        let raise = Statement::new("UPDATE meta_log SET seq = CASE WHEN seq < ")
            .bind(seq)
            .push(" THEN ")
            .bind(seq)
            .push(" ELSE seq END WHERE id = 1");
        super::asset::changed_one(self.execute(Class::Durable, raise).await?, || {
            "no log was taken".to_owned()
        })
    }

    /// Removes the marks of changes that the store knows now.
    pub async fn forget_meta_changes(&mut self, marks: &[i64]) -> Result<u64> {
        if marks.is_empty() {
            return Ok(0);
        }
        let mut delete = Statement::new("DELETE FROM meta_changes WHERE mark IN (");
        for (position, mark) in marks.iter().enumerate() {
            delete = delete.push(if position == 0 { "" } else { ", " }).bind(*mark);
        }
        self.execute(Class::Durable, delete.push(")")).await
    }

    /// Keeps how far some long work is.
    pub async fn set_checkpoint(&mut self, name: &str, value: &Value) -> Result<()> {
        let columns = vec![("name", name.into()), ("value", json(value)), ("updated_at", self.now().into())];
        let upsert = Statement::insert("checkpoints", columns).push(
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
        );
        self.execute(Class::Durable, upsert).await.map(drop)
    }

    /// Forgets how far some long work was: it has ended.
    pub async fn forget_checkpoint(&mut self, name: &str) -> Result<()> {
        let delete = Statement::new("DELETE FROM checkpoints WHERE name = ").bind(name);
        self.execute(Class::Durable, delete).await.map(drop)
    }

    /// Forgets checkpoints whose names begin with `prefix` and that were last kept before an instant.
    pub async fn forget_checkpoints_before(&mut self, prefix: &str, before: Timestamp) -> Result<u64> {
        let delete = Statement::new("DELETE FROM checkpoints WHERE updated_at < ")
            .bind(before)
            .and("name >= ", prefix)
            .and_if("name < ", crate::db::prefix_end(prefix));
        self.execute(Class::Durable, delete).await
    }

    /// Notes bytes without a record. Answers since when these very bytes are known.
    pub async fn note_orphan(&mut self, store: &str, place: &str, fingerprint: &str) -> Result<Timestamp> {
        let columns = vec![
            ("store", store.into()),
            ("place", place.into()),
            ("fingerprint", fingerprint.into()),
            ("seen_at", self.now().into()),
        ];
        let note = Statement::insert("orphans", columns).push(
            " ON CONFLICT (store, place) DO UPDATE SET fingerprint = excluded.fingerprint, \
                 seen_at = excluded.seen_at WHERE orphans.fingerprint <> excluded.fingerprint",
        );
        self.execute(Class::Durable, note).await?;
        let found = self.orphan(store, place).await?;
        Ok(found.ok_or_else(|| Error::unavailable("an orphan was forgotten at the same time"))?.seen_at)
    }

    /// Forgets what was noted of bytes without a record that were last seen before an instant or are
    /// gone.
    pub async fn forget_orphan(&mut self, store: &str, place: &str) -> Result<()> {
        let delete =
            Statement::new("DELETE FROM orphans WHERE 1 = 1").and("store = ", store).and("place = ", place);
        self.execute(Class::Durable, delete).await.map(drop)
    }
}

fn hex_of(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::{plan, sqlite};

    #[tokio::test]
    async fn a_page_of_all_assets_begins_where_the_last_one_ended() {
        let (_directory, catalog) = sqlite().await;
        let after = AssetId::new(catalog.ambient());
        let statement =
            Statement::new(SELECT_ASSET).push("WHERE 1 = 1").and("id > ", after).push(" ORDER BY id LIMIT 5");
        let plan = plan(&catalog, statement).await;
        assert!(plan.contains("(id>?)") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}
