//! Jobs and queues, for people and for limits.

use larder_core::{BucketName, JobId, Timestamp};

use super::job::{JobRecord, JobState, select};
use crate::{
    catalog::Catalog,
    db::{FromRow, Row, Statement},
    error::Result,
    page::{Page, bounded, time_cursor},
    reads::reads,
    tx::Class,
};

/// Which jobs to list; the newest first.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Of this kind.
    pub kind: Option<String>,
    /// In this queue.
    pub queue: Option<String>,
    /// In this state.
    pub state: Option<JobState>,
    /// For this bucket.
    pub bucket: Option<BucketName>,
    /// About this asset or upload.
    pub subject: Option<String>,
    /// From where: `next` of the previous page.
    pub after: Option<String>,
    /// Most items of the page, 1 to 1,000.
    pub limit: u32,
}

/// Jobs of one queue in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueCount {
    /// The queue.
    pub queue: String,
    /// The state.
    pub state: JobState,
    /// How many.
    pub jobs: u64,
    /// Since when the first of them could run: how far a queue is behind.
    pub oldest_run_at: Timestamp,
}

impl FromRow for QueueCount {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            queue: row.get("queue")?,
            state: row.parse("state")?,
            jobs: row.count("jobs")?,
            oldest_run_at: row.time("oldest_run_at")?,
        })
    }
}

impl Catalog {
    /// The job of an id, with the progress of its last heartbeat.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        let jobs = self.rows(Class::Durable, select().and("id = ", id)).await?;
        Ok(self.with_progress(jobs).await?.into_iter().next())
    }

    /// A page of jobs, with the progress of their last heartbeats.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a cursor that is not ours.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Page<JobRecord>> {
        let limit = bounded(filter.limit);
        let mut statement = select()
            .and_if("kind = ", filter.kind.as_deref())
            .and_if("queue = ", filter.queue.as_deref())
            .and_if("state = ", filter.state)
            .and_if("bucket = ", filter.bucket.as_ref())
            .and_if("subject = ", filter.subject.as_deref());
        if let Some(after) = &filter.after {
            let (_, id) = time_cursor(after)?;
            statement = statement.and("id < ", id);
        }
        // Ids begin with the time of their making, so that no index by time is needed.
        let statement = statement.push(" ORDER BY id DESC LIMIT ").bind(limit + 1);
        let jobs = self.rows(Class::Durable, statement).await?;
        let jobs = self.with_progress(jobs).await?;
        Ok(Page::cut(jobs, limit, |job: &JobRecord| format!("{}.{}", job.created_at.as_millis(), job.id)))
    }

    async fn with_progress(&self, mut jobs: Vec<JobRecord>) -> Result<Vec<JobRecord>> {
        let running: Vec<JobId> =
            jobs.iter().filter(|job| job.state == JobState::Running).map(|job| job.id).collect();
        for beat in self.beats(&running).await? {
            for job in jobs.iter_mut().filter(|job| job.id == beat.job && job.lease == beat.lease) {
                job.progress = beat.progress;
                job.stage.clone_from(&beat.stage);
            }
        }
        Ok(jobs)
    }
}

reads! { Durable;
    /// How many jobs each queue has in each state.
    many queue_counts() -> QueueCount = Statement::new(
        // One part for each partial index: the history is long, and this is asked often.
        "SELECT queue, state, count(*) AS jobs, min(run_at) AS oldest_run_at FROM jobs \
         WHERE state = 'queued' GROUP BY queue, state UNION ALL \
         SELECT queue, state, count(*) AS jobs, min(run_at) AS oldest_run_at FROM jobs \
         WHERE state = 'running' GROUP BY queue, state UNION ALL \
         SELECT queue, state, count(*) AS jobs, min(run_at) AS oldest_run_at FROM jobs \
         WHERE finished_at IS NOT NULL GROUP BY queue, state ORDER BY queue, state");
    /// How many jobs of a bucket wait that somebody asked for; counts no further than `at_most`, so that
    /// it stays cheap. Jobs of a priority below zero are Larder's own (backfills).
    one backlog(bucket: &BucketName, at_most: u32) -> i64 = Statement::new(
        "SELECT count(*) AS value FROM (SELECT 1 FROM jobs WHERE state = 'queued' AND priority >= 0 AND bucket = ").bind(bucket)
        .push(" LIMIT ").bind(at_most).push(") AS waiting");
}
