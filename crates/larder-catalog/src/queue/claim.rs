//! Claiming: the next job, for a while.

use std::time::Duration;

use larder_core::JobId;

use super::{
    end::Outcome,
    job::{COLUMNS, JobRecord},
};
use crate::{
    catalog::Catalog,
    change::Change,
    db::Statement,
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
        // Idle workers ask twice a second: they must not take the write lock for it.
        let peek = due(Statement::new("SELECT id FROM jobs"), queues, self.ambient().now().as_millis());
        let peek = Statement {
            text: format!("SELECT count(*) AS value FROM ({}) AS due", peek.text).into(),
            ..peek
        };
        if self.first::<i64>(Class::Durable, peek).await? == Some(0) {
            return Ok(None);
        }
        let (worker, queues) = (worker.to_owned(), queues.to_vec());
        self.commit(Class::Durable, move |tx| {
            Box::pin(async move { tx.claim(&worker, &queues, lease_time).await })
        })
        .await
    }
}

fn due(select: Statement, queues: &[String], now: i64) -> Statement {
    select
        .push(" WHERE state = 'queued'")
        .and_in("queue", queues)
        .and("run_at <= ", now)
        .push(" ORDER BY priority DESC, run_at, id LIMIT 1")
}

impl Tx {
    async fn claim(
        &mut self,
        worker: &str,
        queues: &[String],
        lease_time: Duration,
    ) -> Result<Option<Claim>> {
        let now = self.now();
        let claim =
            Statement::new("UPDATE jobs SET state = 'running', attempts = attempts + 1, lease = lease + 1")
                .push(", leased_by = ")
                .bind(worker)
                .push(", lease_expires_at = ")
                .bind(now.plus(lease_time))
                .push(", started_at = ")
                .bind(now)
                .push(" WHERE id = (SELECT id FROM jobs");
        let claim = due(claim, queues, now.as_millis())
            // Claimers pass by the rows of others instead of waiting for them.
            .push(if self.is_postgres() { " FOR UPDATE SKIP LOCKED" } else { "" })
            .push(") RETURNING ")
            .push(COLUMNS);
        let Some(job) = self.first::<JobRecord>(Class::Durable, claim).await? else { return Ok(None) };
        let columns = vec![
            ("job_id", job.id.into()),
            ("lease", job.lease.into()),
            ("worker", worker.into()),
            ("started_at", now.into()),
            ("outcome", Outcome::Running.into()),
        ];
        self.execute(Class::Durable, Statement::insert("job_attempts", columns)).await?;
        self.announce(Change::Job(job.id));
        let lease = Lease { job: job.id, number: job.lease };
        Ok(Some(Claim { job, lease }))
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
