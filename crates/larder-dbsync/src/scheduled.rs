//! Backups that come by schedule: a mark of the newest version, unless the last one has it already, and the removal of
//! those that are too many.
//!
//! They are known by their names. Backups that somebody made by hand are never removed here.

use larder_core::Timestamp;
use serde::Serialize;

use crate::{
    backup::{Backup, is_stamped, keep_version, remove_backup, stamped},
    error::{Error, Result},
    remote::{Listed, Remote},
    retention::Retention,
};

/// What the names of such backups begin with; `YYYYmmdd-HHMMSS` in UTC follows.
const NAMES: &str = "scheduled-";

/// What a scheduled backup found and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scheduled {
    /// The newest version.
    pub seq: u64,
    /// When it was committed, in milliseconds since 1970.
    pub time_ms: u64,
    /// Pages of the database.
    pub pages: u64,
    /// Bytes of it.
    pub size_bytes: u64,
    /// Who holds the database, if somebody does.
    pub holder: Option<String>,
    /// The backup that keeps the newest version.
    pub backup: Backup,
    /// Whether it was made now.
    pub is_new: bool,
    /// How many scheduled backups there are now.
    pub kept: u64,
    /// Those that were removed.
    pub removed: Vec<String>,
}

/// Keeps the newest version under a name that says when, unless the last such backup keeps the same pages; after a new
/// one, removes those that `retention` does not keep. Needs no lease. Where nothing changed, nothing is written.
///
/// # Errors
/// [`Error::Absent`] if nothing was pushed yet, [`Error::Corrupt`], [`Error::Store`].
pub async fn back_up(remote: &Remote, retention: &Retention) -> Result<Scheduled> {
    let newest = remote
        .newest_entry()
        .await?
        .ok_or_else(|| Error::Absent { detail: format!("there is no database at {}", remote.label()) })?;
    let marks = marks(remote).await?;
    let last = match marks.last() {
        Some((name, _)) => known(remote, name).await?,
        None => None,
    };
    let mut done = Scheduled {
        seq: newest.mark.seq,
        time_ms: newest.time_ms,
        pages: u64::from(newest.pages),
        size_bytes: u64::from(newest.pages) * u64::from(newest.page_bytes),
        holder: newest.holder,
        backup: Backup { name: String::new(), seq: 0, time_ms: 0 },
        is_new: false,
        kept: marks.len() as u64,
        removed: Vec::new(),
    };
    match last.filter(|(keep, _)| (keep.database, keep.root) == (newest.mark.database, newest.mark.root)) {
        Some((_, backup)) => done.backup = backup,
        None => {
            let name = stamped(NAMES, remote.ambient().now());
            done.backup = keep_version(remote, &name, newest.mark).await?;
            done.is_new = true;
            done.removed = thin_out(remote, retention, &mut done.kept).await?;
        }
    }
    Ok(done)
}

/// All of them with the store's time, the oldest first.
async fn marks(remote: &Remote) -> Result<Vec<(String, Timestamp)>> {
    let listed = remote.list("keep/", None).await?;
    let ours = listed.into_iter().filter(|listed| is_stamped(NAMES, &listed.name));
    Ok(ours.map(|Listed { name, modified, .. }| (name, modified)).collect())
}

/// One that can't be read keeps nothing: as if there was none.
async fn known(remote: &Remote, name: &str) -> Result<Option<(crate::format::Keep, Backup)>> {
    match remote.keep(name).await {
        Ok(keep) => Ok(keep.map(|keep| {
            let backup = Backup { name: name.to_owned(), seq: keep.seq, time_ms: keep.time_ms };
            (keep, backup)
        })),
        Err(Error::Corrupt { .. } | Error::Version { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Times are the store's, as in a collection: the clock of a machine decides nothing about what another one made.
async fn thin_out(remote: &Remote, retention: &Retention, kept: &mut u64) -> Result<Vec<String>> {
    let marks = marks(remote).await?;
    let items: Vec<(&str, Timestamp)> = marks.iter().map(|(name, time)| (name.as_str(), *time)).collect();
    let surplus: Vec<String> = retention.surplus(&items).into_iter().map(str::to_owned).collect();
    for name in &surplus {
        remove_backup(remote, name).await?;
    }
    *kept = (marks.len() - surplus.len()) as u64;
    Ok(surplus)
}
