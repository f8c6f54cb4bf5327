//! Adoption as a job: files that lie in the store already become assets where they lie.

use async_trait::async_trait;
use larder_core::{Fault, JobId};
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext, new_job};
use crate::{AdoptOptions, follow::ByJob, larder::Larder};

/// Arguments of the job.
#[derive(Debug, Serialize, Deserialize)]
pub struct Adopt {
    /// What to adopt.
    pub options: AdoptOptions,
}

#[async_trait]
impl Job for Adopt {
    const NAME: &'static str = "adopt";
    const DOC: &'static str = "makes assets of files that lie in the store already";
    const QUEUE: &'static str = "maintenance";

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        let larder = context.larder().clone();
        let report = larder.adopt(&self.options, &ByJob::new(context.clone(), "files")).await?;
        tracing::info!(adopted = report.adopted, refused = report.refused, "adopted");
        larder.keep_report(context.job().id, &report).await?;
        Ok(Ended::Open)
    }
}

impl Larder {
    /// Enqueues the job that adopts; its report is that of [`Larder::adopt`].
    ///
    /// # Errors
    /// [`Code::BucketNotFound`](larder_core::Code::BucketNotFound).
    pub async fn enqueue_adoption(&self, options: AdoptOptions) -> Result<JobId, Fault> {
        let bucket = self.bucket(&options.bucket).await?.name.clone();
        let job = new_job(&Adopt { options })?.bucket(bucket);
        let enqueued = self
            .catalog()
            .commit(larder_catalog::Class::Durable, move |tx| Box::pin(async move { tx.enqueue(job).await }))
            .await?;
        Ok(enqueued.id)
    }
}
