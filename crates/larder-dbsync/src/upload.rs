//! Comparing a local database with a version while what differs is on its way already.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    apply::blocking,
    diff::{Diff, diff},
    error::{Error, Result},
    fail_point,
    format::PageMap,
    hash::Digest,
    pages::Snapshot,
    remote::Remote,
};

/// Packs that are on their way at a time.
const AT_A_TIME: usize = 4;

/// Packs that wait for their turn.
const WAITING: usize = 2;

/// Gives out the snapshot that is compared, and the pages that may differ.
pub trait Snapshots: Send + 'static {
    /// Calls `compare` with a snapshot, once.
    fn with<T>(
        &mut self,
        compare: impl FnOnce(Snapshot<'_>, Option<BTreeSet<u32>>) -> Result<T>,
    ) -> Result<Option<T>>;
}

/// What was compared, and how many bytes went ahead of it.
#[derive(Debug)]
pub struct Compared {
    /// What differs; `None` if there was nothing to compare.
    pub diff: Option<Diff>,
    /// Bytes of packs that were put.
    pub packed_bytes: u64,
}

/// Compares with `base`, and puts the packs of a large difference; when this returns they are there.
///
/// # Errors
/// Those of reading, [`Error::Store`].
pub async fn compare<S: Snapshots>(
    remote: &Remote,
    mut snapshots: S,
    base: Arc<PageMap>,
) -> (S, Arc<PageMap>, Result<Compared>) {
    let (give, mut take) = mpsc::channel::<(Digest, Bytes)>(WAITING);
    let comparing = tokio::task::spawn_blocking(move || {
        let mut take_pack = |digest, bytes| {
            fail_point::reached("db.pack");
            give.blocking_send((digest, bytes))
                .map_err(|_| Error::Internal("the upload of packs ended".to_owned()))
        };
        let found = snapshots.with(|snapshot, candidates| {
            fail_point::reached("db.snapshot");
            diff(&snapshot, &base, candidates.as_ref(), &mut take_pack)
        });
        (snapshots, base, found)
    });
    let uploaded = async {
        let (mut flying, mut packed_bytes) = (JoinSet::new(), 0);
        while let Some((digest, bytes)) = take.recv().await {
            while flying.len() >= AT_A_TIME {
                landed(flying.join_next().await)?;
            }
            packed_bytes += bytes.len() as u64;
            let remote = remote.clone();
            flying.spawn(async move { remote.put_pack(digest, bytes).await });
        }
        while let Some(one) = flying.join_next().await {
            landed(Some(one))?;
        }
        Ok(packed_bytes)
    };
    let uploaded: Result<u64> = uploaded.await;
    // Without its receiver a comparison that still goes on ends.
    drop(take);
    match comparing.await {
        Ok((snapshots, base, found)) => {
            let outcome = uploaded.and_then(|packed_bytes| Ok(Compared { diff: found?, packed_bytes }));
            if outcome.as_ref().is_ok_and(|compared| compared.packed_bytes > 0) {
                fail_point::reached("db.packed");
            }
            (snapshots, base, outcome)
        }
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

fn landed(one: Option<Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    match one {
        None => Ok(()),
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(Error::Internal(error.to_string())),
    }
}

/// A database that is read once.
#[derive(Debug)]
pub struct Once(pub crate::pages::Database);

impl Snapshots for Once {
    fn with<T>(
        &mut self,
        compare: impl FnOnce(Snapshot<'_>, Option<BTreeSet<u32>>) -> Result<T>,
    ) -> Result<Option<T>> {
        compare(self.0.snapshot()?, None).map(Some)
    }
}

impl Snapshots for crate::live::Live {
    fn with<T>(
        &mut self,
        compare: impl FnOnce(Snapshot<'_>, Option<BTreeSet<u32>>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.look(|look| compare(look.snapshot, look.candidates))
    }
}

/// Opens a database in a thread that may wait.
pub async fn open(path: &std::path::Path) -> Result<crate::pages::Database> {
    let path = path.to_owned();
    blocking(move || crate::pages::Database::open(&path)).await
}
