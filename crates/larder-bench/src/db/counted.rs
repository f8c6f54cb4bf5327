//! A store that counts requests and bytes, and may be as slow as a network.

use std::{
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use larder_store::{
    ByteStream, Capabilities, CopyOptions, ListOptions, Listing, MemoryStore, OpenOptions, Opened, Place,
    PutOptions, RenameOptions, Result, SignedAction, Stat, Store, UnfinishedOptions,
};
use url::Url;

/// What was asked of a store.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    pub reads: u64,
    pub read_bytes: u64,
    pub writes: u64,
    pub written_bytes: u64,
}

impl Asked {
    pub fn requests(&self) -> u64 {
        self.reads + self.writes
    }
}

/// A store in memory that counts.
#[derive(Debug, Default)]
pub struct Counted {
    inner: MemoryStore,
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    /// Bytes a second of all reads together, and when the next one may begin.
    rate: Option<(f64, Mutex<Option<Instant>>)>,
}

impl Counted {
    /// As fast as memory.
    pub fn new() -> Self {
        Self { inner: MemoryStore::new(), ..Self::default() }
    }

    /// Reads at most so many bytes a second.
    pub fn capped(bytes_per_second: f64) -> Self {
        Self { rate: Some((bytes_per_second, Mutex::new(None))), ..Self::new() }
    }

    /// What was asked since this was last called.
    pub fn take(&self) -> Asked {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Asked {
            reads: take(&self.reads),
            read_bytes: take(&self.read_bytes),
            writes: take(&self.writes),
            written_bytes: take(&self.written_bytes),
        }
    }

    fn reads(&self, bytes: u64) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    async fn wait_for(&self, bytes: u64) {
        let Some((rate, next)) = &self.rate else { return };
        let until = {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = next.unwrap_or_else(Instant::now).max(Instant::now());
            let end = begin + Duration::from_secs_f64(bytes as f64 / rate);
            *next = Some(end);
            end
        };
        tokio::time::sleep_until(until.into()).await;
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Counted {
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
        self.writes.fetch_add(1, Ordering::Relaxed);
        let stat = self.inner.put(place, body, options).await?;
        self.written_bytes.fetch_add(stat.size_bytes, Ordering::Relaxed);
        Ok(stat)
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        let opened = self.inner.open(place, options).await;
        let bytes = opened.as_ref().map_or(0, |opened| opened.range.end - opened.range.start);
        self.reads(bytes);
        self.wait_for(bytes).await;
        opened
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        self.reads(0);
        self.inner.stat(place).await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        self.reads(0);
        self.inner.settle(place).await
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        self.reads(0);
        self.inner.list(options).await
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.inner.remove(place).await
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.inner.copy(from, to, options).await
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.inner.rename(from, to, options).await
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        self.inner.remove_unfinished(options).await
    }
}
