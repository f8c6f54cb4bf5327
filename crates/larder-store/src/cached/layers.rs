//! Memory over disk: which pages are kept where.

use std::ops::Range;

use bytes::Bytes;

use super::{
    CacheOptions,
    disk::Disk,
    meters::{Layer, Meters, Origin},
    page::{ObjectId, PageKey, PlaceId},
    pages::Pages,
};

/// What an entry of the memory layer takes beside its bytes.
const ENTRY_BYTES: u64 = 200;

/// Of one object, a layer keeps at most this part of itself: one large file does not push out all small
/// ones. It is the beginning that is kept, which players and readers of tables of contents ask for most.
const OBJECT_SHARE: u64 = 4;

/// The layers of one cache.
#[derive(Debug)]
pub(super) struct Layers {
    memory: Pages<Bytes>,
    memory_max: u64,
    disk: Option<Disk>,
    disk_max: u64,
    page_bytes: u64,
    pub(super) meters: Meters,
}

impl Layers {
    pub(super) fn open(options: &CacheOptions) -> Self {
        let meters = Meters::new(options.name.as_str().into());
        let folder = options.folder.as_ref().filter(|_| options.disk_bytes > 0);
        let disk = folder
            .and_then(|folder| Disk::open(folder, options.disk_bytes, options.page_bytes, meters.clone()));
        Self {
            memory: Pages::new(options.memory_bytes),
            memory_max: options.memory_bytes,
            disk,
            disk_max: options.disk_bytes,
            page_bytes: options.page_bytes,
            meters,
        }
    }

    /// A page from the fastest layer that has it.
    pub(super) async fn get(&self, key: PageKey) -> Option<Bytes> {
        if let Some(bytes) = self.memory.get(&key) {
            self.meters.got(Origin::Layer(Layer::Memory), bytes.len());
            if let Some(disk) = &self.disk {
                disk.touch(&key);
            }
            return Some(bytes);
        }
        let bytes = self.disk.as_ref()?.get(key).await?;
        self.meters.got(Origin::Layer(Layer::Disk), bytes.len());
        self.remember(key, &bytes);
        Some(bytes)
    }

    /// Whether a layer has a page, as far as is known without asking the disk.
    pub(super) fn holds(&self, key: &PageKey) -> bool {
        self.memory.holds(key) || self.disk.as_ref().is_some_and(|disk| disk.holds(key))
    }

    /// The first of some pages of an object that no layer has.
    pub(super) fn first_missing(&self, object: ObjectId, pages: Range<u64>) -> Option<u64> {
        // Beyond its share no page is kept: there is no need to look at all of a large object.
        let end = pages.end.min(pages.start.max(self.kept_pages_max()) + 1);
        (pages.start..end).find(|&page| !self.holds(&object.page(page)))
    }

    /// The first of some pages of an object that a layer has.
    pub(super) fn first_held(&self, object: ObjectId, pages: Range<u64>) -> Option<u64> {
        (pages.start..pages.end.min(self.kept_pages_max())).find(|&page| self.holds(&object.page(page)))
    }

    /// Pages of one object from this number on are kept nowhere.
    fn kept_pages_max(&self) -> u64 {
        (self.memory_max.max(self.disk_max) / OBJECT_SHARE / self.page_bytes).max(1)
    }

    /// Keeps a page that came from the store. The memory has it when this returns.
    pub(super) fn keep(&self, key: PageKey, bytes: &Bytes) {
        self.remember(key, bytes);
        if let Some(disk) = &self.disk
            && self.may_enter(&key, self.disk_max)
        {
            disk.keep(key, bytes.clone());
        }
    }

    /// Lets go of everything that lay at a place.
    pub(super) fn forget(&self, place: PlaceId) {
        if !self.memory.forget(place).is_empty() {
            self.meters.holds(Layer::Memory, self.memory.weight());
        }
        if let Some(disk) = &self.disk {
            disk.forget(place);
        }
    }

    /// Returns when the disk has everything that it was to have.
    pub(super) async fn flushed(&self) {
        if let Some(disk) = &self.disk {
            disk.flushed().await;
        }
    }

    fn remember(&self, key: PageKey, bytes: &Bytes) {
        if self.may_enter(&key, self.memory_max) {
            let gone = self.memory.insert(key, bytes.len() as u64 + ENTRY_BYTES, bytes.clone());
            self.meters.evicted(Layer::Memory, gone.len());
            self.meters.holds(Layer::Memory, self.memory.weight());
        }
    }

    /// An object's first page may be all of it; the others together get a share of the layer.
    fn may_enter(&self, key: &PageKey, layer_bytes: u64) -> bool {
        let end = key.number.saturating_add(1).saturating_mul(self.page_bytes);
        if key.number == 0 { layer_bytes > 0 } else { end <= layer_bytes / OBJECT_SHARE }
    }
}
