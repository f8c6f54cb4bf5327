//! Backfill: after a preset changed, enqueues the making of what assets lack.

use async_trait::async_trait;
use larder_catalog::Class;
use larder_core::{BucketName, Fault};
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext, make_variants::MakeVariants, new_job};
use crate::variants::recipe_digest;

/// Assets looked at in one go.
const BATCH: u32 = 200;

/// Arguments of the job.
#[derive(Debug, Serialize, Deserialize)]
pub struct Backfill {
    /// Only this preset.
    #[serde(default)]
    pub preset: Option<String>,
    /// Only this bucket.
    #[serde(default)]
    pub bucket: Option<BucketName>,
}

impl Backfill {
    /// Of one preset, in every bucket that has it.
    pub fn of_preset(name: &str) -> Self {
        Self { preset: Some(name.to_owned()), bucket: None }
    }

    /// Of every preset of a bucket.
    pub fn of_bucket(name: BucketName) -> Self {
        Self { preset: None, bucket: Some(name) }
    }
}

#[async_trait]
impl Job for Backfill {
    const NAME: &'static str = "backfill";
    const DOC: &'static str =
        "makes the variants that assets lack after a preset or a bucket's presets changed";
    const QUEUE: &'static str = "maintenance";

    fn unique_key(&self) -> Option<String> {
        let bucket = self.bucket.as_ref().map_or("", BucketName::as_str);
        Some(format!("{bucket}:{}", self.preset.as_deref().unwrap_or_default()))
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        let larder = context.larder();
        let mut enqueued: u64 = 0;
        for bucket in larder.buckets().await? {
            if self.bucket.as_ref().is_some_and(|wanted| *wanted != bucket.name) {
                continue;
            }
            let wanted = larder.wanted_at_upload(&bucket).await?;
            for wanted in
                wanted.iter().filter(|wanted| self.preset.as_ref().is_none_or(|name| *name == wanted.preset))
            {
                let digest = recipe_digest(&wanted.recipe.to_string());
                let mut after = None;
                loop {
                    context.check()?;
                    let lacking =
                        larder.catalog().assets_lacking_variant(&bucket.name, &digest, after, BATCH).await?;
                    let Some(last) = lacking.last() else { break };
                    after = Some(last.id);
                    let jobs = lacking
                        .iter()
                        .filter(|asset| asset.width_px.is_some())
                        .map(|asset| {
                            let job = MakeVariants { asset_id: asset.id, upload_id: None, recipes: None };
                            // After uploads: nobody waits for a backfill.
                            Ok(new_job(&job)?.priority(-10).bucket(bucket.name.clone()).subject(asset.id))
                        })
                        .collect::<Result<Vec<_>, Fault>>()?;
                    enqueued += jobs.len() as u64;
                    larder
                        .catalog()
                        .commit(Class::Durable, move |tx| {
                            Box::pin(async move {
                                for job in jobs {
                                    tx.enqueue(job).await?;
                                }
                                Ok(())
                            })
                        })
                        .await?;
                    context.progress(0.5, &format!("{enqueued} assets of {}", bucket.name));
                }
            }
        }
        tracing::info!(enqueued, preset = self.preset, "backfill enqueued");
        Ok(Ended::Open)
    }
}
