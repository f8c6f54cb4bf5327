//! A move between stores: see [`crate::migrate`].

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use larder_core::{Fault, JobId, text::display_bytes};
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext, new_job};
use crate::{
    larder::Larder,
    migrate::{MigrateEvent, MigrateOptions},
};

/// Arguments of the job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MigrateStore(pub MigrateOptions);

#[async_trait]
impl Job for MigrateStore {
    const NAME: &'static str = "migrate_store";
    const DOC: &'static str = "moves what lies in one store to another, or removes what such moves left";
    const QUEUE: &'static str = "maintenance";

    /// Two moves the same way would only get into each other's way.
    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}:{}", self.0.from, self.0.to, self.0.cleanup))
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        let [total, done, bytes, failed] = [const { AtomicU64::new(0) }; 4];
        let watch = |event: &MigrateEvent| {
            match event {
                MigrateEvent::Begun { objects, .. } => total.store(*objects, Ordering::Relaxed),
                MigrateEvent::Done { bytes: more, .. } => {
                    bytes.fetch_add(*more, Ordering::Relaxed);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                MigrateEvent::Skipped { .. } => drop(done.fetch_add(1, Ordering::Relaxed)),
                MigrateEvent::Failed { .. } => drop(failed.fetch_add(1, Ordering::Relaxed)),
            }
            let [total, done, bytes, failed] =
                [&total, &done, &bytes, &failed].map(|of| of.load(Ordering::Relaxed));
            // What came meanwhile counts too.
            let total = total.max(done + failed);
            context.progress(
                (done + failed) as f64 / total.max(1) as f64,
                &format!("{done} of {total} objects, {}, {failed} failed", display_bytes(bytes)),
            );
            context.check()
        };
        let report = context.larder().migrate(&self.0, &watch).await?;
        tracing::info!(?report, "moved between stores");
        report.incomplete().map_or(Ok(Ended::Open), Err)
    }
}

impl Larder {
    /// Enqueues a job that moves what lies in one store to another.
    ///
    /// # Errors
    /// Those of [`Larder::check_migration`].
    pub async fn start_migration(&self, options: MigrateOptions) -> Result<JobId, Fault> {
        self.check_migration(&options).await?;
        let job = new_job(&MigrateStore(options))?;
        let enqueued = self
            .catalog()
            .commit(larder_catalog::Class::Durable, move |tx| Box::pin(async move { tx.enqueue(job).await }))
            .await?;
        Ok(enqueued.id)
    }
}
