//! A job and its history.

use larder_core::{BucketName, Fault, JobId, Timestamp};
use serde_json::Value;

use super::end::Outcome;
use crate::{
    db::{FromRow, Row, Statement},
    error::Result,
    reads::reads,
    words::words,
};

words! {
    /// How far a job is.
    JobState {
        /// It waits for its time or for a worker.
        Queued = "queued",
        /// A worker has it.
        Running = "running",
        /// It did its work.
        Done = "done",
        /// It failed for good; it can be retried by hand.
        Dead = "dead",
        /// It was cancelled.
        Cancelled = "cancelled",
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// What is to be done.
    pub kind: String,
    /// The queue in which it waits.
    pub queue: String,
    /// With which arguments.
    pub args: Value,
    /// No second job of this key is queued or running.
    pub unique_key: Option<String>,
    /// Higher comes first.
    pub priority: i64,
    /// How far it is.
    pub state: JobState,
    /// Times it was claimed, less those that do not count.
    pub attempts: i64,
    /// Attempts after which a failure is final.
    pub max_attempts: i64,
    /// Times that its worker vanished.
    pub crashes: i64,
    /// It does not start before.
    pub run_at: Timestamp,
    /// Number of the last claim.
    pub lease: i64,
    /// The worker that has it.
    pub leased_by: Option<String>,
    /// When it is taken away from its worker, unless there is a heartbeat.
    pub lease_expires_at: Option<Timestamp>,
    /// Its worker is asked to stop.
    pub cancel_requested: bool,
    /// It is queued again once it ends: it was enqueued again while it ran.
    pub rerun: bool,
    /// 0.0 to 1.0, by the last heartbeat.
    pub progress: Option<f64>,
    /// What is being done, by the last heartbeat.
    pub stage: Option<String>,
    /// Why the last attempt failed.
    pub error: Option<Fault>,
    /// The bucket whose backlog it counts to.
    pub bucket: Option<BucketName>,
    /// What it is about: the id of an asset or upload.
    pub subject: Option<String>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When the last attempt started.
    pub started_at: Option<Timestamp>,
    /// When it was done, dead or cancelled.
    pub finished_at: Option<Timestamp>,
}

/// The columns of a job, for `SELECT` and `RETURNING`.
pub(super) const COLUMNS: &str = "id, kind, queue, args, unique_key, priority, state, attempts, max_attempts, crashes, \
    run_at, lease, leased_by, lease_expires_at, cancel_requested, rerun, error, bucket, subject, created_at, \
    started_at, finished_at";

/// A statement that selects jobs; append the condition.
pub(super) fn select() -> Statement {
    Statement::new("SELECT ").push(COLUMNS).push(" FROM jobs WHERE 1 = 1")
}

impl FromRow for JobRecord {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.parse("id")?,
            kind: row.get("kind")?,
            queue: row.get("queue")?,
            args: row.json("args")?,
            unique_key: row.get("unique_key")?,
            priority: row.get("priority")?,
            state: row.parse("state")?,
            attempts: row.get("attempts")?,
            max_attempts: row.get("max_attempts")?,
            crashes: row.get("crashes")?,
            run_at: row.time("run_at")?,
            lease: row.get("lease")?,
            leased_by: row.get("leased_by")?,
            lease_expires_at: row.opt_time("lease_expires_at")?,
            cancel_requested: row.flag("cancel_requested")?,
            rerun: row.flag("rerun")?,
            progress: None,
            stage: None,
            error: row.opt_json("error")?,
            bucket: row.opt_parse("bucket")?,
            subject: row.get("subject")?,
            created_at: row.time("created_at")?,
            started_at: row.opt_time("started_at")?,
            finished_at: row.opt_time("finished_at")?,
        })
    }
}

/// One attempt at a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobAttempt {
    /// The claim's number: attempts of a job in order.
    pub lease: i64,
    /// Who tried.
    pub worker: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    pub error: Option<Fault>,
}

impl FromRow for JobAttempt {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            lease: row.get("lease")?,
            worker: row.get("worker")?,
            started_at: row.time("started_at")?,
            ended_at: row.opt_time("ended_at")?,
            outcome: row.parse("outcome")?,
            error: row.opt_json("error")?,
        })
    }
}

reads! { Durable;
    /// The attempts at a job, in order.
    many job_attempts(id: JobId) -> JobAttempt = Statement::new(
        "SELECT lease, worker, started_at, ended_at, outcome, error FROM job_attempts WHERE job_id = ")
        .bind(id).push(" ORDER BY lease");
    /// Jobs about a subject that are queued or running, the oldest first. Without their progress.
    many active_jobs_about(subject: &str) -> JobRecord = select()
        .push(" AND state IN ('queued', 'running')").and("subject = ", subject).push(" ORDER BY created_at, id");
}
