//! Purge: tells the caches in front what they are to forget.

use async_trait::async_trait;
use larder_core::Fault;
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext};
use crate::larder::Larder;

/// The job has no arguments: what is to be told lies in the catalogue.
#[derive(Debug, Serialize, Deserialize)]
pub struct PurgeCdn {}

#[async_trait]
impl Job for PurgeCdn {
    const NAME: &'static str = "purge_cdn";
    const DOC: &'static str = "tells the caches in front what was replaced, deleted or closed";
    const QUEUE: &'static str = "maintenance";
    // What was deleted is served until it has run; other work of the queue may take hours.
    const PRIORITY: i64 = 20;
    // Refusals of half an hour: a hook that is being deployed.
    const ATTEMPTS: i64 = 8;

    fn unique_key(&self) -> Option<String> {
        Some("all".to_owned())
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        context.larder().send_purges(&context).await
    }

    async fn gave_up(self, larder: &Larder, fault: &Fault) -> Result<(), Fault> {
        larder.purges_gave_up(fault);
        Ok(())
    }
}
