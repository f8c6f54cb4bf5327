//! Entries of the log. That one is created is the commit of what it says.

use super::{
    DatabaseId, Frame, VERSION, is_page_size,
    wire::{Malformed, Reader, Writer},
};
use crate::hash::{Digest, ShortHash, lock_page};

const MAGIC: &[u8; 8] = b"LARDERDB";

/// Bytes of an entry that tell how long its head is: magic, version, kind, a zero, length.
pub const PREFIX_BYTES: usize = 16;

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It changes pages.
    Commit,
    /// Somebody takes the database, or keeps it.
    Claim,
    /// Its holder lets it go.
    Release,
    /// Its holder has moved frames to other objects: a map that was read before it names places that are no longer.
    Moved,
}

/// Who writes, and for how long nobody else should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The writer as it names itself: machine and process.
    pub owner: String,
    /// Drawn by the writer; tells it from others of the same name.
    pub token: [u8; 16],
    /// For how long after this entry was seen nobody else takes over; zero if it is free.
    pub held_ms: u32,
}

/// The head of an entry: everything but its frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose log this is.
    pub database: DatabaseId,
    /// Its number. The first has 1.
    pub seq: u64,
    /// Counts the writers: raised by each that takes over.
    pub epoch: u64,
    /// The digest of the entry before; zeros before the first.
    pub previous: Digest,
    /// When it was written by the clock of its writer, in milliseconds since 1970, never before the entry before it.
    pub time_ms: u64,
    /// Who wrote it, and whether it goes on holding the database.
    pub lease: Lease,
    /// What it does.
    pub kind: Kind,
    /// What it changes, for a commit.
    pub change: Option<Change>,
}

/// The pages that a commit changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Bytes of a page.
    pub page_size: u32,
    /// Pages of the database after it.
    pub page_count: u32,
    /// The root of the database after it.
    pub root: Digest,
    /// Whether it has all pages, whatever was before.
    pub is_base: bool,
    /// Packs in which frames lie that are not in the entry itself: source `n + 1` of frames is the `n`th.
    pub packs: Vec<Digest>,
    /// The frames, in the order of their pages.
    pub frames: Vec<Frame>,
    /// The pages by ascending number, frame after frame. Of a base these are all but the one with the lock bytes.
    pub pages: Vec<(u32, ShortHash)>,
}

/// A head that was read, with its digest and length: where frames begin that lie in the entry.
#[derive(Debug, Clone)]
pub struct EntryHead {
    /// What it says.
    pub entry: Entry,
    /// The digest of the head, which covers the hashes of its frames; the next entry names it.
    pub digest: Digest,
    /// Its length. Offsets of frames in the entry count from here.
    pub bytes: u64,
}

impl Entry {
    /// The head as it is stored. Frames of the entry itself follow it.
    pub fn write(&self) -> Vec<u8> {
        let mut body = Writer::default();
        body.bytes(&self.database.0);
        body.u64(self.seq);
        body.u64(self.epoch);
        body.bytes(&self.previous.0);
        body.u64(self.time_ms);
        body.bytes(&self.lease.token);
        body.u32(self.lease.held_ms);
        body.text(&self.lease.owner);
        if let Some(change) = &self.change {
            change.write(&mut body);
        }
        let mut head = Writer::default();
        head.bytes(MAGIC);
        head.u16(VERSION);
        head.u8(match self.kind {
            Kind::Commit => 1,
            Kind::Claim => 2,
            Kind::Release => 3,
            Kind::Moved => 4,
        });
        head.u8(0);
        head.u32((PREFIX_BYTES + body.0.len() + 32) as u32);
        head.bytes(&body.0);
        head.seal()
    }

    /// The length of the head that begins so.
    pub fn head_bytes(prefix: &[u8]) -> Result<usize, Malformed> {
        let mut reader = Reader::new(prefix);
        if reader.bytes(8)? != MAGIC {
            return Err(Malformed::Because("it does not begin as an entry of a log"));
        }
        match reader.u16()? {
            VERSION => {}
            other => return Err(Malformed::Version(other)),
        }
        reader.u16()?;
        match reader.u32()? as usize {
            length if length >= PREFIX_BYTES + 32 => Ok(length),
            _ => Err(Malformed::Because("its head is too short")),
        }
    }

    /// Reads the head at the beginning of `bytes`.
    pub fn read(bytes: &[u8]) -> Result<EntryHead, Malformed> {
        let length = Self::head_bytes(bytes)?;
        let head = bytes.get(..length).ok_or(Malformed::Because("it is cut off"))?;
        let (mut reader, digest) = Reader::sealed(head)?;
        reader.bytes(10)?;
        let kind = match reader.u8()? {
            1 => Kind::Commit,
            2 => Kind::Claim,
            3 => Kind::Release,
            4 => Kind::Moved,
            _ => return Err(Malformed::Because("it is of no kind that is known")),
        };
        reader.bytes(PREFIX_BYTES - 11)?;
        let database = DatabaseId(reader.array()?);
        let (seq, epoch, previous, time_ms) = (reader.u64()?, reader.u64()?, reader.digest()?, reader.u64()?);
        let (token, held_ms, owner) = (reader.array()?, reader.u32()?, reader.text()?);
        let change = match kind {
            Kind::Commit => Some(Change::read(&mut reader)?),
            _ => None,
        };
        reader.end()?;
        let lease = Lease { owner, token, held_ms };
        let entry = Self { database, seq, epoch, previous, time_ms, lease, kind, change };
        Ok(EntryHead { entry, digest, bytes: length as u64 })
    }
}

impl Change {
    fn write(&self, writer: &mut Writer) {
        writer.u32(self.page_size);
        writer.u32(self.page_count);
        writer.bytes(&self.root.0);
        writer.u8(u8::from(self.is_base));
        writer.varint(self.packs.len() as u64);
        self.packs.iter().for_each(|pack| writer.bytes(&pack.0));
        writer.varint(self.frames.len() as u64);
        self.frames.iter().for_each(|frame| frame.write(writer));
        writer.varint(self.pages.len() as u64);
        let mut last = 0;
        // All pages need not be numbered: a fifteenth of the head of a large base.
        for (number, _) in self.pages.iter().filter(|_| !self.is_base) {
            writer.varint(u64::from(number - last));
            last = *number;
        }
        self.pages.iter().for_each(|(_, hash)| writer.bytes(&hash.0));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (page_size, page_count, root) = (reader.u32()?, reader.u32()?, reader.digest()?);
        if !is_page_size(page_size) || page_count == 0 {
            return Err(Malformed::Because("no database has pages of this size or number"));
        }
        let is_base = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed::Because("a flag is neither set nor unset")),
        };
        let packs = (0..reader.count(32)?).map(|_| reader.digest()).collect::<Result<Vec<_>, _>>()?;
        let frames = (0..reader.count(Frame::LEAST_BYTES)?)
            .map(|_| Frame::read(reader, page_size, packs.len() + 1))
            .collect::<Result<Vec<_>, _>>()?;
        let count = reader.count(if is_base { 16 } else { 17 })?;
        let in_frames: u64 = frames.iter().map(|frame| u64::from(frame.pages)).sum();
        if in_frames != count as u64 {
            return Err(Malformed::Because("its frames have not the pages that it names"));
        }
        let mut pages = Vec::with_capacity(count);
        if is_base {
            let lock = lock_page(page_size);
            if count as u64 != u64::from(page_count) - u64::from(page_count >= lock) {
                return Err(Malformed::Because("it has not all pages, though it says so"));
            }
            let numbers = (1..=page_count).filter(|number| *number != lock);
            pages.extend(numbers.map(|number| (number, ShortHash::default())));
        } else {
            let mut last = 0_u32;
            for _ in 0..count {
                let number = last
                    .checked_add(reader.varint_u32()?)
                    .filter(|number| *number > last && *number <= page_count);
                last = number.ok_or(Malformed::Because("its pages are not in order"))?;
                pages.push((last, ShortHash::default()));
            }
        }
        for (_, hash) in &mut pages {
            *hash = reader.short_hash()?;
        }
        Ok(Self { page_size, page_count, root, is_base, packs, frames, pages })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn sample() -> Entry {
        let frame = |source, offset, pages| Frame {
            source,
            offset,
            stored_bytes: 100,
            pages,
            hash: ShortHash::of(&[source as u8]),
        };
        Entry {
            database: DatabaseId([3; 16]),
            seq: 7,
            epoch: 2,
            previous: Digest::of(b"before"),
            time_ms: 1_700_000_000_000,
            lease: Lease { owner: "host:1".to_owned(), token: [9; 16], held_ms: 30_000 },
            kind: Kind::Commit,
            change: Some(Change {
                page_size: 4_096,
                page_count: 500,
                root: Digest::of(b"root"),
                is_base: false,
                packs: vec![Digest::of(b"pack")],
                frames: vec![frame(0, 0, 2), frame(1, 77, 1)],
                pages: [1, 300, 500].map(|number| (number, ShortHash::of(&[number as u8]))).to_vec(),
            }),
        }
    }

    #[test]
    fn an_entry_comes_back_with_its_digest() {
        let entry = sample();
        let mut stored = entry.write();
        let length = stored.len();
        stored.extend_from_slice(b"frames follow");
        let head = Entry::read(&stored).unwrap();
        assert_eq!((head.entry, head.bytes), (entry, length as u64));
        assert_eq!(Entry::head_bytes(&stored[..PREFIX_BYTES]), Ok(length));
        for kind in [Kind::Claim, Kind::Release, Kind::Moved] {
            let entry = Entry { kind, change: None, ..sample() };
            assert_eq!(Entry::read(&entry.write()).unwrap().entry, entry);
        }
    }

    #[test]
    fn an_entry_that_was_damaged_is_refused() {
        let stored = sample().write();
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Entry::read(&flipped).is_err(), "{bit}");
        }
        for length in 0..stored.len() {
            assert!(Entry::read(&stored[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_even_if_it_is_sealed() {
        let refused = |spoil: fn(&mut Change)| {
            let mut entry = sample();
            spoil(entry.change.as_mut().unwrap());
            Entry::read(&entry.write()).unwrap_err()
        };
        refused(|change| change.page_size = 1_000);
        refused(|change| change.page_count = 499);
        refused(|change| change.page_count = 0);
        refused(|change| change.frames[0].pages = 3);
        refused(|change| change.frames[0].source = 2);
        refused(|change| change.pages[0].0 = 0);
        refused(|change| change.frames[0].stored_bytes = 1 << 30);
        refused(|change| change.is_base = true);
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        let mut stored = sample().write();
        stored[8] = 2;
        assert_eq!(Entry::read(&stored).unwrap_err(), Malformed::Version(2));
    }
}
