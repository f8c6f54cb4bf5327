//! The catalogue in the store: brought from there at start, and replicated while it is written.
//!
//! One process at a time holds the catalogue. Another server that is started waits until that one lets go, or has
//! written nothing for its lease, and goes on from what it left. The way is [`Candidate`], [`Claimed`], [`Held`],
//! [`Replication`].

mod lock;

use std::{
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
    CollectWhile, Error, Event, PullOptions, Remote, ReplicateOptions, Replicator, Round, Session, Sidecar,
    Waiting, Watch, pull,
};
use larder_store::Store;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use self::lock::{Lock, Serving};
use super::open::Opening;
use crate::{config::Config, failure::Failure};

/// Where the catalogue lies in the store.
pub const PREFIX: &str = ".larder/catalog";

/// The longest pause between two attempts while the store does not answer.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A process that is to hold the catalogue.
pub struct Candidate {
    session: Session,
    remote: Remote,
    path: PathBuf,
    waits: bool,
    options: ReplicateOptions,
    lock: Lock,
    former: Vec<[u8; 16]>,
}

/// A catalogue that this process holds, and that may not be here yet.
pub struct Claimed(Candidate);

/// Brings a catalogue that another process writes.
pub struct Follower {
    remote: Remote,
    path: PathBuf,
}

/// A catalogue that this process holds, and that is not open yet.
pub struct Held {
    session: Session,
    path: PathBuf,
    waits: bool,
    options: ReplicateOptions,
    lock: Lock,
}

/// A catalogue that is replicated.
pub struct Replication {
    stop: CancellationToken,
    following: JoinHandle<Replicator>,
    waits: bool,
    lock: Lock,
}

impl Candidate {
    /// Looks who holds the catalogue in the store. `None` where it is not replicated.
    ///
    /// # Errors
    /// Another process of this machine has this data directory; the store can't be reached, or does not honour
    /// conditions and replication was asked for.
    pub async fn new(
        config: &Config,
        opening: Opening,
        bucket: Arc<dyn Store>,
    ) -> Result<Option<Self>, Failure> {
        let Some(replication) = config.replication()? else { return Ok(None) };
        if !replication.is_asked_for && !bucket.capabilities().create_if_absent {
            tracing::warn!(
                "the bucket does not honour If-None-Match: the catalogue is not replicated and lies in the data directory alone"
            );
            return Ok(None);
        }
        let lock = Lock::take(&config.data_dir, opening).await?;
        let label = format!("{}{PREFIX}", config.store_label());
        let remote = Remote::new(bucket, PREFIX, Ambient::system())?.named(label);
        let path = config.data_dir.join("catalog.db");
        let mut session =
            Session::open(remote.clone(), None, false).await?.with_lease(config.catalog.lease.0);
        // The lock proves that whoever wrote these is dead: they need not be waited for.
        let mut former = lock.holders()?;
        former.extend(Sidecar::read(&path).map(|sidecar| sidecar.token));
        session.knows_dead(former.iter().copied());
        let options = ReplicateOptions {
            interval: config.catalog.interval.0,
            renew: true,
            collect: Some(CollectWhile::default()),
        };
        Ok(Some(Self { session, remote, path, waits: replication.waits, options, lock, former }))
    }

    /// Who else holds the catalogue, and may be alive.
    pub fn holder(&self) -> Option<&str> {
        self.session.other_holder()
    }

    /// What brings the catalogue while somebody else holds it.
    pub fn follower(&self) -> Follower {
        Follower { remote: self.remote.clone(), path: self.path.clone() }
    }

    /// Takes the catalogue for a command: if somebody else holds it, waits only until that one is seen to be alive, or has
    /// been silent for its lease.
    ///
    /// # Errors
    /// Somebody else holds the catalogue; the store's.
    pub async fn claim_unless_held(mut self) -> Result<Claimed, Failure> {
        self.tell_successors()?;
        let mut tell = |waiting: Waiting<'_>| match waiting {
            Waiting::For(owner) => {
                tracing::warn!(%owner, "another process holds the catalogue: waiting for a sign of life");
                Ok(())
            }
            Waiting::Wrote(owner) => Err(Error::Held { owner: owner.to_owned() }),
        };
        match self.session.claim(&mut tell).await {
            Err(Error::Held { owner }) => Err(held_by(&owner)),
            claimed => {
                claimed?;
                self.claimed()
            }
        }
    }

    /// Takes the catalogue, when nobody else holds it any more. `changed` is told when the holder has written.
    ///
    /// # Errors
    /// The store's.
    pub async fn claim(mut self, changed: &Notify) -> Result<Claimed, Failure> {
        self.tell_successors()?;
        let has_to_wait = self.holder().is_some();
        let mut tell = |waiting: Waiting<'_>| {
            match waiting {
                Waiting::For(owner) => {
                    tracing::warn!(%owner, "another process holds the catalogue: standing by until it lets go");
                }
                Waiting::Wrote(_) => changed.notify_one(),
            }
            Ok(())
        };
        loop {
            match self.session.claim(&mut tell).await {
                // Who waits for hours meets an outage, and waits on.
                Err(error) if has_to_wait && error.is_passing() => {
                    tracing::warn!(%error, "standing by: the store does not answer");
                    tokio::time::sleep(PAUSE_MAX).await;
                }
                claimed => break claimed?,
            }
        }
        self.claimed()
    }

    /// Should this process die while it claims, the next one on this data directory need not wait for it.
    fn tell_successors(&mut self) -> Result<(), Failure> {
        self.former.push(self.session.token());
        self.lock.tell(&self.former)
    }

    fn claimed(self) -> Result<Claimed, Failure> {
        self.lock.tell(&[self.session.token()])?;
        Ok(Claimed(self))
    }
}

impl Claimed {
    /// Brings the catalogue here if the store has something newer.
    ///
    /// # Errors
    /// The catalogue here and the one in the store were both changed; the store's.
    pub async fn bring(self) -> Result<Held, Failure> {
        let follower = self.0.follower();
        let Candidate { mut session, path, waits, options, lock, .. } = self.0;
        if let Err(failure) = session.holding(follower.pull()).await? {
            session.release().await?;
            return Err(failure);
        }
        Ok(Held { session, path, waits, options, lock })
    }
}

impl Follower {
    /// Makes the catalogue here what it is in the store, if there is one.
    ///
    /// # Errors
    /// The catalogue here has something that the store has not; the store's.
    pub async fn pull(&self) -> Result<(), Failure> {
        let watch: Watch = Arc::new(tell);
        match pull(&self.remote, &self.path, &PullOptions::default(), &watch).await {
            Ok(_) | Err(Error::Absent { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Held {
    /// Keeps the catalogue while something takes its time.
    ///
    /// # Errors
    /// Somebody else took it over all the same.
    pub async fn keep<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        Ok(self.session.holding(work).await?)
    }

    /// Lets the next one in. Nothing was changed. If that fails, the next one waits for the lease.
    pub async fn let_go(mut self) {
        if let Err(error) = self.session.release().await {
            tracing::warn!(%error, "the catalogue could not be let go");
        }
    }

    /// Replicates the catalogue, which is open and whole, from now on. What it holds is in the store when this returns.
    ///
    /// # Errors
    /// Those of the first comparison.
    pub async fn follow(self, catalog: &Catalog) -> Result<Replication, Failure> {
        let Self { session, path, waits, options, lock } = self;
        let watch: Watch = Arc::new(tell);
        let replicator = Replicator::begin(session, &path, options, watch).await?;
        let shared = Arc::new(Shared::new());
        if waits {
            catalog.install_barrier(Arc::new(Barrier(Arc::clone(&shared))));
        }
        let stop = CancellationToken::new();
        let following = tokio::spawn(follow(replicator, shared, options.interval, stop.clone()));
        Ok(Replication { stop, following, waits, lock })
    }
}

impl Replication {
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

/// The server that replicates the catalogue of a data directory, if one does.
pub fn server_of(data_dir: &Path) -> Option<Serving> {
    Lock::server(data_dir)
}

/// Why a command goes no further.
fn held_by(owner: &str) -> Failure {
    Failure::configuration(
        format!("{owner} holds the catalogue, which lies in the bucket"),
        "name the address of that server with --server or LARDER_SERVER",
    )
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
    let mut failures = 0_u32;
    while !stop.is_cancelled() {
        let asked = shared.asked.load(Ordering::SeqCst);
        let pause = match replicator.round().await {
            Ok(Round::Again) => Duration::ZERO,
            Ok(_) => {
                failures = 0;
                shared.state.send_modify(|state| state.done = asked);
                replicator.collect_some().await;
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
        tokio::select! {
            () = stop.cancelled() => {}
            () = shared.wake.notified(), if failures == 0 => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    replicator
}
