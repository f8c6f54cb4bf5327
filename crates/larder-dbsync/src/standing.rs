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
    let Some(sidecar) =
        sidecar.filter(|sidecar| sidecar.database == newest.database && sidecar.seq <= newest.seq)
    else {
        let is_known = along.has_passed(root) || is_version(remote, newest, root).await?;
        return Ok(if is_known { Standing::Earlier } else { Standing::Apart });
    };
    // First of all: what was taken back is the same as an earlier version, and a change all the same.
    if newest.changed_at <= sidecar.seq {
        return Ok(Standing::Ahead);
    }
    if root == sidecar.root || along.has_passed(root) {
        return Ok(Standing::Earlier);
    }
    if let Some(standing) = standing_of_writer(remote, newest, sidecar, root).await? {
        return Ok(standing);
    }
    let is_known = is_version(remote, newest, root).await?;
    Ok(if is_known { Standing::Earlier } else { Standing::Apart })
}

/// Where a file stands if all that was written since it was known to be the same was written from that file: ahead,
/// unless it is one of those versions, as a disk is that was set back.
async fn standing_of_writer(
    remote: &Remote,
    newest: &PageMap,
    sidecar: &Sidecar,
    root: Digest,
) -> Result<Option<Standing>> {
    if newest.seq - sidecar.seq > LOOKED_THROUGH_MAX as u64 {
        return Ok(None);
    }
    let mut entries = stream::iter(sidecar.seq + 1..=newest.seq)
        .map(|seq| async move { remote.entry(seq).await })
        .buffered(AT_A_TIME);
    let mut standing = Standing::Ahead;
    while let Some(fetched) = entries.try_next().await? {
        let Some(entry) = fetched.map(|fetched| fetched.head.entry) else { return Ok(None) };
        let Some(change) = entry.change else { continue };
        if entry.lease.token != sidecar.token {
            return Ok(None);
        }
        if change.root == root {
            standing = Standing::Earlier;
        }
    }
    Ok(Some(standing))
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
