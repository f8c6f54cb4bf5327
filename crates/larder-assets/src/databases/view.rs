//! The databases that are looked after, for people.

use std::collections::BTreeMap;

use larder_core::{Fault, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::{BACKED_UP, BackedUp, VERIFIED, Verified};
use crate::{
    jobs::{Job, backup_databases::BackupDatabases, verify_databases::VerifyDatabases},
    larder::Larder,
    view::Page,
};

/// A database that is looked after. What is said of it is as of the last run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseView {
    /// Where it lies in the store.
    pub prefix: String,
    /// What `larder db` takes for it.
    pub url: String,
    /// Whether it was there when somebody last looked.
    pub is_there: bool,
    /// When that was.
    pub seen_at: Option<Timestamp>,
    /// Its newest version.
    pub seq: Option<u64>,
    /// When that was committed.
    pub changed_at: Option<Timestamp>,
    /// Pages of it.
    pub pages: Option<u64>,
    /// Bytes of it.
    pub size_bytes: Option<u64>,
    /// Who was writing it.
    pub held_by: Option<String>,
    /// The last backup by schedule.
    pub backup: Option<BackupView>,
    /// When the newest version was last known to be backed up.
    pub backed_up_at: Option<Timestamp>,
    /// Why the last backup failed.
    pub backup_error: Option<String>,
    /// When the next backup is due; none where there is no schedule.
    pub next_backup_at: Option<Timestamp>,
    /// The last verification.
    pub verify: Option<VerifyView>,
    /// When it was last found to be whole.
    pub whole_at: Option<Timestamp>,
    /// When the next verification is due; none where there is no schedule.
    pub next_verify_at: Option<Timestamp>,
    /// The last collection of versions that are not kept.
    pub collect: Option<CollectView>,
}

/// A backup by schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupView {
    /// Its name, which `larder db restore --name` takes.
    pub name: String,
    /// The version that it keeps.
    pub seq: u64,
    /// When it was made.
    pub made_at: Timestamp,
}

/// A verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyView {
    /// When it ended.
    pub at: Timestamp,
    /// What it came to.
    pub status: VerifyStatus,
    /// The version that was restored and looked through.
    pub seq: u64,
    /// Objects that were read.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is damaged, by name; a hundred at most.
    pub problems: Vec<String>,
    /// How much is damaged.
    pub problem_count: u64,
    /// Why it could not be verified.
    pub error: Option<String>,
}

/// What a verification came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyStatus {
    /// Everything is what was written, and SQLite finds nothing wrong.
    Whole,
    /// Something is not.
    Damaged,
    /// It can't be told.
    Failed,
}

/// A collection of versions that are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectView {
    /// When it was.
    pub at: Timestamp,
    /// Objects that were removed.
    pub removed: u64,
    /// Bytes of them.
    pub removed_bytes: u64,
    /// Why nothing was.
    pub skipped: Option<String>,
}

impl Larder {
    /// All databases that are looked after, by prefix, as of the last runs. The store is not asked.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn databases(&self) -> Result<Page<DatabaseView>, Fault> {
        let base = self.settings().databases.as_ref().map_or("", |settings| settings.url_base.as_str());
        let next = |schedules: &[larder_catalog::ScheduleRecord], name: &str| {
            let schedule = schedules.iter().find(|schedule| schedule.name == name && schedule.enabled)?;
            Some(schedule.next_at)
        };
        let schedules = self.catalog().schedules().await?;
        let next_backup_at = next(&schedules, BackupDatabases::NAME);
        let next_verify_at = next(&schedules, VerifyDatabases::NAME);
        let mut all: BTreeMap<String, (BackedUp, Verified)> = Default::default();
        for (prefix, record) in self.database_records(BACKED_UP).await? {
            all.entry(prefix).or_default().0 = record;
        }
        for (prefix, record) in self.database_records(VERIFIED).await? {
            let is_new = !all.contains_key(&prefix);
            let both = all.entry(prefix).or_default();
            both.1 = record;
            // Only ever verified: backups are off.
            both.0.is_there |= is_new;
        }
        let items = all.into_iter().map(|(prefix, (backed_up, verified))| DatabaseView {
            url: format!("{base}{prefix}"),
            prefix,
            is_there: backed_up.is_there,
            seen_at: backed_up.seen_at.or(verified.verify.as_ref().map(|verify| verify.at)),
            seq: backed_up.seq,
            changed_at: backed_up.changed_at,
            pages: backed_up.pages,
            size_bytes: backed_up.size_bytes,
            held_by: backed_up.held_by,
            backup: backed_up.backup,
            backed_up_at: backed_up.backed_up_at,
            backup_error: backed_up.error,
            next_backup_at,
            verify: verified.verify,
            whole_at: verified.whole_at,
            next_verify_at,
            collect: verified.collect,
        });
        Ok(Page { items: items.collect(), next: None })
    }
}
