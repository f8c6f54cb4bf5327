//! Collecting: versions that nobody keeps, and objects of which little is needed.

mod rewrite;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use larder_core::Timestamp;
use serde::Serialize;

use self::rewrite::{rewrite, sparse};
use crate::{
    error::{Error, Result},
    fail_point,
    format::{PageMap, Source},
    hash::Digest,
    history::Along,
    remote::{Listed, Object, Remote},
    retention::Retention,
    session::{Session, Waiting},
};

/// The youngest that may go: readers and writers that stood still for less are safe.
pub const AGE_MIN: Duration = Duration::from_secs(24 * 3_600);

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub struct CollectOptions {
    /// Which versions.
    pub retention: Retention,
    /// Objects that are not older are not touched. Whoever reads or writes and stands still for longer may fail.
    pub age_min: Duration,
    /// Only count.
    pub dry_run: bool,
}

impl Default for CollectOptions {
    /// 24 hours, 7 days, 4 weeks.
    fn default() -> Self {
        Self { retention: Retention::default(), age_min: AGE_MIN, dry_run: false }
    }
}

/// What was collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CollectReport {
    /// Versions that can be restored afterwards, those of the last hours by each of their entries.
    pub versions: u64,
    /// Objects that were removed.
    pub removed: u64,
    /// Bytes of them.
    pub removed_bytes: u64,
    /// Bytes of objects that were put anew, since little of the old ones was needed.
    pub rewritten_bytes: u64,
    /// Whether nothing was done, only counted.
    pub dry_run: bool,
}

/// What lies there.
struct Listing {
    log: BTreeMap<u64, Listed>,
    maps: BTreeMap<u64, Listed>,
    packs: HashMap<Digest, Listed>,
    floors: Vec<u64>,
    /// By the clock of the store, as of the newest object.
    now: Timestamp,
}

impl Listing {
    async fn read(remote: &Remote) -> Result<Self> {
        let (log, maps, packs, floors) = futures::try_join!(
            remote.list("log/", None),
            remote.list("map/", None),
            remote.list("pack/", None),
            remote.list("floor/", None)
        )?;
        let newest = log.iter().chain(&maps).chain(&packs).map(|listed| listed.modified).max();
        let numbered =
            |listed: Vec<Listed>| listed.into_iter().filter_map(|one| Some((one.seq()?, one))).collect();
        Ok(Self {
            log: numbered(log),
            maps: numbered(maps),
            packs: packs.into_iter().filter_map(|one| Some((Digest::parse(&one.name)?, one))).collect(),
            floors: floors.iter().filter_map(Listed::seq).collect(),
            now: newest.unwrap_or(Timestamp::from_millis(0)),
        })
    }

    fn age(&self, listed: &Listed) -> Duration {
        self.now.since(listed.modified)
    }

    fn size_of(&self, source: &Source) -> Option<&Listed> {
        match source {
            Source::Log { seq, .. } => self.log.get(seq),
            Source::Pack(digest) => self.packs.get(digest),
        }
    }
}

/// Removes what is not kept. The session holds the database.
///
/// # Errors
/// [`Error::Fenced`], [`Error::Corrupt`], [`Error::Store`]. Whatever was done until then is safe.
pub async fn collect(session: &mut Session, options: &CollectOptions) -> Result<CollectReport> {
    let remote = session.remote().clone();
    let listing = Listing::read(&remote).await?;
    let newest = session.newest().seq;
    let mut report = CollectReport { dry_run: options.dry_run, ..CollectReport::default() };
    if session.newest().page_size == 0 {
        return Ok(report);
    }
    let keep = options.retention.keep.max(options.age_min);
    // The first entry of which all later ones are kept.
    let floor = listing
        .log
        .iter()
        .find(|(seq, listed)| listing.age(listed) <= keep || **seq == newest)
        .map_or(newest, |(seq, _)| *seq);
    let points = points(&remote, &listing, floor, options).await?;
    let mut maps = retained(&remote, &points).await?;
    report.versions = (listing.log.range(floor..).count() + points.range(..floor).count()) as u64;
    if !options.dry_run {
        for (seq, map) in maps.iter().filter(|(seq, _)| !listing.maps.contains_key(seq)) {
            debug_assert_eq!(map.seq, *seq, "a map of its number");
            remote.put_map(map).await?;
        }
        fail_point::reached("db.kept");
        if remote.head().await?.is_none_or(|head| head.seq < floor) {
            session.write_map().await?;
            // It names places that are about to change, too.
            maps.insert(newest, PageMap::clone(session.newest()));
        }
        if floor > listing.floors.iter().copied().max().unwrap_or(0) {
            remote.create_floor(floor).await?;
        }
        fail_point::reached("db.floored");
    }
    let named = packs_named_from(&listing, floor, options);
    let sparse = sparse(&listing, &maps, &named, floor, options);
    if !sparse.is_empty() && !options.dry_run {
        // Those above the floor name the places that are about to change, too.
        for seq in listing.maps.range(floor..).map(|(seq, _)| *seq) {
            if let std::collections::btree_map::Entry::Vacant(entry) = maps.entry(seq)
                && let Some(map) = remote.map(seq).await?
            {
                entry.insert(map);
            }
        }
        report.rewritten_bytes = rewrite(session, &mut maps, &sparse, floor).await?;
        fail_point::reached("db.rewritten");
    }
    let mut live: HashSet<Source> =
        maps.values().flat_map(|map| map.sources()).map(|(source, _)| unplaced(source)).collect();
    if options.dry_run {
        sparse.iter().for_each(|source| {
            live.remove(&unplaced(*source));
        });
    }
    for object in dead(&listing, &maps, &live, &named, (floor, newest), options) {
        let listed = match &object {
            Object::Log(seq) => listing.log.get(seq),
            Object::Map(seq) => listing.maps.get(seq),
            Object::Pack(digest) => listing.packs.get(digest),
            _ => None,
        };
        report.removed += 1;
        report.removed_bytes += listed.map_or(0, |listed| listed.size_bytes);
        if !options.dry_run {
            remote.remove(&object).await?;
        }
    }
    if !options.dry_run {
        for lower in listing.floors.iter().filter(|lower| **lower < floor) {
            remote.remove(&Object::Floor(*lower)).await?;
        }
        fail_point::reached("db.collected");
    }
    Ok(report)
}

/// As [`collect`], by a writer that takes the database for it, if nobody holds it. Nothing is written where nothing is
/// to be removed.
///
/// # Errors
/// [`Error::Held`] at once if somebody does: whoever holds it does not let go of it for this. [`Error::Absent`] if there
/// is no database; [`Error::NoConditions`] unless `single_writer` says that there is never a second one; those of
/// [`collect`].
pub async fn collect_unheld(
    remote: &Remote,
    options: &CollectOptions,
    single_writer: bool,
) -> Result<CollectReport> {
    let mut session = Session::open(remote.clone(), None, single_writer).await?;
    let newest = session.newest();
    if newest.page_size == 0 {
        return Err(Error::Absent { detail: format!("there is no database at {}", remote.label()) });
    }
    if newest.lease.held_ms > 0 && !options.dry_run {
        return Err(Error::Held { owner: newest.lease.owner.clone() });
    }
    let counted = collect(&mut session, &CollectOptions { dry_run: true, ..*options }).await?;
    if options.dry_run || counted.removed == 0 {
        return Ok(CollectReport { dry_run: options.dry_run, ..counted });
    }
    let mut refuse = |waiting: Waiting<'_>| {
        let (Waiting::For(owner) | Waiting::Wrote(owner)) = waiting;
        Err(Error::Held { owner: owner.to_owned() })
    };
    session.claim(&mut refuse).await?;
    let collected = collect(&mut session, options).await;
    session.release().await?;
    collected
}

/// A source without the length of the head, which only readers of frames need.
fn unplaced(source: Source) -> Source {
    match source {
        Source::Log { seq, .. } => Source::Log { seq, head_bytes: 0 },
        pack => pack,
    }
}

/// Versions below the floor that are kept: the last of days and weeks, and backups.
async fn points(
    remote: &Remote,
    listing: &Listing,
    floor: u64,
    options: &CollectOptions,
) -> Result<BTreeSet<u64>> {
    let mut points = BTreeSet::from([floor]);
    // What has a map already may have lost its entry.
    let older = listing.log.range(..floor).chain(listing.maps.range(..floor));
    points.extend(options.retention.last_of_periods(older.map(|(seq, listed)| (*seq, listed.modified))));
    for backup in crate::backup::backups(remote).await? {
        if backup.seq < floor {
            points.insert(backup.seq);
        }
    }
    Ok(points)
}

/// The maps of all versions that are kept below the floor, and of the floor. Those above it need of what lies below
/// nothing but what the floor needs.
async fn retained(remote: &Remote, points: &BTreeSet<u64>) -> Result<BTreeMap<u64, PageMap>> {
    let mut maps = BTreeMap::new();
    for seq in points {
        match remote.version(*seq, &mut Along::default()).await {
            Ok(map) => {
                maps.insert(*seq, map);
            }
            // An entry that leads nowhere any more, or one before anything was pushed.
            Err(Error::Absent { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(maps)
}

/// Packs that entries above the floor may name: those that were put after it, or so shortly before that they may have
/// waited for their entry. These entries are not rewritten, so neither are their packs. (What the floor itself names is
/// named by its map, which is.)
fn packs_named_from(listing: &Listing, floor: u64, options: &CollectOptions) -> HashSet<Digest> {
    let Some(since) = listing.log.get(&floor).map(|listed| listed.modified) else {
        return listing.packs.keys().copied().collect();
    };
    let packs = listing.packs.iter();
    packs
        .filter(|(_, listed)| listed.modified.plus(options.age_min) >= since)
        .map(|(digest, _)| *digest)
        .collect()
}

/// Objects that nothing needs.
fn dead(
    listing: &Listing,
    maps: &BTreeMap<u64, PageMap>,
    live: &HashSet<Source>,
    named: &HashSet<Digest>,
    (floor, newest): (u64, u64),
    options: &CollectOptions,
) -> Vec<Object> {
    let is_old = |listed: &Listed| listing.age(listed) > options.age_min;
    let log = listing.log.iter().filter(|(seq, listed)| {
        **seq < floor
            && **seq != newest
            && is_old(listed)
            && !live.contains(&Source::Log { seq: **seq, head_bytes: 0 })
    });
    let old_maps = listing
        .maps
        .iter()
        .filter(|(seq, listed)| !maps.contains_key(seq) && **seq < floor && is_old(listed));
    let packs = listing.packs.iter().filter(|(digest, listed)| {
        is_old(listed) && !named.contains(digest) && !live.contains(&Source::Pack(**digest))
    });
    log.map(|(seq, _)| Object::Log(*seq))
        .chain(old_maps.map(|(seq, _)| Object::Map(*seq)))
        .chain(packs.map(|(digest, _)| Object::Pack(*digest)))
        .collect()
}
