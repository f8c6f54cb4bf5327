//! Heartbeats keep a job from being taken over.

use larder_core::Timestamp;

use super::{
    claim::{Lease, lost},
    job::{JobRecord, JobState, select},
};
use crate::{catalog::Catalog, change::Change, error::Result, state::beat::Beat, tx::Class};

/// What a worker hears when it says that it is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// Somebody wants the job to stop: clean up and end it with
    /// [`Retry::Cancelled`](super::Retry::Cancelled).
    pub cancel_requested: bool,
}

impl Catalog {
    /// Says that the job is being worked on, at least until `expires_at`, and how far it is:
    /// `progress` from 0.0 to 1.0, `stage` in a word. Ephemeral; call it three times within the lease
    /// time.
    ///
    /// # Errors
    /// [`Error::Precondition`](crate::Error::Precondition) if the lease is over: stop working.
    pub async fn heartbeat(
        &self,
        lease: Lease,
        expires_at: Timestamp,
        progress: Option<f64>,
        stage: Option<&str>,
    ) -> Result<HeartbeatAnswer> {
        let found: Option<JobRecord> = self.first(Class::Durable, select().and("id = ", lease.job)).await?;
        let job = found
            .filter(|job| job.state == JobState::Running && job.lease == lease.number)
            .ok_or_else(|| lost(lease))?;
        self.store_beat(Beat {
            job: lease.job,
            lease: lease.number,
            expires_at,
            progress: progress.map(|progress| progress.clamp(0.0, 1.0)),
            stage: stage.map(str::to_owned),
        })
        .await?;
        self.tell(Change::Job(lease.job));
        Ok(HeartbeatAnswer { cancel_requested: job.cancel_requested })
    }
}
