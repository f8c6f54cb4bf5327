//! What people do with jobs.

use larder_core::{Code, JobId, Timestamp};

use super::job::{COLUMNS, JobRecord, JobState, select};
use crate::{
    change::Change,
    db::Statement,
    error::{Error, Result},
    page::bounded,
    tx::{Class, Tx},
};

impl Tx {
    /// Cancels a job: at once if it is queued; if it is running its worker is asked to stop. Answers
    /// the job as it is then.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a job; [`Error::Precondition`] if it has ended.
    pub async fn cancel_job(&mut self, id: JobId) -> Result<JobRecord> {
        let cancel = Statement::new(
            "UPDATE jobs SET cancel_requested = CASE WHEN state = 'running' THEN 1 ELSE 0 END, rerun = 0, \
             finished_at = CASE WHEN state = 'queued' THEN ",
        )
        .bind(self.now())
        .push(" ELSE finished_at END, state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END")
        .push(" WHERE state IN ('queued', 'running')")
        .and("id = ", id)
        .push(" RETURNING ")
        .push(COLUMNS);
        self.change_job(id, cancel).await
    }

    /// Queues a job again that is dead or was cancelled, with all its attempts. Answers the job as it
    /// is then.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a job; [`Error::Precondition`] if it is not dead or cancelled, or
    /// another one of its unique key is queued or running.
    pub async fn retry_job(&mut self, id: JobId) -> Result<JobRecord> {
        let retry =
            Statement::new("UPDATE jobs SET state = 'queued', attempts = 0, crashes = 0, error = NULL, ")
                .push("finished_at = NULL, cancel_requested = 0, run_at = ")
                .bind(self.now())
                .push(
                    " WHERE state IN ('dead', 'cancelled') AND NOT EXISTS (SELECT 1 FROM jobs AS other \
                 WHERE other.unique_key = jobs.unique_key AND other.state IN ('queued', 'running'))",
                )
                .and("id = ", id)
                .push(" RETURNING ")
                .push(COLUMNS);
        let job = self.change_job(id, retry).await?;
        self.announce_job();
        Ok(job)
    }

    /// Forgets jobs that ended before an instant, with their attempts; at most `limit`. Answers how
    /// many.
    pub async fn forget_jobs_ended_before(&mut self, before: Timestamp, limit: u32) -> Result<u64> {
        let select = Statement::new("SELECT id AS value FROM jobs WHERE finished_at < ")
            .bind(before)
            .push(" ORDER BY finished_at, id LIMIT ")
            .bind(bounded(limit));
        let ended: Vec<String> = self.rows(Class::Durable, select).await?;
        let jobs = Statement::new("DELETE FROM jobs WHERE finished_at < ").bind(before).and_in("id", &ended);
        let forgotten = self.execute(Class::Durable, jobs).await?;
        // Of these jobs only: looking for attempts without a job would read the whole history each time.
        // One that was queued again since it was looked for keeps its own.
        let attempts = Statement::new(
            "DELETE FROM job_attempts WHERE NOT EXISTS \
             (SELECT 1 FROM jobs WHERE jobs.id = job_attempts.job_id)",
        )
        .and_in("job_id", &ended);
        self.execute(Class::Durable, attempts).await?;
        Ok(forgotten)
    }

    async fn change_job(&mut self, id: JobId, update: Statement) -> Result<JobRecord> {
        if let Some(job) = self.first::<JobRecord>(Class::Durable, update).await? {
            self.announce(Change::Job(id));
            return Ok(job);
        }
        let found = self.first::<JobRecord>(Class::Durable, select().and("id = ", id)).await?;
        Err(match found {
            None => Error::not_found(Code::JobNotFound, format!("job {id}")),
            Some(job)
                if matches!(job.state, JobState::Dead | JobState::Cancelled) && job.unique_key.is_some() =>
            {
                Error::precondition(format!("job {id} is {}, and another one may do its work", job.state))
            }
            Some(job) => Error::precondition(format!("job {id} is {}", job.state)),
        })
    }
}
