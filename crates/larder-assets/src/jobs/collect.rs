//! Collection: empties the trash and removes variants that nobody wants.

use async_trait::async_trait;
use larder_core::Fault;
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext};
use crate::sweep::SweepReport;

/// Arguments of the job; there are none.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Collect {}

#[async_trait]
impl Job for Collect {
    const NAME: &'static str = "collect";
    const DOC: &'static str =
        "purges what was long enough in the trash and removes stale and unused variants";
    const QUEUE: &'static str = "maintenance";
    const SCHEDULE: Option<&'static str> = Some("7,37 * * * *");

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        let mut report = SweepReport::default();
        context.larder().sweep_trash(&mut report, Some(&context)).await?;
        tracing::info!(?report, "collected");
        Ok(Ended::Open)
    }
}
