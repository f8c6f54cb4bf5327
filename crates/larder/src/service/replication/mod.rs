//! The catalogue in the store: brought from there at start, and replicated while it is written.
//!
//! One process at a time holds the catalogue. Another server that is started waits until that one lets go, or has
//! written nothing for its lease, and goes on from what it left. The way is [`Candidate`], [`Claimed`], [`Held`],
//! [`Replication`].

mod lock;
mod running;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use larder_catalog::Catalog;
use larder_core::Ambient;
use larder_dbsync::{
    Along, CollectWhile, Error, Event, PullOptions, Remote, ReplicateOptions, Replicator, Session, Sidecar,
    Waiting, Watch, pull, set_aside,
};
use larder_store::Store;
use tokio::sync::Notify;

use self::lock::Lock;
pub use self::{
    lock::Serving,
    running::{Ended, Replication},
};
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
        match self.try_to_pull().await {
            Ok(()) => Ok(()),
            Err(Error::Diverged { .. }) if self.was_taken_over().await? => {
                let aside = set_aside(&self.path, Ambient::system().now())?;
                tracing::error!(
                    "another server took the catalogue over before everything that was committed here had reached the \
                     store: what the store has counts from now on; what was here lies in {}",
                    aside.display()
                );
                Ok(self.try_to_pull().await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// As [`pull`](Self::pull), while the catalogue is open: `false` if it has to be closed first, since it has something
    /// that the store has not.
    ///
    /// # Errors
    /// The store's.
    pub async fn pull_beside_readers(&self) -> Result<bool, Failure> {
        match self.try_to_pull().await {
            Ok(()) => Ok(true),
            Err(Error::Diverged { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn try_to_pull(&self) -> Result<(), Error> {
        let watch: Watch = Arc::new(tell);
        match pull(&self.remote, &self.path, &PullOptions::default(), &watch).await {
            Ok(_) | Err(Error::Absent { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the catalogue here was this data directory's, and has gone on under another holder since: what only this
    /// one has was not acknowledged. One that never was the same as the store's is another matter.
    async fn was_taken_over(&self) -> Result<bool, Error> {
        let Some(sidecar) = Sidecar::read(&self.path) else { return Ok(false) };
        let newest = self.remote.newest(None, &mut Along::default()).await?;
        Ok(newest.is_some_and(|newest| newest.database == sidecar.database))
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
        Ok(Replication::begin(replicator, catalog, options.interval, waits, lock))
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
