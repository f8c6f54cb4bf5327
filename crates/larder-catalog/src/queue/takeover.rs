//! Jobs of workers that vanished.

use larder_core::{Code, Fault, JobId, Timestamp};

use super::{
    claim::Lease,
    end::{Next, Outcome},
    job::{JobRecord, JobState, select},
};
use crate::{
    catalog::Catalog,
    db::Statement,
    error::Result,
    tx::{Class, Tx},
};

/// Times that a job's worker may vanish; the last one ends the job.
///
/// A vanished worker is not yet the job's fault: machines lose power and people restart services.
/// Whoever runs a job with `crashes` above zero first tries its dangerous part in a child process,
/// whose death proves the fault; this maximum is the last resort for what such a trial can't show.
pub const JOB_CRASHES_MAX: i64 = 10;

/// Jobs looked at, and taken over, in one go; there are as many goes as it takes.
const PAGE: u32 = 100;

/// What became of jobs whose workers vanished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// Queued again.
    pub requeued: Vec<JobId>,
    /// Over: dead with `processing_crashed`, or cancelled if that was asked for.
    pub dead: Vec<JobId>,
}

impl Catalog {
    /// Takes jobs away from workers whose lease is over and that sent no heartbeat in time. Any
    /// process may call it, at any time; each vanished worker is counted once.
    pub async fn take_over_expired(&self) -> Result<TakenOver> {
        let now = self.ambient().now();
        let mut taken = TakenOver::default();
        let mut after = None;
        loop {
            // Heartbeats do not move a lease's end in the record, so that every job which takes longer
            // than a lease is met here; those of the dead may come after any number of living ones.
            let page: Vec<JobRecord> = self.rows(Class::Durable, running(Some(now), after)).await?;
            let ids: Vec<JobId> = page.iter().map(|job| job.id).collect();
            let beats = self.beats(&ids).await?;
            let is_alive = |job: &JobRecord| {
                beats
                    .iter()
                    .any(|beat| beat.job == job.id && beat.lease == job.lease && beat.expires_at > now)
            };
            taken.add(self.take_over_of(&page, |job| !is_alive(job)).await?);
            after = position(&page);
            if page.len() < PAGE as usize {
                return Ok(taken);
            }
        }
    }

    /// Takes jobs away, whatever their lease, from workers of which `is_dead` is certain: a process of
    /// this machine that has ended. For a restart that need not wait for leases to run out.
    pub async fn take_over_dead(&self, is_dead: impl Fn(&str) -> bool) -> Result<TakenOver> {
        let mut taken = TakenOver::default();
        let mut after = None;
        loop {
            let page: Vec<JobRecord> = self.rows(Class::Durable, running(None, after)).await?;
            let of_the_dead = |job: &JobRecord| job.leased_by.as_deref().is_some_and(&is_dead);
            taken.add(self.take_over_of(&page, of_the_dead).await?);
            after = position(&page);
            if page.len() < PAGE as usize {
                return Ok(taken);
            }
        }
    }

    async fn take_over_of(
        &self,
        jobs: &[JobRecord],
        is_lost: impl Fn(&JobRecord) -> bool,
    ) -> Result<TakenOver> {
        let lost = jobs.iter().filter(|job| is_lost(job));
        let silent: Vec<Lease> = lost.map(|job| Lease { job: job.id, number: job.lease }).collect();
        if silent.is_empty() {
            return Ok(TakenOver::default());
        }
        self.commit(Class::Durable, move |tx| Box::pin(async move { tx.take_over(&silent).await })).await
    }
}

impl TakenOver {
    fn add(&mut self, other: Self) {
        self.requeued.extend(other.requeued);
        self.dead.extend(other.dead);
    }
}

/// Where the next page begins.
type Position = (Timestamp, JobId);

fn position(page: &[JobRecord]) -> Option<Position> {
    page.last().and_then(|job| Some((job.lease_expires_at?, job.id)))
}

/// A page of running jobs, of those whose lease ended by `until` if that is given.
fn running(until: Option<Timestamp>, after: Option<Position>) -> Statement {
    select()
        .push(" AND state = 'running'")
        .and_if("lease_expires_at <= ", until)
        .and_after("lease_expires_at, id", after)
        .push(" ORDER BY lease_expires_at, id LIMIT ")
        .bind(PAGE)
}

impl Tx {
    async fn take_over(&mut self, silent: &[Lease]) -> Result<TakenOver> {
        let mut taken = TakenOver::default();
        for lease in silent {
            // It may have ended, or another process took it over, since we looked.
            let job = match self.confirm_lease(*lease).await {
                // What ends its process is not run again because somebody asked for it meanwhile.
                Ok(job) => JobRecord { rerun: false, ..job },
                Err(error) if error.is_precondition() => continue,
                Err(error) => return Err(error),
            };
            let crashes = job.crashes + 1;
            let fault = crashed(&job, crashes);
            if crashes < JOB_CRASHES_MAX && !job.cancel_requested {
                // The attempt was cut off, it did not fail.
                let next = Next::Queued { at: self.now(), attempts: job.attempts - 1, crashes };
                self.end_attempt(&job, Outcome::Lost, Some(&fault), next).await?;
                taken.requeued.push(job.id);
            } else {
                let state = if job.cancel_requested { JobState::Cancelled } else { JobState::Dead };
                self.end_attempt(&job, Outcome::Lost, Some(&fault), Next::Over(state)).await?;
                taken.dead.push(job.id);
            }
        }
        Ok(taken)
    }
}

fn crashed(job: &JobRecord, crashes: i64) -> Fault {
    let worker = job.leased_by.as_deref().unwrap_or("unknown");
    Fault::new(
        Code::ProcessingCrashed,
        format!("worker {worker} vanished while it worked on the job; {crashes} of its workers have so far"),
    )
    .remedy("look at the worker's log for the crash; retry the job by hand once its cause is gone")
}
