//! Sweep of uploads: expires those that never became an asset, removes leftovers and old history.

use async_trait::async_trait;
use larder_core::Fault;
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext};
use crate::sweep::SweepReport;

/// Arguments of the job; there are none.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SweepUploads {}

#[async_trait]
impl Job for SweepUploads {
    const NAME: &'static str = "sweep_uploads";
    const DOC: &'static str = "expires abandoned uploads and removes what requests and crashes left over";
    const QUEUE: &'static str = "maintenance";
    const SCHEDULE: Option<&'static str> = Some("*/10 * * * *");

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        let mut report = SweepReport::default();
        context.larder().sweep_uploads(&mut report, Some(&context)).await?;
        tracing::info!(?report, "swept uploads");
        Ok(Ended::Open)
    }
}
