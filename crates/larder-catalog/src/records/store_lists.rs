//! What lies in a store: for moving it to another one.

use larder_core::BucketName;

use super::{
    asset::{AssetRecord, SELECT as SELECT_ASSET},
    variant::{SELECT as SELECT_VARIANT, VariantRecord},
};
use crate::{
    catalog::Catalog,
    db::{FromRow, Row, Statement, prefix_end},
    error::Result,
    page::bounded,
    tx::Class,
};

/// Which of the records of a store are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreFilter {
    /// Name of the store.
    pub store: String,
    /// Only assets of this bucket, and their variants.
    pub bucket: Option<BucketName>,
    /// Only assets whose keys begin with this text, and their variants.
    pub prefix: Option<String>,
}

/// How much of one kind lies in a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Records.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl FromRow for StoreUsage {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { objects: row.count("objects")?, bytes: row.count("bytes")? })
    }
}

const USAGE: &str = "SELECT count(*) AS objects, CAST(COALESCE(sum(size_bytes), 0) AS BIGINT) AS bytes FROM ";

impl StoreFilter {
    fn keys(&self, statement: Statement) -> Statement {
        let prefix = self.prefix.as_deref().filter(|prefix| !prefix.is_empty());
        statement
            .and_if("bucket = ", self.bucket.as_ref())
            .and_if("key >= ", prefix)
            .and_if("key < ", prefix.and_then(prefix_end))
    }

    fn assets(&self, statement: Statement) -> Statement {
        self.keys(statement.push("WHERE 1 = 1").and("store = ", &self.store))
    }

    fn variants(&self, statement: Statement) -> Statement {
        let statement = statement.push("WHERE place <> ''").and("store = ", &self.store);
        if self.bucket.is_none() && self.prefix.is_none() {
            return statement;
        }
        let of = statement.push(" AND EXISTS (SELECT 1 FROM assets WHERE assets.id = variants.asset_id");
        self.keys(of).push(")")
    }

    fn assets_after(&self, after: Option<&AssetRecord>, limit: u32) -> Statement {
        self.assets(Statement::new(SELECT_ASSET))
            .and_after("place, id", after.map(|asset| (&asset.place, asset.id)))
            .push(" ORDER BY place, id LIMIT ")
            .bind(bounded(limit))
    }

    fn variants_after(&self, after: Option<&VariantRecord>, limit: u32) -> Statement {
        self.variants(Statement::new(SELECT_VARIANT))
            .and_after("place, id", after.map(|variant| (&variant.place, variant.id)))
            .push(" ORDER BY place, id LIMIT ")
            .bind(bounded(limit))
    }
}

impl Catalog {
    /// Assets whose bytes lie in a store, deleted ones included, by place; those behind `after`, if it is
    /// given.
    ///
    /// # Errors
    /// The database's.
    pub async fn assets_in_store(
        &self,
        filter: &StoreFilter,
        after: Option<&AssetRecord>,
        limit: u32,
    ) -> Result<Vec<AssetRecord>> {
        self.rows(Class::Durable, filter.assets_after(after, limit)).await
    }

    /// Variants whose bytes lie in a store, stale ones included, by place; those behind `after`, if it is
    /// given.
    ///
    /// # Errors
    /// The database's.
    pub async fn variants_in_store(
        &self,
        filter: &StoreFilter,
        after: Option<&VariantRecord>,
        limit: u32,
    ) -> Result<Vec<VariantRecord>> {
        self.rows(Class::Durable, filter.variants_after(after, limit)).await
    }

    /// Whether a record says that its bytes, or a copy of them that a move left, lie in a store.
    ///
    /// # Errors
    /// The database's.
    pub async fn has_in_store(&self, store: &str) -> Result<bool> {
        let filter = StoreFilter { store: store.to_owned(), ..StoreFilter::default() };
        Ok(!self.assets_in_store(&filter, None, 1).await?.is_empty()
            || !self.variants_in_store(&filter, None, 1).await?.is_empty()
            || !self.spare_copies_in(store, None, 1).await?.is_empty())
    }

    /// How many assets and how many variants lie in a store. Reads all of them.
    ///
    /// # Errors
    /// The database's.
    pub async fn store_usage(&self, filter: &StoreFilter) -> Result<(StoreUsage, StoreUsage)> {
        let assets = filter.assets(Statement::new(USAGE).push("assets "));
        let variants = filter.variants(Statement::new(USAGE).push("variants "));
        Ok((
            self.first(Class::Durable, assets).await?.unwrap_or_default(),
            self.first(Class::Durable, variants).await?.unwrap_or_default(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::{plan, sqlite};

    #[tokio::test]
    async fn the_next_page_of_a_store_begins_where_the_last_one_ended() {
        let (_directory, catalog) = sqlite().await;
        let filter = StoreFilter { store: "local".to_owned(), ..StoreFilter::default() };
        for (statement, index) in [
            (filter.assets(Statement::new(SELECT_ASSET)), "assets_by_place"),
            (filter.variants(Statement::new(SELECT_VARIANT)), "variants_by_place"),
        ] {
            let after =
                statement.and_after("place, id", Some(("a", "1"))).push(" ORDER BY place, id LIMIT 10");
            let plan = plan(&catalog, after).await;
            assert!(plan.contains(&format!("{index} (store=? AND place>?)")), "{plan}");
        }
    }
}
