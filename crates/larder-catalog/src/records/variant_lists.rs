//! Lists of variants: for backfills and collectors.

use larder_core::{AssetId, BucketName, Timestamp};

use super::{
    asset::{AssetRecord, SELECT as SELECT_ASSET},
    variant::{SELECT, VariantRecord},
};
use crate::{
    catalog::Catalog,
    db::Statement,
    error::Result,
    page::{Page, bounded},
    reads::reads,
    tx::Class,
};

fn lacking(bucket: &BucketName, recipe_digest: &str, after: Option<AssetId>, limit: u32) -> Statement {
    Statement::new(SELECT_ASSET)
        .push("WHERE deleted_at IS NULL AND status <> 'failed'")
        .and("bucket = ", bucket)
        .and_if("id > ", after)
        .push(
            " AND NOT EXISTS (SELECT 1 FROM variants WHERE variants.asset_id = assets.id \
             AND variants.source_sha256 = assets.sha256 AND variants.status <> 'stale' \
             AND variants.recipe_digest = ",
        )
        .bind(recipe_digest)
        .push(") ORDER BY id LIMIT ")
        .bind(bounded(limit))
}

reads! { Durable;
    /// Assets of a bucket, by id, that have no variant of a recipe for their present bytes: what a
    /// backfill has to do. `after` is the last id of the previous page.
    many assets_lacking_variant(bucket: &BucketName, recipe_digest: &str, after: Option<AssetId>, limit: u32)
        -> AssetRecord = lacking(bucket, recipe_digest, after, limit);
    /// Variants that became stale before an instant, the longest stale first; `after` is the last of
    /// the previous page.
    many stale_variants(before: Timestamp, after: Option<&VariantRecord>, limit: u32) -> VariantRecord =
        Statement::new(SELECT)
            .push("WHERE status = 'stale'").and("updated_at < ", before)
            .and_after("updated_at, id", after.map(|variant| (variant.updated_at, variant.id)))
            .push(" ORDER BY updated_at, id LIMIT ").bind(bounded(limit));
    /// Ready variants of a bucket's assets that no preset makes (any more) and that were last served
    /// before an instant: they can be made again when they are wanted. The longest unused first; `after` is the
    /// last of the previous page.
    many unused_variants(bucket: &BucketName, before: Timestamp, after: Option<&VariantRecord>, limit: u32)
        -> VariantRecord = Statement::new(SELECT)
        .push("WHERE status = 'ready'").and("last_used_at < ", before)
        .and_after("last_used_at, id", after.map(|variant| (variant.last_used_at, variant.id)))
        .push(" AND EXISTS (SELECT 1 FROM assets WHERE assets.id = variants.asset_id AND assets.bucket = ")
        .bind(bucket).push(") AND NOT EXISTS (SELECT 1 FROM presets WHERE presets.name = variants.preset \
            AND presets.recipe = variants.recipe) ORDER BY last_used_at, id LIMIT ").bind(bounded(limit));
    /// Ready variants whose bytes lie at a place of a store; for telling orphans apart.
    many variants_at_place(store: &str, place: &str) -> VariantRecord = Statement::new(SELECT)
        .push("WHERE 1 = 1").and("store = ", store).and("place = ", place).push(" LIMIT 10");
}

impl Catalog {
    /// Variants of assets that are gone from the catalogue, among the next `window` variants by id;
    /// stale ones are left out, as they go anyway. `next` is where the next window begins, `None` after
    /// the last: a window without orphans is no reason to stop.
    ///
    /// Orphans are rare and only a comparison of all variants with all assets finds them; windows keep
    /// each read short.
    pub async fn orphaned_variants(&self, after: Option<&str>, window: u32) -> Result<Page<VariantRecord>> {
        let window = bounded(window);
        let last = Statement::new("SELECT id AS value FROM variants WHERE 1 = 1")
            .and_if("id > ", after)
            .push(" ORDER BY id LIMIT 1 OFFSET ")
            .bind(window - 1);
        let last: Option<String> = self.first(Class::Durable, last).await?;
        let orphans = Statement::new(SELECT)
            .push("WHERE status <> 'stale'")
            .and_if("id > ", after)
            .and_if("id <= ", last.as_deref())
            .push(" AND NOT EXISTS (SELECT 1 FROM assets WHERE assets.id = variants.asset_id)")
            .push(" ORDER BY id LIMIT ")
            .bind(window);
        Ok(Page { items: self.rows(Class::Durable, orphans).await?, next: last })
    }
}

#[cfg(test)]
mod tests {
    use larder_core::Ambient;

    use super::*;
    use crate::plans::{plan, sqlite};

    #[tokio::test]
    async fn the_next_page_of_a_backfill_begins_where_the_last_one_ended() {
        let (_directory, catalog) = sqlite().await;
        let after = Some(AssetId::new(&Ambient::system()));
        let plan = plan(&catalog, lacking(&"media".parse().unwrap(), "r1", after, 100)).await;
        assert!(plan.contains("assets_by_id (bucket=? AND id>?)") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}
