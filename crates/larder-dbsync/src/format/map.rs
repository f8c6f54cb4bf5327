//! Maps: the hash of every page of one version, and where each lies.

use super::{
    DatabaseId, Frame, VERSION,
    entry::{Change, Entry, Lease},
    is_page_size,
    wire::{Malformed, Reader, Writer},
};
use crate::hash::{Digest, ShortHash, lock_page, root};

const MAGIC: &[u8; 8] = b"LARDERMP";

/// A frame that holds no page: that of the page with the lock bytes.
const NOWHERE: u32 = u32::MAX;

/// An object in which frames lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The entry of this number; offsets count from the end of its head, which has so many bytes.
    Log {
        /// Its number.
        seq: u64,
        /// The length of its head.
        head_bytes: u64,
    },
    /// The pack of this digest.
    Pack(Digest),
}

impl Source {
    /// Where in the object offsets count from.
    pub fn base(&self) -> u64 {
        match self {
            Self::Log { head_bytes, .. } => *head_bytes,
            Self::Pack(_) => 0,
        }
    }
}

/// What has to be read after a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SinceMap {
    /// Entries that change pages.
    pub changes: u32,
    /// Entries that change none.
    pub others: u32,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// Everything about one version of a database but the contents of its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageMap {
    /// Whose version this is.
    pub database: DatabaseId,
    /// The entry that made it.
    pub seq: u64,
    /// The digest of that entry.
    pub entry: Digest,
    /// The epoch of that entry.
    pub epoch: u64,
    /// The time of that entry.
    pub time_ms: u64,
    /// Who wrote that entry, and whether it holds the database since.
    pub lease: Lease,
    /// The newest entry up to this one that changed pages.
    pub changed_at: u64,
    /// What was written since the last map, or entry with all pages.
    pub since: SinceMap,
    /// Bytes of a page; zero before anything was committed.
    pub page_size: u32,
    /// The root of all pages.
    pub root: Digest,
    /// The hashes of the pages, that of page 1 first.
    pub hashes: Vec<ShortHash>,
    sources: Vec<Source>,
    frames: Vec<Frame>,
    at: Vec<u32>,
}

impl PageMap {
    /// What is before the first entry.
    pub fn empty(database: DatabaseId) -> Self {
        Self {
            database,
            seq: 0,
            entry: Digest::default(),
            epoch: 0,
            time_ms: 0,
            lease: Lease { owner: String::new(), token: [0; 16], held_ms: 0 },
            changed_at: 0,
            since: SinceMap::default(),
            page_size: 0,
            root: Digest::default(),
            hashes: Vec::new(),
            sources: Vec::new(),
            frames: Vec::new(),
            at: Vec::new(),
        }
    }

    /// The version that an entry makes which has all pages, without those before it.
    pub fn of_base(entry: &Entry, digest: Digest, head_bytes: u64) -> Result<Self, Malformed> {
        if !entry.change.as_ref().is_some_and(|change| change.is_base) || entry.seq == 0 {
            return Err(Malformed::Because("it has not all pages"));
        }
        let mut map = Self::empty(entry.database);
        (map.seq, map.entry) = (entry.seq - 1, entry.previous);
        map.advance(entry, digest, head_bytes)?;
        Ok(map)
    }

    /// Pages of the database.
    pub fn page_count(&self) -> u32 {
        self.hashes.len() as u32
    }

    /// Bytes of the database.
    pub fn size_bytes(&self) -> u64 {
        u64::from(self.page_count()) * u64::from(self.page_size)
    }

    /// The frame in which a page lies, and the object in which that lies; `None` for the page with the lock bytes.
    pub fn frame_of(&self, page: u32) -> Option<(u32, Frame, Source)> {
        let index = *self.at.get(page.checked_sub(1)? as usize)?;
        let frame = *self.frames.get(index as usize)?;
        Some((index, frame, self.sources[frame.source as usize]))
    }

    /// The objects in which pages of this version lie, with the bytes of pages that each has of it.
    pub fn sources(&self) -> Vec<(Source, u64)> {
        let mut bytes = vec![0; self.sources.len()];
        for index in self.at.iter().filter(|index| **index != NOWHERE) {
            bytes[self.frames[*index as usize].source as usize] += u64::from(self.page_size);
        }
        self.sources.iter().copied().zip(bytes).filter(|(_, bytes)| *bytes > 0).collect()
    }

    /// Goes on to the version that an entry makes. The root is not computed; see [`is_whole`](Self::is_whole).
    pub fn advance(&mut self, entry: &Entry, digest: Digest, head_bytes: u64) -> Result<(), Malformed> {
        if entry.seq != self.seq + 1 || (self.seq > 0 && entry.database != self.database) {
            return Err(Malformed::Because("it belongs to another log, or elsewhere in it"));
        }
        if entry.previous != self.entry {
            return Err(Malformed::Because("it does not follow the entry before it"));
        }
        if entry.epoch < self.epoch || entry.time_ms < self.time_ms {
            return Err(Malformed::Because("it is older than the entry before it"));
        }
        match &entry.change {
            None => self.since.others = self.since.others.saturating_add(1),
            Some(change) => {
                self.change(change, entry.seq, head_bytes)?;
                self.changed_at = entry.seq;
                let frames: u64 = change.frames.iter().map(|frame| u64::from(frame.stored_bytes)).sum();
                let SinceMap { changes, others, bytes } = self.since;
                self.since = match change.is_base {
                    true => SinceMap::default(),
                    false => SinceMap {
                        changes: changes.saturating_add(1),
                        others,
                        bytes: bytes + head_bytes + frames,
                    },
                };
            }
        }
        self.database = entry.database;
        self.seq = entry.seq;
        self.entry = digest;
        self.epoch = entry.epoch;
        self.time_ms = entry.time_ms;
        self.lease = entry.lease.clone();
        Ok(())
    }

    fn change(&mut self, change: &Change, seq: u64, head_bytes: u64) -> Result<(), Malformed> {
        let grown = change.page_count as usize;
        if change.is_base {
            (self.sources, self.frames, self.at, self.hashes) = Default::default();
        } else if change.page_size != self.page_size {
            return Err(Malformed::Because("it changes pages of another size"));
        }
        self.page_size = change.page_size;
        self.hashes.resize(grown, ShortHash::default());
        self.at.resize(grown, NOWHERE);
        let first_source = self.sources.len() as u32;
        self.sources.push(Source::Log { seq, head_bytes });
        self.sources.extend(change.packs.iter().copied().map(Source::Pack));
        let mut pages = change.pages.iter();
        for frame in &change.frames {
            let index = self.frames.len() as u32;
            self.frames.push(Frame { source: frame.source + first_source, ..*frame });
            for (number, hash) in pages.by_ref().take(frame.pages as usize) {
                let slot = *number as usize - 1;
                (self.hashes[slot], self.at[slot]) = (*hash, index);
            }
        }
        self.root = change.root;
        let lock = lock_page(self.page_size);
        let all_there = self.at.iter().zip(1..).all(|(at, number)| *at != NOWHERE || number == lock);
        if all_there { Ok(()) } else { Err(Malformed::Because("it leaves pages out")) }
    }

    /// Whether the root is that of the pages.
    pub fn is_whole(&self) -> bool {
        self.page_size == 0 || root(self.page_size, &self.hashes) == self.root
    }

    /// Other places for pages. `moved` is asked, for each page and the object in which it lies, for the one of `packs` and
    /// the frame of that in which it lies now. Answers whether any was moved.
    pub fn relocate(
        &mut self,
        packs: &[(Digest, Vec<Frame>)],
        moved: impl Fn(u32, Source) -> Option<(usize, usize)>,
    ) -> bool {
        // Where the frames of each pack begin among those of this map, once one of them is needed.
        let mut first_frames: Vec<Option<u32>> = vec![None; packs.len()];
        let mut is_any = false;
        for (index, number) in (0..self.at.len()).zip(1..) {
            let Some((_, _, source)) = self.frame_of(number) else { continue };
            let Some((pack, frame)) = moved(number, source) else { continue };
            let first_frame = match first_frames[pack] {
                Some(first_frame) => first_frame,
                None => {
                    let (source, first_frame) = (self.sources.len() as u32, self.frames.len() as u32);
                    let (digest, frames) = &packs[pack];
                    self.sources.push(Source::Pack(*digest));
                    self.frames.extend(frames.iter().map(|frame| Frame { source, ..*frame }));
                    first_frames[pack] = Some(first_frame);
                    first_frame
                }
            };
            self.at[index] = first_frame + frame as u32;
            is_any = true;
        }
        if is_any {
            self.forget_unused();
        }
        is_any
    }

    /// Drops frames and sources in which no page lies any more.
    fn forget_unused(&mut self) {
        let mut used = vec![false; self.frames.len()];
        self.at.iter().filter(|at| **at != NOWHERE).for_each(|at| used[*at as usize] = true);
        let mut frames = Vec::new();
        let mut sources: Vec<Source> = Vec::new();
        let mut new_source = vec![None; self.sources.len()];
        let mut new_frame = vec![NOWHERE; self.frames.len()];
        for (index, frame) in self.frames.iter().enumerate().filter(|(index, _)| used[*index]) {
            let source = *new_source[frame.source as usize].get_or_insert_with(|| {
                sources.push(self.sources[frame.source as usize]);
                sources.len() as u32 - 1
            });
            new_frame[index] = frames.len() as u32;
            frames.push(Frame { source, ..*frame });
        }
        self.at.iter_mut().filter(|at| **at != NOWHERE).for_each(|at| *at = new_frame[*at as usize]);
        (self.frames, self.sources) = (frames, sources);
    }

    /// The map as it is stored.
    pub fn write(&self) -> Vec<u8> {
        let mut tidy = self.clone();
        tidy.forget_unused();
        tidy.write_tidy()
    }

    fn write_tidy(&self) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(self.hashes.len() * 17 + self.frames.len() * 32 + 512));
        writer.bytes(MAGIC);
        writer.u16(VERSION);
        writer.bytes(&self.database.0);
        writer.u64(self.seq);
        writer.bytes(&self.entry.0);
        writer.u64(self.epoch);
        writer.u64(self.time_ms);
        writer.bytes(&self.lease.token);
        writer.u32(self.lease.held_ms);
        writer.text(&self.lease.owner);
        writer.u64(self.changed_at);
        writer.u32(self.since.changes);
        writer.u32(self.since.others);
        writer.u64(self.since.bytes);
        writer.u32(self.page_size);
        writer.bytes(&self.root.0);
        writer.varint(self.sources.len() as u64);
        for source in &self.sources {
            match source {
                Source::Log { seq, head_bytes } => {
                    writer.u8(1);
                    writer.varint(*seq);
                    writer.varint(*head_bytes);
                }
                Source::Pack(digest) => {
                    writer.u8(2);
                    writer.bytes(&digest.0);
                }
            }
        }
        writer.varint(self.frames.len() as u64);
        self.frames.iter().for_each(|frame| frame.write(&mut writer));
        writer.varint(self.hashes.len() as u64);
        self.hashes.iter().for_each(|hash| writer.bytes(&hash.0));
        for run in self.at.chunk_by(|one, next| one == next) {
            writer.varint(if run[0] == NOWHERE { 0 } else { u64::from(run[0]) + 1 });
            writer.varint(run.len() as u64);
        }
        writer.seal()
    }

    /// Reads a map, and checks that its root is that of its pages.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut prefix = Reader::new(bytes);
        if prefix.bytes(8)? != MAGIC {
            return Err(Malformed::Because("it does not begin as a map"));
        }
        match prefix.u16()? {
            VERSION => {}
            other => return Err(Malformed::Version(other)),
        }
        let (mut reader, _) = Reader::sealed(bytes)?;
        let reader = &mut reader;
        reader.bytes(10)?;
        let database = DatabaseId(reader.array()?);
        let (seq, entry, epoch, time_ms) = (reader.u64()?, reader.digest()?, reader.u64()?, reader.u64()?);
        let (token, held_ms, owner) = (reader.array()?, reader.u32()?, reader.text()?);
        let lease = Lease { owner, token, held_ms };
        let changed_at = reader.u64()?;
        let since = SinceMap { changes: reader.u32()?, others: reader.u32()?, bytes: reader.u64()? };
        let (page_size, root) = (reader.u32()?, reader.digest()?);
        if !is_page_size(page_size) {
            return Err(Malformed::Because("no database has pages of this size"));
        }
        let sources = (0..reader.count(2)?)
            .map(|_| match reader.u8()? {
                1 => Ok(Source::Log { seq: reader.varint()?, head_bytes: reader.varint()? }),
                2 => Ok(Source::Pack(reader.digest()?)),
                _ => Err(Malformed::Because("an object is of no kind that is known")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let frames = (0..reader.count(Frame::LEAST_BYTES)?)
            .map(|_| Frame::read(reader, page_size, sources.len()))
            .collect::<Result<Vec<_>, _>>()?;
        let hashes = (0..reader.count(16)?).map(|_| reader.short_hash()).collect::<Result<Vec<_>, _>>()?;
        let at = read_places(reader, hashes.len(), frames.len(), lock_page(page_size))?;
        reader.end()?;
        let map = Self {
            database,
            seq,
            entry,
            epoch,
            time_ms,
            lease,
            changed_at,
            since,
            page_size,
            root,
            hashes,
            sources,
            frames,
            at,
        };
        if map.hashes.is_empty() || !map.is_whole() {
            return Err(Malformed::Because("its root is not that of its pages"));
        }
        Ok(map)
    }
}

/// The frame of each page, by runs of pages in one frame.
fn read_places(
    reader: &mut Reader<'_>,
    pages: usize,
    frames: usize,
    lock_page: u32,
) -> Result<Vec<u32>, Malformed> {
    let mut at = Vec::with_capacity(pages);
    while at.len() < pages {
        let (frame, length) = (reader.varint_u32()?, reader.varint_u32()? as usize);
        if length == 0 || length > pages - at.len() {
            return Err(Malformed::Because("a run of pages is longer than the database"));
        }
        let index = match frame.checked_sub(1) {
            Some(index) if (index as usize) < frames => index,
            None if length == 1 && at.len() + 1 == lock_page as usize => NOWHERE,
            _ => return Err(Malformed::Because("a page lies in no frame")),
        };
        at.resize(at.len() + length, index);
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::Kind;

    fn frame(source: u32, offset: u64, pages: u32) -> Frame {
        Frame { source, offset, stored_bytes: 10, pages, hash: ShortHash::default() }
    }

    /// An entry after `map` that changes these pages, each to a hash of its own.
    fn next(map: &PageMap, page_count: u32, pages: &[u32], is_base: bool) -> Entry {
        let seq = map.seq + 1;
        let pages: Vec<_> =
            pages.iter().map(|number| (*number, ShortHash::of(&[*number as u8, seq as u8]))).collect();
        let mut hashes = if is_base { Vec::new() } else { map.hashes.clone() };
        hashes.resize(page_count as usize, ShortHash::default());
        pages.iter().for_each(|(number, hash)| hashes[*number as usize - 1] = *hash);
        let change = Change {
            page_size: 512,
            page_count,
            root: root(512, &hashes),
            is_base,
            packs: vec![Digest::of(&[seq as u8])],
            frames: vec![frame((seq % 2) as u32, 0, pages.len() as u32)],
            pages,
        };
        Entry {
            database: DatabaseId([1; 16]),
            seq,
            epoch: 1,
            previous: map.entry,
            time_ms: seq,
            lease: Lease { owner: "me".to_owned(), token: [2; 16], held_ms: 0 },
            kind: Kind::Commit,
            change: Some(change),
        }
    }

    fn advanced(map: &PageMap, entry: &Entry) -> Result<PageMap, Malformed> {
        let mut map = map.clone();
        map.advance(entry, Digest::of(&entry.write()), 99)?;
        Ok(map)
    }

    fn history() -> PageMap {
        let mut map = PageMap::empty(DatabaseId([1; 16]));
        for (count, pages, is_base) in
            [(3, vec![1, 2, 3], true), (5, vec![2, 4, 5], false), (4, vec![1], false)]
        {
            let entry = next(&map, count, &pages, is_base);
            map = advanced(&map, &entry).unwrap();
            assert!(map.is_whole());
        }
        map
    }

    #[test]
    fn a_map_knows_the_newest_place_of_each_page() {
        let map = history();
        let source = |page| map.frame_of(page).map(|(_, _, source)| source);
        assert_eq!(source(1), Some(Source::Pack(Digest::of(&[3]))));
        assert_eq!(source(2), Some(Source::Log { seq: 2, head_bytes: 99 }));
        assert_eq!(source(3), Some(Source::Pack(Digest::of(&[1]))));
        assert_eq!((source(5), source(0)), (None, None));
        assert_eq!(map.sources().iter().map(|(_, bytes)| bytes).sum::<u64>(), 4 * 512);
    }

    #[test]
    fn a_map_comes_back_without_what_no_page_needs() {
        let map = history();
        let read = PageMap::read(&map.write()).unwrap();
        assert_eq!((read.root, read.seq, &read.hashes), (map.root, map.seq, &map.hashes));
        for page in 1..=4 {
            assert_eq!(read.frame_of(page).unwrap().2, map.frame_of(page).unwrap().2);
        }
        assert_eq!(read.sources.len(), 3);
        assert_eq!(PageMap::read(&read.write()).unwrap(), read);
    }

    #[test]
    fn a_damaged_map_is_refused() {
        let stored = history().write();
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(PageMap::read(&flipped).is_err(), "{bit}");
        }
    }

    #[test]
    fn only_the_entry_that_follows_is_taken() {
        let map = history();
        let good = next(&map, 4, &[2], false);
        advanced(&map, &good).unwrap();
        let refused = |spoil: fn(&mut Entry)| {
            let mut entry = good.clone();
            spoil(&mut entry);
            advanced(&map, &entry).unwrap_err()
        };
        refused(|entry| entry.seq += 1);
        refused(|entry| entry.database = DatabaseId([7; 16]));
        refused(|entry| entry.previous = Digest::default());
        refused(|entry| entry.epoch = 0);
        refused(|entry| entry.time_ms = 0);
        refused(|entry| entry.change.as_mut().unwrap().page_count = 6);
        refused(|entry| entry.change.as_mut().unwrap().page_size = 1_024);
        refused(|entry| entry.change.as_mut().unwrap().is_base = true);
    }

    #[test]
    fn pages_that_move_are_found_where_they_went() {
        let mut map = history();
        let packs: Vec<_> =
            [b"unneeded", b"new base"].map(|name| (Digest::of(name), vec![frame(0, 5, 2)])).into();
        let before = map.clone();
        assert!(!map.relocate(&packs, |_, _| None));
        assert_eq!(map, before);
        assert!(map.relocate(&packs, |page, _| [2, 3].contains(&page).then_some((1, 0))));
        assert_eq!(map.frame_of(3).unwrap().2, Source::Pack(packs[1].0));
        assert!(map.sources().iter().all(|(source, _)| *source != Source::Pack(packs[0].0)));
        assert_eq!(map.frame_of(4).unwrap().2, Source::Log { seq: 2, head_bytes: 99 });
        assert_eq!(PageMap::read(&map.write()).unwrap(), map);
    }
}
