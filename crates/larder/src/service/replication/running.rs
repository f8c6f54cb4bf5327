//! A catalogue that is replicated while it is written.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use larder_catalog::{Catalog, CommitBarrier};
use larder_dbsync::{Error, Replicator, Round};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{PAUSE_MAX, lock::Lock};
use crate::failure::Failure;

/// A catalogue that is replicated.
pub struct Replication {
    stop: CancellationToken,
    lost: CancellationToken,
    following: JoinHandle<(Replicator, Option<Error>)>,
    waits: bool,
    lock: Lock,
}

impl Replication {
    /// Replicates from now on. Where `waits`, durable commits are acknowledged when they are in the store.
    pub(super) fn begin(
        replicator: Replicator,
        catalog: &Catalog,
        interval: Duration,
        waits: bool,
        lock: Lock,
    ) -> Self {
        let shared = Arc::new(Shared::new());
        if waits {
            catalog.install_barrier(Arc::new(Barrier(Arc::clone(&shared))));
        }
        let (stop, lost) = (CancellationToken::new(), CancellationToken::new());
        let following = Following { replicator, shared, catalog: catalog.clone(), lost: lost.clone() };
        let following = tokio::spawn(following.run(interval, stop.clone()));
        Self { stop, lost, following, waits, lock }
    }

    /// Whether nothing is acknowledged that is not in the store.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Tells commands beside this server where it answers, and by which key the owner of the data directory is known.
    ///
    /// # Errors
    /// The lock's file can't be written.
    pub fn tell_server(&self, address: &str, owner_key: &str) -> Result<(), Failure> {
        self.lock.tell_server(address, owner_key)
    }

    /// Waits until the catalogue is replicated no more: somebody took it over, or something is wrong that trying again
    /// does not mend. It refuses writes by then.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Whether it is replicated no more.
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Commits what is left, and lets the next server in.
    ///
    /// # Errors
    /// What trying again does not mend ended the replication.
    pub async fn end(self) -> Result<Ended, Failure> {
        self.stop.cancel();
        match self.following.await {
            Ok((replicator, None)) => match replicator.finish().await {
                Ok(finished) => tracing::info!(version = finished.seq, "the catalogue is in the store"),
                Err(error) => tracing::error!(%error, "the last commits are not in the store"),
            },
            Ok((_, Some(error))) if error.is_parting() => return Ok(Ended::TakenOver),
            Ok((_, Some(error))) => return Err(error.into()),
            Err(error) => tracing::error!(%error, "the replication of the catalogue ended early"),
        }
        Ok(Ended::LetGo)
    }
}

/// How a replication ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// What was committed is in the store, or was said not to be.
    LetGo,
    /// Somebody else holds the catalogue.
    TakenOver,
}

/// What the follower and those who wait for it know.
struct Shared {
    asked: AtomicU64,
    wake: Notify,
    state: watch::Sender<State>,
}

/// How far the replication is.
#[derive(Debug, Clone, Default)]
struct State {
    /// Everything that was committed before this ask is in the store.
    done: u64,
    /// Asks up to this one were made while the store failed: whether they are there is not known.
    failed: u64,
    /// Why nothing of this process reaches the store any more.
    ended: Option<String>,
}

impl Shared {
    fn new() -> Self {
        Self { asked: AtomicU64::new(0), wake: Notify::new(), state: watch::Sender::new(State::default()) }
    }
}

/// Makes commits wait until they are in the store.
struct Barrier(Arc<Shared>);

impl CommitBarrier for Barrier {
    fn passed(&self) -> BoxFuture<'_, larder_catalog::Result<()>> {
        Box::pin(async {
            let ask = self.0.asked.fetch_add(1, Ordering::SeqCst) + 1;
            let mut state = self.0.state.subscribe();
            self.0.wake.notify_one();
            loop {
                {
                    let state = state.borrow_and_update();
                    if state.done >= ask {
                        return Ok(());
                    }
                    if let Some(why) = &state.ended {
                        return Err(larder_catalog::Error::unavailable(why.clone()));
                    }
                    if state.failed >= ask {
                        return Err(larder_catalog::Error::unavailable(
                            "the catalogue's store does not answer",
                        ));
                    }
                }
                if state.changed().await.is_err() {
                    return Err(larder_catalog::Error::unavailable(
                        "the replication of the catalogue has ended",
                    ));
                }
            }
        })
    }
}

/// What follows the catalogue.
struct Following {
    replicator: Replicator,
    shared: Arc<Shared>,
    catalog: Catalog,
    lost: CancellationToken,
}

impl Following {
    /// Looks whenever somebody asks, and each interval; until `stop`, or an error that trying again does not mend.
    async fn run(mut self, interval: Duration, stop: CancellationToken) -> (Replicator, Option<Error>) {
        let shared = Arc::clone(&self.shared);
        let mut failures = 0_u32;
        while !stop.is_cancelled() {
            let asked = shared.asked.load(Ordering::SeqCst);
            let pause = match self.replicator.round().await {
                Ok(Round::Again) => Duration::ZERO,
                Ok(_) => {
                    failures = 0;
                    shared.state.send_modify(|state| state.done = asked);
                    self.replicator.collect_some().await;
                    interval
                }
                Err(error) if error.is_passing() => {
                    failures += 1;
                    tracing::warn!(%error, failures, "the catalogue can't be replicated: trying again");
                    shared.state.send_modify(|state| state.failed = asked);
                    (Duration::from_millis(100) * 2_u32.saturating_pow(failures.min(10))).min(PAUSE_MAX)
                }
                Err(error) => {
                    tracing::error!(%error, "the catalogue is replicated no more: nothing is written from now on");
                    self.catalog.refuse_writes(error.to_string());
                    shared.state.send_modify(|state| state.ended = Some(error.to_string()));
                    self.lost.cancel();
                    return (self.replicator, Some(error));
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = shared.wake.notified(), if failures == 0 => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        (self.replicator, None)
    }
}
