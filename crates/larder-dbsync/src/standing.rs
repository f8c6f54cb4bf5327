//! Where a local file stands towards the log: which version it is, or began from.

use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    error::Result,
    format::PageMap,
    hash::Digest,
    history::Along,
    remote::{Listed, Remote},
    sidecar::Sidecar,
};

/// Entries that are looked through for the version that a file is, from the newest backwards.
const LOOKED_THROUGH_MAX: usize = 10_000;

/// Entries that are asked for at a time.
const AT_A_TIME: usize = 8;

/// What a local file is to the newest version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the newest version.
    Newest,
    /// It is an earlier version, unchanged.
    Earlier,
    /// It was changed since it was the newest version, and nobody else changed that.
    Ahead,
    /// It was changed, and so was the store; or it is not known to have been the same ever.
    Apart,
}

/// Finds out where a file with this root stands.
///
/// # Errors
/// [`Error::Corrupt`](crate::Error::Corrupt), [`Error::Store`](crate::Error::Store).
pub async fn standing(
    remote: &Remote,
    newest: &PageMap,
    sidecar: Option<&Sidecar>,
    root: Digest,
    along: &Along,
) -> Result<Standing> {
    if newest.page_size == 0 {
        return Ok(Standing::Ahead);
    }
    if root == newest.root {
        return Ok(Standing::Newest);
    }
    if along.has_passed(root) {
        return Ok(Standing::Earlier);
    }
    let Some(sidecar) =
        sidecar.filter(|sidecar| sidecar.database == newest.database && sidecar.seq <= newest.seq)
    else {
        let is_known = is_version(remote, newest, root).await?;
        return Ok(if is_known { Standing::Earlier } else { Standing::Apart });
    };
    if newest.changed_at <= sidecar.seq {
        return Ok(Standing::Ahead);
    }
    if root == sidecar.root {
        return Ok(Standing::Earlier);
    }
    if is_all_by(remote, newest, sidecar).await? {
        return Ok(Standing::Ahead);
    }
    let is_known = is_version(remote, newest, root).await?;
    Ok(if is_known { Standing::Earlier } else { Standing::Apart })
}

/// Whether all that was written since a file was known to be the same was written from that file.
async fn is_all_by(remote: &Remote, newest: &PageMap, sidecar: &Sidecar) -> Result<bool> {
    if newest.seq - sidecar.seq > LOOKED_THROUGH_MAX as u64 {
        return Ok(false);
    }
    let mut entries = stream::iter(sidecar.seq + 1..=newest.seq)
        .map(|seq| async move { remote.entry(seq).await })
        .buffered(AT_A_TIME);
    while let Some(fetched) = entries.try_next().await? {
        let is_own = fetched.is_some_and(|fetched| {
            let entry = &fetched.head.entry;
            entry.lease.token == sidecar.token || entry.change.is_none()
        });
        if !is_own {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a root is that of a version of this log.
async fn is_version(remote: &Remote, newest: &PageMap, root: Digest) -> Result<bool> {
    let mut numbers: Vec<u64> = remote.list("log/", None).await?.iter().filter_map(Listed::seq).collect();
    numbers.retain(|seq| *seq <= newest.seq);
    let mut entries = stream::iter(numbers.into_iter().rev().take(LOOKED_THROUGH_MAX))
        .map(|seq| async move { remote.entry(seq).await })
        .buffered(AT_A_TIME);
    while let Some(fetched) = entries.try_next().await? {
        let change = fetched.and_then(|fetched| fetched.head.entry.change);
        if change.is_some_and(|change| change.root == root) {
            return Ok(true);
        }
    }
    drop(entries);
    for seq in remote.list("map/", None).await?.iter().filter_map(Listed::seq) {
        if remote.map(seq).await?.is_some_and(|map| map.root == root) {
            return Ok(true);
        }
    }
    Ok(false)
}
