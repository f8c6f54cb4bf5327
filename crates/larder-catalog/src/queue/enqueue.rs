//! Enqueueing, in the transaction of the record that the job is for.

use larder_core::{BucketName, JobId, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::job::JobState;
use crate::{
    change::Change,
    db::{FromRow, Param, Row, Statement, json},
    error::{Error, Result},
    tx::{Class, Tx},
};

/// Attempts of a job unless it asks for others.
const ATTEMPTS_MAX: i64 = 3;

/// Times to look for the job that holds a unique key; more are needed only if such jobs end at the
/// very same moment again and again.
const UNIQUE_TRIES_MAX: u32 = 5;

/// A job to be enqueued.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// What is to be done.
    pub kind: String,
    /// Where it waits.
    pub queue: String,
    /// With which arguments.
    pub args: Value,
    /// While a job with this key is queued or running, that one is answered instead.
    pub unique_key: Option<String>,
    /// If the job with the unique key is running, queue it again once it ends: it may have read what
    /// it works on before the change that this job is for.
    pub rerun: bool,
    /// Higher comes first; 0 is usual.
    pub priority: i64,
    /// Attempts after which a failure is final; 3 unless set.
    pub max_attempts: i64,
    /// Not before; at once if `None`.
    pub run_at: Option<Timestamp>,
    /// The bucket whose backlog it counts to.
    pub bucket: Option<BucketName>,
    /// What it is about: the id of an asset or upload.
    pub subject: Option<String>,
}

impl NewJob {
    /// A job without arguments.
    pub fn new(kind: impl Into<String>, queue: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            queue: queue.into(),
            args: Value::Object(serde_json::Map::new()),
            unique_key: None,
            rerun: false,
            priority: 0,
            max_attempts: ATTEMPTS_MAX,
            run_at: None,
            bucket: None,
            subject: None,
        }
    }

    /// Sets the arguments.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they can't be JSON.
    pub fn args(mut self, args: &impl Serialize) -> Result<Self> {
        self.args = serde_json::to_value(args).map_err(|error| {
            Error::invalid(format!("the job's arguments are no JSON: {error}"), "use string keys")
        })?;
        Ok(self)
    }

    /// Sets the unique key. Enqueueing again answers the job that is there. Beware: if that one is
    /// running it may have read its input already; see [`Self::rerun`].
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// As [`Self::unique`]; a running job is queued again once it ends, however it ends.
    #[must_use]
    pub fn unique_rerun(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self.rerun = true;
        self
    }

    /// Sets the priority; higher comes first.
    #[must_use]
    pub fn priority(mut self, priority: i64) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the number of attempts.
    #[must_use]
    pub fn max_attempts(mut self, attempts: i64) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Delays the job.
    #[must_use]
    pub fn run_at(mut self, at: Timestamp) -> Self {
        self.run_at = Some(at);
        self
    }

    /// Counts it to the backlog of a bucket.
    #[must_use]
    pub fn bucket(mut self, bucket: BucketName) -> Self {
        self.bucket = Some(bucket);
        self
    }

    /// Says what it is about.
    #[must_use]
    pub fn subject(mut self, subject: impl ToString) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    fn columns(&self, id: JobId, now: Timestamp) -> Vec<(&'static str, Param)> {
        vec![
            ("id", id.into()),
            ("kind", (&self.kind).into()),
            ("queue", (&self.queue).into()),
            ("args", json(&self.args)),
            ("unique_key", (&self.unique_key).into()),
            ("priority", self.priority.into()),
            ("state", JobState::Queued.into()),
            ("attempts", 0_i64.into()),
            ("max_attempts", self.max_attempts.max(1).into()),
            ("crashes", 0_i64.into()),
            ("run_at", self.run_at.unwrap_or(now).into()),
            ("lease", 0_i64.into()),
            ("cancel_requested", false.into()),
            ("rerun", false.into()),
            ("bucket", (&self.bucket).into()),
            ("subject", (&self.subject).into()),
            ("created_at", now.into()),
        ]
    }
}

/// What enqueueing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// The job that will do the work.
    pub id: JobId,
    /// Whether it was there before.
    pub existed: bool,
}

struct Found {
    id: JobId,
}

impl FromRow for Found {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { id: row.parse("id")? })
    }
}

impl Tx {
    /// Enqueues a job, or answers the one that holds its unique key. Workers are woken after the
    /// commit.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if jobs of the same unique key end faster than this can find one.
    pub async fn enqueue(&mut self, job: NewJob) -> Result<Enqueued> {
        for _ in 0..UNIQUE_TRIES_MAX {
            let id = JobId::new(self.ambient());
            let columns = job.columns(id, self.now());
            let insert = Statement::insert("jobs", columns).push(" ON CONFLICT DO NOTHING");
            if self.execute(Class::Durable, insert).await? == 1 {
                self.announce(Change::Job(id));
                self.announce_job();
                return Ok(Enqueued { id, existed: false });
            }
            if let Some(id) = self.join_existing(&job).await? {
                return Ok(Enqueued { id, existed: true });
            }
        }
        Err(Error::unavailable("the job's unique key is taken and freed too quickly"))
    }

    /// Finds the job that holds the unique key. Writing its row locks it on PostgreSQL: if it was
    /// queued it can't be claimed before our transaction ends, so it will see what we wrote.
    async fn join_existing(&mut self, job: &NewJob) -> Result<Option<JobId>> {
        let rerun = if job.rerun { "CASE WHEN state = 'running' THEN 1 ELSE rerun END" } else { "rerun" };
        let join = Statement::new("UPDATE jobs SET rerun = ")
            .push(rerun)
            .push(" WHERE state IN ('queued', 'running')")
            .and("unique_key = ", &job.unique_key)
            .push(" RETURNING id");
        Ok(self.first::<Found>(Class::Durable, join).await?.map(|found| found.id))
    }
}
