//! Claiming: the next job, for a while.

use std::{cmp::Reverse, time::Duration};

use larder_core::{JobId, Timestamp};

use super::{
    end::Outcome,
    job::{COLUMNS, JobRecord},
};
use crate::{
    catalog::Catalog,
    change::Change,
    db::{FromRow, Row, Statement},
    error::{Error, Result},
    tx::{Class, Tx},
};

/// The right to work on a job, as of one claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// Higher than that of every earlier claim of the job.
    pub number: i64,
}

/// A job that was claimed.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The job as it is now, running.
    pub job: JobRecord,
    /// The right to work on it.
    pub lease: Lease,
}

impl Catalog {
    /// Claims the next job of these queues: of the highest priority, and of those the one whose time
    /// came first. `None` if there is none.
    ///
    /// The claim counts as an attempt. It lasts for `lease_time` and then as long as there are
    /// [heartbeats](Self::heartbeat). Two claims never get the same job at the same time.
    pub async fn claim(
        &self,
        worker: &str,
        queues: &[String],
        lease_time: Duration,
    ) -> Result<Option<Claim>> {
        let queues = self.queues_with_due_jobs(queues).await?;
        if queues.is_empty() {
            return Ok(None);
        }
        let worker = worker.to_owned();
        self.commit(Class::Durable, move |tx| {
            Box::pin(async move { tx.claim_from(&worker, &queues, lease_time).await })
        })
        .await
    }

    /// Looks which queues have a job that could run, the most urgent job's queue first.
    ///
    /// A read only: idle workers ask twice a second and must not take the write lock for it. And one
    /// look-up for each queue, because only then does the index give the first job without sorting
    /// all that wait.
    async fn queues_with_due_jobs(&self, queues: &[String]) -> Result<Vec<String>> {
        let now = self.ambient().now();
        let mut peek = Statement::new("");
        for (position, queue) in queues.iter().enumerate() {
            let separator = if position == 0 { "" } else { " UNION ALL " };
            peek = peek.push(separator).push("SELECT * FROM (SELECT queue, priority, run_at, id FROM jobs");
            peek = first_due(peek, queue, now).push(") AS due");
        }
        if queues.is_empty() {
            return Ok(Vec::new());
        }
        let mut due: Vec<Due> = self.rows(Class::Durable, peek).await?;
        due.sort_by_key(Due::urgency);
        Ok(due.into_iter().map(|due| due.queue).collect())
    }
}

/// The first job of a queue that could run.
struct Due {
    queue: String,
    priority: i64,
    run_at: i64,
    id: JobId,
}

impl Due {
    fn urgency(&self) -> (Reverse<i64>, i64, JobId) {
        (Reverse(self.priority), self.run_at, self.id)
    }
}

impl FromRow for Due {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            queue: row.get("queue")?,
            priority: row.get("priority")?,
            run_at: row.get("run_at")?,
            id: row.parse("id")?,
        })
    }
}

fn first_due(select: Statement, queue: &str, now: Timestamp) -> Statement {
    select
        .push(" WHERE state = 'queued'")
        .and("queue = ", queue)
        .and("run_at <= ", now)
        .push(" ORDER BY priority DESC, run_at, id LIMIT 1")
}

impl Tx {
    async fn claim_from(
        &mut self,
        worker: &str,
        queues: &[String],
        lease_time: Duration,
    ) -> Result<Option<Claim>> {
        for queue in queues {
            if let Some(job) = self.claim_first(worker, queue, lease_time).await? {
                self.note_attempt(&job, worker).await?;
                let lease = Lease { job: job.id, number: job.lease };
                return Ok(Some(Claim { job, lease }));
            }
        }
        Ok(None)
    }

    async fn claim_first(
        &mut self,
        worker: &str,
        queue: &str,
        lease_time: Duration,
    ) -> Result<Option<JobRecord>> {
        let now = self.now();
        let text =
            "UPDATE jobs SET state = 'running', attempts = attempts + 1, lease = lease + 1, leased_by = ";
        let claim = Statement::new(text)
            .bind(worker)
            .push(", lease_expires_at = ")
            .bind(now.plus(lease_time))
            .push(", started_at = ")
            .bind(now)
            .push(" WHERE id = (SELECT id FROM jobs");
        let claim = first_due(claim, queue, now)
            // Claimers pass by the rows of others instead of waiting for them.
            .push(if self.is_postgres() { " FOR UPDATE SKIP LOCKED" } else { "" })
            .push(") RETURNING ")
            .push(COLUMNS);
        self.first(Class::Durable, claim).await
    }

    async fn note_attempt(&mut self, job: &JobRecord, worker: &str) -> Result<()> {
        let columns = vec![
            ("job_id", job.id.into()),
            ("lease", job.lease.into()),
            ("worker", worker.into()),
            ("started_at", self.now().into()),
            ("outcome", Outcome::Running.into()),
        ];
        self.execute(Class::Durable, Statement::insert("job_attempts", columns)).await?;
        self.announce(Change::Job(job.id));
        Ok(())
    }

    /// Fails unless the job is still ours. Call it in the transaction that stores the job's result:
    /// it locks the job, so it can't be taken over before that transaction ends.
    ///
    /// # Errors
    /// [`Error::Precondition`] if the job was taken over or has ended; whoever gets it removes what it
    /// made and stops.
    pub async fn confirm_lease(&mut self, lease: Lease) -> Result<JobRecord> {
        let confirm = Statement::new("UPDATE jobs SET lease = lease WHERE state = 'running'")
            .and("id = ", lease.job)
            .and("lease = ", lease.number)
            .push(" RETURNING ")
            .push(COLUMNS);
        self.first::<JobRecord>(Class::Durable, confirm).await?.ok_or_else(|| lost(lease))
    }
}

/// The lease is not, or no longer, the job's.
pub(super) fn lost(lease: Lease) -> Error {
    Error::precondition(format!("lease {} of job {} is over", lease.number, lease.job))
}
