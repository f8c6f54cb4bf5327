//! A scrub as a job: compares catalogue and store.

use async_trait::async_trait;
use larder_catalog::NewJob;
use larder_core::{Fault, JobId};
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext, new_job};
use crate::{ScrubOptions, follow::ByJob, larder::Larder};

/// Arguments of the job.
#[derive(Debug, Serialize, Deserialize)]
pub struct Scrub {
    /// What to look at, and what to do about it.
    pub options: ScrubOptions,
}

#[async_trait]
impl Job for Scrub {
    const NAME: &'static str = "scrub";
    const DOC: &'static str = "compares catalogue and store in both directions";
    const QUEUE: &'static str = "maintenance";

    // Two scrubs at once would note their progress over each other's.
    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        let larder = context.larder().clone();
        let report = larder.scrub(&self.options, &ByJob::new(context.clone(), "records and files")).await?;
        tracing::info!(problems = report.problems, repaired = report.repaired, "scrubbed");
        larder.keep_report(context.job().id, &report).await?;
        Ok(Ended::Open)
    }
}

impl Larder {
    /// Enqueues the job that scrubs; its report is that of [`Larder::scrub`]. While one waits or runs, it
    /// is the answer.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`](larder_core::Code::BucketNotFound).
    pub async fn enqueue_scrub(&self, options: ScrubOptions) -> Result<JobId, Fault> {
        if let Some(bucket) = &options.bucket {
            self.bucket(bucket).await?;
        }
        // One that runs already is not to begin once more at its end.
        let job = NewJob { rerun: false, ..new_job(&Scrub { options })? };
        let enqueued = self
            .catalog()
            .commit(larder_catalog::Class::Durable, move |tx| Box::pin(async move { tx.enqueue(job).await }))
            .await?;
        Ok(enqueued.id)
    }
}
