//! Group commit for folders: concurrent syncs of one folder are one.
//!
//! A sync makes durable whatever was changed before it started. So a caller whose change precedes
//! the start of somebody else's sync has nothing left to do when that one ends; and while one sync
//! runs, any number of callers can wait for the single next one.

use std::{
    collections::HashMap,
    fmt, io,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Mutex as AsyncMutex;

/// Syncs the folder of this path.
type Sync = dyn Fn(&str) -> io::Result<()> + Send + std::marker::Sync;

pub(super) struct DirSync {
    sync: Arc<Sync>,
    /// Folders that are waited for, and only those.
    folders: Mutex<HashMap<String, Arc<Folder>>>,
    syncs_total: Arc<AtomicU64>,
}

#[derive(Default)]
struct Folder {
    /// The last ticket given out; each caller draws one after its change.
    tickets: AtomicU64,
    /// Held by the sync that runs, to its end even if its caller is dropped.
    progress: Arc<AsyncMutex<Progress>>,
}

#[derive(Default)]
struct Progress {
    /// Syncs have covered the tickets up to here.
    covered: u64,
    /// Tickets whose sync failed. The kernel reports a failed write-back once, so that a second try may
    /// succeed without the change being durable: everybody who was covered must hear of it.
    failures: Vec<(RangeInclusive<u64>, Failure)>,
}

/// An error that many callers can be told of.
#[derive(Clone)]
struct Failure {
    code: Option<i32>,
    kind: io::ErrorKind,
}

impl DirSync {
    /// Coalesces calls of `sync`.
    pub(super) fn new(sync: impl Fn(&str) -> io::Result<()> + Send + std::marker::Sync + 'static) -> Self {
        Self { sync: Arc::new(sync), folders: Mutex::default(), syncs_total: Arc::default() }
    }

    /// How many syncs were made, as opposed to asked for.
    pub(super) fn syncs_total(&self) -> u64 {
        self.syncs_total.load(Ordering::Relaxed)
    }

    /// Returns when a sync of the folder that started after this call has ended.
    pub(super) async fn sync(&self, path: &str) -> io::Result<()> {
        let folder = self.enter(path);
        let result = self.sync_entered(path, &folder).await;
        self.leave(path, folder);
        result
    }

    async fn sync_entered(&self, path: &str, folder: &Arc<Folder>) -> io::Result<()> {
        let ticket = folder.tickets.fetch_add(1, Ordering::SeqCst) + 1;
        let mut progress = Arc::clone(&folder.progress).lock_owned().await;
        if progress.covered >= ticket {
            return progress.outcome(ticket);
        }
        let covers = progress.covered + 1..=folder.tickets.load(Ordering::SeqCst);
        let (sync, total, path) = (Arc::clone(&self.sync), Arc::clone(&self.syncs_total), path.to_owned());
        let run = move || {
            total.fetch_add(1, Ordering::Relaxed);
            let result = sync(&path);
            progress.covered = *covers.end();
            if let Err(error) = &result {
                let failure = Failure { code: error.raw_os_error(), kind: error.kind() };
                progress.failures.push((covers, failure));
            }
            result
        };
        tokio::task::spawn_blocking(run).await?
    }

    fn enter(&self, path: &str) -> Arc<Folder> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        match folders.get(path) {
            Some(folder) => Arc::clone(folder),
            None => Arc::clone(folders.entry(path.to_owned()).or_default()),
        }
    }

    /// Forgets the folder if nobody else waits for it. A caller that was dropped does not come
    /// here; the next one forgets for both.
    fn leave(&self, path: &str, folder: Arc<Folder>) {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        drop(folder);
        if folders.get(path).is_some_and(|folder| Arc::strong_count(folder) == 1) {
            folders.remove(path);
        }
    }
}

impl Progress {
    fn outcome(&self, ticket: u64) -> io::Result<()> {
        match self.failures.iter().find(|(tickets, _)| tickets.contains(&ticket)) {
            Some((_, Failure { code: Some(code), .. })) => Err(io::Error::from_raw_os_error(*code)),
            Some((_, Failure { kind, .. })) => Err((*kind).into()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DirSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirSync").field("syncs_total", &self.syncs_total()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_while_one_runs_shares_the_next() {
        let (started, has_started) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let syncs = Arc::new(DirSync::new(move |_| {
            let _ = started.send(());
            released.lock().unwrap().recv().unwrap();
            Ok(())
        }));
        let first = tokio::spawn({
            let syncs = Arc::clone(&syncs);
            async move { syncs.sync("a").await }
        });
        tokio::task::spawn_blocking(move || has_started.recv().map(|()| has_started)).await.unwrap().unwrap();
        let others: Vec<_> = (0..20)
            .map(|_| {
                let syncs = Arc::clone(&syncs);
                tokio::spawn(async move { syncs.sync("a").await })
            })
            .collect();
        // The others must draw their tickets before the second sync starts.
        while syncs.folders.lock().unwrap()["a"].tickets.load(Ordering::SeqCst) < 21 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        release.send(()).unwrap();
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        join_all(others).await.into_iter().for_each(|joined| joined.unwrap().unwrap());
        assert_eq!(syncs.syncs_total(), 2);
        assert!(syncs.folders.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn different_folders_do_not_wait_for_each_other() {
        let syncs = DirSync::new(|_| Ok(()));
        for folder in ["a", "b", "a"] {
            syncs.sync(folder).await.unwrap();
        }
        assert_eq!(syncs.syncs_total(), 3);
    }

    #[tokio::test]
    async fn a_failure_reaches_everybody_whom_the_sync_covered() {
        let failing = AtomicU64::new(0);
        let syncs = Arc::new(DirSync::new(move |_| {
            std::thread::sleep(Duration::from_millis(20));
            // The kernel reports a failure once: the second sync would succeed.
            match failing.fetch_add(1, Ordering::SeqCst) {
                1 => Err(io::Error::from_raw_os_error(5)),
                _ => Ok(()),
            }
        }));
        let all = join_all((0..10).map(|_| syncs.sync("a"))).await;
        assert!(all[0].is_ok());
        assert!(all[1..].iter().all(|result| result.as_ref().unwrap_err().raw_os_error() == Some(5)));
        assert_eq!(syncs.syncs_total(), 2);
        syncs.sync("a").await.unwrap();
    }

    #[tokio::test]
    async fn a_dropped_caller_leaves_its_sync_running_for_the_others() {
        let syncs = Arc::new(DirSync::new(|_| {
            std::thread::sleep(Duration::from_millis(50));
            Ok(())
        }));
        let dropped = tokio::time::timeout(Duration::from_millis(5), syncs.sync("a")).await;
        assert!(dropped.is_err());
        syncs.sync("a").await.unwrap();
        assert_eq!(syncs.syncs_total(), 2);
        assert!(syncs.folders.lock().unwrap().is_empty());
    }
}
