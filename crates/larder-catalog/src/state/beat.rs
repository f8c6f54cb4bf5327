//! Heartbeats: a worker says that it still works on its job, and how far it is.

use larder_core::{JobId, Timestamp};

use crate::{
    catalog::Catalog,
    db::{FromRow, Row, Statement},
    error::Result,
    tx::Class,
};

/// The last heartbeat of a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Beat {
    pub(crate) job: JobId,
    pub(crate) lease: i64,
    /// Until when the worker need not be heard of again.
    pub(crate) expires_at: Timestamp,
    pub(crate) progress: Option<f64>,
    pub(crate) stage: Option<String>,
}

impl FromRow for Beat {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            job: row.parse("job_id")?,
            lease: row.get("lease")?,
            expires_at: row.time("expires_at")?,
            progress: row.get("progress")?,
            stage: row.get("stage")?,
        })
    }
}

impl Catalog {
    /// Stores a heartbeat; one of an older lease changes nothing.
    pub(crate) async fn store_beat(&self, beat: Beat) -> Result<()> {
        let columns = vec![
            ("job_id", beat.job.into()),
            ("lease", beat.lease.into()),
            ("expires_at", beat.expires_at.into()),
            ("progress", beat.progress.into()),
            ("stage", beat.stage.into()),
        ];
        let upsert = Statement::insert("job_beats", columns).push(
            " ON CONFLICT (job_id) DO UPDATE SET lease = excluded.lease, expires_at = excluded.expires_at, \
             progress = excluded.progress, stage = excluded.stage WHERE job_beats.lease <= excluded.lease",
        );
        self.ephemeral(upsert).await.map(drop)
    }

    /// The last heartbeats of jobs.
    pub(crate) async fn beats(&self, jobs: &[JobId]) -> Result<Vec<Beat>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let select =
            Statement::new("SELECT job_id, lease, expires_at, progress, stage FROM job_beats WHERE 1 = 1")
                .and_in("job_id", jobs);
        self.rows(Class::Ephemeral, select).await
    }
}
