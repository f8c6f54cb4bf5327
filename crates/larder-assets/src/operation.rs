//! Jobs, workers and figures for whoever runs Larder.

use std::time::Duration;

use larder_catalog::{JobFilter, JobState, WorkerRecord};
use larder_core::{BucketName, Code, Fault, JobId, Timestamp, UploadId};
use serde::{Deserialize, Serialize};

use crate::{
    jobs::{Job, JobKind, ingest_upload::IngestUpload},
    larder::Larder,
    view::{JobView, Page, job_view},
};

/// How long after its last sign a worker is still listed.
const WORKER_SEEN_WITHIN: Duration = Duration::from_secs(60);

/// Which jobs to list; the newest first.
#[derive(Debug, Clone, Default)]
pub struct JobQuery {
    /// `queued`, `running`, `done`, `dead` or `cancelled`.
    pub state: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// In this queue.
    pub queue: Option<String>,
    /// For this bucket.
    pub bucket: Option<BucketName>,
    /// On this asset or upload.
    pub subject: Option<String>,
    /// `next` of the previous page.
    pub after: Option<String>,
    /// Most items, 1 to 1,000; 100 if 0.
    pub limit: u32,
}

/// Jobs of one queue in one state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueView {
    /// The queue.
    pub queue: String,
    /// The state.
    pub state: String,
    /// How many.
    pub jobs: u64,
    /// When the oldest of them could first run; for waiting jobs, the queue's age.
    pub oldest_run_at: Timestamp,
}

/// A process that runs jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its name.
    pub id: String,
    /// Its machine.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// Its last sign.
    pub seen_at: Timestamp,
}

/// Work that comes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// Its name: that of the kind of job.
    pub name: String,
    /// What the job does.
    pub doc: String,
    /// When it comes, as cron in UTC; `off` if never.
    pub cron: String,
    /// Whether it comes.
    pub enabled: bool,
    /// When it comes next.
    pub next_at: Option<Timestamp>,
    /// When it came last.
    pub last_at: Option<Timestamp>,
}

impl Larder {
    /// All schedules, by name.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, Fault> {
        let schedules = self.catalog().schedules().await?.into_iter();
        let views = schedules.map(|schedule| ScheduleView {
            doc: JobKind::named(&schedule.kind).map_or(String::new(), |kind| kind.doc.to_owned()),
            name: schedule.name,
            cron: schedule.cron,
            enabled: schedule.enabled,
            next_at: schedule.enabled.then_some(schedule.next_at),
            last_at: schedule.last_at,
        });
        Ok(views.collect())
    }

    /// A page of jobs, the newest first.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] for an unknown state or cursor.
    pub async fn jobs(&self, query: &JobQuery) -> Result<Page<JobView>, Fault> {
        let state = query.state.as_deref().map(|text| {
            text.parse::<JobState>().map_err(|_| {
                Fault::new(Code::InvalidRequest, format!("\"{text}\" is no state of a job"))
                    .remedy("use queued, running, done, dead or cancelled")
            })
        });
        let filter = JobFilter {
            state: state.transpose()?,
            kind: query.kind.clone(),
            queue: query.queue.clone(),
            bucket: query.bucket.clone(),
            subject: query.subject.clone(),
            after: query.after.clone(),
            limit: if query.limit == 0 { 100 } else { query.limit },
        };
        let page = self.catalog().jobs(&filter).await?;
        let items = page.items.into_iter().map(|record| job_view(record, Vec::new())).collect();
        Ok(Page { items, next: page.next })
    }

    /// A job with its history.
    ///
    /// # Errors
    /// [`Code::JobNotFound`].
    pub async fn job(&self, id: JobId) -> Result<JobView, Fault> {
        let record = self.catalog().job(id).await?.ok_or_else(|| no_job(id))?;
        let history = self.catalog().job_attempts(id).await?;
        Ok(job_view(record, history))
    }

    /// Queues a dead or cancelled job again, with fresh attempts. An upload that failed with it, and whose
    /// bytes were kept, is open again.
    ///
    /// # Errors
    /// [`Code::JobNotFound`]; [`Code::Conflict`] if it has not ended like that.
    pub async fn retry_job(&self, id: JobId) -> Result<JobView, Fault> {
        let reopened = self.reopened_by_retry(id).await?;
        let until = self.ambient().now().plus(self.settings().upload_life);
        self.catalog()
            .commit(larder_catalog::Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.retry_job(id).await?;
                    match reopened {
                        Some(upload) => tx.reopen_upload(upload, until).await,
                        None => Ok(()),
                    }
                })
            })
            .await?;
        self.job(id).await
    }

    /// The upload that a retry of this job opens again. A job for an upload that has ended without its
    /// bytes would do nothing, and is refused.
    async fn reopened_by_retry(&self, id: JobId) -> Result<Option<UploadId>, Fault> {
        let job = self.catalog().job(id).await?.ok_or_else(|| no_job(id))?;
        let Some(upload) = job.subject.as_deref().and_then(|subject| subject.parse().ok()) else {
            return Ok(None);
        };
        match self.catalog().upload(upload).await? {
            Some(upload) if upload.status.is_final() => {
                if job.kind == IngestUpload::NAME && self.keeps_bytes(&upload) {
                    return Ok(Some(upload.id));
                }
                Err(Fault::new(Code::Conflict, format!("the upload {} of this job has ended", upload.id))
                    .remedy("send the file again"))
            }
            _ => Ok(None),
        }
    }

    /// Cancels a job: at once if it waits, at its next step if it runs.
    ///
    /// # Errors
    /// [`Code::JobNotFound`]; [`Code::Conflict`] if it has ended.
    pub async fn cancel_job(&self, id: JobId) -> Result<JobView, Fault> {
        let job = self
            .catalog()
            .commit(larder_catalog::Class::Durable, move |tx| {
                Box::pin(async move { tx.cancel_job(id).await })
            })
            .await?;
        if job.state == JobState::Cancelled
            && let Some(kind) = crate::jobs::JobKind::named(&job.kind)
        {
            let fault = Fault::new(Code::Cancelled, "the job was cancelled").remedy("send the file again");
            (kind.gave_up)(job.args, self.clone(), fault).await?;
        }
        self.job(id).await
    }

    /// Jobs by queue and state.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn queues(&self) -> Result<Vec<QueueView>, Fault> {
        let counts = self.catalog().queue_counts().await?;
        Ok(counts
            .into_iter()
            .map(|count| QueueView {
                queue: count.queue,
                state: count.state.to_string(),
                jobs: count.jobs,
                oldest_run_at: count.oldest_run_at,
            })
            .collect())
    }

    /// Workers that gave a sign within the last minute.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn workers(&self) -> Result<Vec<WorkerView>, Fault> {
        let workers = self.catalog().workers(self.ambient().now().minus(WORKER_SEEN_WITHIN)).await?;
        Ok(workers.into_iter().map(worker_view).collect())
    }
}

fn worker_view(record: WorkerRecord) -> WorkerView {
    WorkerView {
        id: record.id,
        host: record.host,
        pid: record.pid,
        queues: record.queues,
        started_at: record.started_at,
        seen_at: record.seen_at,
    }
}

fn no_job(id: JobId) -> Fault {
    Fault::new(Code::JobNotFound, format!("there is no job {id}")).remedy("ended jobs are listed for 30 days")
}
