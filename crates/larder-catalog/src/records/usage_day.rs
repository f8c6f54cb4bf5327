//! How much there was on each day.

use larder_core::Timestamp;

use crate::{
    db::{FromRow, Row, Statement},
    error::Result,
    reads::reads,
    tx::{Class, Tx},
};

/// What lay in a bucket in one store on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageDay {
    /// When the day began, in UTC.
    pub day_at: Timestamp,
    /// The bucket.
    pub bucket: String,
    /// Name of the store.
    pub store: String,
    /// Assets that were not deleted.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Variants that were made.
    pub variants: u64,
    /// Their bytes.
    pub variant_bytes: u64,
}

impl FromRow for UsageDay {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            day_at: row.time("day_at")?,
            bucket: row.get("bucket")?,
            store: row.get("store")?,
            objects: row.count("objects")?,
            bytes: row.count("bytes")?,
            variants: row.count("variants")?,
            variant_bytes: row.count("variant_bytes")?,
        })
    }
}

reads! { Durable;
    /// How much there was on each day since an instant, the earliest first.
    many usage_days(since: Timestamp) -> UsageDay = Statement::new(
        "SELECT day_at, bucket, store, objects, bytes, variants, variant_bytes FROM usage_days WHERE 1 = 1")
        .and("day_at >= ", since).push(" ORDER BY day_at, bucket, store");
}

impl Tx {
    /// Notes how much there is on a day; noted again, the later counts.
    pub async fn note_usage_day(&mut self, usage: &UsageDay) -> Result<()> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let columns = vec![
            ("day_at", usage.day_at.into()),
            ("bucket", (&usage.bucket).into()),
            ("store", (&usage.store).into()),
            ("objects", number(usage.objects).into()),
            ("bytes", number(usage.bytes).into()),
            ("variants", number(usage.variants).into()),
            ("variant_bytes", number(usage.variant_bytes).into()),
        ];
        let upsert = Statement::insert("usage_days", columns).push(
            " ON CONFLICT (day_at, bucket, store) DO UPDATE SET objects = excluded.objects, \
             bytes = excluded.bytes, variants = excluded.variants, variant_bytes = excluded.variant_bytes",
        );
        self.execute(Class::Durable, upsert).await.map(drop)
    }

    /// Forgets days before an instant. Answers how many rows there were.
    pub async fn forget_usage_days(&mut self, before: Timestamp) -> Result<u64> {
        let delete = Statement::new("DELETE FROM usage_days WHERE 1 = 1").and("day_at < ", before);
        self.execute(Class::Durable, delete).await
    }
}
