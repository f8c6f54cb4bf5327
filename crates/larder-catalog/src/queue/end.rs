//! How an attempt ends: done, again later, or for good. Every end proves the lease.

use larder_core::{Fault, Timestamp};

use super::{
    claim::Lease,
    job::{JobRecord, JobState},
};
use crate::{
    change::Change,
    db::{Param, Statement},
    error::Result,
    tx::{Class, Tx},
    words::words,
};

words! {
    /// How an attempt at a job ended.
    Outcome {
        /// It has not ended.
        Running = "running",
        /// It did its work.
        Done = "done",
        /// It failed and the job was queued again.
        Retried = "retried",
        /// It gave the job back without having failed.
        Returned = "returned",
        /// It failed for good.
        Dead = "dead",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// Its worker vanished.
        Lost = "lost",
    }
}

/// What becomes of a job whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Try again at this time; dead if this was the last attempt.
    At(Timestamp),
    /// Try again at this time, and the attempt does not count: something that is needed did not
    /// answer, or the worker stops.
    AtWithoutAttempt(Timestamp),
    /// Never: trying again can't help.
    Dead,
    /// Never: it was cancelled.
    Cancelled,
}

/// Where a job goes when an attempt ends.
pub(super) enum Next {
    Queued { at: Timestamp, attempts: i64, crashes: i64 },
    Over(JobState),
}

impl Next {
    fn state(&self) -> JobState {
        match self {
            Self::Queued { .. } => JobState::Queued,
            Self::Over(state) => *state,
        }
    }
}

impl Tx {
    /// Ends a job that did its work. If it was enqueued again while it ran, it is queued again.
    ///
    /// # Errors
    /// [`Error::Precondition`](crate::Error::Precondition) if the lease is over; nothing is changed.
    pub async fn finish_job(&mut self, lease: Lease) -> Result<()> {
        let job = self.confirm_lease(lease).await?;
        self.end_attempt(&job, Outcome::Done, None, Next::Over(JobState::Done)).await.map(drop)
    }

    /// Ends a failed attempt; answers the state of the job.
    ///
    /// # Errors
    /// [`Error::Precondition`](crate::Error::Precondition) if the lease is over; nothing is changed.
    pub async fn fail_job(&mut self, lease: Lease, fault: &Fault, retry: Retry) -> Result<JobState> {
        let job = self.confirm_lease(lease).await?;
        let (outcome, next) = after_failure(&job, retry);
        self.end_attempt(&job, outcome, Some(fault), next).await
    }

    /// Writes the end of the present attempt and where the job goes, which is back to its queue if it
    /// was enqueued again while it ran. The row is locked. Answers the job's state.
    pub(super) async fn end_attempt(
        &mut self,
        job: &JobRecord,
        outcome: Outcome,
        fault: Option<&Fault>,
        next: Next,
    ) -> Result<JobState> {
        let now = self.now();
        let next = match next {
            Next::Over(_) if job.rerun => Next::Queued { at: now, attempts: 0, crashes: 0 },
            next => next,
        };
        let error: Param = (&fault.cloned()).into();
        let mut columns: Vec<(&str, Param)> = vec![
            ("error", error.clone()),
            ("leased_by", None::<&str>.into()),
            ("lease_expires_at", None::<i64>.into()),
            ("cancel_requested", false.into()),
            ("rerun", false.into()),
        ];
        let state = next.state();
        columns.push(("state", state.into()));
        columns.extend(match next {
            Next::Over(_) => vec![("finished_at", now.into())],
            Next::Queued { at, attempts, crashes } => {
                vec![("run_at", at.into()), ("attempts", attempts.into()), ("crashes", crashes.into())]
            }
        });
        let update = Statement::update("jobs", columns).push(" WHERE id = ").bind(job.id);
        self.execute(Class::Durable, update).await?;
        let columns = vec![("ended_at", now.into()), ("outcome", outcome.into()), ("error", error)];
        let attempt = Statement::update("job_attempts", columns)
            .push(" WHERE 1 = 1")
            .and("job_id = ", job.id)
            .and("lease = ", job.lease);
        self.execute(Class::Durable, attempt).await?;
        self.announce(Change::Job(job.id));
        if state == JobState::Queued {
            self.announce_job();
        }
        Ok(state)
    }
}

fn after_failure(job: &JobRecord, retry: Retry) -> (Outcome, Next) {
    let crashes = job.crashes;
    match retry {
        Retry::Cancelled => (Outcome::Cancelled, Next::Over(JobState::Cancelled)),
        Retry::At(_) | Retry::AtWithoutAttempt(_) if job.cancel_requested => {
            (Outcome::Cancelled, Next::Over(JobState::Cancelled))
        }
        Retry::AtWithoutAttempt(at) => {
            (Outcome::Returned, Next::Queued { at, attempts: job.attempts - 1, crashes })
        }
        Retry::At(at) if job.attempts < job.max_attempts => {
            (Outcome::Retried, Next::Queued { at, attempts: job.attempts, crashes })
        }
        Retry::At(_) | Retry::Dead => (Outcome::Dead, Next::Over(JobState::Dead)),
    }
}
