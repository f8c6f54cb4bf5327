//! The kinds of slow work. To add one: write its file and add a line to [`KINDS`].
//!
//! A job is a serialisable struct, its arguments. It may run twice: after a crash another worker
//! begins it anew. It holds a lease and never an open transaction; what it stores at its end it
//! stores in a transaction that proves the lease
//! ([`Tx::confirm_lease`](larder_catalog::Tx::confirm_lease)).

pub mod adopt;
pub mod backfill;
pub mod backup_databases;
pub mod collect;
pub mod compact_meta;
pub mod count_usage;
pub mod delete_prefix;
pub mod import_url;
pub mod ingest_upload;
pub mod make_variants;
pub mod migrate_store;
pub mod purge_cdn;
pub mod retention;
pub mod scrub;
pub mod sweep_uploads;
pub mod verify_databases;

use std::{
    borrow::Cow,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use larder_catalog::{JobRecord, Lease, NewJob};
use larder_core::{Code, Fault};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::Notify;

use crate::{larder::Larder, settings::Settings};

/// Every kind of job there is.
pub const KINDS: &[JobKind] = &[
    JobKind::of::<ingest_upload::IngestUpload>(),
    JobKind::of::<make_variants::MakeVariants>(),
    JobKind::of::<import_url::ImportUrl>(),
    JobKind::of::<backfill::Backfill>(),
    JobKind::of::<delete_prefix::DeletePrefix>(),
    JobKind::of::<sweep_uploads::SweepUploads>(),
    JobKind::of::<collect::Collect>(),
    JobKind::of::<retention::ApplyRetention>(),
    JobKind::of::<compact_meta::CompactMeta>(),
    JobKind::of::<count_usage::CountUsage>(),
    JobKind::of::<adopt::Adopt>(),
    JobKind::of::<scrub::Scrub>(),
    JobKind::of::<migrate_store::MigrateStore>(),
    JobKind::of::<purge_cdn::PurgeCdn>(),
    JobKind::of::<backup_databases::BackupDatabases>(),
    JobKind::of::<verify_databases::VerifyDatabases>(),
];

/// The queues, in the order in which they are shown.
pub const QUEUES: &[&str] = &["intake", "maintenance"];

/// Arguments and behaviour of one kind of job.
#[async_trait]
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name in records; never changes.
    const NAME: &'static str;
    /// What it does, for people.
    const DOC: &'static str;
    /// Where it waits.
    const QUEUE: &'static str;
    /// Larger goes first.
    const PRIORITY: i64 = 0;
    /// How often it may be begun.
    const ATTEMPTS: i64 = 3;
    /// When it comes by itself, as cron in UTC.
    const SCHEDULE: Option<&'static str> = None;

    /// The same where settings decide it.
    fn schedule(settings: &Settings) -> Option<Cow<'static, str>> {
        let _ = settings;
        Self::SCHEDULE.map(Cow::Borrowed)
    }

    /// While a job with this key waits or runs, enqueueing answers that one.
    fn unique_key(&self) -> Option<String> {
        None
    }

    /// Does the work.
    ///
    /// # Errors
    /// `Unavailable` is tried again without using up an attempt, `Invalid` never; anything else
    /// until the attempts are used up.
    async fn run(self, context: JobContext) -> Result<Ended, Fault>;

    /// Called after the job ended for good without success, also if its worker was killed.
    async fn gave_up(self, larder: &Larder, fault: &Fault) -> Result<(), Fault> {
        let _ = (larder, fault);
        Ok(())
    }
}

/// How a run ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The worker has yet to store the end.
    Open,
    /// The job stored its own end together with its result.
    Recorded,
}

type Run = fn(Value, JobContext) -> BoxFuture<'static, Result<Ended, Fault>>;
type Schedule = fn(&Settings) -> Option<Cow<'static, str>>;
type GaveUp = fn(Value, Larder, Fault) -> BoxFuture<'static, Result<(), Fault>>;

/// A kind of job, as the worker knows it.
#[derive(Clone, Copy)]
pub struct JobKind {
    /// Its name in records.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Where it waits.
    pub queue: &'static str,
    /// When it comes by itself, as cron in UTC.
    pub schedule: Schedule,
    /// Begins it.
    pub run: Run,
    /// Ends it without success.
    pub gave_up: GaveUp,
}

impl JobKind {
    const fn of<J: Job>() -> Self {
        Self {
            name: J::NAME,
            doc: J::DOC,
            queue: J::QUEUE,
            schedule: J::schedule,
            run: |args, context| Box::pin(async move { parse::<J>(args)?.run(context).await }),
            gave_up: |args, larder, fault| {
                Box::pin(async move { parse::<J>(args)?.gave_up(&larder, &fault).await })
            },
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }
}

impl std::fmt::Debug for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JobKind({})", self.name)
    }
}

fn parse<J: Job>(args: Value) -> Result<J, Fault> {
    serde_json::from_value(args).map_err(|error| {
        Fault::new(Code::InvalidRequest, format!("the arguments of this {} job can't be read", J::NAME))
            .caused_by(error)
    })
}

/// A job to be enqueued with these arguments.
///
/// # Errors
/// The arguments do not print as JSON.
pub fn new_job<J: Job>(job: &J) -> Result<NewJob, Fault> {
    let mut new = NewJob::new(J::NAME, J::QUEUE).args(job)?.priority(J::PRIORITY).max_attempts(J::ATTEMPTS);
    if let Some(key) = job.unique_key() {
        new = new.unique_rerun(format!("{}:{key}", J::NAME));
    }
    Ok(new)
}

/// What a running job holds.
#[derive(Debug, Clone)]
pub struct JobContext {
    larder: Larder,
    job: Arc<JobRecord>,
    lease: Lease,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    cancelled: AtomicBool,
    lost: AtomicBool,
    /// Wakes those who wait for one of the two.
    stopped: Notify,
    progress: RwLock<(f64, Option<String>)>,
}

impl JobContext {
    /// The context of a claimed job.
    pub fn new(larder: Larder, job: JobRecord, lease: Lease) -> Self {
        Self { larder, job: Arc::new(job), lease, shared: Arc::default() }
    }

    /// Everything that a job works with.
    pub fn larder(&self) -> &Larder {
        &self.larder
    }

    /// The job's record as it was claimed.
    pub fn job(&self) -> &JobRecord {
        &self.job
    }

    /// The right to work on it.
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// Whether a worker vanished while it worked on this job: by its fault or not.
    pub fn is_suspect(&self) -> bool {
        self.job.crashes > 0
    }

    /// Says how far the work is, 0.0 to 1.0; stored with the next heartbeat.
    pub fn progress(&self, progress: f64, stage: &str) {
        *self.shared.progress.write().unwrap_or_else(PoisonError::into_inner) =
            (progress, Some(stage.to_owned()));
    }

    /// What was said last.
    pub fn reported(&self) -> (f64, Option<String>) {
        self.shared.progress.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the job to stop.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::SeqCst);
        self.shared.stopped.notify_waiters();
    }

    /// Tells the job that another worker has it now.
    pub fn lose(&self) {
        self.shared.lost.store(true, Ordering::SeqCst);
        self.shared.stopped.notify_waiters();
    }

    /// Long jobs call this between steps.
    ///
    /// # Errors
    /// [`Code::Cancelled`] if somebody asked for it; [`Code::Conflict`] if the lease is lost.
    pub fn check(&self) -> Result<(), Fault> {
        if self.shared.cancelled.load(Ordering::SeqCst) {
            return Err(Fault::new(Code::Cancelled, "the job was cancelled"));
        }
        if self.shared.lost.load(Ordering::SeqCst) {
            return Err(Fault::new(Code::Conflict, "another worker has this job now"));
        }
        Ok(())
    }

    /// Does `work` unless the job is to stop: then it is dropped where it stands. For work of a single
    /// step that may take long, and that leaves nothing when it is dropped.
    ///
    /// # Errors
    /// Those of `work`, and of [`check`](Self::check).
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let stopped = async {
            loop {
                // Made before the look, so that no call between the two is missed.
                let called = self.shared.stopped.notified();
                if let Err(fault) = self.check() {
                    return fault;
                }
                called.await;
            }
        };
        tokio::select! {
            outcome = work => outcome,
            fault = stopped => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn kinds_have_unique_names_and_known_queues() {
        let names: HashSet<_> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), KINDS.len());
        assert!(KINDS.iter().all(|kind| QUEUES.contains(&kind.queue) && !kind.doc.is_empty()));
    }
}
