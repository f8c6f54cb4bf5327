//! Objects that are too large to be kept anywhere.

use std::{
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use larder_core::Timestamp;
use larder_store::{
    Attributes, Body, ByteStream, CacheOptions, CachedStore, Capabilities, CopyOptions, Fingerprint,
    ListOptions, Listing, MemoryStore, OpenOptions, Opened, Place, PutOptions, RenameOptions, Result, Stat,
    Store, UnfinishedOptions,
};

use crate::{KIB, options, place};

/// A store with one large object at every place, made while it is read; the rest is a memory store's.
#[derive(Debug, Clone)]
pub struct Remote {
    stat: Stat,
    log: Log,
    others: Arc<MemoryStore>,
}

#[derive(Debug, Clone, Default)]
pub struct Log {
    ranges: Arc<Mutex<Vec<(u64, u64)>>>,
    given: Arc<AtomicU64>,
}

impl Log {
    /// The beginnings and ends of what was asked for.
    pub fn ranges(&self) -> Vec<(u64, u64)> {
        self.ranges.lock().unwrap().clone()
    }

    pub fn bytes_given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }
}

const CHUNK: u64 = 512;

/// The byte at an offset.
fn byte_at(offset: u64) -> u8 {
    (offset ^ (offset >> 8) ^ (offset >> 16) ^ (offset >> 24)) as u8
}

impl Remote {
    pub fn of_size(size_bytes: u64) -> Self {
        let stat = Stat {
            size_bytes,
            fingerprint: Fingerprint::new("large"),
            modified: Timestamp::from_millis(0),
            attributes: Attributes::default(),
        };
        Self { stat, log: Log::default(), others: Arc::default() }
    }

    pub fn cached(&self, options: CacheOptions) -> (CachedStore<Self>, Log) {
        (CachedStore::new(self.clone(), options), self.log.clone())
    }

    pub fn options(&self, range: Option<Range<u64>>) -> OpenOptions {
        OpenOptions { range, known: Some(self.stat.clone()) }
    }
}

#[async_trait]
impl Store for Remote {
    fn capabilities(&self) -> Capabilities {
        self.others.capabilities()
    }

    fn local_path(&self, _: &Place) -> Option<PathBuf> {
        None
    }

    async fn open(&self, _: &Place, options: OpenOptions) -> Result<Opened> {
        let range = options.range.unwrap_or(0..self.stat.size_bytes);
        let range = range.start..range.end.min(self.stat.size_bytes);
        self.log.ranges.lock().unwrap().push((range.start, range.end));
        let (given, end) = (Arc::clone(&self.log.given), range.end);
        let body = stream::iter((range.start..end).step_by(CHUNK as usize)).map(move |from| {
            let chunk: Bytes = (from..(from + CHUNK).min(end)).map(byte_at).collect();
            given.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            Ok(chunk)
        });
        Ok(Opened { stat: self.stat.clone(), range, body: Body::Stream(body.boxed()) })
    }

    async fn stat(&self, _: &Place) -> Result<Stat> {
        Ok(self.stat.clone())
    }

    fn public_url(&self, place: &Place) -> Option<url::Url> {
        self.others.public_url(place)
    }

    async fn signed_url(
        &self,
        place: &Place,
        action: &larder_store::SignedAction,
        life: std::time::Duration,
    ) -> Result<Option<url::Url>> {
        self.others.signed_url(place, action, life).await
    }

    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat> {
        self.others.put(place, body, options).await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        self.others.settle(place).await
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        self.others.list(options).await
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        self.others.remove(place).await
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        self.others.copy(from, to, options).await
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        self.others.rename(from, to, options).await
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        self.others.remove_unfinished(options).await
    }
}

fn most_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * KIB
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_passes_through_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::of_size(1 << 30);
    let (cached, log) = remote.cached(CacheOptions {
        page_bytes: 1 << 20,
        memory_bytes: 16 << 20,
        disk_bytes: 64 << 20,
        folder: Some(folder.path().to_owned()),
        ..options()
    });
    let before = most_resident_bytes();
    let mut body = cached.open(&place("a"), remote.options(None)).await.unwrap().body.into_stream();
    let mut read = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.unwrap();
        // Some of them: looking at each takes longer than all the rest.
        for offset in [0, chunk.len() / 2, chunk.len() - 1] {
            assert_eq!(chunk[offset], byte_at(read + offset as u64));
        }
        read += chunk.len() as u64;
    }
    assert_eq!(read, 1 << 30);
    assert_eq!(log.ranges(), [(0, 1 << 20), (1 << 20, 1 << 30)]);
    let grown = most_resident_bytes() - before;
    assert!(grown < 64 << 20, "{grown} bytes more");
}

#[tokio::test]
async fn a_range_of_a_gigabyte_fetches_no_more_than_its_pages() {
    let remote = Remote::of_size(1 << 30);
    let (cached, log) = remote.cached(options());
    let range = 500_000_000..500_000_100;
    let opened = cached.open(&place("a"), remote.options(Some(range.clone()))).await.unwrap();
    let expected: Bytes = range.map(byte_at).collect();
    assert_eq!(opened.body.read_all(100).await.unwrap(), expected);
    assert_eq!(log.ranges(), [(499_999_744, 500_000_768)]);
}
