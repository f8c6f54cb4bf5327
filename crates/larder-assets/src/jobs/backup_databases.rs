//! Backups of the databases in the store: see [`crate::databases`].

use std::borrow::Cow;

use async_trait::async_trait;
use larder_core::{Fault, JobId};
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext};
use crate::{follow::ByJob, larder::Larder, settings::Settings};

/// Arguments of the job; there are none.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct BackupDatabases {}

#[async_trait]
impl Job for BackupDatabases {
    const NAME: &'static str = "backup_databases";
    const DOC: &'static str = "marks the newest version of each database in the store, and removes old marks";
    const QUEUE: &'static str = "maintenance";

    fn schedule(settings: &Settings) -> Option<Cow<'static, str>> {
        settings.databases.as_ref()?.backup.clone().map(Cow::Owned)
    }

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        let larder = context.larder().clone();
        let report = larder.back_databases_up(&ByJob::new(context.clone(), "databases")).await?;
        tracing::info!(databases = report.databases, made = report.made, "backed up the databases");
        larder.keep_report(context.job().id, &report).await?;
        Ok(Ended::Open)
    }
}

impl Larder {
    /// Enqueues the job that backs all databases up. While one waits or runs, it is the answer.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`](larder_core::Code::InvalidRequest) where no databases are looked after.
    pub async fn enqueue_database_backup(&self) -> Result<JobId, Fault> {
        self.enqueue_for_databases(&BackupDatabases {}).await
    }
}
