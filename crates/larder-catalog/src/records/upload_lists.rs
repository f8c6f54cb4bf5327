//! Lists of uploads: for people, and for what cleans up.

use larder_core::{AssetId, BucketName, Timestamp};

use super::upload::{SELECT, UploadRecord, UploadStatus};
use crate::{
    catalog::Catalog,
    db::Statement,
    error::Result,
    page::{Page, bounded, time_cursor},
    reads::reads,
    tx::Class,
};

/// Which uploads to list; the newest first.
#[derive(Debug, Clone, Default)]
pub struct UploadFilter {
    /// To this bucket.
    pub bucket: Option<BucketName>,
    /// With this status.
    pub status: Option<UploadStatus>,
    /// For this owner.
    pub owner: Option<String>,
    /// That made or replaced this asset.
    pub asset: Option<AssetId>,
    /// From where: `next` of the previous page.
    pub after: Option<String>,
    /// Most items of the page, 1 to 1,000.
    pub limit: u32,
}

impl Catalog {
    /// A page of uploads.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a cursor that is not ours.
    pub async fn uploads(&self, filter: &UploadFilter) -> Result<Page<UploadRecord>> {
        let limit = bounded(filter.limit);
        let uploads = self.rows(Class::Durable, list(filter, limit)?).await?;
        Ok(Page::cut(uploads, limit, |upload: &UploadRecord| {
            format!("{}.{}", upload.created_at.as_millis(), upload.id)
        }))
    }
}

fn list(filter: &UploadFilter, limit: u32) -> Result<Statement> {
    let mut statement = Statement::new(SELECT)
        .push("WHERE 1 = 1")
        .and_if("bucket = ", filter.bucket.as_ref())
        .and_if("status = ", filter.status)
        .and_if("owner = ", filter.owner.as_deref())
        .and_if("asset_id = ", filter.asset);
    let after = filter.after.as_deref().map(time_cursor).transpose()?;
    // Ids begin with the time of their making: only within a bucket does it take an index by time.
    if filter.bucket.is_none() {
        let statement = statement.and_if("id < ", after.map(|(_, id)| id));
        return Ok(statement.push(" ORDER BY id DESC LIMIT ").bind(limit + 1));
    }
    if let Some((created_at, id)) = after {
        statement =
            statement.push(" AND (created_at, id) < (").bind(created_at).push(", ").bind(id).push(")");
    }
    Ok(statement.push(" ORDER BY created_at DESC, id DESC LIMIT ").bind(limit + 1))
}

fn idle(unchanged_since: Timestamp, after: Option<&UploadRecord>, limit: u32) -> Statement {
    Statement::new(SELECT)
        .push("WHERE finished_at IS NULL")
        .and("updated_at <= ", unchanged_since)
        .and("stage <> ", UploadRecord::AWAITING_BYTES)
        .and_after("expires_at, id", after.map(|upload| (upload.expires_at, upload.id)))
        .push(" ORDER BY expires_at, id LIMIT ")
        .bind(bounded(limit))
}

reads! { Durable;
    /// Uploads that never became an asset and whose time is over, the most overdue first.
    many abandoned_uploads(now: Timestamp, after: Option<&UploadRecord>, limit: u32) -> UploadRecord = Statement::new(SELECT)
        .push("WHERE finished_at IS NULL").and("expires_at <= ", now)
        .and_after("expires_at, id", after.map(|upload| (upload.expires_at, upload.id)))
        .push(" ORDER BY expires_at, id LIMIT ").bind(bounded(limit));
    /// Uploads that have not ended, wait for no client, and did not change since an instant, by the end of their time;
    /// `after` is the last of the previous page.
    many idle_uploads(unchanged_since: Timestamp, after: Option<&UploadRecord>, limit: u32) -> UploadRecord =
        idle(unchanged_since, after, limit);
    /// Uploads that failed or expired before an instant and still have staged bytes.
    many uploads_with_leftovers(ended_before: Timestamp, limit: u32) -> UploadRecord = Statement::new(SELECT)
        .push("WHERE staging_place IS NOT NULL").and("finished_at <= ", ended_before)
        .push(" ORDER BY finished_at, id LIMIT ").bind(bounded(limit));
    /// Uploads that ended before an instant, the oldest first: for forgetting history.
    many uploads_ended_before(before: Timestamp, limit: u32) -> UploadRecord = Statement::new(SELECT)
        .push("WHERE 1 = 1").and("finished_at < ", before)
        .push(" ORDER BY finished_at, id LIMIT ").bind(bounded(limit));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::{plan, sqlite};

    #[tokio::test]
    async fn the_newest_uploads_come_from_an_index_without_sorting() {
        let (_directory, catalog) = sqlite().await;
        let after = Some("12.0195f1e0-0000-7000-8000-000000000000".to_owned());
        for bucket in [None, Some("media".parse().unwrap())] {
            let filter = UploadFilter { bucket, after: after.clone(), ..UploadFilter::default() };
            let plan = plan(&catalog, list(&filter, 100).unwrap()).await;
            assert!(plan.contains("SEARCH") && !plan.contains("TEMP B-TREE"), "{plan}");
        }
    }

    #[tokio::test]
    async fn uploads_that_have_ended_are_not_read_to_find_the_others() {
        let (_directory, catalog) = sqlite().await;
        let plan = plan(&catalog, idle(Timestamp::from_millis(1), None, 100)).await;
        assert!(plan.contains("uploads_open"), "{plan}");
    }
}
