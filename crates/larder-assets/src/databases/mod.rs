//! The SQLite databases which applications keep in the store with `larder db`: found by where they lie, backed up and
//! verified by schedule.
//!
//! | file | idea |
//! |---|---|
//! | `pattern` | where databases lie |
//! | `find` | which there are |
//! | `backup`, `verify` | what is done for each |
//! | `record` | what came of it, as the catalogue keeps it |
//! | `view` | the same for people |
//!
//! The databases and their format are those of `larder_dbsync`. Nothing here writes a database: a backup is a mark beside it,
//! and a collection takes only one that nobody holds.

mod backup;
mod find;
mod pattern;
mod record;
#[cfg(test)]
mod tests;
mod verify;
mod view;

use std::{path::PathBuf, sync::Arc};

use larder_catalog::Class;
use larder_core::{Code, Fault, JobId};
use larder_dbsync::{Error, Remote, Retention};
use larder_store::Store;

pub use self::{
    backup::BackupReport,
    pattern::{Pattern, PatternError},
    verify::VerifyReport,
    view::{BackupView, CollectView, DatabaseView, VerifyStatus, VerifyView},
};
use crate::{
    jobs::{Job, new_job},
    larder::Larder,
};

/// The store with the databases, and what is done for them.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// The store itself: with a cache before it, a verification would read the cache.
    pub store: Arc<dyn Store>,
    /// Before a prefix this makes the URL that `larder db` takes, such as `s3://bucket/`.
    pub url_base: String,
    /// Where databases lie.
    pub patterns: Vec<Pattern>,
    /// Folder in which databases are restored to be looked through. Larder's own: what lies there is removed.
    pub scratch: PathBuf,
    /// When backups are made, as cron in UTC; `None` for never.
    pub backup: Option<String>,
    /// When everything is read and restored, and old versions removed, as cron in UTC; `None` for never.
    pub verify: Option<String>,
    /// Which scheduled backups, and which versions, are kept.
    pub retention: Retention,
}

impl DatabaseSettings {
    /// Databases at these places, backed up every hour and verified every night.
    pub fn new(store: Arc<dyn Store>, patterns: Vec<Pattern>, scratch: impl Into<PathBuf>) -> Self {
        Self {
            store,
            url_base: String::new(),
            patterns,
            scratch: scratch.into(),
            backup: Some("0 * * * *".to_owned()),
            verify: Some("17 3 * * *".to_owned()),
            retention: Retention::default(),
        }
    }
}

impl Larder {
    fn database_settings(&self) -> Result<&DatabaseSettings, Fault> {
        self.settings().databases.as_ref().ok_or_else(|| {
            Fault::new(Code::InvalidRequest, "this process looks after no databases")
                .remedy("set databases.prefixes where jobs are run")
        })
    }

    fn database(&self, prefix: &str) -> Result<Remote, Fault> {
        let settings = self.database_settings()?;
        let remote = Remote::new(Arc::clone(&settings.store), prefix, self.ambient().clone())?;
        Ok(remote.named(format!("{}{prefix}", settings.url_base)))
    }

    /// Enqueues a job of a schedule now. While one waits or runs, it is the answer.
    pub(crate) async fn enqueue_for_databases<J: Job>(&self, job: &J) -> Result<JobId, Fault> {
        self.database_settings()?;
        // One that runs already is not to begin once more at its end.
        let job = larder_catalog::NewJob { rerun: false, ..new_job(job)? };
        let enqueued = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.enqueue(job).await }))
            .await?;
        Ok(enqueued.id)
    }
}

/// What of one database is no reason to leave the others alone: `Ok` with its text. The store's failures are that
/// of all.
fn of_one(error: Error) -> Result<String, Fault> {
    match error {
        Error::Store(larder_store::Error::NotFound { place }) => Ok(format!("{place} is missing")),
        Error::Store(error) => Err(error.into()),
        error => Ok(Fault::from(error).detail),
    }
}
