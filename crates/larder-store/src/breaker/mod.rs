//! A store around a store that is left alone while it does not answer.

mod circuit;
mod limits;
mod watch;

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use larder_core::Ambient;
use tokio::time::timeout;
use url::Url;

pub use circuit::{Circuit, CircuitOpen, CircuitState, Health, Outage};
pub use limits::BreakerLimits;

use circuit::Ticket;
use watch::Progress;

use crate::{
    body::{Body, ByteStream},
    error::{Error, Result},
    listing::{ListOptions, Listing},
    place::Place,
    store::{
        Capabilities, CopyOptions, OpenOptions, Opened, PutOptions, RenameOptions, SignedAction, Stat, Store,
        UnfinishedOptions,
    },
};

/// A circuit breaker for stores behind a network.
///
/// Every operation has an end: those without a body by a time limit, bodies by a limit on the time in
/// which the store neither takes nor gives a byte (that of a slow client does not count). What ends so is
/// [`Error::Unavailable`]. When such failures come in a row, or are half of all operations, the circuit
/// opens: every operation is answered at once with [`Error::Unavailable`], its
/// [`CircuitOpen`] as the source and the time until the next probe as `retry_after`. After a pause one
/// operation goes through as a probe. If the store answers it, the circuit closes; if not, the next pause
/// is twice as long.
///
/// Only [`Error::Unavailable`] counts as a failure. A store that says "not found" or "denied" answers.
///
/// | metric | labels |
/// |---|---|
/// | `larder_store_circuit` | `store`; 0 closed, 1 half-open, 2 open |
/// | `larder_store_failures_total` | `store`, `cause` (`error`, `timeout`, `body`) |
/// | `larder_store_refused_total` | `store`: operations that an open circuit answered |
///
/// Put it around a [`MeteredStore`](crate::MeteredStore), so that this one counts what the store was asked.
#[derive(Debug)]
pub struct BreakerStore<S> {
    inner: S,
    circuit: Circuit,
}

impl<S: Store> BreakerStore<S> {
    /// A store whose circuit is closed. `name` is the label of its metrics and names it in the log.
    pub fn new(name: impl Into<Arc<str>>, inner: S, limits: BreakerLimits, ambient: Ambient) -> Self {
        Self { inner, circuit: Circuit::new(name.into(), limits, ambient) }
    }

    /// The state of the circuit, to be asked while the store is in use.
    pub fn circuit(&self) -> Circuit {
        self.circuit.clone()
    }

    fn limits(&self) -> &BreakerLimits {
        self.circuit.limits()
    }

    /// Runs an operation without a body within its time.
    async fn within<T>(
        &self,
        limit: Duration,
        place: &str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let mut ticket = self.circuit.enter(place)?;
        let result = in_time(limit, place, work, &mut ticket).await;
        ticket.settle(&result);
        result
    }
}

async fn in_time<T>(
    limit: Duration,
    place: &str,
    work: impl Future<Output = Result<T>> + Send,
    ticket: &mut Ticket,
) -> Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        ticket.note_timeout();
        Err(Error::unavailable(place, format!("no answer within {} s", limit.as_secs_f64())))
    })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for BreakerStore<S> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn local_path(&self, place: &Place) -> Option<PathBuf> {
        self.inner.local_path(place)
    }

    fn public_url(&self, place: &Place) -> Option<Url> {
        self.inner.public_url(place)
    }

    async fn signed_url(&self, place: &Place, action: &SignedAction, life: Duration) -> Result<Option<Url>> {
        self.inner.signed_url(place, action, life).await
    }

    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat> {
        let mut ticket = self.circuit.enter(place.as_str())?;
        let progress = Progress::default();
        let work = self.inner.put(place, progress.watch(body), options);
        let result = tokio::select! {
            biased;
            result = work => result,
            stalled = progress.stalls(self.limits()) => {
                ticket.note_timeout();
                let what = format!("the store took nothing for {} s", stalled.as_secs_f64());
                Err(Error::unavailable(place.as_str(), what))
            }
        };
        ticket.settle(&result);
        result
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        let mut ticket = self.circuit.enter(place.as_str())?;
        let work = self.inner.open(place, options);
        let result = in_time(self.limits().answer_within, place.as_str(), work, &mut ticket).await;
        let opened = match result {
            Ok(opened) => opened.exact(),
            failed => {
                ticket.settle(&failed);
                return failed;
            }
        };
        let ticket = ticket.answered();
        let body = match opened.body {
            Body::Stream(stream) => Body::Stream(watch::outgoing(stream, self.limits().idle_within, ticket)),
            ready @ (Body::File(_) | Body::Bytes(_)) => {
                ticket.succeed();
                ready
            }
        };
        Ok(Opened { body, ..opened })
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        self.within(self.limits().answer_within, place.as_str(), self.inner.stat(place)).await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        self.within(self.limits().answer_within, place.as_str(), self.inner.settle(place)).await
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        let prefix = options.prefix.clone();
        self.within(self.limits().list_within, &prefix, self.inner.list(options)).await
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        self.within(self.limits().answer_within, place.as_str(), self.inner.remove(place)).await
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        self.within(self.limits().move_within, to.as_str(), self.inner.copy(from, to, options)).await
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        self.within(self.limits().move_within, to.as_str(), self.inner.rename(from, to, options)).await
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        self.within(self.limits().move_within, "", self.inner.remove_unfinished(options)).await
    }
}
