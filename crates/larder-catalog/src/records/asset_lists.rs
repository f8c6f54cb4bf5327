//! Lists of assets: for people, and for what deletes by rule.

use larder_core::{BucketName, Timestamp};

use super::asset::{AssetRecord, AssetStatus, SELECT};
use crate::{
    catalog::Catalog,
    db::{Statement, prefix_end},
    error::{Error, Result},
    page::{Page, bounded},
    reads::reads,
    tx::Class,
};

/// Which assets to list; in the order of bucket and key, bytewise.
#[derive(Debug, Clone, Default)]
pub struct AssetFilter {
    /// Of this bucket.
    pub bucket: Option<BucketName>,
    /// Whose keys begin with this text.
    pub prefix: Option<String>,
    /// Of this owner.
    pub owner: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// In this state.
    pub status: Option<AssetStatus>,
    /// The deleted ones instead of the others.
    pub deleted: bool,
    /// From where: `next` of the previous page.
    pub after: Option<String>,
    /// In one bucket: whose keys come after this one (S3's `start-after`); it need not exist.
    pub after_key: Option<String>,
    /// Most items of the page, 1 to 1,000.
    pub limit: u32,
}

impl Catalog {
    /// A page of assets.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cursor that is not ours.
    pub async fn assets(&self, filter: &AssetFilter) -> Result<Page<AssetRecord>> {
        let limit = bounded(filter.limit);
        let assets = self.rows(Class::Durable, list(filter, limit)?).await?;
        Ok(Page::cut(assets, limit, cursor))
    }
}

/// Bucket names hold no slash, so the first one ends the bucket. Deleted assets share keys, so the id
/// stands between.
fn cursor(asset: &AssetRecord) -> String {
    format!("{}/{}/{}", asset.bucket, asset.id, asset.key)
}

fn list(filter: &AssetFilter, limit: u32) -> Result<Statement> {
    let mut statement = Statement::new(SELECT)
        .push(if filter.deleted { "WHERE deleted_at IS NOT NULL" } else { "WHERE deleted_at IS NULL" })
        .and_if("bucket = ", filter.bucket.as_ref())
        .and_if("owner = ", filter.owner.as_deref())
        .and_if("status = ", filter.status)
        .and_if("key > ", filter.after_key.as_deref());
    if let Some(prefix) = &filter.prefix {
        statement = statement.and("key >= ", prefix).and_if("key < ", prefix_end(prefix));
    }
    if let Some(tag) = &filter.tag {
        // Tags are a JSON array of strings: a tag occurs in it in its quoted form, or not at all.
        let quoted = serde_json::to_string(tag).map_err(|_| Error::internal("a tag does not print"))?;
        statement = statement
            .push(" AND (tags LIKE ")
            .bind(format!("[{}%", escaped(&quoted)))
            .push(" ESCAPE '\\' OR tags LIKE ")
            .bind(format!("%,{}%", escaped(&quoted)))
            .push(" ESCAPE '\\')");
    }
    if let Some(after) = &filter.after {
        let (bucket, id, key) = parse_cursor(after)?;
        // SQLite seeks by a comparison of rows only if none of its columns has a value already.
        statement = match &filter.bucket {
            Some(only) if only.as_str() == bucket => statement.push(" AND (key, id) > ("),
            _ => statement.push(" AND (bucket, key, id) > (").bind(bucket).push(", "),
        };
        statement = statement.bind(key).push(", ").bind(id).push(")");
    }
    Ok(statement.push(" ORDER BY bucket, key, id LIMIT ").bind(limit + 1))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

fn parse_cursor(text: &str) -> Result<(&str, &str, &str)> {
    let mut parts = text.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(bucket), Some(id), Some(key)) => Ok((bucket, id, key)),
        _ => Err(Error::invalid("the cursor is not one of ours", "pass `next` of the previous page")),
    }
}

reads! { Durable;
    /// Assets of a bucket that came before an instant, oldest first: for rules by age.
    many assets_older_than(bucket: &BucketName, prefix: &str, before: Timestamp, after: Option<&AssetRecord>, limit: u32)
        -> AssetRecord = Statement::new(SELECT)
            .push("WHERE deleted_at IS NULL").and("bucket = ", bucket).and("written_at < ", before)
            .and_after("written_at, id", after.map(|asset| (asset.written_at, asset.id)))
            .and("key >= ", prefix).and_if("key < ", prefix_end(prefix))
            .push(" ORDER BY written_at, id LIMIT ").bind(bounded(limit));
    /// Assets whose time is over, the most overdue first; those behind `after`, if it is given.
    many expired_assets(now: Timestamp, after: Option<&AssetRecord>, limit: u32) -> AssetRecord = Statement::new(SELECT)
        .push("WHERE deleted_at IS NULL").and("expires_at <= ", now)
        .and_after("expires_at, id", after.and_then(|asset| Some((asset.expires_at?, asset.id))))
        .push(" ORDER BY expires_at, id LIMIT ").bind(bounded(limit));
    /// Assets of a bucket that were deleted before an instant, the oldest first, those behind `after`,
    /// if it is given: for purging the trash.
    many trash_due(bucket: &BucketName, deleted_before: Timestamp, after: Option<&AssetRecord>, limit: u32)
        -> AssetRecord = Statement::new(SELECT)
        .push("WHERE deleted_at IS NOT NULL").and("bucket = ", bucket).and("deleted_at < ", deleted_before)
        .and_after("deleted_at, id", after.and_then(|asset| Some((asset.deleted_at?, asset.id))))
        .push(" ORDER BY deleted_at, id LIMIT ").bind(bounded(limit));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::{plan, sqlite};

    #[tokio::test]
    async fn the_next_page_of_a_bucket_begins_where_the_last_one_ended() {
        let (_directory, catalog) = sqlite().await;
        let after = Some("media/0195f1e0-0000-7000-8000-000000000000/a/b.jpg".to_owned());
        let filter = AssetFilter { bucket: Some("media".parse().unwrap()), after, ..AssetFilter::default() };
        let plan = plan(&catalog, list(&filter, 100).unwrap()).await;
        assert!(plan.contains("assets_by_key (bucket=? AND key>?)"), "{plan}");
    }
}
