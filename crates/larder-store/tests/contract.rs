//! Every store, and every wrapper around one, keeps the promises of a store.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use larder_core::Ambient;
use larder_store::{
    ByteStream, CACHE_PAGE_BYTES, CacheOptions, CachedStore, Capabilities, CopyOptions, ListOptions, Listing,
    LocalStore, MemoryStore, MeteredStore, OpenOptions, Opened, Place, PutOptions, RenameOptions, Result,
    Stat, Store, UnfinishedOptions,
};
use larder_testkit::{faulty_store::FaultyStore, store_contract, store_contract::Fixture};

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

/// With both layers, on whatever is inside.
fn cached<S: Store>(inner: S, kept: impl std::any::Any + Send + Sync) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let options = CacheOptions {
        name: "test".to_owned(),
        identity: "test".to_owned(),
        memory_bytes: 4 << 20,
        disk_bytes: 16 << 20,
        folder: Some(folder.path().to_owned()),
        page_bytes: CACHE_PAGE_BYTES,
    };
    Fixture::new(Knowing(CachedStore::new(inner, options))).keeping((folder, kept))
}

fn cached_local() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    cached(LocalStore::open(folder.path(), Ambient::system()).unwrap(), folder)
}

/// A caller that knows what lies at a place whenever it opens it, so that the cache answers.
#[derive(Debug)]
struct Knowing<S>(S);

#[async_trait]
impl<S: Store> Store for Knowing<S> {
    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        let known = Some(self.0.stat(place).await?);
        self.0.open(place, OpenOptions { known, ..options }).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn local_path(&self, place: &Place) -> Option<PathBuf> {
        self.0.local_path(place)
    }

    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat> {
        self.0.put(place, body, options).await
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

store_contract!(memory, Fixture::new(MemoryStore::new()));
store_contract!(local_disk, local());
store_contract!(metered, metered_local());
store_contract!(faulty_without_faults, Fixture::new(FaultyStore::new(MemoryStore::new()).0));
store_contract!(cached_memory, cached(MemoryStore::new(), ()));
store_contract!(cached_local_disk, cached_local());
