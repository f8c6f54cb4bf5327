//! Writes records to the store in the background.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::JoinHandle, time::timeout};

use super::Recorded;
use crate::larder::Larder;

/// How often changes are written. What was acknowledged less than this ago may be missing in the store;
/// stated in SEMANTICS.md.
const EVERY: Duration = Duration::from_secs(2);

/// How long it waits after a failure: the store may be away for long.
const AFTER_FAILURE: Duration = Duration::from_secs(15);

/// How often it says that it writes nothing.
const SAY_EVERY: Duration = Duration::from_secs(600);

/// How long a process that stops waits for its last records.
const LAST_WITHIN: Duration = Duration::from_secs(10);

/// Writes the records of changes to the store, every two seconds and at the end.
#[derive(Debug)]
pub struct Recorder {
    stopping: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Begins.
    pub fn start(larder: Larder) -> Self {
        let stopping = Arc::new(Notify::new());
        let task = tokio::spawn(work(larder, Arc::clone(&stopping)));
        Self { stopping, task }
    }

    /// Writes what is left, and ends. To be called after the last change.
    pub async fn stop(mut self) {
        self.stopping.notify_one();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Recorder {
    /// Ends at once: whoever holds the catalogue by then has other records.
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn work(larder: Larder, stopping: Arc<Notify>) {
    let (mut pause, mut said) = (EVERY, None::<Instant>);
    loop {
        let stops = timeout(pause, stopping.notified()).await.is_ok();
        if stops {
            larder.record_meta_at_end().await;
            return;
        }
        let quiet = said.is_some_and(|at| at.elapsed() < SAY_EVERY);
        pause = match larder.record_meta().await {
            Ok(Recorded { is_foreign: true, .. }) => {
                if !quiet {
                    said = Some(Instant::now());
                    tracing::warn!(
                        "the store holds the records of another catalogue, and this one's are not written to it; \
                         `larder reindex --merge` takes them over"
                    );
                }
                AFTER_FAILURE
            }
            Ok(_) => EVERY,
            Err(fault) => {
                if !quiet {
                    said = Some(Instant::now());
                    tracing::warn!(%fault, "records could not be written to the store; trying again");
                }
                AFTER_FAILURE
            }
        };
    }
}

impl Larder {
    /// Writes what is left when a process ends. Whoever comes next writes what could not be written.
    pub async fn record_meta_at_end(&self) {
        match timeout(LAST_WITHIN, self.record_meta()).await {
            Ok(Ok(_)) => {}
            Ok(Err(fault)) => tracing::warn!(%fault, "the last records could not be written to the store"),
            Err(_) => tracing::warn!("the store was too slow for the last records"),
        }
    }
}
