//! What was found and done, as the catalogue keeps it: one value of each schedule for each database, so that the two never
//! write over each other.

use larder_catalog::Class;
use larder_core::{Fault, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    find::DATABASES_MAX,
    view::{BackupView, CollectView, VerifyView},
};
use crate::larder::Larder;

/// Before the prefixes of databases, in the names under which these are kept.
pub(super) const BACKED_UP: &str = "database_backup:";
/// The same of verifications.
pub(super) const VERIFIED: &str = "database_verify:";

/// What the last look for backups found of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BackedUp {
    /// When that was.
    pub(super) seen_at: Option<Timestamp>,
    /// Whether the database was there.
    pub(super) is_there: bool,
    /// Its newest version, as far as one could be read.
    pub(super) seq: Option<u64>,
    pub(super) changed_at: Option<Timestamp>,
    pub(super) pages: Option<u64>,
    pub(super) size_bytes: Option<u64>,
    pub(super) held_by: Option<String>,
    /// The last backup by schedule.
    pub(super) backup: Option<BackupView>,
    /// When the newest version was last known to be backed up.
    pub(super) backed_up_at: Option<Timestamp>,
    /// Why it was not, the last time.
    pub(super) error: Option<String>,
}

/// What the last verification of a database came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verified {
    pub(super) verify: Option<VerifyView>,
    /// When it was last found to be whole.
    pub(super) whole_at: Option<Timestamp>,
    pub(super) collect: Option<CollectView>,
}

impl Larder {
    /// All records of a kind, with the prefixes of their databases.
    pub(super) async fn database_records<T: DeserializeOwned + Default>(
        &self,
        kind: &str,
    ) -> Result<Vec<(String, T)>, Fault> {
        // As many again may be gone since.
        let kept = self.catalog().checkpoints_under(kind, DATABASES_MAX as u32 * 2).await?;
        let named = kept.into_iter().filter_map(|kept| {
            let prefix = kept.name.strip_prefix(kind)?.to_owned();
            // One of another version is as good as none: the next run writes it anew.
            Some((prefix, serde_json::from_value(kept.value).unwrap_or_default()))
        });
        Ok(named.collect())
    }

    pub(super) async fn keep_database_record(
        &self,
        kind: &str,
        prefix: &str,
        record: &impl Serialize,
    ) -> Result<(), Fault> {
        let value = serde_json::to_value(record)
            .map_err(|error| Fault::internal("a record does not print").caused_by(error))?;
        let name = format!("{kind}{prefix}");
        self.catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.set_checkpoint(&name, &value).await }))
            .await?;
        Ok(())
    }

    /// Forgets those that nothing was written of for as long as history is kept: databases that are gone.
    pub(super) async fn forget_old_database_records(&self, kind: &'static str) -> Result<(), Fault> {
        let before = self.ambient().now().minus(self.settings().history);
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move { tx.forget_checkpoints_before(kind, before).await })
            })
            .await?;
        Ok(())
    }
}
