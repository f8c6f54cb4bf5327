//! Every store, and every wrapper around one, keeps the promises of a store.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use larder_core::Ambient;
use larder_store::{
    Body, BreakerLimits, BreakerStore, ByteStream, CACHE_PAGE_BYTES, CacheOptions, CachedStore, Capabilities,
    CopyOptions, ListOptions, Listing, LocalStore, MemoryStore, MeteredStore, OpenOptions, Opened, Place,
    PutOptions, RenameOptions, Result, S3Options, S3Store, SignedAction, SplitStore, Stat, Store,
    UnfinishedOptions,
};
use larder_testkit::{
    copying_store::CopyingStore,
    faulty_store::FaultyStore,
    s3::{
        moto,
        proxy::{Manner, Proxy},
        s3s_fs::S3sFs,
    },
    store_contract,
    store_contract::Fixture,
};
use url::Url;

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

    fn public_url(&self, place: &Place) -> Option<Url> {
        self.0.public_url(place)
    }

    async fn signed_url(&self, place: &Place, action: &SignedAction, life: Duration) -> Result<Option<Url>> {
        self.0.signed_url(place, action, life).await
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
#[deny(clippy::missing_trait_methods)]
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

    fn public_url(&self, place: &Place) -> Option<Url> {
        self.0.public_url(place)
    }

    async fn signed_url(&self, place: &Place, action: &SignedAction, life: Duration) -> Result<Option<Url>> {
        self.0.signed_url(place, action, life).await
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

/// Neither server holds anything while it looks whether a condition holds and then writes, as S3 does: the
/// proxy lets one request in after the other.
async fn through_proxy(mut options: S3Options, manner: Manner) -> (S3Store, Proxy) {
    let proxy = Proxy::start(options.endpoint.as_ref().unwrap(), manner).await;
    options.endpoint = Some(proxy.endpoint());
    (S3Store::connect(&options, Ambient::system()).await.unwrap(), proxy)
}

/// Each test has a server of its own.
async fn s3s_fs() -> Fixture {
    let server = S3sFs::start();
    let (store, proxy) = through_proxy(server.options("contract"), Manner::OneAtATime).await;
    Fixture::new(store).keeping((server, proxy))
}

async fn moto() -> Fixture {
    let (store, proxy) = through_proxy(moto::bucket(), Manner::OneAtATime).await;
    Fixture::new(store).keeping(proxy)
}

/// Below a folder of the bucket, and behind a proxy that drops the headers of conditions.
async fn moto_without_conditions() -> Fixture {
    let options = S3Options { prefix: "site/one".to_owned(), ..moto::bucket() };
    let (store, proxy) = through_proxy(options, Manner::IgnoresConditions).await;
    let capabilities = store.capabilities();
    assert!(!capabilities.create_if_absent && !capabilities.replace_if_match, "the probe sees it");
    Fixture::new(store).keeping(proxy)
}

store_contract!(split, Fixture::new(SplitStore::new(MemoryStore::new(), MemoryStore::new())));
store_contract!(s3_on_s3s_fs, s3s_fs().await, except [
    // Objects are files: one at `a` is in the way of `a/b`, which it answers with 500, and a folder at `a`
    // passes for an object.
    what_is_absent_is_not_found,
    every_key_has_a_place_of_its_own,
    a_key_lies_beside_one_that_continues_it,
    a_place_is_free_again_when_what_blocked_it_is_gone,
    removal_says_whether_anything_was_there,
    settling_tells_what_lies_there_and_changes_nothing,
    random_operations_agree_with_a_map,
    // It writes in place what it copies, so that a reader may find half of it.
    renaming_there_and_back_while_reading_never_loses_the_bytes,
]);
store_contract!(s3_on_moto, moto().await);
store_contract!(s3_that_ignores_conditions, moto_without_conditions().await);
store_contract!(cached_memory, cached(MemoryStore::new(), ()));
store_contract!(cached_local_disk, cached_local());
