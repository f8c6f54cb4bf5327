//! The cache in front of a store: what it answers, what it asks for, and what it leaves behind.

mod coalescing;
mod crash;
mod disk;
mod model;
mod remote;

use std::sync::Arc;

use bytes::Bytes;
use larder_store::{
    CacheOptions, CachedStore, MemoryStore, OpenOptions, Opened, Place, PutOptions, Stat, Store, StoreExt,
};
use larder_testkit::faulty_store::{Faults, FaultyStore, Operation};

const KIB: u64 = 1_024;

fn place(text: &str) -> Place {
    text.parse().unwrap()
}

/// Small pages, so that small objects have several; 64 of them in memory, none on the disk.
fn options() -> CacheOptions {
    CacheOptions {
        name: "test".to_owned(),
        identity: "test".to_owned(),
        memory_bytes: 64 * KIB,
        disk_bytes: 0,
        folder: None,
        page_bytes: KIB,
    }
}

/// The same on the disk alone.
fn on_disk(folder: &std::path::Path, disk_bytes: u64) -> CacheOptions {
    CacheOptions { memory_bytes: 0, disk_bytes, folder: Some(folder.to_owned()), ..options() }
}

/// Bytes that differ from page to page and from seed to seed.
fn bytes_of(seed: u64, length: usize) -> Bytes {
    (0..length as u64)
        .map(|index| (index.wrapping_mul(31) ^ (index >> 8) ^ seed.wrapping_mul(97)) as u8)
        .collect()
}

/// A cache over a store behind which a test can write, and that counts what is asked of it.
struct Cached {
    store: CachedStore<FaultyStore<Arc<MemoryStore>>>,
    behind: Arc<MemoryStore>,
    faults: Faults,
}

impl Cached {
    fn new(options: CacheOptions) -> Self {
        Self::over(Arc::new(MemoryStore::new()), options)
    }

    fn over(behind: Arc<MemoryStore>, options: CacheOptions) -> Self {
        let (faulty, faults) = FaultyStore::new(behind.clone());
        Self { store: CachedStore::new(faulty, options), behind, faults }
    }

    async fn put_behind(&self, text: &str, bytes: impl Into<Bytes>) -> Stat {
        self.behind.put_bytes(&place(text), bytes.into(), PutOptions::default()).await.unwrap()
    }

    async fn open(&self, text: &str, known: &Stat) -> larder_store::Result<Opened> {
        self.store.open(&place(text), known_as(known)).await
    }

    async fn read(&self, text: &str, known: &Stat) -> Bytes {
        self.open(text, known).await.unwrap().body.read_all(u64::MAX).await.unwrap()
    }

    fn opens(&self) -> usize {
        self.faults.count(Operation::Open)
    }
}

fn known_as(known: &Stat) -> OpenOptions {
    OpenOptions { known: Some(known.clone()), ..OpenOptions::default() }
}

#[tokio::test]
async fn what_was_read_once_is_read_again_without_the_store() {
    let cached = Cached::new(options());
    let bytes = bytes_of(1, 2_500);
    let stat = cached.put_behind("a", bytes.clone()).await;
    assert_eq!(cached.read("a", &stat).await, bytes);
    let asked = cached.opens();
    cached.faults.cut();
    assert_eq!(cached.read("a", &stat).await, bytes);
    let opened = cached.open("a", &stat).await.unwrap();
    assert_eq!((opened.stat, opened.range), (stat.clone(), 0..2_500));
    for range in [0..1, 1_000..1_100, 1_024..2_048, 2_499..9_999] {
        let options = OpenOptions { range: Some(range.clone()), known: Some(stat.clone()) };
        let opened = cached.store.open(&place("a"), options).await.unwrap();
        let range = range.start..range.end.min(2_500);
        assert_eq!(opened.range, range);
        let expected = bytes.slice(range.start as usize..range.end as usize);
        assert_eq!(opened.body.read_all(u64::MAX).await.unwrap(), expected);
    }
    assert_eq!(cached.opens(), asked);
}

#[tokio::test]
async fn who_does_not_say_what_it_knows_is_answered_by_the_store() {
    let cached = Cached::new(options());
    let stat = cached.put_behind("a", "old").await;
    cached.read("a", &stat).await;
    cached.put_behind("a", "new").await;
    assert_eq!(cached.store.read_all(&place("a"), 10).await.unwrap(), "new");
    assert_ne!(cached.store.stat(&place("a")).await.unwrap(), stat);
    cached.faults.cut();
    assert!(cached.store.open(&place("a"), OpenOptions::default()).await.is_err());
}

#[tokio::test]
async fn bytes_that_were_replaced_are_reported_as_what_they_are() {
    let cached = Cached::new(options());
    let old = cached.put_behind("a", bytes_of(1, 3_000)).await;
    let new = cached.put_behind("a", bytes_of(2, 3_000)).await;
    let opened = cached.open("a", &old).await.unwrap();
    assert_eq!(opened.stat, new);
    assert_eq!(opened.body.read_all(u64::MAX).await.unwrap(), bytes_of(2, 3_000));
    cached.behind.remove(&place("a")).await.unwrap();
    assert!(matches!(cached.open("a", &old).await, Err(larder_store::Error::NotFound { .. })));
}

#[tokio::test]
async fn bytes_that_were_replaced_are_reported_also_if_some_of_their_pages_are_there() {
    let cached = Cached::new(options());
    let (old, new) = (bytes_of(1, 5_000), bytes_of(2, 5_000));
    let stat = cached.put_behind("a", old.clone()).await;
    let part = |range| OpenOptions { range: Some(range), known: Some(stat.clone()) };
    let read = async |range: std::ops::Range<u64>| {
        cached.store.open(&place("a"), part(range)).await.unwrap().body.read_all(u64::MAX).await.unwrap()
    };
    read(0..1_500).await;
    cached.put_behind("a", new.clone()).await;
    assert_eq!(read(0..2_000).await, old.slice(..2_000), "all that is wanted is there");
    assert_eq!(cached.read("a", &stat).await, new);
    assert_eq!(read(0..1_500).await, new.slice(..1_500), "and the rest was let go of");
}

#[tokio::test]
async fn a_body_whose_bytes_are_replaced_between_two_requests_breaks_off_and_never_mixes() {
    let cached = Cached::new(options());
    let (old, new) = (bytes_of(1, 5_000), bytes_of(2, 5_000));
    let stat = cached.put_behind("a", old.clone()).await;
    let opened = cached.open("a", &stat).await.unwrap();
    cached.put_behind("a", new).await;
    let error = opened.body.read_all(u64::MAX).await.unwrap_err();
    assert!(matches!(error, larder_store::Error::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn own_changes_let_go_of_what_lay_there() {
    let cached = Cached::new(options());
    for change in ["put", "remove", "rename", "rename over", "copy over"] {
        cached.put_behind("other", "other").await;
        let stat = cached.put_behind("a", "bytes").await;
        cached.read("a", &stat).await;
        let (a, other) = (place("a"), place("other"));
        let store = &cached.store;
        match change {
            "put" => store.put_bytes(&a, "x", PutOptions::default()).await.map(drop),
            "remove" => store.remove(&a).await.map(|was_there| assert!(was_there)),
            "rename" => store.rename(&a, &place("b"), Default::default()).await.map(drop),
            "rename over" => store.rename(&other, &a, Default::default()).await.map(drop),
            _ => store.copy(&other, &a, Default::default()).await.map(drop),
        }
        .unwrap();
        let asked = cached.opens();
        let _ = cached.open("a", &stat).await;
        assert!(cached.opens() > asked, "after {change} the cache answers by itself");
    }
}

#[tokio::test]
async fn bytes_that_are_empty_or_larders_own_pass_through() {
    let cached = Cached::new(options());
    let empty = cached.put_behind("empty", "").await;
    assert_eq!(cached.read("empty", &empty).await, "");
    let own = cached.put_behind(".larder/staging/a", "own").await;
    cached.read(".larder/staging/a", &own).await;
    let asked = cached.opens();
    assert_eq!(cached.read(".larder/staging/a", &own).await, "own");
    assert_eq!(cached.opens(), asked + 1);
}

#[tokio::test]
async fn large_objects_leave_the_small_ones_that_are_asked_for_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    // A page fills a block of the disk, so that room is bytes.
    let options =
        CacheOptions { page_bytes: 4_000, memory_bytes: 64 * KIB, ..on_disk(folder.path(), 400 * KIB) };
    let cached = Cached::new(options);
    let mut small = Vec::new();
    for number in 0..30 {
        let name = format!("small{number}");
        small.push((cached.put_behind(&name, bytes_of(number, 1_000)).await, name));
    }
    for _ in 0..2 {
        for (stat, name) in &small {
            cached.read(name, stat).await;
        }
        cached.store.flushed().await;
    }
    for number in 0..3 {
        let name = format!("large{number}");
        let large = cached.put_behind(&name, bytes_of(99, 3_000_000)).await;
        assert_eq!(cached.read(&name, &large).await, bytes_of(99, 3_000_000));
        cached.store.flushed().await;
    }
    cached.faults.cut();
    for (number, (stat, name)) in small.iter().enumerate() {
        assert_eq!(cached.read(name, stat).await, bytes_of(number as u64, 1_000));
    }
}

#[test]
fn figures_say_where_pages_came_from_and_what_the_layers_hold() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let cached = Cached::new(options());
            let stat = cached.put_behind("a", bytes_of(1, 1_500)).await;
            cached.read("a", &stat).await;
            cached.read("a", &stat).await;
            for number in 0..80 {
                let name = format!("{number}");
                let stat = cached.put_behind(&name, bytes_of(number, 1_000)).await;
                cached.read(&name, &stat).await;
            }
        });
    });
    let text = handle.render();
    for line in [
        r#"larder_cache_pages_total{store="test",from="memory"} 2"#,
        r#"larder_cache_bytes_total{store="test",from="memory"} 1500"#,
        r#"larder_cache_pages_total{store="test",from="store"} 82"#,
        r#"larder_cache_held_bytes{store="test",layer="memory"}"#,
        r#"larder_cache_evictions_total{store="test",layer="memory"}"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
