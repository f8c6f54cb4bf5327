//! How much there is. Assets are counted as they change; variants, which can be made again, are counted
//! when somebody asks.

use larder_core::BucketName;

use crate::{
    db::{FromRow, Row, Statement},
    error::Result,
    reads::reads,
};

/// What lies in a bucket in one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketUsage {
    /// The bucket.
    pub bucket: String,
    /// Name of the store.
    pub store: String,
    /// Assets that are not deleted.
    pub assets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Deleted assets whose bytes are still in the trash.
    pub deleted_assets: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
}

impl FromRow for BucketUsage {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            bucket: row.get("bucket")?,
            store: row.get("store")?,
            assets: row.count("assets")?,
            bytes: row.count("bytes")?,
            deleted_assets: row.count("deleted_assets")?,
            deleted_bytes: row.count("deleted_bytes")?,
        })
    }
}

/// What lies in a bucket in one store, of one media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeUsage {
    /// The media type.
    pub content_type: String,
    /// Assets that are not deleted.
    pub assets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl FromRow for TypeUsage {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            content_type: row.get("content_type")?,
            assets: row.count("assets")?,
            bytes: row.count("bytes")?,
        })
    }
}

/// How many variants there are in a bucket, by store, preset and status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantUsage {
    /// The bucket.
    pub bucket: String,
    /// Name of the store; of one that is not made yet, its asset's.
    pub store: String,
    /// The preset, `None` for free recipes.
    pub preset: Option<String>,
    /// The word of the status.
    pub status: String,
    /// Variants.
    pub variants: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl FromRow for VariantUsage {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            bucket: row.get("bucket")?,
            store: row.get("store")?,
            preset: row.get("preset")?,
            status: row.get("status")?,
            variants: row.count("variants")?,
            bytes: row.count("bytes")?,
        })
    }
}

reads! { Durable;
    /// What lies in each bucket and store.
    many bucket_usage() -> BucketUsage = Statement::new(
        "SELECT bucket, store, \
         CAST(sum(CASE WHEN deleted = 0 THEN objects ELSE 0 END) AS BIGINT) AS assets, \
         CAST(sum(CASE WHEN deleted = 0 THEN 0 ELSE objects END) AS BIGINT) AS deleted_assets, \
         CAST(sum(CASE WHEN deleted = 0 THEN bytes ELSE 0 END) AS BIGINT) AS bytes, \
         CAST(sum(CASE WHEN deleted = 0 THEN 0 ELSE bytes END) AS BIGINT) AS deleted_bytes \
         FROM asset_counters GROUP BY bucket, store HAVING sum(objects) > 0 ORDER BY bucket, store");
    /// What lies in a bucket in one store by media type, most bytes first.
    many type_usage(bucket: &BucketName, store: &str) -> TypeUsage = Statement::new(
        "SELECT content_type, CAST(sum(objects) AS BIGINT) AS assets, CAST(sum(bytes) AS BIGINT) AS bytes \
         FROM asset_counters WHERE deleted = 0 AND bucket = ").bind(bucket).and("store = ", store)
        .push(" GROUP BY content_type HAVING sum(objects) > 0 ORDER BY 3 DESC, content_type");
    /// Variants by bucket, store, preset and status.
    many variant_usage() -> VariantUsage = Statement::new(
        "SELECT bucket, store, preset, status, count(*) AS variants, CAST(sum(size_bytes) AS BIGINT) AS bytes \
         FROM (SELECT assets.bucket AS bucket, \
               CASE WHEN variants.store = '' THEN assets.store ELSE variants.store END AS store, \
               variants.preset AS preset, variants.status AS status, variants.size_bytes AS size_bytes \
               FROM variants JOIN assets ON assets.id = variants.asset_id) AS of_assets \
         GROUP BY bucket, store, preset, status ORDER BY bucket, store, COALESCE(preset, ''), status");
}
