//! What a process does at its start about those that died before it.

use std::{collections::HashSet, sync::Arc};

use larder_catalog::{Class, PlaceWrite, UploadRecord, UploadStatus};
use larder_core::{Fault, UploadId};
use larder_store::{ListOptions, Place, Store};

use crate::{
    commit::Turn,
    larder::{Larder, OWN_FOLDER},
    liveness::ProcessName,
};

/// Most entries looked at in one go; what remains is taken by the next sweep.
const BATCH: u32 = 1_000;

/// What recovery found and mended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Jobs that are queued again because their worker's process is certainly dead.
    pub jobs: usize,
    /// Writes that were cut off between bytes and record, and are settled now.
    pub writes: usize,
    /// Leftovers of dead processes removed from staging.
    pub leftovers: usize,
}

impl Larder {
    /// Mends what processes left that died: jobs they worked on are queued again, writes they began
    /// are settled, and if no other process uses the store, leftovers in staging are removed.
    ///
    /// [`Larder::open`] calls it before anything else. May be cut off anywhere.
    ///
    /// # Errors
    /// The catalogue's and the store's.
    pub async fn recover(&self) -> Result<Recovered, Fault> {
        let jobs = self.catalog().take_over_dead(is_dead).await?;
        self.give_dead_jobs_up(&jobs.dead).await?;
        let writes = self.settle_interrupted(true).await?;
        let mut leftovers = 0;
        for (store, lock) in self.staging_locks() {
            if lock.is_alone() {
                leftovers += self.remove_leftovers(self.store(store)?).await?;
                lock.share().await;
            }
        }
        let recovered = Recovered { jobs: jobs.requeued.len(), writes, leftovers };
        if recovered != Recovered::default() {
            tracing::info!(?recovered, "mended what an earlier process left");
        }
        Ok(recovered)
    }

    /// Takes over the jobs of workers whose leases ran out or whose processes are certainly dead.
    /// Answers how many. Workers call it all the time.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn take_over_abandoned(&self) -> Result<usize, Fault> {
        let expired = self.catalog().take_over_expired().await?;
        let dead = self.catalog().take_over_dead(is_dead).await?;
        self.give_dead_jobs_up(&expired.dead).await?;
        self.give_dead_jobs_up(&dead.dead).await?;
        Ok(expired.requeued.len() + expired.dead.len() + dead.requeued.len() + dead.dead.len())
    }

    /// Settles writes whose holder is overdue or, with `dead_too`, certainly dead. Answers how many.
    pub(crate) async fn settle_interrupted(&self, dead_too: bool) -> Result<usize, Fault> {
        let mut settled = 0;
        for row in self.catalog().place_writes_with_intent(BATCH).await? {
            let overdue = row.expires_at <= self.ambient().now();
            let dead = dead_too && row.holder.as_deref().is_some_and(is_dead);
            // Without a holder it was handed on by a writer that failed.
            if overdue || dead || row.holder.is_none() {
                let (bucket, key) = (row.bucket.clone(), row.key.clone());
                match self.settle_row(row).await {
                    Ok(done) => settled += usize::from(done),
                    // One key that can't be settled now is no reason to leave the others, or not to start.
                    Err(fault) => {
                        tracing::error!(%bucket, %key, %fault, "a write that was cut off can't be settled yet");
                    }
                }
            }
        }
        Ok(settled)
    }

    async fn settle_row(&self, row: PlaceWrite) -> Result<bool, Fault> {
        let (bucket, key) = (row.bucket.clone(), row.key.clone());
        let holder = row.holder.is_some().then(|| row.fence());
        let until = self.ambient().now().plus(std::time::Duration::from_secs(30));
        // Taking the dead writer's place by its own fence: a living writer that took it meanwhile is
        // left alone.
        let taken = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    if let Some(fence) = holder {
                        tx.confirm_place(&fence).await?;
                        tx.release_holder(&fence).await?;
                    }
                    tx.take_place(&bucket, &key, &ProcessName::current().to_string(), until).await
                })
            })
            .await;
        let taken = match taken {
            Err(larder_catalog::Error::Precondition { .. }) => return Ok(false),
            taken => taken?,
        };
        let held = taken.fence();
        if let Some(intent) = taken.intent
            && self.settle(&held, intent).await? == Turn::GivenBack
        {
            return Ok(true);
        }
        self.release(&held).await;
        Ok(true)
    }

    /// Removes everything in staging that no upload waits for. Only while this process is alone.
    async fn remove_leftovers(&self, store: &Arc<dyn Store>) -> Result<usize, Fault> {
        let mut removed = 0;
        let mut after = None;
        loop {
            let options = ListOptions {
                prefix: format!("{OWN_FOLDER}/staging/"),
                after: after.take(),
                limit: BATCH as usize,
                ..ListOptions::default()
            };
            let listing = store.list(options).await?;
            for entry in &listing.entries {
                if !self.is_awaited(&entry.place).await? {
                    removed += usize::from(store.remove(&entry.place).await?);
                }
            }
            match listing.next {
                Some(next) => after = Some(next),
                None => return Ok(removed),
            }
        }
    }

    /// Whether an upload that still needs them names these staged bytes, or a request of this process
    /// that is still running.
    pub(crate) async fn is_awaited(&self, staged: &Place) -> Result<bool, Fault> {
        // Of several tries of one upload (`Larder::stage_for`), its record names the one that counts.
        let (name, is_try) =
            staged.name().split_once('.').map_or((staged.name(), false), |(id, _)| (id, true));
        let Ok(id) = name.parse::<UploadId>() else { return Ok(false) };
        if self.in_flight().contains(id) {
            return Ok(true);
        }
        let upload = self.catalog().upload(id).await?;
        Ok(upload.is_some_and(|upload| {
            let is_named = upload.staging_place.as_deref() == Some(staged.as_str());
            self.keeps_bytes(&upload) && (is_named || !is_try || upload.awaits_bytes())
        }))
    }

    /// Whether an upload has staged bytes and needs them: it has not ended, or it ended by no fault of
    /// theirs and not longer ago than uploads live, so that its job can be retried.
    pub(crate) fn keeps_bytes(&self, upload: &UploadRecord) -> bool {
        let since = self.ambient().now().minus(self.settings().upload_life);
        upload.staging_place.is_some()
            && match upload.status {
                UploadStatus::Pending | UploadStatus::Processing => true,
                UploadStatus::Failed => upload.finished_at.is_some_and(|ended| ended > since),
                UploadStatus::Completed | UploadStatus::Expired => false,
            }
    }

    /// Tells the kinds of jobs that died with their workers.
    pub(crate) async fn give_dead_jobs_up(&self, dead: &[larder_core::JobId]) -> Result<(), Fault> {
        for id in dead.iter().collect::<HashSet<_>>() {
            let Some(job) = self.catalog().job(*id).await? else { continue };
            let Some(kind) = crate::jobs::JobKind::named(&job.kind) else { continue };
            let fault = job.error.unwrap_or_else(|| Fault::internal("the job ended for good"));
            (kind.gave_up)(job.args, self.clone(), fault).await?;
        }
        Ok(())
    }
}

/// Holders and workers are named by their process; a worker's number may follow.
fn is_dead(name: &str) -> bool {
    name.parse::<ProcessName>().is_ok_and(|process| process.is_certainly_dead())
}
