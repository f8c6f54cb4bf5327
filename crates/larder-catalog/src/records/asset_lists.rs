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
    /// Start where: `next` of the previous page.
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
        let assets = self.rows(Class::Durable, list(filter, limit + 1)?).await?;
        Ok(Page::cut(assets, limit, cursor))
    }
}

/// Bucket names hold no slash, so the first one ends the bucket. Deleted assets share keys, so the id
/// stands between.
pub(super) fn cursor(asset: &AssetRecord) -> String {
    format!("{}/{}/{}", asset.bucket, asset.id, asset.key)
}

/// The cursor behind all keys that begin with `prefix`: without an id.
pub(super) fn cursor_behind(bucket: &BucketName, prefix: &str) -> String {
    format!("{bucket}//{prefix}")
}

/// At most `rows` assets.
pub(super) fn list(filter: &AssetFilter, rows: u32) -> Result<Statement> {
    let mut statement = Statement::new(SELECT)
        .push(if filter.deleted { "WHERE deleted_at IS NOT NULL" } else { "WHERE deleted_at IS NULL" })
        .and_if("bucket = ", filter.bucket.as_ref())
        .and_if("owner = ", filter.owner.as_deref())
        .and_if("status = ", filter.status);
    let prefix = filter.prefix.as_deref().unwrap_or_default();
    statement = statement.and_if("key < ", prefix_end(prefix));
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
    let mut from = Start { key: prefix.to_owned(), beyond: Beyond::Nothing };
    if let Some(key) = &filter.after_key {
        from = from.max(Start { key: key.clone(), beyond: Beyond::Key });
    }
    if let Some(after) = filter.after.as_deref() {
        let (bucket, after) = parse_cursor(after)?;
        match &filter.bucket {
            Some(only) if only.as_str() == bucket => from = from.max(after),
            _ => statement = after.among_buckets(bucket, statement),
        }
    }
    statement = from.within_bucket(statement);
    Ok(statement.push(" ORDER BY bucket, key, id LIMIT ").bind(rows))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// Where a list begins. Of several the last one holds them all, and it alone is asked for: SQLite seeks
/// by one lower bound, whichever it takes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Start {
    key: String,
    beyond: Beyond,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Beyond {
    /// At the key.
    Nothing,
    /// Behind the asset of this id; of the deleted ones, several have one key.
    Asset(String),
    /// Behind the key.
    Key,
}

impl Start {
    fn within_bucket(&self, statement: Statement) -> Statement {
        match &self.beyond {
            Beyond::Nothing if self.key.is_empty() => statement,
            Beyond::Nothing => statement.and("key >= ", &self.key),
            Beyond::Key => statement.and("key > ", &self.key),
            // SQLite seeks by a comparison of rows only if none of its columns has a value already.
            Beyond::Asset(id) => {
                statement.push(" AND (key, id) > (").bind(&self.key).push(", ").bind(id).push(")")
            }
        }
    }

    fn among_buckets(&self, bucket: &str, statement: Statement) -> Statement {
        let (relation, id) = match &self.beyond {
            Beyond::Asset(id) => (" AND (bucket, key, id) > (", Some(id)),
            Beyond::Nothing | Beyond::Key => (" AND (bucket, key) >= (", None),
        };
        let position = statement.push(relation).bind(bucket).push(", ").bind(&self.key);
        match id {
            Some(id) => position.push(", ").bind(id).push(")"),
            None => position.push(")"),
        }
    }
}

/// The bucket of a cursor, and where the next page begins in it.
fn parse_cursor(text: &str) -> Result<(&str, Start)> {
    let mut parts = text.splitn(3, '/');
    let (Some(bucket), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(foreign());
    };
    let from = match id {
        "" => Start { key: prefix_end(key).ok_or_else(foreign)?, beyond: Beyond::Nothing },
        id => Start { key: key.to_owned(), beyond: Beyond::Asset(id.to_owned()) },
    };
    Ok((bucket, from))
}

fn foreign() -> Error {
    Error::invalid("the cursor is not one of ours", "pass `next` of the previous page")
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
        let by_bucket = plan(&catalog, list(&filter, 100).unwrap()).await;
        assert!(by_bucket.contains("assets_by_key (bucket=? AND key>?)"), "{by_bucket}");
        let statement = list(&AssetFilter { prefix: Some("a/".into()), ..filter }, 100).unwrap();
        assert!(!statement.text.contains("key >="), "of two lower bounds SQLite might take the lower one");
        let by_prefix = plan(&catalog, statement).await;
        assert!(by_prefix.contains("assets_by_key (bucket=? AND key>? AND key<?)"), "{by_prefix}");
    }
}
