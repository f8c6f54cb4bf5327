//! What is needed of objects of which little is needed is put elsewhere, so that the rest can go.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{CollectOptions, Listing};
use crate::{
    apply::blocking,
    diff::Packer,
    error::{Error, Result},
    format::{Frame, FramePages, PageMap, Source},
    hash::Digest,
    remote::Remote,
    session::Session,
};

/// The part of an object below which what is needed of it is put elsewhere: a half.
const LIVE_PART_MIN: u64 = 2;

/// Objects of which less than a half is needed.
pub(super) fn sparse(
    listing: &Listing,
    maps: &BTreeMap<u64, PageMap>,
    named: &HashSet<Digest>,
    floor: u64,
    options: &CollectOptions,
) -> Vec<Source> {
    // Pages of one frame that any of the maps needs.
    let mut needed: HashMap<(Source, u64), (Frame, HashSet<u32>)> = HashMap::new();
    for map in maps.values() {
        for page in 1..=map.page_count() {
            if let Some((_, frame, source)) = map.frame_of(page) {
                needed
                    .entry((source, frame.offset))
                    .or_insert_with(|| (frame, HashSet::new()))
                    .1
                    .insert(page);
            }
        }
    }
    let mut bytes: HashMap<Source, u64> = HashMap::new();
    for ((source, _), (frame, pages)) in &needed {
        let part = u64::from(frame.stored_bytes) * pages.len() as u64 / u64::from(frame.pages);
        *bytes.entry(*source).or_default() += part;
    }
    let mut sparse: Vec<Source> = bytes
        .into_iter()
        .filter(|(source, live_bytes)| {
            let may_go = match source {
                Source::Log { seq, .. } => *seq < floor,
                Source::Pack(digest) => !named.contains(digest),
            };
            let listed = listing.size_of(source);
            may_go
                && listed.is_some_and(|listed| {
                    live_bytes * LIVE_PART_MIN < listed.size_bytes && listing.age(listed) > options.age_min
                })
        })
        .map(|(source, _)| source)
        .collect();
    sparse.sort_by_key(|source| Remote::object_of(source).to_string());
    sparse
}

/// Puts what is needed of some objects into new packs, and the maps that name it.
pub(super) async fn rewrite(
    session: &mut Session,
    maps: &mut BTreeMap<u64, PageMap>,
    sparse: &[Source],
    floor: u64,
) -> Result<u64> {
    let remote = session.remote().clone();
    let mut newest = PageMap::clone(session.newest());
    let mut rewritten_bytes = 0;
    for source in sparse {
        // All pages that are needed of it. A source has each page once.
        let mut frames: BTreeMap<u64, (Frame, BTreeSet<u32>)> = BTreeMap::new();
        // All versions with pages in one object have pages of its size; others may have been of another.
        let mut page_size = newest.page_size;
        for map in maps.values().chain([&newest]) {
            for page in 1..=map.page_count() {
                if let Some((_, frame, at)) = map.frame_of(page)
                    && at == *source
                {
                    page_size = map.page_size;
                    frames.entry(frame.offset).or_insert_with(|| (frame, BTreeSet::new())).1.insert(page);
                }
            }
        }
        let packed = repack(&remote, page_size, source, frames).await?;
        for (digest, bytes) in packed.packs {
            rewritten_bytes += bytes.len() as u64;
            remote.put_pack(digest, bytes.into()).await?;
            let new = Source::Pack(digest);
            let (frames, pages) = &packed.frames[&digest];
            for map in maps.values_mut().chain([&mut newest]) {
                let moved: HashMap<u32, u32> = pages
                    .iter()
                    .filter(|(page, _)| map.frame_of(**page).is_some_and(|(_, _, at)| at == *source))
                    .map(|(page, frame)| (*page, *frame))
                    .collect();
                if !moved.is_empty() {
                    map.relocate(new, frames, |page| moved.get(&page).copied());
                }
            }
        }
    }
    for map in maps.values() {
        remote.put_map(map).await?;
    }
    session.moved(newest).await?;
    let newest = session.newest();
    if newest.seq >= floor {
        maps.insert(newest.seq, PageMap::clone(newest));
    }
    Ok(rewritten_bytes)
}

/// New packs, and which pages are in which of their frames.
struct Repacked {
    packs: Vec<(Digest, Vec<u8>)>,
    frames: HashMap<Digest, (Vec<Frame>, HashMap<u32, u32>)>,
}

async fn repack(
    remote: &Remote,
    page_size: u32,
    source: &Source,
    frames: BTreeMap<u64, (Frame, BTreeSet<u32>)>,
) -> Result<Repacked> {
    let object = Remote::object_of(source);
    let base = source.base();
    let mut pages: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for (frame, wanted) in frames.into_values() {
        let bytes = remote.range(&object, base + frame.offset..base + frame.end()).await?;
        let taken = FramePages::read(&frame, page_size, &bytes).map_err(|why| remote.refuse(&object, why))?;
        pages.extend(
            taken
                .iter()
                .filter(|(page, _)| wanted.contains(page))
                .map(|(page, bytes)| (page, bytes.to_vec())),
        );
    }
    blocking(move || {
        let packs = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = Arc::clone(&packs);
        let mut take_pack = move |digest, bytes: bytes::Bytes| {
            sink.lock()
                .map_err(|_| Error::Internal("a lock is poisoned".to_owned()))?
                .push((digest, bytes.to_vec()));
            Ok(())
        };
        let mut packer = Packer::new(page_size, &mut take_pack);
        for (page, bytes) in &pages {
            packer.add(*page, crate::hash::page_hash(*page, bytes), bytes)?;
        }
        let packed = packer.finish_in_packs()?;
        let mut frames: HashMap<Digest, (Vec<Frame>, HashMap<u32, u32>)> = HashMap::new();
        let mut numbers = packed.pages.iter();
        for frame in &packed.frames {
            let digest = packed.packs[frame.source as usize - 1];
            let (list, places) = frames.entry(digest).or_default();
            let index = list.len() as u32;
            list.push(*frame);
            places.extend(numbers.by_ref().take(frame.pages as usize).map(|(page, _)| (*page, index)));
        }
        let packs =
            std::mem::take(&mut *packs.lock().map_err(|_| Error::Internal("a lock is poisoned".to_owned()))?);
        Ok(Repacked { packs, frames })
    })
    .await
}
