//! Every store, and every wrapper around one, keeps the promises of a store.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use larder_core::Ambient;
use larder_store::{
    Body, BreakerLimits, BreakerStore, ByteStream, Capabilities, CopyOptions, ListOptions, Listing,
    LocalStore, MemoryStore, MeteredStore, OpenOptions, Opened, Place, PutOptions, RenameOptions, Result,
    Stat, Store, UnfinishedOptions,
};
use larder_testkit::{
    copying_store::CopyingStore, faulty_store::FaultyStore, store_contract, store_contract::Fixture,
};

fn local() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path(), Ambient::system()).unwrap();
    let temporary = folder.path().join(".larder/local/tmp");
    Fixture::new(store).counting(move || count(&temporary)).keeping(folder)
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn metered_local() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path(), Ambient::system()).unwrap();
    Fixture::new(MeteredStore::new("test", store)).keeping(folder)
}

/// Gives bodies as streams, as stores behind a network do.
#[derive(Debug)]
struct Streaming<S>(S);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for Streaming<S> {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn local_path(&self, place: &Place) -> Option<PathBuf> {
        self.0.local_path(place)
    }

    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat> {
        self.0.put(place, body, options).await
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        let opened = self.0.open(place, options).await?;
        Ok(Opened { body: Body::Stream(opened.body.into_stream()), ..opened })
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        self.0.stat(place).await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        self.0.settle(place).await
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        self.0.list(options).await
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        self.0.remove(place).await
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        self.0.copy(from, to, options).await
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        self.0.rename(from, to, options).await
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        self.0.remove_unfinished(options).await
    }
}

fn with_a_breaker<S: Store>(store: S) -> BreakerStore<S> {
    BreakerStore::new("test", store, BreakerLimits::default(), Ambient::system())
}

fn breaker_on_disk() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path(), Ambient::system()).unwrap();
    Fixture::new(with_a_breaker(store)).keeping(folder)
}

store_contract!(memory, Fixture::new(MemoryStore::new()));
store_contract!(local_disk, local());
store_contract!(metered, metered_local());
store_contract!(breaker_on_disk, breaker_on_disk());
store_contract!(breaker_on_streams, Fixture::new(with_a_breaker(Streaming(MemoryStore::new()))));
store_contract!(faulty_without_faults, Fixture::new(FaultyStore::new(MemoryStore::new()).0));
store_contract!(moves_by_copies, Fixture::new(CopyingStore(MemoryStore::new())));
