//! Removing versions that are not kept, beside the commits of who holds a database.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::Replicator;
use crate::{
    clock::since_boot,
    collect::{CollectOptions, CollectReport, Collection, Progress, plan},
    error::{Error, Result},
    progress::Event,
};

/// How long a collection goes on between two looks: for so long a commit waits at most.
const COLLECT_FOR: Duration = Duration::from_millis(100);

/// When a writer that holds its database for long removes versions that are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectWhile {
    /// What is kept.
    pub options: CollectOptions,
    /// After so long, if anything was written since.
    pub every: Duration,
    /// Whenever the number of an entry is a multiple of this, so that it is done by somebody if nobody stays for long.
    pub every_entries: u64,
}

impl Default for CollectWhile {
    /// Every 6 hours or 4,096 entries.
    fn default() -> Self {
        Self {
            options: CollectOptions::default(),
            every: Duration::from_secs(6 * 3_600),
            every_entries: 4_096,
        }
    }
}

/// A collection that goes on beside the replication.
pub(super) enum Collecting {
    Planning(JoinSet<Result<Collection>>),
    Working(Box<Collection>),
}

impl Replicator {
    /// Goes on with the removal of versions that are not kept, if that is wanted and due; for a tenth of a second at most.
    /// What fails is told to the log, and done another time: nothing is lost by it but room.
    pub async fn collect_some(&mut self) {
        let removed = self.try_to_collect_some().await;
        match removed {
            Ok(None) => return,
            Ok(Some(report)) => {
                let CollectReport { removed: objects, removed_bytes: bytes, .. } = report;
                (self.watch)(&Event::Collected { objects, bytes });
            }
            Err(error) => {
                tracing::warn!(%error, "versions that are not kept could not be removed: left for another time");
            }
        }
        self.collecting = None;
        self.put_since.clear();
        self.collected = (since_boot(), self.session.newest().seq);
    }

    /// What was removed, once it is done.
    async fn try_to_collect_some(&mut self) -> Result<Option<CollectReport>> {
        let Some(wanted) = self.options.collect else { return Ok(None) };
        let is_due = self.is_collection_due(&wanted);
        match &mut self.collecting {
            None if is_due => {
                let (remote, newest) = (self.session.remote().clone(), Arc::clone(self.session.newest()));
                let mut planning = JoinSet::new();
                planning.spawn(plan(remote, newest, wanted.options));
                self.collecting = Some(Collecting::Planning(planning));
                Ok(None)
            }
            None => Ok(None),
            Some(Collecting::Planning(planning)) => {
                match planning.try_join_next() {
                    None => {}
                    Some(Ok(planned)) => {
                        self.collecting = Some(Collecting::Working(Box::new(planned?)));
                    }
                    Some(Err(error)) => return Err(Error::Internal(error.to_string())),
                }
                Ok(None)
            }
            Some(Collecting::Working(collection)) => {
                match collection.step(&mut self.session, &self.put_since, Some(COLLECT_FOR)).await? {
                    Progress::Done(report) => Ok(Some(report)),
                    Progress::Void => Ok(Some(CollectReport::default())),
                    Progress::Stale if self.options.renew => {
                        self.session.renew().await?;
                        self.written_at = since_boot();
                        Ok(None)
                    }
                    // The next commit says that the lease is held.
                    Progress::Stale | Progress::More => Ok(None),
                }
            }
        }
    }

    fn is_collection_due(&self, wanted: &CollectWhile) -> bool {
        let ((at, seq), newest) = (self.collected, self.session.newest());
        let is_passed = newest.seq / wanted.every_entries.max(1) > seq / wanted.every_entries.max(1);
        let is_time = newest.seq > seq && since_boot().saturating_sub(at) >= wanted.every;
        newest.page_size > 0 && self.session.holds() && (is_passed || is_time)
    }
}
