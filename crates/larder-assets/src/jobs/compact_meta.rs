//! Compaction: keeps the files of records in the store few and small.

use async_trait::async_trait;
use larder_core::Fault;
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext};

/// Arguments of the job; there are none.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CompactMeta {}

#[async_trait]
impl Job for CompactMeta {
    const NAME: &'static str = "compact_meta";
    const DOC: &'static str = "merges the records that lie in the store beside the bytes";
    const QUEUE: &'static str = "maintenance";
    const SCHEDULE: Option<&'static str> = Some("23 * * * *");

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        let compacted = context.larder().compact_meta(Some(&context)).await?;
        tracing::info!(?compacted, "compacted the records in the store");
        Ok(Ended::Open)
    }
}
