//! The catalogue in the store: brought from there at start, and replicated while it is written.
//!
//! One server at a time holds the catalogue. Another that is started waits until that one lets go, or has written
//! nothing for its lease, and goes on from what it left.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use larder_catalog::{Catalog, CommitBarrier};
use larder_core::{Ambient, Fault};
use larder_dbsync::{
    CollectOptions, Error, Event, PullOptions, Remote, ReplicateOptions, Replicator, Round, Session, Sidecar,
    Watch, pull,
};
use rustix::fs::{FlockOperation, flock};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::store::open_plain_bucket;
use crate::{
    config::{Config, ConfigError, Replicate, StoreBackend},
    failure::Failure,
};

/// Where the catalogue lies in the store.
pub const PREFIX: &str = ".larder/catalog";

/// The file whose lock says that a process of this machine replicates the catalogue.
const LOCK: &str = "replicating.lock";

/// Time between two collections of versions that are not kept.
const COLLECT_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// The longest pause between two attempts while the store does not answer.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A catalogue that this process holds, and that is not open yet.
pub struct Held {
    session: Session,
    path: PathBuf,
    mode: Replicate,
    options: ReplicateOptions,
    watch: Watch,
    lock: File,
}

/// A catalogue that is replicated.
pub struct Replication {
    stop: CancellationToken,
    following: JoinHandle<Replicator>,
    _lock: File,
}

impl Held {
    /// Waits until no other server holds the catalogue, takes it, and brings it here if the store has something newer.
    /// `None` where it is not replicated.
    ///
    /// # Errors
    /// The settings don't go together; the store can't be reached, or does not honour conditions; the catalogue here and
    /// the one in the store were both changed.
    pub async fn take(config: &Config) -> Result<Option<Self>, Failure> {
        let mode = config.catalog.replicate;
        if mode == Replicate::Off {
            return Ok(None);
        }
        let (StoreBackend::S3, Some(options), None) =
            (config.store.backend, &config.store.s3_options, &config.database_url)
        else {
            return Err(ConfigError::new(
                "catalog.replicate is set, and the store is no bucket or the catalogue lies in PostgreSQL",
                "set it to \"off\", or keep bytes in an S3 bucket and the catalogue in SQLite",
            )
            .into());
        };
        let lock = lock(&config.data_dir)?;
        let ambient = Ambient::system();
        let store = open_plain_bucket(config, options, &ambient).await?;
        let label = format!("{}{PREFIX}", config.store_label());
        let remote = Remote::new(store, PREFIX, ambient)?.named(label);
        let path = config.data_dir.join("catalog.db");
        let mut session =
            Session::open(remote.clone(), None, false).await?.with_lease(config.catalog.lease.0);
        // The lock proves that whoever wrote this is dead: it need not be waited for.
        session.knows_dead(Sidecar::read(&path).map(|sidecar| sidecar.token));
        let watch: Watch = Arc::new(tell);
        session
            .claim(&mut |owner| {
                tracing::warn!(%owner, "another server holds the catalogue: standing by until it lets go");
                Ok(())
            })
            .await?;
        match pull(&remote, &path, &PullOptions::default(), &watch).await {
            Ok(_) | Err(Error::Absent { .. }) => {}
            Err(error) => {
                session.release().await?;
                return Err(error.into());
            }
        }
        let options = ReplicateOptions { interval: config.catalog.interval.0, renew: true };
        Ok(Some(Self { session, path, mode, options, watch, lock }))
    }

    /// Replicates the catalogue, which is open and whole, from now on. What it holds is in the store when this returns.
    ///
    /// # Errors
    /// Those of the first comparison.
    pub async fn follow(self, catalog: &Catalog) -> Result<Replication, Failure> {
        let Self { session, path, mode, options, watch, lock } = self;
        let replicator = Replicator::begin(session, &path, options, watch).await?;
        let shared = Arc::new(Shared::new());
        if mode == Replicate::Commit {
            catalog.install_barrier(Arc::new(Barrier(Arc::clone(&shared))));
        }
        let stop = CancellationToken::new();
        let following = tokio::spawn(follow(replicator, shared, options.interval, stop.clone()));
        Ok(Replication { stop, following, _lock: lock })
    }
}

impl Replication {
    /// Commits what is left, and lets the next server in.
    pub async fn end(self) {
        self.stop.cancel();
        match self.following.await {
            Ok(replicator) => match replicator.finish().await {
                Ok(finished) => tracing::info!(version = finished.seq, "the catalogue is in the store"),
                Err(error) => tracing::error!(%error, "the last commits are not in the store"),
            },
            Err(error) => tracing::error!(%error, "the replication of the catalogue ended early"),
        }
    }
}

/// One process of a machine at a time.
fn lock(data_dir: &Path) -> Result<File, Failure> {
    let path = data_dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| Failure::file(&path, "written", error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(Failure::configuration(
            format!("another process replicates the catalogue in {}", data_dir.display()),
            "end it first, or give this one another data directory",
        )),
    }
}

fn tell(event: &Event) {
    match event {
        Event::Pulling { seq, pages, of, .. } => {
            tracing::info!(version = seq, pages, of, "bringing the catalogue from the store");
        }
        Event::Retrying { error, attempts } => {
            tracing::warn!(attempts, %error, "the catalogue can't be replicated: trying again");
        }
        _ => {}
    }
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

/// Looks whenever somebody asks, and each interval; until `stop`.
async fn follow(
    mut replicator: Replicator,
    shared: Arc<Shared>,
    interval: Duration,
    stop: CancellationToken,
) -> Replicator {
    let (mut failures, mut collected) = (0_u32, Instant::now());
    while !stop.is_cancelled() {
        let asked = shared.asked.load(Ordering::SeqCst);
        let pause = match replicator.round().await {
            Ok(Round::Again) => Duration::ZERO,
            Ok(_) => {
                failures = 0;
                shared.state.send_modify(|state| state.done = asked);
                interval
            }
            Err(error) if error.is_passing() => {
                failures += 1;
                tracing::warn!(%error, failures, "the catalogue can't be replicated: trying again");
                shared.state.send_modify(|state| state.failed = asked);
                (Duration::from_millis(100) * 2_u32.saturating_pow(failures.min(10))).min(PAUSE_MAX)
            }
            Err(error) => {
                tracing::error!(%error, "the catalogue is replicated no more: nothing that is written is acknowledged");
                let why = Fault::from(error).detail;
                shared.state.send_modify(|state| state.ended = Some(why));
                break;
            }
        };
        if collected.elapsed() > COLLECT_EVERY {
            collected = Instant::now();
            if let Err(error) = replicator.collect(&CollectOptions::default()).await {
                tracing::warn!(%error, "old versions of the catalogue could not be collected");
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = shared.wake.notified(), if failures == 0 => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    replicator
}
