//! Growth: notes once a day how much there is.

use async_trait::async_trait;
use larder_core::Fault;
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext};

/// The job has no arguments.
#[derive(Debug, Serialize, Deserialize)]
pub struct CountUsage {}

#[async_trait]
impl Job for CountUsage {
    const NAME: &'static str = "count_usage";
    const DOC: &'static str = "notes how much there is, once a day";
    const QUEUE: &'static str = "maintenance";
    // Near the end of the day that it is noted for.
    const SCHEDULE: Option<&'static str> = Some("50 23 * * *");

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        context.larder().note_usage().await?;
        Ok(Ended::Open)
    }
}
