//! Verification of the databases in the store: see [`crate::databases`].

use std::borrow::Cow;

use async_trait::async_trait;
use larder_core::{Fault, JobId};
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext};
use crate::{larder::Larder, settings::Settings};

/// Arguments of the job; there are none.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct VerifyDatabases {}

#[async_trait]
impl Job for VerifyDatabases {
    const NAME: &'static str = "verify_databases";
    const DOC: &'static str = "reads each database in the store in full, restores it for trial, and removes versions that are not kept";
    const QUEUE: &'static str = "maintenance";

    fn schedule(settings: &Settings) -> Option<Cow<'static, str>> {
        settings.databases.as_ref()?.verify.clone().map(Cow::Owned)
    }

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        let larder = context.larder().clone();
        let report = larder.verify_databases(&context).await?;
        tracing::info!(
            databases = report.databases,
            whole = report.whole,
            damaged = report.damaged.len(),
            "verified the databases"
        );
        larder.keep_report(context.job().id, &report).await?;
        Ok(Ended::Open)
    }
}

impl Larder {
    /// Enqueues the job that verifies all databases. While one waits or runs, it is the answer.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`](larder_core::Code::InvalidRequest) where no databases are looked after.
    pub async fn enqueue_database_verification(&self) -> Result<JobId, Fault> {
        self.enqueue_for_databases(&VerifyDatabases {}).await
    }
}
