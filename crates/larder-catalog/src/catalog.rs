//! The handle of the catalogue, and the one function through which everything is written.

use std::sync::{
    Arc, OnceLock, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use futures::future::BoxFuture;
use larder_core::Ambient;
use tokio::sync::{broadcast, watch};

use crate::{
    barrier::CommitBarrier,
    change::Change,
    db::{Db, FromRow, Statement, Target, Work},
    error::{Error, Result},
    migrate::{self, Applied, SchemaStatus},
    tx::{Announcements, Class, Tx},
};

/// Changes that a slow subscriber may fall behind before it loses the oldest.
const CHANGES_KEPT: usize = 1_024;

/// The catalogue: records and jobs. Cheap to clone; all clones share connections and writers.
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    shared: Arc<Shared>,
}

/// How many commits there were, and how many transactions they held. `operations / commits` is what
/// group commit saves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitCounters {
    /// Commits that wrote.
    pub commits: u64,
    /// Transactions in them.
    pub operations: u64,
}

impl Catalog {
    /// Opens the catalogue and checks its schema's version; makes SQLite files that are absent. It
    /// can be used once [`Catalog::migrate`] has run.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the schema is newer than this program, or the configuration would lose
    /// acknowledged writes; [`Error::Unavailable`] if the database can't be reached;
    /// [`Error::Corrupt`] if a file is none of SQLite's.
    pub async fn open(target: &Target, ambient: Ambient) -> Result<Self> {
        let shared = Arc::new(Shared::new(ambient.clone()));
        let db = Db::open(target, &ambient, &shared).await?;
        Ok(Self { inner: Arc::new(Inner { db, shared }) })
    }

    /// Brings the schema up to date, under a lock: of several processes that start at once, one
    /// migrates and the others wait. An existing SQLite catalogue is first copied to
    /// `catalog-before-<version>.db` beside it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the schema is newer than this program; [`Error::Unavailable`] if
    /// another process holds the lock for longer than two minutes. A migration that fails changes
    /// nothing.
    pub async fn migrate(&self) -> Result<Applied> {
        migrate::run(&self.inner.db, migrate::MIGRATIONS, &self.inner.shared.ambient).await
    }

    /// Which migrations ran and which are to come.
    pub async fn status(&self) -> Result<SchemaStatus> {
        migrate::status(&self.inner.db, migrate::MIGRATIONS).await
    }

    /// Runs `work` in a transaction and commits it. This is the only way to write.
    ///
    /// `Ok` means: committed, as durable as `class` says. If `work` answers an error or panics,
    /// nothing of it is stored, and others that are committed together with it are not affected. Once
    /// called, the transaction may commit even if the returned future is dropped. A conflict of two
    /// transactions on PostgreSQL (deadlock, `40001`) is [`Error::Unavailable`]; `work` can't be run a
    /// second time, so the caller repeats, as it has to for any transient failure.
    ///
    /// `work` has to take less than 30 s and touch nothing but its transaction.
    ///
    /// # Errors
    /// What `work` answers; [`Error::Unavailable`] or [`Error::Full`] if the commit failed.
    pub async fn commit<T, F>(&self, class: Class, work: F) -> Result<T>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        if class == Class::Durable
            && let Some(why) = self.inner.shared.refusal.get()
        {
            return Err(Error::unavailable(why.clone()));
        }
        let (operation, answer) = Work::new(work);
        self.inner.db.submit(class, Box::new(operation)).await;
        answer.await.unwrap_or_else(|_| Err(Error::unavailable("the catalogue is closing")))
    }

    /// Changes of this process from now on, each after its commit.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.inner.shared.changes.subscribe()
    }

    /// Wakes a worker when there may be a job for it.
    pub fn job_signal(&self) -> JobSignal {
        JobSignal { woken: self.inner.shared.woken.subscribe() }
    }

    /// From now on every durable commit waits for `barrier` before it is acknowledged.
    pub fn install_barrier(&self, barrier: Arc<dyn CommitBarrier>) {
        *self.inner.shared.barrier.write().unwrap_or_else(PoisonError::into_inner) = Some(barrier);
    }

    /// Waits, as a durable commit does: everything that was committed before, also by other processes on the same files, is
    /// as durable as promised then.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: it may not be.
    pub async fn pass_barrier(&self) -> Result<()> {
        if let Some(why) = self.writes_refused() {
            return Err(Error::unavailable(why));
        }
        match self.inner.shared.barrier(Class::Durable) {
            Some(barrier) => barrier.passed().await,
            None => Ok(()),
        }
    }

    /// From now on this handle and its clones make no durable commit: somebody else writes the catalogue. Each fails as
    /// [`Error::Unavailable`], which says why.
    pub fn refuse_writes(&self, why: impl Into<String>) {
        // What was said first counts.
        let _ = self.inner.shared.refusal.set(why.into());
    }

    /// Whether writes are refused, and why.
    pub fn writes_refused(&self) -> Option<&str> {
        self.inner.shared.refusal.get().map(String::as_str)
    }

    /// Commits of a class since the catalogue was opened.
    pub fn commit_counters(&self, class: Class) -> CommitCounters {
        let counters = self.inner.shared.counters(class);
        CommitCounters {
            commits: counters.commits.load(Ordering::Relaxed),
            operations: counters.operations.load(Ordering::Relaxed),
        }
    }

    /// Asks the database for an answer; for readiness.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it gives none.
    pub async fn ping(&self) -> Result<()> {
        self.rows::<i64>(Class::Durable, Statement::new("SELECT CAST(1 AS BIGINT) AS value")).await.map(drop)
    }

    /// Closes the connections that are not in use. Calls on other clones fail afterwards.
    pub async fn close(&self) {
        match &self.inner.db {
            Db::Sqlite(db) => db.close().await,
            Db::Postgres(db) => db.close().await,
        }
    }

    /// The clock and randomness that the catalogue was opened with.
    pub fn ambient(&self) -> &Ambient {
        &self.inner.shared.ambient
    }

    /// Reads records outside a transaction.
    pub(crate) async fn rows<T: FromRow>(&self, class: Class, statement: Statement) -> Result<Vec<T>> {
        let rows = self.inner.db.fetch(class, statement).await?;
        rows.iter().map(T::from_row).collect()
    }

    /// Reads the first record of a statement outside a transaction.
    pub(crate) async fn first<T: FromRow>(&self, class: Class, statement: Statement) -> Result<Option<T>> {
        Ok(self.rows(class, statement).await?.into_iter().next())
    }

    /// Tells those who watch of a change that was not a transaction's.
    pub(crate) fn tell(&self, change: Change) {
        self.inner.shared.announce(Announcements { changes: vec![change], jobs_enqueued: 0 });
    }

    #[cfg(test)]
    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let engine = match &self.inner.db {
            Db::Sqlite(_) => "sqlite",
            Db::Postgres(_) => "postgres",
        };
        f.debug_struct("Catalog").field("engine", &engine).finish_non_exhaustive()
    }
}

/// Wakes one worker; make one for each with [`Catalog::job_signal`].
#[derive(Debug, Clone)]
pub struct JobSignal {
    woken: watch::Receiver<u64>,
}

impl JobSignal {
    /// Returns when a job was enqueued since the last call, at once if that was in between. Jobs of
    /// other processes arrive here only on PostgreSQL, and delayed ones never: poll behind it.
    pub async fn wait(&mut self) {
        if self.woken.changed().await.is_err() {
            // The catalogue is gone; who waits for it is stopped by other means.
            std::future::pending::<()>().await;
        }
    }
}

/// What writers and readers share without holding the database open.
pub(crate) struct Shared {
    pub(crate) ambient: Ambient,
    changes: broadcast::Sender<Change>,
    /// Counts jobs enqueued by this process.
    own_jobs: watch::Sender<u64>,
    /// Counts reasons to look for jobs, from wherever.
    woken: watch::Sender<u64>,
    barrier: RwLock<Option<Arc<dyn CommitBarrier>>>,
    /// Why nothing durable is written.
    refusal: OnceLock<String>,
    durable: Counters,
    ephemeral: Counters,
}

#[derive(Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    operations: AtomicU64,
}

impl Counters {
    /// Counts one commit of so many transactions.
    pub(crate) fn count(&self, operations: usize) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.operations.fetch_add(operations as u64, Ordering::Relaxed);
    }
}

impl Shared {
    fn new(ambient: Ambient) -> Self {
        Self {
            ambient,
            changes: broadcast::Sender::new(CHANGES_KEPT),
            own_jobs: watch::Sender::new(0),
            woken: watch::Sender::new(0),
            barrier: RwLock::new(None),
            refusal: OnceLock::new(),
            durable: Counters::default(),
            ephemeral: Counters::default(),
        }
    }

    /// What a commit of this class waits for.
    pub(crate) fn barrier(&self, class: Class) -> Option<Arc<dyn CommitBarrier>> {
        match class {
            Class::Durable => self.barrier.read().unwrap_or_else(PoisonError::into_inner).clone(),
            Class::Ephemeral => None,
        }
    }

    pub(crate) fn counters(&self, class: Class) -> &Counters {
        match class {
            Class::Durable => &self.durable,
            Class::Ephemeral => &self.ephemeral,
        }
    }

    /// Tells everybody what was committed.
    pub(crate) fn announce(&self, announcements: Announcements) {
        for change in announcements.changes {
            // Nobody listening is no failure.
            let _ = self.changes.send(change);
        }
        if announcements.jobs_enqueued > 0 {
            self.own_jobs.send_modify(|count| *count += announcements.jobs_enqueued);
            self.wake_workers();
        }
    }

    pub(crate) fn wake_workers(&self) {
        self.woken.send_modify(|count| *count += 1);
    }

    /// Changes whenever this process enqueues.
    pub(crate) fn own_jobs(&self) -> watch::Receiver<u64> {
        self.own_jobs.subscribe()
    }
}
