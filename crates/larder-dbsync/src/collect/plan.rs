//! What a collection is going to do.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
};

use super::{
    CollectOptions, CollectReport, Collection, Step,
    listing::Listing,
    moves::{Moves, Needed, unplaced},
};
use crate::{
    error::{Error, Result},
    format::{PageMap, Source},
    hash::Digest,
    history::Along,
    remote::{Listed, Object, Remote},
};

/// Finds out what is not needed besides `version`, the newest that the holder knows, and puts what is needed of objects
/// that are to go into packs that nothing names yet. Needs no lease.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Store`].
pub(crate) async fn plan(
    remote: Remote,
    version: Arc<PageMap>,
    options: CollectOptions,
) -> Result<Collection> {
    let listing = Listing::read(&remote).await?;
    let (epoch, newest) = (version.epoch, version.seq);
    let mut collection = Collection {
        epoch,
        report: CollectReport { dry_run: options.dry_run, ..CollectReport::default() },
        floor: listing.floor(newest, &options),
        moves: Moves::default(),
        unstored: BTreeMap::new(),
        backups: listing.backups.clone(),
        steps: VecDeque::new(),
    };
    let floor = collection.floor;
    let points = listing.points(&remote, floor, &options).await?;
    let mut needed = Needed::default();
    let mut kept = Vec::new();
    for seq in &points {
        match remote.version(*seq, &mut Along::default()).await {
            Ok(map) => {
                needed.add(&map);
                kept.push(*seq);
                if !listing.maps.contains_key(seq) {
                    collection.unstored.insert(*seq, map);
                }
            }
            // An entry that leads nowhere any more, or one before anything was pushed.
            Err(Error::Absent { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let below = points.range(..floor).count();
    collection.report.versions = (listing.log.range(floor..).count() + below) as u64;
    if kept.last() != Some(&floor) {
        // Nothing was pushed until the floor: nothing before it can go.
        return Ok(collection);
    }
    // The holder's own, from which it goes on.
    needed.add(&version);
    let named = listing.packs_named_from(floor, &options);
    let sparse = needed.sparse(&listing, &named, floor, &options);
    let mut live = needed.live();
    for source in &sparse {
        live.remove(&unplaced(*source));
    }
    if !options.dry_run {
        collection.moves = needed.put_elsewhere(&remote, &sparse).await?;
        collection.report.rewritten_bytes = collection.moves.bytes;
        live.extend(collection.moves.sources());
    }
    let steps = &mut collection.steps;
    if !collection.moves.is_empty() {
        steps.push_back(Step::Move);
        // The floor first: where a map from the floor on names the new places, all after it do.
        steps.extend(kept.iter().rev().map(|seq| Step::Map(*seq)));
    } else {
        steps.extend(collection.unstored.keys().map(|seq| Step::Map(*seq)));
        if remote.head().await?.is_none_or(|head| head.seq < floor) {
            steps.push_back(Step::MapNewest);
        }
    }
    steps.push_back(Step::Kept);
    if floor > listing.floors.iter().copied().max().unwrap_or(0) {
        steps.push_back(Step::Floor);
    }
    steps.extend(dead(&listing, &points, &live, &named, (floor, newest), &options));
    steps
        .extend(listing.floors.iter().filter(|lower| **lower < floor).map(|lower| Step::RemoveFloor(*lower)));
    steps.push_back(Step::Collected);
    Ok(collection)
}

/// Objects that nothing needs.
fn dead(
    listing: &Listing,
    points: &BTreeSet<u64>,
    live: &HashSet<Source>,
    named: &HashSet<Digest>,
    (floor, newest): (u64, u64),
    options: &CollectOptions,
) -> Vec<Step> {
    let remove = |object, listed: &Listed| Step::Remove(object, listed.size_bytes);
    let maps = listing.spare_maps(points, (floor, newest), options);
    let mut dead: Vec<Step> = maps.into_iter().map(|seq| listing.remove_map(seq)).collect();
    for (seq, listed) in listing.log.range(..floor).filter(|(seq, _)| **seq != newest) {
        let is_live = live.contains(&Source::Log { seq: *seq, head_bytes: 0 });
        if !is_live && listing.age(listed) > options.age_min {
            dead.push(remove(Object::Log(*seq), listed));
        }
    }
    for (digest, listed) in &listing.packs {
        let is_live = named.contains(digest) || live.contains(&Source::Pack(*digest));
        if !is_live && listing.age(listed) > options.age_min {
            dead.push(remove(Object::Pack(*digest), listed));
        }
    }
    dead
}
