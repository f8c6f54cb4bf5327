//! A cache in front of a store that is far away.
//!
//! Bytes are kept in pages, by place *and* fingerprint, so old bytes are never taken for new ones. Only who
//! says which bytes it wants ([`OpenOptions::known`]) is answered from the cache; all others are passed
//! through, as is everything but reading.
//!
//! [`Layers`] hold the pages: [`Pages`](pages::Pages) in memory, over [`Disk`](disk::Disk). What they do not
//! have, [`Runs`] read from the store, once for all who wait. [`Reader`] is the way of one reader through all
//! of that.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use url::Url;

use self::{
    layers::Layers,
    page::{ObjectId, PlaceId},
    reader::Reader,
    runs::{Failure, Runs},
};
use crate::{
    body::ByteStream,
    error::Result,
    listing::{ListOptions, Listing, is_own},
    place::Place,
    store::{
        Capabilities, CopyOptions, OpenOptions, Opened, PutOptions, RenameOptions, SignedAction, Stat, Store,
        UnfinishedOptions,
    },
};

mod disk;
mod layers;
mod meters;
mod page;
mod page_file;
mod pages;
mod reader;
mod runs;

/// Size of a page unless another is chosen. A request to S3 costs about as much time as this many bytes
/// take to come; nearly all variants are smaller, and take a page of their own size.
pub const CACHE_PAGE_BYTES: u64 = 1 << 20;

/// How a [`CachedStore`] caches.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// Name of the store: the label of the metrics.
    pub name: String,
    /// Which store it is, its address and bucket for instance: what another one left in the folder is not
    /// taken for its bytes.
    pub identity: String,
    /// Memory for pages; 0 for none.
    pub memory_bytes: u64,
    /// Room on the disk for pages; 0 for none.
    pub disk_bytes: u64,
    /// Folder of the pages on the disk; made if it is missing. One process at a time uses it, others
    /// keep pages in memory only. Pages survive the process, and any end of it.
    pub folder: Option<PathBuf>,
    /// Size of a page, at least 1: [`CACHE_PAGE_BYTES`].
    pub page_bytes: u64,
}

/// A store around a store that keeps what was read.
///
/// An [`open`](Store::open) with [`OpenOptions::known`] is answered from memory or disk; what is not there is
/// read from the inner store by whole pages, once for all who want it at the same time, and must have the
/// known fingerprint. If something else lies there, the cache lets go of that place and the open is passed
/// through: the answer says what was found. A body whose pages come from several requests breaks off with
/// [`Error::Corrupt`](crate::Error::Corrupt) if the bytes are replaced between two of them; it never mixes.
///
/// Of one object, a layer keeps the first page, and of the others as many as fit in a quarter of it. A reader
/// holds one page, and one request to the inner store up to five, however large the object is. Places below
/// `.larder/` are not cached.
///
/// | metric | labels |
/// |---|---|
/// | `larder_cache_pages_total`, `larder_cache_bytes_total` | `store`, `from` (`memory`, `disk`, `store`, or `joined`: another reader's request) |
/// | `larder_cache_evictions_total`, `larder_cache_held_bytes` | `store`, `layer` |
/// | `larder_cache_unwritten_total`: pages that the disk was too slow for | `store` |
/// | `larder_cache_damaged_total`: pages on the disk that were torn | `store` |
#[derive(Debug)]
pub struct CachedStore<S> {
    shared: Arc<Shared<S>>,
}

/// What readers and runs share.
#[derive(Debug)]
struct Shared<S> {
    inner: S,
    identity: String,
    page_bytes: u64,
    layers: Layers,
    runs: Runs,
}

impl<S: Store> CachedStore<S> {
    /// A cache before `inner`. A folder that can't be used is logged, and the cache goes without.
    pub fn new(inner: S, options: CacheOptions) -> Self {
        let options = CacheOptions { page_bytes: options.page_bytes.max(1), ..options };
        let layers = Layers::open(&options);
        let CacheOptions { identity, page_bytes, .. } = options;
        Self { shared: Arc::new(Shared { inner, identity, page_bytes, layers, runs: Runs::default() }) }
    }

    /// Returns when everything that was read so far and is to be kept on the disk is there.
    pub async fn flushed(&self) {
        self.shared.layers.flushed().await;
    }

    /// Lets go of what lay at a place when it is dropped: after a change, however that ended.
    fn changing<'a>(&'a self, place: &'a Place) -> Changing<'a, S> {
        Changing { shared: &self.shared, place }
    }
}

struct Changing<'a, S> {
    shared: &'a Shared<S>,
    place: &'a Place,
}

impl<S> Drop for Changing<'_, S> {
    fn drop(&mut self) {
        if !is_own(self.place.as_str()) {
            Runs::forget(self.shared, PlaceId::of(&self.shared.identity, self.place));
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for CachedStore<S> {
    fn capabilities(&self) -> Capabilities {
        self.shared.inner.capabilities()
    }

    fn local_path(&self, place: &Place) -> Option<PathBuf> {
        self.shared.inner.local_path(place)
    }

    fn public_url(&self, place: &Place) -> Option<Url> {
        self.shared.inner.public_url(place)
    }

    async fn signed_url(&self, place: &Place, action: &SignedAction, life: Duration) -> Result<Option<Url>> {
        self.shared.inner.signed_url(place, action, life).await
    }

    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat> {
        let _change = self.changing(place);
        self.shared.inner.put(place, body, options).await
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        let known = options.known.clone().filter(|known| known.size_bytes > 0 && !is_own(place.as_str()));
        if let Some(known) = known
            && let Ok(range) = options.resolve(place, known.size_bytes)
        {
            match Reader::open(Arc::clone(&self.shared), place.clone(), known, range).await {
                Ok(opened) => return Ok(opened),
                Err(Failure::Store(error)) => return Err(error.for_another()),
                Err(Failure::Differs) => {}
            }
        }
        self.shared.inner.open(place, OpenOptions { known: None, ..options }).await
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        self.shared.inner.stat(place).await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        self.shared.inner.settle(place).await
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        self.shared.inner.list(options).await
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        let _change = self.changing(place);
        self.shared.inner.remove(place).await
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        let _change = self.changing(to);
        self.shared.inner.copy(from, to, options).await
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        let _changes = (self.changing(from), self.changing(to));
        self.shared.inner.rename(from, to, options).await
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        self.shared.inner.remove_unfinished(options).await
    }
}
