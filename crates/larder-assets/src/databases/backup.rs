//! Backups of all databases: a mark of the newest version of each, where it has none yet.

use std::collections::BTreeMap;

use larder_core::{Fault, Timestamp};
use larder_dbsync::{Scheduled, back_up};
use serde::Serialize;

use super::{
    find::find,
    of_one,
    record::{BACKED_UP, BackedUp},
    view::BackupView,
};
use crate::{follow::Follow, larder::Larder};

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// Databases that are there.
    pub databases: u64,
    /// Backups that were made: of those that changed.
    pub made: u64,
    /// Backups that were removed, since they are not kept any longer.
    pub removed: u64,
    /// What could not be backed up, and why.
    pub failed: BTreeMap<String, String>,
    /// Databases that were there at an earlier run.
    pub gone: Vec<String>,
    /// There are more databases than are looked after.
    pub is_cut: bool,
}

impl Larder {
    /// Backs all databases up.
    ///
    /// # Errors
    /// The store does not answer, or denies access; the catalogue's. What is wrong with one database is in the report.
    pub(crate) async fn back_databases_up(&self, follow: &dyn Follow) -> Result<BackupReport, Fault> {
        let settings = self.database_settings()?;
        let found = find(&*settings.store, &settings.patterns).await?;
        let mut known: BTreeMap<String, BackedUp> =
            self.database_records(BACKED_UP).await?.into_iter().collect();
        let mut report = BackupReport {
            databases: found.prefixes.len() as u64,
            is_cut: found.is_cut,
            ..BackupReport::default()
        };
        if found.is_cut {
            tracing::error!(
                "there are more databases than are looked after: name fewer in databases.prefixes"
            );
        }
        follow.expect(report.databases);
        for prefix in &found.prefixes {
            follow.check()?;
            let before = known.remove(prefix).unwrap_or_default();
            let after = self.back_one_up(prefix, before, &mut report).await?;
            self.keep_database_record(BACKED_UP, prefix, &after).await?;
            follow.advance(1);
        }
        // Those that were only not come to are not gone.
        if !found.is_cut {
            for (prefix, record) in known.into_iter().filter(|(_, record)| record.is_there) {
                tracing::error!(
                    database = prefix,
                    "a database is no longer there, and neither are its backups"
                );
                let gone = BackedUp { is_there: false, ..record };
                self.keep_database_record(BACKED_UP, &prefix, &gone).await?;
                report.gone.push(prefix);
            }
        }
        self.forget_old_database_records(BACKED_UP).await?;
        Ok(report)
    }

    async fn back_one_up(
        &self,
        prefix: &str,
        before: BackedUp,
        report: &mut BackupReport,
    ) -> Result<BackedUp, Fault> {
        let now = self.ambient().now();
        let seen = BackedUp { seen_at: Some(now), is_there: true, error: None, ..before };
        let remote = self.database(prefix)?;
        let retention = self.database_settings()?.retention;
        match back_up(&remote, &retention).await {
            Ok(Scheduled { seq, time_ms, pages, size_bytes, holder, backup, is_new, removed, .. }) => {
                report.made += u64::from(is_new);
                report.removed += removed.len() as u64;
                Ok(BackedUp {
                    seq: Some(seq),
                    changed_at: Some(instant(time_ms)),
                    pages: Some(pages),
                    size_bytes: Some(size_bytes),
                    held_by: holder,
                    backup: Some(BackupView {
                        name: backup.name,
                        seq: backup.seq,
                        made_at: instant(backup.time_ms),
                    }),
                    backed_up_at: Some(now),
                    ..seen
                })
            }
            // Somebody has taken it, and pushed nothing yet.
            Err(larder_dbsync::Error::Absent { .. }) => Ok(seen),
            Err(error) => {
                let error = of_one(error)?;
                tracing::error!(database = prefix, error, "a database could not be backed up");
                report.failed.insert(prefix.to_owned(), error.clone());
                Ok(BackedUp { error: Some(error), ..seen })
            }
        }
    }
}

fn instant(time_ms: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(time_ms).unwrap_or(i64::MAX))
}
