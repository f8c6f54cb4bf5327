//! Deletion by prefix: moves every asset under a prefix to the trash.

use async_trait::async_trait;
use larder_catalog::{AssetFilter, AssetRecord};
use larder_core::{BucketName, Code, Fault, JobId, Timestamp, text::Span};
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext, new_job};
use crate::{larder::Larder, removal::DeleteOptions};

/// Assets looked at in one go.
const BATCH: u32 = 500;

/// Arguments of the job.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeletePrefix {
    /// In this bucket.
    pub bucket: BucketName,
    /// Keys that begin with this; all of them if it is empty.
    pub prefix: String,
    /// Only assets that came before this instant: what comes after the request is not meant.
    pub before: Timestamp,
}

/// What a deletion by prefix is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// Assets.
    pub assets: u64,
    /// Their bytes.
    pub asset_bytes: u64,
}

#[async_trait]
impl Job for DeletePrefix {
    const NAME: &'static str = "delete_prefix";
    const DOC: &'static str = "deletes the assets of a bucket whose keys begin with a text";
    const QUEUE: &'static str = "maintenance";

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        let larder = context.larder();
        let total = self.count(larder, Some(&context)).await?.assets;
        let (mut done, mut after) = (0_u64, None);
        loop {
            let (meant, next) = self.page(larder, after).await?;
            for asset in meant {
                context.check()?;
                match larder.delete_asset(asset.id, &DeleteOptions::default()).await {
                    // Somebody was faster.
                    Err(fault) if fault.code == Code::AssetNotFound => {}
                    outcome => {
                        outcome?;
                        done += 1;
                    }
                }
                context.progress(done as f64 / total.max(1) as f64, &format!("{done} of {total} assets"));
            }
            if next.is_none() {
                tracing::info!(bucket = %self.bucket, prefix = self.prefix, done, "deleted by prefix");
                return Ok(Ended::Open);
            }
            after = next;
        }
    }
}

impl DeletePrefix {
    /// The assets of a page of the bucket that are meant, and where the next page begins.
    async fn page(
        &self,
        larder: &Larder,
        after: Option<String>,
    ) -> Result<(Vec<AssetRecord>, Option<String>), Fault> {
        let filter = AssetFilter {
            bucket: Some(self.bucket.clone()),
            prefix: Some(self.prefix.clone()),
            after,
            limit: BATCH,
            ..AssetFilter::default()
        };
        let page = larder.catalog().assets(&filter).await?;
        let meant = page.items.into_iter().filter(|asset| asset.created_at < self.before).collect();
        Ok((meant, page.next))
    }

    async fn count(&self, larder: &Larder, job: Option<&JobContext>) -> Result<Affected, Fault> {
        let (mut affected, mut after) = (Affected::default(), None);
        loop {
            job.map_or(Ok(()), JobContext::check)?;
            let (meant, next) = self.page(larder, after).await?;
            affected.assets += meant.len() as u64;
            affected.asset_bytes += meant.iter().map(|asset| asset.size_bytes).sum::<u64>();
            if next.is_none() {
                return Ok(affected);
            }
            after = next;
        }
    }
}

impl Larder {
    /// How much [`Larder::delete_by_prefix`] would delete.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`].
    pub async fn count_by_prefix(
        &self,
        bucket: &BucketName,
        prefix: &str,
        older_than: Option<Span>,
    ) -> Result<Affected, Fault> {
        self.deletion(bucket, prefix, older_than).await?.count(self, None).await
    }

    /// Enqueues a job that moves the assets of a bucket whose keys begin with `prefix`, and that are
    /// older than `older_than`, to the trash.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`].
    pub async fn delete_by_prefix(
        &self,
        bucket: &BucketName,
        prefix: &str,
        older_than: Option<Span>,
    ) -> Result<JobId, Fault> {
        let job = new_job(&self.deletion(bucket, prefix, older_than).await?)?;
        let enqueued = self
            .catalog()
            .commit(larder_catalog::Class::Durable, move |tx| Box::pin(async move { tx.enqueue(job).await }))
            .await?;
        Ok(enqueued.id)
    }

    async fn deletion(
        &self,
        bucket: &BucketName,
        prefix: &str,
        older_than: Option<Span>,
    ) -> Result<DeletePrefix, Fault> {
        let bucket = self.bucket(bucket).await?.name.clone();
        let age = older_than.map_or(std::time::Duration::ZERO, |span| span.0);
        // What came in this very millisecond is meant too.
        let before = self.ambient().now().minus(age).plus(std::time::Duration::from_millis(1));
        Ok(DeletePrefix { bucket, prefix: prefix.to_owned(), before })
    }
}
