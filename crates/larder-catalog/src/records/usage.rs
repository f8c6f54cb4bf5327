//! How much there is.

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

/// What lies in a bucket of one media type.
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

/// How many variants there are in a bucket, by preset and status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantUsage {
    /// The bucket.
    pub bucket: String,
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
         count(*) - count(deleted_at) AS assets, count(deleted_at) AS deleted_assets, \
         CAST(sum(CASE WHEN deleted_at IS NULL THEN size_bytes ELSE 0 END) AS BIGINT) AS bytes, \
         CAST(sum(CASE WHEN deleted_at IS NULL THEN 0 ELSE size_bytes END) AS BIGINT) AS deleted_bytes \
         FROM assets GROUP BY bucket, store ORDER BY bucket, store");
    /// What lies in a bucket by media type, most bytes first.
    many type_usage(bucket: &BucketName) -> TypeUsage = Statement::new(
        "SELECT content_type, count(*) AS assets, CAST(sum(size_bytes) AS BIGINT) AS bytes FROM assets \
         WHERE deleted_at IS NULL AND bucket = ").bind(bucket)
        .push(" GROUP BY content_type ORDER BY bytes DESC, content_type");
    /// Variants by bucket, preset and status.
    many variant_usage() -> VariantUsage = Statement::new(
        "SELECT assets.bucket AS bucket, variants.preset AS preset, variants.status AS status, \
         count(*) AS variants, CAST(sum(variants.size_bytes) AS BIGINT) AS bytes \
         FROM variants JOIN assets ON assets.id = variants.asset_id \
         GROUP BY assets.bucket, variants.preset, variants.status \
         ORDER BY assets.bucket, COALESCE(variants.preset, ''), variants.status");
}
