//! Retention: deletes what the rules of buckets and the expiry of assets name.

use async_trait::async_trait;
use larder_core::Fault;
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext};
use crate::sweep::SweepReport;

/// Arguments of the job; there are none.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ApplyRetention {}

#[async_trait]
impl Job for ApplyRetention {
    const NAME: &'static str = "retention";
    const DOC: &'static str = "moves assets to the trash that a retention rule or their expiry names";
    const QUEUE: &'static str = "maintenance";
    const SCHEDULE: Option<&'static str> = Some("17 * * * *");

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        let mut report = SweepReport::default();
        context.larder().sweep_retention(&mut report, Some(&context)).await?;
        tracing::info!(?report, "applied retention");
        Ok(Ended::Open)
    }
}
