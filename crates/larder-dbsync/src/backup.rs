//! Backups: versions that are kept whatever their age.

use larder_core::Timestamp;
use serde::Serialize;

use crate::{
    error::{Error, Result},
    format::Keep,
    history::{Along, Mark},
    pull::{Wanted, find},
    remote::{Created, Object, Remote},
};

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// Its name.
    pub name: String,
    /// The version that it keeps.
    pub seq: u64,
    /// When it was made, in milliseconds since 1970.
    pub time_ms: u64,
}

/// The name of a backup that is made now and given none: `backup-YYYYmmdd-HHMMSS`, in UTC.
pub fn default_name(now: Timestamp) -> String {
    stamped("backup-", now)
}

/// A name that says when: `YYYYmmdd-HHMMSS` in UTC after `begin`.
pub(crate) fn stamped(begin: &str, now: Timestamp) -> String {
    let digits: String = now.to_string().chars().take(19).filter(char::is_ascii_digit).collect();
    let (day, time) = digits.split_at(digits.len().min(8));
    format!("{begin}{day}-{time}")
}

/// Whether a name is one that [`default_name`] makes.
pub fn is_default_name(name: &str) -> bool {
    is_stamped("backup-", name)
}

pub(crate) fn is_stamped(begin: &str, name: &str) -> bool {
    name.strip_prefix(begin).is_some_and(|stamp| {
        stamp.len() == 15
            && stamp
                .bytes()
                .enumerate()
                .all(|(at, byte)| if at == 8 { byte == b'-' } else { byte.is_ascii_digit() })
    })
}

/// Keeps a version, the newest as a rule, under a name. One small object is put, however large the database is.
///
/// # Errors
/// [`Error::Invalid`] if the name is taken by another version, [`Error::Absent`], [`Error::Store`].
pub async fn backup(remote: &Remote, name: &str, wanted: &Wanted) -> Result<Backup> {
    let mark = match wanted {
        Wanted::Newest => {
            let newest = remote.newest_entry().await?;
            let absent = || Error::Absent { detail: format!("there is no database at {}", remote.label()) };
            newest.ok_or_else(absent)?.mark
        }
        wanted => {
            let map = find(remote, wanted, None, &mut Along::default()).await?;
            let kept =
                keep_version(remote, name, Mark { database: map.database, seq: map.seq, root: map.root })
                    .await?;
            // It may have been about to go; from now on nothing of it does.
            if kept.seq < remote.floor().await? && remote.map(kept.seq).await?.is_none() {
                remove_backup(remote, name).await?;
                return Err(Error::Absent { detail: format!("version {} has just been removed", kept.seq) });
            }
            return Ok(kept);
        }
    };
    keep_version(remote, name, mark).await
}

pub(crate) async fn keep_version(remote: &Remote, name: &str, mark: Mark) -> Result<Backup> {
    let Mark { database, seq, root } = mark;
    let time_ms = remote.ambient().now().as_millis().max(0) as u64;
    let keep = Keep { database, seq, root, time_ms };
    if remote.create_keep(name, &keep).await? == Created::Taken {
        let other = remote.keep(name).await?;
        if other.is_some_and(|other| (other.database, other.root) != (keep.database, keep.root)) {
            return Err(Error::Invalid {
                detail: format!("there is another backup \"{name}\""),
                remedy: "give it another name, or remove that one with --remove",
            });
        }
    }
    Ok(Backup { name: name.to_owned(), seq, time_ms })
}

/// All backups, by name. Damaged ones are left out here; `verify` names them.
///
/// # Errors
/// [`Error::Store`].
pub async fn backups(remote: &Remote) -> Result<Vec<Backup>> {
    let mut backups = Vec::new();
    for listed in remote.list("keep/", None).await? {
        match remote.keep(&listed.name).await {
            Ok(Some(keep)) => {
                backups.push(Backup { name: listed.name, seq: keep.seq, time_ms: keep.time_ms });
            }
            Ok(None) | Err(Error::Corrupt { .. } | Error::Version { .. } | Error::Invalid { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(backups)
}

/// Gives up a backup, and says whether there was one. Its version goes with the next collection, if it is old.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Store`].
pub async fn remove_backup(remote: &Remote, name: &str) -> Result<bool> {
    remote.remove(&Object::Keep(name.to_owned())).await
}
