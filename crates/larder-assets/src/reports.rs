//! What jobs report beside their progress; kept as long as ended jobs are.

use larder_catalog::Class;
use larder_core::{Code, Fault, JobId};
use serde::Serialize;
use serde_json::Value;

use crate::larder::Larder;

/// Before the ids of jobs, in the names under which their reports are kept.
pub(crate) const PREFIX: &str = "report:";

impl Larder {
    /// Keeps the report of a job.
    pub(crate) async fn keep_report(&self, job: JobId, report: &impl Serialize) -> Result<(), Fault> {
        let value = serde_json::to_value(report)
            .map_err(|error| Fault::internal("a report does not print").caused_by(error))?;
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move { tx.set_checkpoint(&format!("{PREFIX}{job}"), &value).await })
            })
            .await?;
        Ok(())
    }

    /// What a job reported when it was done.
    ///
    /// # Errors
    /// [`Code::JobNotFound`] for a job that reported nothing (yet).
    pub async fn report(&self, job: JobId) -> Result<Value, Fault> {
        let report = self.catalog().checkpoint(&format!("{PREFIX}{job}")).await?;
        report.ok_or_else(|| {
            Fault::new(Code::JobNotFound, format!("the job {job} has no report"))
                .remedy("wait until the job is done; adoptions, scrubs, and backups and verifications of databases have one")
        })
    }
}
