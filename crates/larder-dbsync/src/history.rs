//! Reading the log: the newest version, or an earlier one.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    error::{Error, Result},
    format::{DatabaseId, Head, Kind, Lease, PageMap, Source},
    hash::Digest,
    remote::{FetchedEntry, Listed, Object, Remote},
};

/// Entries that are asked for at a time: fewer at first, since most readers are one behind.
const AT_A_TIME_MAX: u64 = 8;

/// Bytes of small entries that are kept, since their frames are wanted next.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Followed {
    /// How many entries.
    pub entries: u64,
    /// Whether one of them says that frames were moved: a map that was kept from before is void.
    pub moved: bool,
}

/// A version by its entry and root.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// Whose it is.
    pub database: DatabaseId,
    /// The entry that made it.
    pub seq: u64,
    /// The digest of its pages.
    pub root: Digest,
}

/// The newest version, as far as its entry tells.
#[derive(Debug, Clone)]
pub struct Newest {
    /// The version.
    pub mark: Mark,
    /// When it was committed, in milliseconds since 1970.
    pub time_ms: u64,
    /// Pages of the database.
    pub pages: u32,
    /// Bytes of a page.
    pub page_bytes: u32,
    /// Who holds the database since the last entry, whether that changed pages or not.
    pub holder: Option<String>,
}

/// What came along with entries that were read.
#[derive(Debug, Default)]
pub struct Along {
    /// The first bytes of frames, by the number of their entry.
    frames: HashMap<u64, Bytes>,
    bytes: usize,
    /// Roots of the versions that were passed.
    roots: HashSet<Digest>,
}

impl Along {
    fn keep(&mut self, seq: u64, fetched: &FetchedEntry) {
        if let Some(change) = &fetched.head.entry.change {
            self.roots.insert(change.root);
        }
        if fetched.frames.is_empty() || self.bytes + fetched.frames.len() > KEPT_BYTES_MAX {
            return;
        }
        self.bytes += fetched.frames.len();
        self.frames.insert(seq, fetched.frames.clone());
    }

    /// The first bytes of the frames of an object, as many as are here.
    pub fn frames(&self, source: &Source) -> Option<&Bytes> {
        match source {
            Source::Log { seq, .. } => self.frames.get(seq),
            Source::Pack(_) => None,
        }
    }

    /// Whether a version with this root was passed.
    pub fn has_passed(&self, root: Digest) -> bool {
        self.roots.contains(&root)
    }
}

impl Remote {
    /// The newest version, from a known one on if there is one; `None` if there is no log.
    ///
    /// # Errors
    /// [`Error::Corrupt`] naming the object, [`Error::Store`].
    pub async fn newest(&self, known: Option<PageMap>, along: &mut Along) -> Result<Option<PageMap>> {
        let head = self.head().await?;
        // An old version is no place to begin: the entries after it may be gone.
        let known = known.filter(|known| {
            head.is_none_or(|head| head.database == known.database && head.seq <= known.seq) && head.is_some()
        });
        let was_known = known.is_some();
        let begin = match (known, head) {
            (Some(known), _) => Some(known),
            (None, Some(head)) => match self.begin_at(&head, along).await? {
                Some(map) => Some(map),
                None => self.begin_by_listing().await?,
            },
            (None, None) => self.begin_by_listing().await?,
        };
        let Some(mut map) = begin else { return Ok(None) };
        let begun_at = map.seq;
        let followed = self.follow(&mut map, None, along).await?;
        if followed.moved && was_known {
            // Its places are no longer.
            return Box::pin(self.newest(None, along)).await;
        }
        if followed.moved
            && let Some(later) = self.begin_by_listing().await?.filter(|later| later.seq > begun_at)
        {
            // The collection was cut off before it wrote the head. The old places are there still, but are no places to
            // go on from: others may know the new ones alone, and remove the old.
            map = later;
            self.follow(&mut map, None, along).await?;
        }
        Ok(Some(map))
    }

    /// The version that a head names; `None` if it is not there.
    async fn begin_at(&self, head: &Head, along: &mut Along) -> Result<Option<PageMap>> {
        if head.is_map {
            let map = self.map(head.seq).await?.filter(|map| map.database == head.database);
            along.roots.extend(map.as_ref().map(|map| map.root));
            return Ok(map);
        }
        let Some(fetched) = self.entry(head.seq).await? else { return Ok(None) };
        along.keep(head.seq, &fetched);
        let entry = &fetched.head;
        let map = PageMap::of_base(&entry.entry, entry.digest, entry.bytes).ok();
        Ok(map.filter(|map| map.database == head.database))
    }

    /// The newest map, or what is before the first entry; `None` if there is no log.
    async fn begin_by_listing(&self) -> Result<Option<PageMap>> {
        let log = self.list("log/", None).await?;
        let Some(first) = log.iter().find_map(Listed::seq) else { return Ok(None) };
        let maps = self.list("map/", None).await?;
        for seq in maps.iter().rev().filter_map(Listed::seq) {
            match self.map(seq).await {
                Ok(Some(map)) => return Ok(Some(map)),
                // An earlier one leads there too.
                Ok(None) | Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match first {
            1 => self.before_the_first().await.map(Some),
            _ => Err(Error::corrupt(
                self.name(&Object::Log(first)),
                "neither a map nor the entries before it are there",
            )),
        }
    }

    async fn before_the_first(&self) -> Result<PageMap> {
        let first = self.entry(1).await?;
        let first = first.ok_or_else(|| Error::corrupt(self.name(&Object::Log(1)), "it is gone"))?;
        Ok(PageMap::empty(first.head.entry.database))
    }

    /// The newest entry that changed pages, without the pages' hashes where that can be helped; `None` if nothing was
    /// pushed.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Store`].
    pub(crate) async fn newest_entry(&self) -> Result<Option<Newest>> {
        let head = self.head().await?;
        let after = head.map(|head| Object::Log(head.seq.saturating_sub(1)));
        let log = self.list("log/", after.as_ref()).await?;
        let mut last: Option<Lease> = None;
        for seq in log.iter().rev().filter_map(Listed::seq) {
            let Some(fetched) = self.entry(seq).await? else { continue };
            let entry = fetched.head.entry;
            let lease = last.get_or_insert(entry.lease);
            if let Some(change) = entry.change {
                return Ok(Some(Newest {
                    mark: Mark { database: entry.database, seq, root: change.root },
                    time_ms: entry.time_ms,
                    pages: change.page_count,
                    page_bytes: change.page_size,
                    holder: (lease.held_ms > 0).then(|| lease.owner.clone()),
                }));
            }
        }
        // Only entries that change nothing since the map.
        let newest = self.newest(None, &mut Along::default()).await?.filter(|newest| newest.page_size > 0);
        Ok(newest.map(|newest| Newest {
            mark: Mark { database: newest.database, seq: newest.seq, root: newest.root },
            time_ms: newest.time_ms,
            pages: newest.page_count(),
            page_bytes: newest.page_size,
            holder: (newest.lease.held_ms > 0).then(|| newest.lease.owner.clone()),
        }))
    }

    /// Reads the entries after `map` up to number `to`, or as many as there are. Answers how many those were, and whether
    /// one of them says that frames were moved.
    ///
    /// # Errors
    /// [`Error::Corrupt`] naming the object, [`Error::Store`]. `map` is the version before that then.
    pub(crate) async fn follow(
        &self,
        map: &mut PageMap,
        to: Option<u64>,
        along: &mut Along,
    ) -> Result<Followed> {
        let mut followed = Followed::default();
        let mut at_a_time = 1;
        'pages: loop {
            let last = (map.seq + at_a_time).min(to.unwrap_or(u64::MAX));
            if last == map.seq {
                break;
            }
            let fetched: Vec<_> = stream::iter(map.seq + 1..=last)
                .map(|seq| async move { self.entry(seq).await })
                .buffered(AT_A_TIME_MAX as usize)
                .try_collect()
                .await?;
            for fetched in fetched {
                let Some(fetched) = fetched else { break 'pages };
                self.step(map, &fetched)?;
                followed.entries += 1;
                followed.moved |= fetched.head.entry.kind == Kind::Moved;
                along.keep(map.seq, &fetched);
            }
            at_a_time = (at_a_time * 2).min(AT_A_TIME_MAX);
        }
        if !map.is_whole() {
            return Err(Error::corrupt(
                self.name(&Object::Log(map.changed_at)),
                "the root is not that of the pages",
            ));
        }
        Ok(followed)
    }

    /// Goes on to the version of an entry.
    pub(crate) fn step(&self, map: &mut PageMap, fetched: &FetchedEntry) -> Result<()> {
        let head = &fetched.head;
        let stepped = map.advance(&head.entry, head.digest, head.bytes);
        stepped.map_err(|why| self.refuse(&Object::Log(head.entry.seq), why))
    }

    /// An earlier version by its number.
    ///
    /// # Errors
    /// [`Error::Absent`] if it is not kept any more or not there yet, [`Error::Corrupt`], [`Error::Store`].
    pub async fn version(&self, seq: u64, along: &mut Along) -> Result<PageMap> {
        let absent = |why: &str| Error::Absent { detail: format!("version {seq} is not there: {why}") };
        let maps = self.list("map/", None).await?;
        let before = maps.iter().rev().filter_map(Listed::seq).find(|map| *map <= seq);
        let mut map = match before {
            Some(before) => self.map(before).await?.ok_or_else(|| absent("its map has just gone"))?,
            None => match self.entry(1).await? {
                Some(first) => PageMap::empty(first.head.entry.database),
                None => return Err(absent("it is older than what is kept")),
            },
        };
        self.follow(&mut map, Some(seq), along).await?;
        if map.seq < seq {
            return Err(absent("it is newer than the newest, or no longer kept"));
        }
        if map.page_size == 0 {
            return Err(absent("nothing was pushed before it"));
        }
        Ok(map)
    }

    /// The number of the newest version that is not newer than a time, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`Error::Absent`] if all that is kept is newer, [`Error::Corrupt`], [`Error::Store`].
    pub async fn version_at(&self, time_ms: u64) -> Result<u64> {
        let known = self.versions().await?;
        let known: Vec<(u64, bool)> = known.into_iter().collect();
        let (mut low, mut high) = (0, known.len());
        while low < high {
            let middle = (low + high) / 2;
            let (seq, is_map) = known[middle];
            match self.time_of(seq, is_map).await? {
                time if time <= time_ms => low = middle + 1,
                _ => high = middle,
            }
        }
        match low.checked_sub(1) {
            Some(index) => Ok(known[index].0),
            None => Err(Error::Absent { detail: "nothing that old is kept".to_owned() }),
        }
    }

    async fn time_of(&self, seq: u64, is_map: bool) -> Result<u64> {
        let time = match is_map {
            true => self.map(seq).await?.map(|map| map.time_ms),
            false => self.entry(seq).await?.map(|fetched| fetched.head.entry.time_ms),
        };
        time.ok_or_else(|| Error::Absent { detail: format!("version {seq} has just gone") })
    }

    /// The numbers that can be restored, and whether their map is there. Some of the earliest may lack what leads to
    /// them; only trying tells.
    pub async fn versions(&self) -> Result<BTreeMap<u64, bool>> {
        let (log, maps) = futures::try_join!(self.list("log/", None), self.list("map/", None))?;
        let mut versions: BTreeMap<u64, bool> = BTreeMap::new();
        let maps: Vec<u64> = maps.iter().filter_map(Listed::seq).collect();
        let mut led_to = maps.first().copied().unwrap_or(u64::MAX);
        for seq in log.iter().filter_map(Listed::seq) {
            // From the first entry on, or from a map on without a gap.
            if seq == 1
                || seq == led_to + 1
                || maps.binary_search(&(seq - 1)).is_ok()
                || versions.contains_key(&(seq - 1))
            {
                versions.insert(seq, false);
                led_to = seq;
            }
        }
        versions.extend(maps.into_iter().map(|seq| (seq, true)));
        Ok(versions)
    }
}
