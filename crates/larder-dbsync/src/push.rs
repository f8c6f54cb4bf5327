//! Pushing: one local database into the store, once.

use std::{path::Path, sync::Arc};

use serde::Serialize;

use crate::{
    apply::blocking,
    error::{Error, Result},
    fail_point,
    history::Along,
    progress::{Event, Watch},
    remote::Remote,
    session::{Committed, Session, Waiting},
    sidecar::Sidecar,
    standing::{Standing, standing},
    upload::{Compared, Once, compare, open},
};

/// How often a push begins again because somebody took or left the database meanwhile.
const ATTEMPTS: u32 = 16;

/// How to push.
#[derive(Debug, Clone, Copy, Default)]
pub struct PushOptions {
    /// The local file wins, whatever was pushed by others.
    pub force: bool,
    /// There is never a second writer: a store without conditions will do.
    pub single_writer: bool,
}

/// What a push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PushReport {
    /// The version that local file and store are now.
    pub seq: u64,
    /// Pages that differed; zero if there was nothing to push.
    pub pages: u64,
    /// Pages of the database.
    pub of: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Whether the store has something newer, to be pulled, and this file nothing of its own.
    pub is_behind: bool,
}

/// Pushes a local database: what differs from the newest version becomes the next one, in one entry. It may be in use.
///
/// # Errors
/// [`Error::Diverged`] if others pushed since this file was pulled, [`Error::Held`] if `watch` is not enough of an
/// answer and somebody holds it, [`Error::NotADatabase`], [`Error::NoConditions`], [`Error::Store`] and more.
pub async fn push(remote: &Remote, path: &Path, options: PushOptions, watch: &Watch) -> Result<PushReport> {
    let mut snapshots = Once(open(path).await?);
    let sidecar = Sidecar::read(path);
    let known = sidecar.as_ref().and_then(|sidecar| Some((sidecar.map(path)?, sidecar.fingerprint.clone()?)));
    let mut session = Session::open(remote.clone(), known, options.single_writer).await?;
    let mut waited_for = None;
    for _ in 0..ATTEMPTS {
        let base = Arc::clone(session.newest());
        if base.page_size == 0 {
            snapshots = blocking(move || snapshots.0.check(false).map(|()| snapshots)).await?;
        }
        let (again, base, compared) = compare(remote, snapshots, base).await;
        snapshots = again;
        let Compared { diff, packed_bytes } = compared?;
        let diff = diff.ok_or_else(|| Error::Internal("nothing was compared".to_owned()))?;
        let of = u64::from(diff.change.page_count);
        if diff.is_empty(&base) {
            note(&session, path)?;
            watch(&Event::Unchanged { seq: base.seq });
            return Ok(PushReport { seq: base.seq, pages: 0, of, sent_bytes: 0, is_behind: false });
        }
        if !options.force {
            match standing(remote, &base, sidecar.as_ref(), diff.change.root, &Along::default()).await? {
                Standing::Ahead | Standing::Newest => {}
                Standing::Earlier => {
                    return Ok(PushReport { seq: base.seq, pages: 0, of, sent_bytes: 0, is_behind: true });
                }
                Standing::Apart => return Err(apart(path, remote, &base, sidecar.as_ref())),
            }
        }
        let is_held = base.lease.held_ms > 0 && base.lease.token != session.token();
        if is_held && waited_for != Some(base.seq) {
            session.wait_until_free(&mut waiting(watch)).await?;
            // Compared again in any case: packs that were put before may have been collected as those of an old version.
            waited_for = Some(session.newest().seq);
            continue;
        }
        let pages = diff.change.pages.len() as u64;
        if !options.force {
            // Should this process die after the commit, the next push knows that it was from this file.
            note(&session, path)?;
        }
        drop(base);
        match session.commit(&diff, false).await? {
            Committed::Done => {}
            Committed::Again | Committed::TakenOver(_) => continue,
        }
        let seq = session.newest().seq;
        note(&session, path)?;
        if let Err(error) = session.map_if_due().await {
            tracing::warn!(%error, "a map could not be written: the next push tries again");
        }
        let sent_bytes = packed_bytes + diff.frames.len() as u64;
        watch(&Event::Pushed { seq, pages, of, sent_bytes });
        return Ok(PushReport { seq, pages, of, sent_bytes, is_behind: false });
    }
    Err(Error::Held { owner: session.newest().lease.owner.clone() })
}

/// Tells who is waited for.
pub(crate) fn waiting(watch: &Watch) -> impl FnMut(Waiting<'_>) -> Result<()> + Send + use<> {
    let watch = watch.clone();
    move |waiting| {
        if let Waiting::For(owner) = waiting {
            watch(&Event::Waiting { owner: owner.to_owned() });
        }
        Ok(())
    }
}

/// Remembers beside the file which version it is.
pub(crate) fn note(session: &Session, path: &Path) -> Result<()> {
    let (map, fingerprint) = session.known();
    Sidecar::of(&map, fingerprint, session.token()).write(path, &map)?;
    fail_point::reached("db.noted");
    Ok(())
}

pub(crate) fn apart(
    path: &Path,
    remote: &Remote,
    newest: &crate::format::PageMap,
    sidecar: Option<&Sidecar>,
) -> Error {
    let detail = match sidecar.filter(|sidecar| sidecar.database == newest.database) {
        Some(sidecar) => format!(
            "{} was changed since version {}, and so was {}: it is at version {}, by {}",
            path.display(),
            sidecar.seq,
            remote.label(),
            newest.changed_at,
            newest.lease.owner,
        ),
        None => format!(
            "{} is none of the versions of {}, which is at version {}",
            path.display(),
            remote.label(),
            newest.changed_at
        ),
    };
    Error::Diverged { detail }
}
