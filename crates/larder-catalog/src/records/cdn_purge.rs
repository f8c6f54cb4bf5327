//! What the caches in front are yet to be told to forget.
//!
//! A row is written in the transaction of the change that makes it necessary, and removed when they were
//! told; in between it survives everything. Changes of one thing share a row, so that there are never more
//! of them than things.

use larder_core::{AssetId, BucketName, Timestamp};
use serde_json::Value;

use crate::{
    db::{FromRow, Param, Row, Statement, json},
    error::Result,
    page::bounded,
    reads::reads,
    tx::{Class, Tx},
};

/// Most addresses that one row remembers; of more, the latest. An asset that is replaced again and again
/// while nobody can be told would otherwise grow its row without end.
const TRACES_MAX: usize = 1_000;

/// An asset, or a whole bucket, that caches are to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdnPurge {
    /// The bucket.
    pub bucket: BucketName,
    /// The asset; none for all that is in the bucket.
    pub asset_id: Option<AssetId>,
    /// Why, in a word.
    pub reason: String,
    /// Under which addresses the bytes were to be had, in the words of whoever noted it.
    pub traces: Vec<Value>,
    /// How many changes share this row.
    pub turn: i64,
    /// When the last of them was.
    pub noted_at: Timestamp,
}

const SELECT: &str =
    "SELECT bucket, NULLIF(asset_id, '') AS asset_id, reason, traces, turn, noted_at FROM cdn_purges ";

impl FromRow for CdnPurge {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            bucket: row.parse("bucket")?,
            asset_id: row.opt_parse("asset_id")?,
            reason: row.get("reason")?,
            traces: row.json("traces")?,
            turn: row.get("turn")?,
            noted_at: row.time("noted_at")?,
        })
    }
}

fn subject(asset: Option<AssetId>) -> String {
    asset.map_or_else(String::new, |id| id.to_string())
}

reads! { Durable;
    /// What caches are to forget, the longest noted first.
    many cdn_purges(limit: u32) -> CdnPurge = Statement::new(SELECT)
        .push("ORDER BY noted_at, bucket, asset_id LIMIT ").bind(bounded(limit));
    /// What is noted of an asset, or of a whole bucket.
    one cdn_purge(bucket: &BucketName, asset: Option<AssetId>) -> CdnPurge = Statement::new(SELECT)
        .push("WHERE 1 = 1").and("bucket = ", bucket).and("asset_id = ", subject(asset));
}

impl Tx {
    /// Notes that caches are to forget an asset, or all of a bucket. What was noted of it before and not
    /// told yet is told with it.
    pub async fn note_cdn_purge(
        &mut self,
        bucket: &BucketName,
        asset: Option<AssetId>,
        reason: &str,
        traces: Vec<Value>,
    ) -> Result<()> {
        let mut all = traces;
        if let Some(before) = self.cdn_purge(bucket, asset).await? {
            let missing: Vec<Value> =
                before.traces.into_iter().filter(|trace| !all.contains(trace)).collect();
            all.extend(missing);
        }
        all.truncate(TRACES_MAX);
        let columns: Vec<(&str, Param)> = vec![
            ("bucket", bucket.into()),
            ("asset_id", subject(asset).into()),
            ("reason", reason.into()),
            ("traces", json(&all)),
            ("turn", 1_i64.into()),
            ("noted_at", self.now().into()),
        ];
        let upsert = Statement::insert("cdn_purges", columns).push(
            " ON CONFLICT (bucket, asset_id) DO UPDATE SET reason = excluded.reason, \
             traces = excluded.traces, turn = cdn_purges.turn + 1, noted_at = excluded.noted_at",
        );
        self.execute(Class::Durable, upsert).await.map(drop)
    }

    /// Forgets what the caches were told, unless something was added since. Answers whether it was
    /// forgotten.
    pub async fn forget_cdn_purge(&mut self, told: &CdnPurge) -> Result<bool> {
        let delete = Statement::new("DELETE FROM cdn_purges WHERE 1 = 1")
            .and("bucket = ", &told.bucket)
            .and("asset_id = ", subject(told.asset_id))
            .and("turn = ", told.turn)
            .and("noted_at = ", told.noted_at);
        Ok(self.execute(Class::Durable, delete).await? == 1)
    }
}
