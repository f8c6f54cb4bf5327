//! How many assets there are and how many bytes they have, counted as they change.
//!
//! A transaction notes what it changes and writes the sums at its end, in one order for all, so that
//! two of them never wait for each other in a circle.

use std::collections::BTreeMap;

use super::asset::AssetRecord;
use crate::{
    db::{Columns, Statement},
    error::Result,
    tx::{Class, Tx},
};

/// Rows over which one figure is spread on PostgreSQL: of two transactions at a time, one in sixteen
/// waits for the other.
const SHARDS: i64 = 16;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    bucket: String,
    store: String,
    content_type: String,
    deleted: bool,
}

/// What a transaction changed so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    changes: BTreeMap<Counted, (i64, i64)>,
    /// Chance, by the asset that was noted last.
    shard: i64,
}

impl Counts {
    /// An asset is there that was not, or is as it is now.
    pub(crate) fn add(&mut self, asset: &AssetRecord) {
        self.note(asset, 1);
    }

    /// An asset is no longer there, or no longer as it was.
    pub(crate) fn take(&mut self, asset: &AssetRecord) {
        self.note(asset, -1);
    }

    fn note(&mut self, asset: &AssetRecord, sign: i64) {
        let of = Counted {
            bucket: asset.bucket.to_string(),
            store: asset.store.clone(),
            content_type: asset.content_type.clone(),
            deleted: asset.deleted_at.is_some(),
        };
        self.shard = i64::from(asset.id.as_bytes()[15]) % SHARDS;
        let (objects, bytes) = self.changes.entry(of).or_default();
        *objects += sign;
        *bytes += sign * i64::try_from(asset.size_bytes).unwrap_or(i64::MAX);
    }
}

impl Tx {
    /// Writes what was counted; called once at the end of each transaction that goes well.
    pub(crate) async fn write_counts(&mut self) -> Result<()> {
        let counts = std::mem::take(self.counts());
        let shard = if self.is_postgres() { counts.shard } else { 0 };
        let changed = counts.changes.into_iter().filter(|(_, change)| *change != (0, 0));
        let rows: Vec<Columns> = changed
            .map(|(of, (objects, bytes))| {
                vec![
                    ("bucket", of.bucket.into()),
                    ("store", of.store.into()),
                    ("content_type", of.content_type.into()),
                    ("deleted", of.deleted.into()),
                    ("shard", shard.into()),
                    ("objects", objects.into()),
                    ("bytes", bytes.into()),
                ]
            })
            .collect();
        if let Some(add) = Statement::insert_rows("asset_counters", &rows, self.is_postgres()) {
            let add = add.push(
                " ON CONFLICT (bucket, store, content_type, deleted, shard) DO UPDATE SET \
                 objects = asset_counters.objects + excluded.objects, \
                 bytes = asset_counters.bytes + excluded.bytes",
            );
            self.execute(Class::Durable, add).await?;
        }
        Ok(())
    }
}
