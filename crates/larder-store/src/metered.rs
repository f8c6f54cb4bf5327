//! A store around a store that counts what passes.

use std::{
    future::Future,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use url::Url;

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

/// Counts operations, their outcomes, their time and the bytes that pass, as metrics.
///
/// | metric | labels |
/// |---|---|
/// | `larder_store_operations_total` | `store`, `operation`, `outcome` (`ok` or [`Error::kind`]) |
/// | `larder_store_operation_seconds` | `store`, `operation` |
/// | `larder_store_bytes_total` | `store`, `direction` (`in`, `out`) |
///
/// A dropped operation counts with outcome `cancelled`. Bytes going out are counted when they are
/// opened where the body is a file (it may be sent without being read), else as they are read.
#[derive(Debug)]
pub struct MeteredStore<S> {
    name: Arc<str>,
    inner: S,
}

impl<S: Store> MeteredStore<S> {
    /// A store that counts under the label `store = name`.
    pub fn new(name: impl Into<Arc<str>>, inner: S) -> Self {
        Self { name: name.into(), inner }
    }

    async fn measured<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let mut measurement = Measurement {
            store: Arc::clone(&self.name),
            operation,
            outcome: "cancelled",
            start: Instant::now(),
        };
        let result = work.await;
        measurement.outcome = result.as_ref().map_or_else(Error::kind, |_| "ok");
        result
    }
}

/// Reports itself when it is dropped, so that a dropped future is counted as well.
struct Measurement {
    store: Arc<str>,
    operation: &'static str,
    outcome: &'static str,
    start: Instant,
}

impl Drop for Measurement {
    fn drop(&mut self) {
        metrics::counter!(
            "larder_store_operations_total",
            "store" => Arc::clone(&self.store), "operation" => self.operation, "outcome" => self.outcome
        )
        .increment(1);
        metrics::histogram!(
            "larder_store_operation_seconds",
            "store" => Arc::clone(&self.store), "operation" => self.operation
        )
        .record(self.start.elapsed());
    }
}

fn bytes_total(store: &Arc<str>, direction: &'static str) -> metrics::Counter {
    metrics::counter!("larder_store_bytes_total", "store" => Arc::clone(store), "direction" => direction)
}

fn counted(stream: ByteStream, counter: metrics::Counter) -> ByteStream {
    stream
        .inspect(move |chunk| {
            let bytes = chunk.as_ref().map_or(0, Bytes::len);
            counter.increment(bytes as u64);
        })
        .boxed()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for MeteredStore<S> {
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
        let body = counted(body, bytes_total(&self.name, "in"));
        self.measured("put", self.inner.put(place, body, options)).await
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        let mut opened = self.measured("open", self.inner.open(place, options)).await?;
        let counter = bytes_total(&self.name, "out");
        opened.body = match opened.body {
            Body::Stream(stream) => Body::Stream(counted(stream, counter)),
            ready @ (Body::File(_) | Body::Bytes(_)) => {
                counter.increment(opened.range.end - opened.range.start);
                ready
            }
        };
        Ok(opened)
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        self.measured("stat", self.inner.stat(place)).await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        self.measured("settle", self.inner.settle(place)).await
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        self.measured("list", self.inner.list(options)).await
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        self.measured("remove", self.inner.remove(place)).await
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        self.measured("copy", self.inner.copy(from, to, options)).await
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        self.measured("rename", self.inner.rename(from, to, options)).await
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        self.measured("remove_unfinished", self.inner.remove_unfinished(options)).await
    }
}
