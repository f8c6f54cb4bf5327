//! What lies there, and which versions of it are kept.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use larder_core::Timestamp;

use super::{CollectOptions, Step};
use crate::{
    error::Result,
    format::Source,
    hash::Digest,
    remote::{Listed, Object, Remote},
};

/// Entries of which one map is kept once the hour of it is over: enough to begin from, where each has a size of its own
/// and one may be written every few seconds.
const ENTRIES_PER_MAP: u64 = 1_024;

/// The youngest map that may go although its version can be restored: whoever was led to it has read it.
const MAP_AGE_MIN: Duration = Duration::from_secs(3_600);

/// The names of versions that are kept.
pub(super) async fn names_of_backups(remote: &Remote) -> Result<BTreeSet<String>> {
    Ok(remote.list("keep/", None).await?.into_iter().map(|listed| listed.name).collect())
}

/// What lies there.
pub(super) struct Listing {
    pub log: BTreeMap<u64, Listed>,
    pub maps: BTreeMap<u64, Listed>,
    pub packs: HashMap<Digest, Listed>,
    pub floors: Vec<u64>,
    /// The names of versions that are kept.
    pub backups: BTreeSet<String>,
    /// By the clock of the store, as of the newest object.
    now: Timestamp,
}

impl Listing {
    pub async fn read(remote: &Remote) -> Result<Self> {
        // Those first that keep others from going: what is marked after this is told from them.
        let backups = names_of_backups(remote).await?;
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
            backups,
            now: newest.unwrap_or(Timestamp::from_millis(0)),
        })
    }

    pub fn age(&self, listed: &Listed) -> Duration {
        self.now.since(listed.modified)
    }

    pub fn size_of(&self, source: &Source) -> Option<&Listed> {
        match source {
            Source::Log { seq, .. } => self.log.get(seq),
            Source::Pack(digest) => self.packs.get(digest),
        }
    }

    /// The first entry of which all later ones are kept.
    pub fn floor(&self, newest: u64, options: &CollectOptions) -> u64 {
        let keep = options.retention.keep.max(options.age_min);
        let first = self.log.iter().find(|(seq, listed)| self.age(listed) <= keep || **seq == newest);
        // Below one that was put, the log has gaps, whatever is to be kept now.
        let put = self.floors.iter().copied().max().unwrap_or(0);
        first.map_or(newest, |(seq, _)| (*seq).max(put).min(newest))
    }

    /// Versions below the floor that are kept, and the floor: the last of days and weeks, and backups.
    pub async fn points(
        &self,
        remote: &Remote,
        floor: u64,
        options: &CollectOptions,
    ) -> Result<BTreeSet<u64>> {
        let mut points = BTreeSet::from([floor]);
        let mut older: BTreeMap<u64, Timestamp> =
            self.log.range(..floor).map(|(seq, listed)| (*seq, listed.modified)).collect();
        // What has a map already may have lost its entry. A map is put when it is needed, and again when pages move: how
        // old the version is, only its contents tell.
        for seq in self.maps.range(..floor).map(|(seq, _)| *seq).filter(|seq| !self.log.contains_key(seq)) {
            if let Some(map) = remote.map(seq).await? {
                older.insert(seq, Timestamp::from_millis(i64::try_from(map.time_ms).unwrap_or(i64::MAX)));
            }
        }
        points.extend(options.retention.last_of_periods(older.iter().map(|(seq, time)| (*seq, *time))));
        let backups = crate::backup::backups(remote).await?;
        points.extend(backups.iter().map(|backup| backup.seq).filter(|seq| *seq < floor));
        Ok(points)
    }

    /// Packs that entries above the floor may name: those that were put after it, or so shortly before that they may have
    /// waited for their entry. These entries are not rewritten, so neither are their packs. (What the floor itself names
    /// is named by its map, which is.)
    pub fn packs_named_from(&self, floor: u64, options: &CollectOptions) -> HashSet<Digest> {
        let Some(since) = self.log.get(&floor).map(|listed| listed.modified) else {
            return self.packs.keys().copied().collect();
        };
        let packs = self.packs.iter();
        packs
            .filter(|(_, listed)| listed.modified.plus(options.age_min) >= since)
            .map(|(digest, _)| *digest)
            .collect()
    }

    /// Maps that nothing needs: those below the floor of versions that are not kept, and of those above it all but one
    /// in so many entries, from which the versions between are reached through the log.
    pub fn spare_maps(
        &self,
        points: &BTreeSet<u64>,
        (floor, newest): (u64, u64),
        options: &CollectOptions,
    ) -> Vec<u64> {
        let age_min = options.age_min.min(MAP_AGE_MIN);
        // Whatever its age: what it names goes, too.
        let below = self.maps.range(..floor).map(|(seq, _)| *seq);
        let mut spare: Vec<u64> = below.filter(|seq| !points.contains(seq)).collect();
        let mut last_kept = floor;
        let last = self.maps.keys().next_back();
        for (seq, listed) in self.maps.range(floor + 1..) {
            let is_near = *seq / ENTRIES_PER_MAP == last_kept / ENTRIES_PER_MAP;
            // Readers begin with the last.
            if is_near && self.age(listed) > age_min && *seq != newest && Some(seq) != last {
                spare.push(*seq);
            } else {
                last_kept = *seq;
            }
        }
        spare
    }

    /// The removal of a map that is listed.
    pub fn remove_map(&self, seq: u64) -> Step {
        Step::Remove(Object::Map(seq), self.maps.get(&seq).map_or(0, |listed| listed.size_bytes))
    }
}
