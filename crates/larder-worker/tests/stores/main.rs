//! Several stores side by side: bytes are read where they lie, move while they are used, and are never
//! lost or mixed up, whatever is cut off.

#[path = "../common/mod.rs"]
mod common;
mod moves;
mod random;

use std::{cell::Cell, collections::BTreeSet, sync::Arc, time::Duration};

use common::{Home, incoming};
use larder_assets::{
    BucketPolicy, Larder, Layout, MigrateOptions, MigrateReport, Stores, SweepOptions, WriteCondition,
};
use larder_core::{AssetId, BucketName, Code, Fault, ObjectKey, text::Span};
use larder_store::{ListOptions, MemoryStore, Store, stream_of};
use larder_testkit::faulty_store::{Faults, FaultyStore};
use serde_json::json;

/// Two stores and what is opened over them.
struct Pair {
    home: Home,
    one: Arc<dyn Store>,
    two: Arc<dyn Store>,
    /// Of the bucket `files`.
    layout: Cell<Layout>,
}

impl Pair {
    async fn local() -> Self {
        let home = Home::new().await;
        Self {
            one: Arc::new(home.store()),
            two: Arc::new(home.store_in("second")),
            home,
            layout: Cell::default(),
        }
    }

    /// New bytes lie at their digest.
    fn sharing(self) -> Self {
        self.layout.set(Layout::Hash);
        self
    }

    async fn with_faults_in_two() -> (Self, Faults) {
        let home = Home::new().await;
        let (two, faults) = FaultyStore::new(home.store_in("second"));
        (Self { one: Arc::new(home.store()), two: Arc::new(two), home, layout: Cell::default() }, faults)
    }

    async fn local_and_memory() -> Self {
        let home = Home::new().await;
        let two = Arc::new(MemoryStore::with_ambient(home.ambient()));
        Self { one: Arc::new(home.store()), two, home, layout: Cell::default() }
    }

    /// A process whose new bytes go to this store.
    async fn open(&self, primary: &str) -> Larder {
        let stores = match primary {
            "one" => Stores::new("one", self.one.clone()).with("two", self.two.clone()),
            _ => Stores::new("two", self.two.clone()).with("one", self.one.clone()),
        };
        let larder = self.home.larder_over(stores).await;
        let policy: BucketPolicy =
            serde_json::from_value(json!({ "accept": ["*/*"], "presets": [], "layout": self.layout.get() }))
                .unwrap();
        larder.put_bucket(&files(), policy).await.unwrap();
        larder
    }

    /// Where the records of a store say that bytes lie, each place once.
    async fn recorded(&self, larder: &Larder, name: &str) -> Vec<String> {
        let assets = larder.catalog().assets_by_id(None, 1_000).await.unwrap();
        let places: BTreeSet<String> = assets
            .into_iter()
            .filter(|asset| asset.store == name)
            .map(|asset| asset.trash_place.unwrap_or(asset.place))
            .collect();
        places.into_iter().collect()
    }

    fn store(&self, name: &str) -> &Arc<dyn Store> {
        if name == "one" { &self.one } else { &self.two }
    }

    /// After a process was cut off, the turns that it held run out.
    fn killed(&self, was_cut: bool) {
        if was_cut {
            self.home.clock().advance(Duration::from_secs(31));
        }
    }

    /// Everything that lies in a store, Larder's own folder included, but for locks.
    async fn places(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        for prefix in ["", ".larder/trash/", ".larder/staging/"] {
            let options = ListOptions { prefix: prefix.to_owned(), limit: 1_000, ..ListOptions::default() };
            let listing = self.store(name).list(options).await.unwrap();
            // A copy that comes while a writer takes its place may be set aside as a stranger's file.
            let ours = listing.entries.iter().map(|entry| entry.place.to_string());
            found.extend(ours.filter(|place| !place.contains("/trash/unrecorded-")));
        }
        found
    }
}

fn files() -> BucketName {
    "files".parse().unwrap()
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn options(from: &str, to: &str) -> MigrateOptions {
    serde_json::from_value(json!({ "from": from, "to": to })).unwrap()
}

async fn migrate(larder: &Larder, from: &str, to: &str) -> MigrateReport {
    let report = larder.migrate(&options(from, to), &|_| Ok(())).await.unwrap();
    assert_eq!(report.failures, [], "{report:?}");
    report
}

async fn clean_up(larder: &Larder, from: &str, to: &str) -> MigrateReport {
    let options = MigrateOptions {
        cleanup: true,
        grace: Some(Span(Duration::ZERO)),
        verify: true,
        ..options(from, to)
    };
    larder.migrate(&options, &|_| Ok(())).await.unwrap()
}

async fn put(larder: &Larder, name: &str, bytes: impl Into<Vec<u8>>) -> AssetId {
    let (mut file, bytes) = (incoming("files"), bytes.into());
    file.key = Some(key(name));
    let put = || larder.put(file.clone(), WriteCondition::None, stream_of(bytes.clone()));
    persistently(put).await.unwrap().asset.id
}

async fn read(larder: &Larder, name: &str) -> Option<Vec<u8>> {
    match larder.read_original(&files(), &key(name)).await {
        Ok(readable) => {
            let size_bytes = readable.size_bytes;
            let bytes = readable.open(None).await.unwrap().read_all(1 << 30).await.unwrap();
            assert_eq!(bytes.len() as u64, size_bytes);
            Some(bytes.to_vec())
        }
        Err(fault) if fault.code == Code::AssetNotFound => None,
        Err(fault) => panic!("{name}: {fault:?}"),
    }
}

async fn sweep(larder: &Larder) {
    let options: SweepOptions = serde_json::from_value(json!({ "targets": ["uploads", "trash"] })).unwrap();
    larder.sweep(&options).await.unwrap();
}

/// A mover that is killed lets time pass, in which the turn of a writer beside it runs out too. It is told so,
/// and repeats.
async fn persistently<T, F: Future<Output = Result<T, Fault>>>(work: impl Fn() -> F) -> Result<T, Fault> {
    loop {
        match work().await {
            Err(fault) if fault.detail.ends_with("was taken by another writer") => {}
            outcome => return outcome,
        }
    }
}
