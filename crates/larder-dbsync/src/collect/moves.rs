//! What is needed of objects of which little is needed is put elsewhere, so that the rest can go.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{CollectOptions, listing::Listing};
use crate::{
    apply::blocking,
    diff::Packer,
    error::Result,
    format::{Frame, FramePages, PageMap, Source},
    hash::Digest,
    remote::Remote,
};

/// The part of an object below which what is needed of it is put elsewhere: a half.
const LIVE_PART_MIN: u64 = 2;

/// The part of all that is needed which has to lie idle before that is worth the reading and writing: an eighth.
const IDLE_PART_MIN: u64 = 8;

/// So many objects are worth it in any case.
const OBJECTS_MAX: usize = 1_024;

/// Frames that are read, and packs that are put, at a time.
const AT_A_TIME: usize = 8;

/// Bytes of pages that are packed together.
const BATCH_BYTES: usize = 64 << 20;

/// Pages of versions that are kept, by the frames in which they lie.
#[derive(Default)]
pub(super) struct Needed {
    frames: HashMap<(Source, u64), NeededFrame>,
}

struct NeededFrame {
    frame: Frame,
    page_size: u32,
    pages: HashSet<u32>,
}

impl Needed {
    /// Adds the pages of a version.
    pub fn add(&mut self, map: &PageMap) {
        for page in 1..=map.page_count() {
            if let Some((_, frame, source)) = map.frame_of(page) {
                let needed = self.frames.entry((source, frame.offset)).or_insert_with(|| NeededFrame {
                    frame,
                    page_size: map.page_size,
                    pages: HashSet::new(),
                });
                needed.pages.insert(page);
            }
        }
    }

    /// The objects in which they lie, with the bytes that are needed of each.
    fn sources(&self) -> HashMap<Source, u64> {
        let mut bytes: HashMap<Source, u64> = HashMap::new();
        for ((source, _), NeededFrame { frame, pages, .. }) in &self.frames {
            let part = u64::from(frame.stored_bytes) * pages.len() as u64 / u64::from(frame.pages);
            *bytes.entry(*source).or_default() += part;
        }
        bytes
    }

    /// The objects in which they lie.
    pub fn live(&self) -> HashSet<Source> {
        self.frames.keys().map(|(source, _)| unplaced(*source)).collect()
    }

    /// Objects of which less than a half is needed, in the order of the log; none if it is not worth it.
    pub fn sparse(
        &self,
        listing: &Listing,
        named: &HashSet<Digest>,
        floor: u64,
        options: &CollectOptions,
    ) -> Vec<Source> {
        let bytes = self.sources();
        let needed_bytes: u64 = bytes.values().sum();
        let mut idle_bytes = 0;
        let mut sparse = Vec::new();
        for (source, live_bytes) in bytes {
            let may_go = match source {
                Source::Log { seq, .. } => seq < floor,
                Source::Pack(digest) => !named.contains(&digest),
            };
            let Some(listed) = listing.size_of(&source).filter(|_| may_go) else { continue };
            if live_bytes * LIVE_PART_MIN < listed.size_bytes && listing.age(listed) > options.age_min {
                idle_bytes += listed.size_bytes - live_bytes;
                sparse.push(source);
            }
        }
        if idle_bytes * IDLE_PART_MIN < needed_bytes && sparse.len() < OBJECTS_MAX {
            return Vec::new();
        }
        sparse.sort_by_cached_key(|source| Remote::object_of(source).to_string());
        sparse
    }

    /// Puts the pages that are needed of some objects into new packs. Nothing names those yet.
    pub async fn put_elsewhere(&self, remote: &Remote, sparse: &[Source]) -> Result<Moves> {
        let order: HashMap<Source, usize> = sparse.iter().copied().zip(0..).collect();
        let mut wanted: Vec<((Source, u64), Frame, u32)> = self
            .frames
            .iter()
            .filter(|((source, _), _)| order.contains_key(source))
            .map(|(place, needed)| (*place, needed.frame, needed.page_size))
            .collect();
        wanted.sort_by_key(|((source, offset), ..)| (order[source], *offset));
        let (mut moves, mut batch) = (Moves::default(), Batch::default());
        let from = remote.clone();
        let mut read = stream::iter(wanted)
            .map(move |(place, frame, page_size)| read(from.clone(), place, frame, page_size))
            .buffered(AT_A_TIME);
        while let Some((place, pages)) = read.try_next().await? {
            let (needed, source) = (&self.frames[&place], place.0);
            let pages: Vec<(u32, &[u8])> =
                pages.iter().filter(|(page, _)| needed.pages.contains(page)).collect();
            if !batch.has_room_for(needed.page_size, pages.iter().map(|(page, _)| *page)) {
                moves.put(remote, std::mem::take(&mut batch)).await?;
            }
            batch.page_size = needed.page_size;
            for (page, bytes) in pages {
                batch.bytes += bytes.len();
                batch.pages.insert(page, (source, bytes.to_vec()));
            }
        }
        moves.put(remote, batch).await?;
        Ok(moves)
    }
}

/// The pages of a frame, by the object in which it lies and where.
async fn read(
    remote: Remote,
    place: (Source, u64),
    frame: Frame,
    page_size: u32,
) -> Result<((Source, u64), FramePages)> {
    let object = Remote::object_of(&place.0);
    let base = place.0.base();
    let bytes = remote.range(&object, base + frame.offset..base + frame.end()).await?;
    let pages = FramePages::read(&frame, page_size, &bytes).map_err(|why| remote.refuse(&object, why))?;
    Ok((place, pages))
}

/// Pages that are packed together: each number once, all of one size.
#[derive(Default)]
struct Batch {
    page_size: u32,
    pages: BTreeMap<u32, (Source, Vec<u8>)>,
    bytes: usize,
}

impl Batch {
    fn has_room_for(&self, page_size: u32, mut pages: impl Iterator<Item = u32>) -> bool {
        self.pages.is_empty()
            || (self.page_size == page_size
                && self.bytes < BATCH_BYTES
                && pages.all(|page| !self.pages.contains_key(&page)))
    }
}

/// New packs, and which pages lie in which of their frames now.
#[derive(Default)]
pub(super) struct Moves {
    packs: Vec<(Digest, Vec<Frame>)>,
    /// By page and the object in which it lay: the pack and the frame in that.
    places: HashMap<(u32, Source), (usize, usize)>,
    /// Bytes of the packs.
    pub bytes: u64,
}

impl Moves {
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The new packs.
    pub fn sources(&self) -> impl Iterator<Item = Source> {
        self.packs.iter().map(|(digest, _)| Source::Pack(*digest))
    }

    /// Names the new places in a map; answers whether it had any of the old ones.
    pub fn apply(&self, map: &mut PageMap) -> bool {
        map.relocate(&self.packs, |page, source| self.places.get(&(page, source)).copied())
    }

    async fn put(&mut self, remote: &Remote, batch: Batch) -> Result<()> {
        if batch.pages.is_empty() {
            return Ok(());
        }
        let Batch { page_size, pages, .. } = batch;
        let (packed, packs, pages) = blocking(move || {
            let mut packs: Vec<(Digest, Bytes)> = Vec::new();
            let mut take_pack = |digest, bytes| {
                packs.push((digest, bytes));
                Ok(())
            };
            let mut packer = Packer::new(page_size, &mut take_pack);
            for (page, (_, bytes)) in &pages {
                packer.add(*page, crate::hash::page_hash(*page, bytes), bytes)?;
            }
            let packed = packer.finish_in_packs()?;
            Ok((packed, packs, pages))
        })
        .await?;
        let first_pack = self.packs.len();
        self.packs.extend(packed.packs.iter().map(|digest| (*digest, Vec::new())));
        let mut numbers = packed.pages.iter();
        for frame in &packed.frames {
            let pack = first_pack + frame.source as usize - 1;
            let frames = &mut self.packs[pack].1;
            frames.push(*frame);
            for (page, _) in numbers.by_ref().take(frame.pages as usize) {
                self.places.insert((*page, pages[page].0), (pack, frames.len() - 1));
            }
        }
        self.bytes += packs.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        stream::iter(packs.into_iter().map(Ok))
            .try_for_each_concurrent(AT_A_TIME, |(digest, bytes)| remote.put_pack(digest, bytes))
            .await
    }
}

/// A source without the length of the head, which only readers of frames need.
pub(super) fn unplaced(source: Source) -> Source {
    match source {
        Source::Log { seq, .. } => Source::Log { seq, head_bytes: 0 },
        pack => pack,
    }
}
