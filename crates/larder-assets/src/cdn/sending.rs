//! Telling what was noted.

use std::{sync::Once, time::Duration};

use larder_catalog::{CdnPurge, Class};
use larder_core::{Code, Fault};

use super::{PurgeHook, note::Reason};
use crate::{
    jobs::{Ended, JobContext},
    larder::Larder,
};

/// How long after a change caches are told of it. Every process has forgotten by then what it remembered of
/// the record, which is at most a second old; told sooner, a cache could fetch the former answer anew.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_millis(1_500);

/// How long something stays noted that nobody takes: longer than any outage that goes unnoticed.
const KEPT_FOR: Duration = Duration::from_secs(7 * 86_400);

/// How long notes wait for a process that has a hook, where this one has none.
const UNTOLD_FOR: Duration = Duration::from_secs(3_600);

/// Rounds of one job; what is left then is told by the next.
const ROUNDS_MAX: usize = 1_000;

/// Purges by outcome: `sent`, `failed` (and tried again) or `given_up`.
const PURGES: &str = "larder_cdn_purges_total";

fn count(hook: &'static str, outcome: &'static str, things: usize) {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(|| {
        metrics::describe_counter!(PURGES, "Assets and buckets that caches were told to forget, by outcome");
    });
    metrics::counter!(PURGES, "hook" => hook, "outcome" => outcome).increment(things as u64);
}

impl Larder {
    /// Tells the hook everything that is noted.
    pub(crate) async fn send_purges(&self, context: &JobContext) -> Result<Ended, Fault> {
        let Some(hook) = self.settings().cdn.hook.clone() else { return self.without_hook().await };
        for _ in 0..ROUNDS_MAX {
            context.check()?;
            let notes = self.catalog().cdn_purges(hook.things_max()).await?;
            let Some(newest) = notes.iter().map(|note| note.noted_at).max() else { break };
            let settled = newest.plus(SETTLED_AFTER).since(self.ambient().now());
            tokio::time::sleep(settled.min(SETTLED_AFTER)).await;
            for reason in Reason::ALL {
                let alike: Vec<&CdnPurge> =
                    notes.iter().filter(|note| note.reason == reason.word()).collect();
                self.send(&*hook, reason, &alike).await?;
            }
            // A newer version's reasons: nobody here knows them, and their tags are told all the same.
            let known = |note: &&CdnPurge| Reason::ALL.iter().any(|reason| note.reason == reason.word());
            let others: Vec<&CdnPurge> = notes.iter().filter(|note| !known(note)).collect();
            self.send(&*hook, Reason::Replaced, &others).await?;
        }
        Ok(Ended::Open)
    }

    async fn send(&self, hook: &dyn PurgeHook, reason: Reason, notes: &[&CdnPurge]) -> Result<(), Fault> {
        if notes.is_empty() {
            return Ok(());
        }
        let purge = self.purge_of(reason, notes).await;
        let kind = hook.kind().name;
        match hook.purge(self.guarded(), &purge).await {
            Ok(()) => {
                count(kind, "sent", notes.len());
                tracing::debug!(hook = kind, reason = purge.reason, things = notes.len(), "caches were told");
                self.forget_notes(notes).await
            }
            Err(fault) => {
                count(kind, "failed", notes.len());
                let oldest = self.ambient().now().minus(KEPT_FOR);
                let overdue: Vec<&CdnPurge> =
                    notes.iter().copied().filter(|note| note.noted_at < oldest).collect();
                if !overdue.is_empty() {
                    count(kind, "given_up", overdue.len());
                    tracing::error!(hook = kind, things = overdue.len(), %fault, "caches could not be told for 7 days, and what was noted is given up; purge them by hand");
                    self.forget_notes(&overdue).await?;
                }
                Err(fault)
            }
        }
    }

    async fn forget_notes(&self, notes: &[&CdnPurge]) -> Result<(), Fault> {
        let notes: Vec<CdnPurge> = notes.iter().map(|note| (*note).clone()).collect();
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    for note in &notes {
                        tx.forget_cdn_purge(note).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(())
    }

    /// Notes are there, and this process can tell nobody: another one may, and else it was turned off.
    async fn without_hook(&self) -> Result<Ended, Fault> {
        let latest = self.ambient().now().minus(UNTOLD_FOR);
        loop {
            let notes = self.catalog().cdn_purges(500).await?;
            let overdue: Vec<&CdnPurge> = notes.iter().filter(|note| note.noted_at < latest).collect();
            if overdue.is_empty() {
                let waits = Fault::new(Code::BackendUnavailable, "this process has no purge hook")
                    .remedy("set cdn.purge alike in all processes");
                return if notes.is_empty() { Ok(Ended::Open) } else { Err(waits) };
            }
            tracing::warn!(
                things = overdue.len(),
                "caches were to be told, and no purge hook is set any more"
            );
            self.forget_notes(&overdue).await?;
        }
    }

    /// Says that the hook does not take what is noted.
    pub(crate) fn purges_gave_up(&self, fault: &Fault) {
        let hook = self.settings().cdn.hook.as_ref().map_or("none", |hook| hook.kind().name);
        count(hook, "given_up", 1);
        tracing::error!(
            hook,
            %fault,
            remedy = fault.remedy,
            "the purge hook does not take purges: caches may serve what was replaced or deleted; what is noted goes with the next change, or when the job is retried"
        );
    }
}
