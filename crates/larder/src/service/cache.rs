//! The cache in front of a store that is far away.

use larder_store::{CACHE_PAGE_BYTES, CacheOptions, CachedStore, Store};

use super::open::Opening;
use crate::config::Config;

/// A remote store with the cache that the configuration says. `name` is its label in metrics, `identity`
/// tells it from every other store that may ever be used with this folder: its address and bucket.
///
/// Only a server caches on the disk: commands end before that gains anything, and a worker must not take
/// the folder, which one process uses at a time, from the server beside it.
pub fn cached<S: Store>(
    config: &Config,
    opening: Opening,
    (name, identity): (&str, &str),
    store: S,
) -> CachedStore<S> {
    let options = CacheOptions {
        name: name.to_owned(),
        identity: identity.to_owned(),
        memory_bytes: config.cache.memory.0,
        disk_bytes: if opening == Opening::Server { config.cache.disk.0 } else { 0 },
        folder: Some(config.cache.dir.clone().unwrap_or_else(|| config.data_dir.join("cache"))),
        page_bytes: CACHE_PAGE_BYTES,
    };
    CachedStore::new(store, options)
}
