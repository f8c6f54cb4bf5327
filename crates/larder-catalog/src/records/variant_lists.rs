//! Lists of variants: for backfills and collectors.

use larder_core::{AssetId, BucketName, Timestamp};

use super::{
    asset::{AssetRecord, SELECT as SELECT_ASSET},
    variant::{SELECT, VariantRecord},
};
use crate::{db::Statement, page::bounded, reads::reads};

reads! { Durable;
    /// Assets of a bucket, by id, that have no variant of a recipe for their present bytes: what a
    /// backfill has to do. `after` is the last id of the previous page.
    many assets_lacking_variant(bucket: &BucketName, recipe_digest: &str, after: Option<AssetId>, limit: u32)
        -> AssetRecord = Statement::new(SELECT_ASSET)
        .push("WHERE deleted_at IS NULL AND status <> 'failed'").and("bucket = ", bucket).and_if("id > ", after)
        .push(" AND NOT EXISTS (SELECT 1 FROM variants WHERE variants.asset_id = assets.id \
               AND variants.source_sha256 = assets.sha256 AND variants.status <> 'stale' \
               AND variants.recipe_digest = ")
        .bind(recipe_digest)
        .push(") ORDER BY id LIMIT ").bind(bounded(limit));
    /// Variants that became stale before an instant.
    many stale_variants(before: Timestamp, limit: u32) -> VariantRecord = Statement::new(SELECT)
        .push("WHERE status = 'stale'").and("updated_at < ", before)
        .push(" ORDER BY updated_at, id LIMIT ").bind(bounded(limit));
    /// Ready variants without a preset that were last served before an instant: they can be made
    /// again when they are wanted.
    many unused_variants(before: Timestamp, limit: u32) -> VariantRecord = Statement::new(SELECT)
        .push("WHERE status = 'ready' AND preset IS NULL").and("last_used_at < ", before)
        .push(" ORDER BY last_used_at, id LIMIT ").bind(bounded(limit));
    /// Variants of assets that are gone from the catalogue.
    many orphaned_variants(limit: u32) -> VariantRecord = Statement::new(SELECT)
        .push("WHERE NOT EXISTS (SELECT 1 FROM assets WHERE assets.id = variants.asset_id)")
        .push(" ORDER BY id LIMIT ").bind(bounded(limit));
    /// Ready variants whose bytes lie at a place of a store; for telling orphans apart.
    many variants_at_place(store: &str, place: &str) -> VariantRecord = Statement::new(SELECT)
        .push("WHERE 1 = 1").and("store = ", store).and("place = ", place).push(" LIMIT 10");
}
