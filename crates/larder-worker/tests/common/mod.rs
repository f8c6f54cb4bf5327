//! A Larder on a folder of its own, with a clock that tests move.

#![allow(dead_code, reason = "each test binary uses another part of this module")]

use std::{path::PathBuf, sync::Arc, time::Duration};

use larder_assets::{BucketPolicy, Incoming, Larder, Secrets, Settings, Stores, intake::Door};
use larder_catalog::{Catalog, Target};
use larder_core::{Ambient, ManualClock, Timestamp, ambient::Entropy};
use larder_store::{BreakerLimits, BreakerStore, CacheOptions, CachedStore, LocalStore};
use larder_testkit::faulty_store::{Faults, FaultyStore};

pub struct Home {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

/// Tests move the clock; ids must still differ between tests that share a machine.
struct RandomIds;

impl Entropy for RandomIds {
    fn fill(&self, target: &mut [u8]) {
        let fresh: [u8; 32] = Ambient::system().random_bytes();
        for chunk in target.chunks_mut(32) {
            chunk.copy_from_slice(&fresh[..chunk.len()]);
        }
    }
}

impl Home {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, clock: ManualClock::at(Timestamp::from_millis(1_772_366_400_000)) }
    }

    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Opens the folder with the shipped presets and a bucket `media`.
    pub async fn larder(&self) -> Larder {
        let settings = Settings::new(Secrets::new(*b"0123456789abcdef").unwrap());
        self.larder_on(self.store(), settings).await
    }

    /// As [`larder`](Self::larder), with a store that fails when it is told to.
    pub async fn faulty_larder(&self) -> (Larder, Faults) {
        let (store, faults) = FaultyStore::new(self.store());
        let settings = Settings::new(Secrets::new(*b"0123456789abcdef").unwrap());
        (self.larder_on(store, settings).await, faults)
    }

    /// As [`faulty_larder`](Self::faulty_larder), with a circuit breaker that is quick to give up and quick
    /// to ask again.
    pub async fn guarded_larder(&self) -> (Larder, Faults) {
        let (store, faults) = FaultyStore::new(self.store());
        let limits = BreakerLimits {
            pause_min: Duration::from_millis(20),
            pause_max: Duration::from_millis(100),
            answer_within: Duration::from_millis(500),
            list_within: Duration::from_millis(500),
            move_within: Duration::from_millis(500),
            idle_within: Duration::from_millis(500),
            ..BreakerLimits::default()
        };
        let store = BreakerStore::new("main", store, limits, self.ambient());
        let mut settings = Settings::new(Secrets::new(*b"0123456789abcdef").unwrap());
        settings.store_circuit = Some(store.circuit());
        (self.larder_on(store, settings).await, faults)
    }

    /// As [`faulty_larder`](Self::faulty_larder), with a cache of so many bytes before the store, as for one
    /// that is far away, and none of whole small files.
    pub async fn cached_larder(&self, memory_bytes: u64) -> (Larder, Faults) {
        let (store, faults) = FaultyStore::new(self.store());
        let options = CacheOptions {
            name: "test".to_owned(),
            identity: "test".to_owned(),
            memory_bytes,
            disk_bytes: 0,
            folder: None,
            page_bytes: 16 * 1_024,
        };
        let mut settings = Settings::new(Secrets::new(*b"0123456789abcdef").unwrap());
        settings.hot_cache_bytes = 0;
        (self.larder_on(CachedStore::new(store, options), settings).await, faults)
    }

    /// As [`larder`](Self::larder), with imports from this machine.
    pub async fn importing_larder(&self) -> Larder {
        let mut settings = Settings::new(Secrets::new(*b"0123456789abcdef").unwrap());
        settings.import.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
        self.larder_on(self.store(), settings).await
    }

    /// As [`larder`](Self::larder), over other stores.
    pub async fn larder_over(&self, stores: impl Into<Stores>) -> Larder {
        let settings = Settings::new(Secrets::new(*b"0123456789abcdef").unwrap());
        self.larder_on(stores, settings).await
    }

    /// As [`larder`](Self::larder), with other settings.
    pub async fn larder_with(&self, settings: Settings) -> Larder {
        self.larder_on(self.store(), settings).await
    }

    /// The store in which files lie.
    pub fn store(&self) -> LocalStore {
        self.store_in("media")
    }

    /// A store in another folder.
    pub fn store_in(&self, folder: &str) -> LocalStore {
        std::fs::create_dir_all(self.path_of(folder)).unwrap();
        LocalStore::open(self.path_of(folder), self.ambient()).unwrap()
    }

    pub fn ambient(&self) -> Ambient {
        Ambient::new(self.clock.clone(), Arc::new(RandomIds))
    }

    async fn larder_on(&self, store: impl Into<Stores>, settings: Settings) -> Larder {
        let ambient = self.ambient();
        let target = Target::Sqlite { catalog: self.path_of("catalog.db"), state: self.path_of("state.db") };
        let catalog = Catalog::open(&target, ambient.clone()).await.unwrap();
        catalog.migrate().await.unwrap();
        let larder = Larder::open(settings, catalog, store, ambient).await.unwrap();
        larder.declare(&[], &[]).await.unwrap();
        let media = BucketPolicy { presets: vec!["artwork".to_owned()], ..BucketPolicy::default() };
        larder.ensure_buckets(&[("media".parse().unwrap(), media)]).await.unwrap();
        larder
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path below the store's root.
    pub fn path(&self, place: &str) -> PathBuf {
        self.folder.path().join("media").join(place)
    }

    /// Files in staging.
    pub fn staging(&self) -> Vec<String> {
        self.files(".larder/staging")
    }

    /// Files below a folder of the store.
    pub fn files(&self, folder: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.path(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path().is_dir() {
                    true => folders.push(entry.path()),
                    false => found.push(entry.path().display().to_string()),
                }
            }
        }
        found
    }
}

pub fn incoming(bucket: &str) -> Incoming {
    Incoming::new(bucket.parse().unwrap(), Door::Raw)
}

/// A colourful JPEG of this size.
pub fn photo(width: u32, height: u32) -> Vec<u8> {
    larder_testkit::fixtures::jpeg(width, height)
}
