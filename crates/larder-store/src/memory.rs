//! A store in memory, for tests and for `memory` in the configuration.

use std::{
    collections::BTreeMap,
    ops::Bound,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use larder_core::Ambient;
use url::Url;

use crate::{
    body::{Body, ByteStream},
    error::{Error, Result},
    listing::{Entry, ListOptions, Listing, is_own},
    place::Place,
    store::{
        Attributes, Capabilities, Condition, CopyOptions, Fingerprint, OpenOptions, Opened, PutOptions,
        RenameOptions, SignedAction, Stat, Store, UnfinishedOptions,
    },
};

/// Bytes in memory: gone with the process, and in everything else as a store should be.
#[derive(Debug)]
pub struct MemoryStore {
    ambient: Ambient,
    puts: AtomicU64,
    objects: Mutex<BTreeMap<Place, Object>>,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Bytes,
    stat: Stat,
}

impl MemoryStore {
    /// An empty store with the system's clock.
    pub fn new() -> Self {
        Self::with_ambient(Ambient::system())
    }

    /// An empty store with the given clock.
    pub fn with_ambient(ambient: Ambient) -> Self {
        Self { ambient, puts: AtomicU64::new(0), objects: Mutex::default() }
    }

    /// No step under the lock can leave the map half changed, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, bytes: Bytes, attributes: Attributes) -> Object {
        let stat = Stat {
            size_bytes: bytes.len() as u64,
            fingerprint: Fingerprint::new(format!("{:x}", self.puts.fetch_add(1, Ordering::Relaxed))),
            modified: self.ambient.now(),
            attributes,
        };
        Object { bytes, stat }
    }

    fn find(&self, place: &Place) -> Result<Object> {
        self.lock().get(place).cloned().ok_or_else(|| Error::NotFound { place: place.clone() })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

fn check(objects: &BTreeMap<Place, Object>, place: &Place, condition: &Condition) -> Result<()> {
    let present = objects.get(place);
    let holds = match condition {
        Condition::None => true,
        Condition::IfAbsent => present.is_none(),
        Condition::IfMatch(wanted) => present.is_some_and(|object| object.stat.fingerprint == *wanted),
    };
    if holds { Ok(()) } else { Err(Error::Precondition { place: place.clone() }) }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            attributes: true,
            rename_keeps_fingerprint: true,
            create_if_absent: true,
            replace_if_match: true,
            local_files: false,
            folders_block: false,
            fingerprints_tell_puts: true,
            puts_tell_time: true,
        }
    }

    fn local_path(&self, _place: &Place) -> Option<PathBuf> {
        None
    }

    fn public_url(&self, _: &Place) -> Option<Url> {
        None
    }

    async fn signed_url(&self, _: &Place, _: &SignedAction, _: Duration) -> Result<Option<Url>> {
        Ok(None)
    }

    async fn put(&self, place: &Place, mut body: ByteStream, options: PutOptions) -> Result<Stat> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.try_next().await.map_err(Error::Body)? {
            bytes.extend_from_slice(&chunk);
        }
        let object = self.object(bytes.freeze(), options.attributes);
        let stat = object.stat.clone();
        let mut objects = self.lock();
        check(&objects, place, &options.condition)?;
        objects.insert(place.clone(), object);
        Ok(stat)
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        let Object { bytes, stat } = self.find(place)?;
        let range = options.resolve(place, stat.size_bytes)?;
        let body = Body::Bytes(bytes.slice(range.start as usize..range.end as usize));
        Ok(Opened { stat, range, body })
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        Ok(self.find(place)?.stat)
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        Ok(self.lock().get(place).map(|object| object.stat.clone()))
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        let objects = self.lock();
        let mut page = Listing::default();
        let mut last = options.after.clone().unwrap_or_default();
        let from = if last >= options.prefix && options.after.is_some() {
            Bound::Excluded(&last)
        } else {
            Bound::Included(&options.prefix)
        };
        for (place, object) in objects.range::<str, _>((from.map(String::as_str), Bound::Unbounded)) {
            let text = place.as_str();
            if !text.starts_with(&options.prefix) {
                break;
            }
            let folded_before = options.folded(text).is_some_and(|prefix| prefix == last);
            if folded_before || (is_own(text) && !options.asks_for_own()) {
                continue;
            }
            if page.entries.len() + page.prefixes.len() == options.page_limit() {
                page.next = Some(last);
                break;
            }
            last = match options.folded(text) {
                Some(prefix) => {
                    page.prefixes.push(prefix.to_owned());
                    prefix.to_owned()
                }
                None => {
                    page.entries.push(object.entry(place));
                    text.to_owned()
                }
            };
        }
        Ok(page)
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        Ok(self.lock().remove(place).is_some())
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        let Object { bytes, stat } = self.find(from)?;
        let object = self.object(bytes, options.attributes.unwrap_or(stat.attributes));
        let stat = object.stat.clone();
        let mut objects = self.lock();
        check(&objects, to, &options.condition)?;
        objects.insert(to.clone(), object);
        Ok(stat)
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        let mut objects = self.lock();
        let Some(mut object) = objects.get(from).cloned() else {
            return Err(Error::NotFound { place: from.clone() });
        };
        check(&objects, to, &options.condition)?;
        if let Some(attributes) = options.attributes {
            object.stat.attributes = attributes;
        }
        let stat = object.stat.clone();
        objects.remove(from);
        objects.insert(to.clone(), object);
        Ok(stat)
    }

    async fn remove_unfinished(&self, _: UnfinishedOptions) -> Result<u64> {
        Ok(0)
    }
}

impl Object {
    fn entry(&self, place: &Place) -> Entry {
        Entry {
            place: place.clone(),
            size_bytes: self.stat.size_bytes,
            fingerprint: self.stat.fingerprint.clone(),
            modified: self.stat.modified,
        }
    }
}
