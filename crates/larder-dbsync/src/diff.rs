//! What a snapshot has that a version does not.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    format::{Change, Frame, FrameWriter, PageMap},
    hash::{Digest, ShortHash, lock_page, page_hash, root},
    pages::Snapshot,
};

/// Bytes of frames that an entry carries itself. What is larger goes ahead in packs of this size, so that memory
/// stays bounded, several travel at a time, and what is there already is known by its name when it is tried again.
pub const PACK_BYTES: usize = 8 << 20;

/// A change that is ready to become an entry.
#[derive(Debug)]
pub struct Diff {
    /// What the entry says.
    pub change: Change,
    /// The frames that follow its head.
    pub frames: Bytes,
    /// The hashes of all pages after it.
    pub hashes: Vec<ShortHash>,
}

impl Diff {
    /// Whether there is nothing to commit: contents are the same.
    pub fn is_empty(&self, base: &PageMap) -> bool {
        self.change.root == base.root
    }
}

/// Takes the bytes of a pack away, and puts them into the store before the change is committed.
pub type TakePack<'a> = &'a mut dyn FnMut(Digest, Bytes) -> Result<()>;

/// Compares a snapshot with a version: all pages, or those of `candidates` where it is certain that no other
/// changed, and those by which the database grew.
///
/// # Errors
/// Those of reading and of `take_pack`.
pub fn diff(
    snapshot: &Snapshot<'_>,
    base: &PageMap,
    candidates: Option<&BTreeSet<u32>>,
    take_pack: TakePack<'_>,
) -> Result<Diff> {
    let (page_size, page_count) = (snapshot.page_size(), snapshot.page_count());
    let is_base = base.page_size != page_size;
    let known = if is_base { &[] } else { base.hashes.as_slice() };
    let mut hashes = known.to_vec();
    hashes.resize(page_count as usize, ShortHash::default());
    let mut packer = Packer::new(page_size, take_pack);
    let mut compare = |number: u32, page: &[u8]| {
        let (hash, slot) = (page_hash(number, page), number as usize - 1);
        hashes[slot] = hash;
        if known.get(slot) == Some(&hash) { Ok(()) } else { packer.add(number, hash, page) }
    };
    match candidates.filter(|_| !is_base) {
        None => snapshot.all(&mut compare)?,
        Some(candidates) => {
            let mut candidates = candidates.clone();
            candidates.extend(known.len() as u32 + 1..=page_count);
            snapshot.some(&candidates, &mut compare)?;
        }
    }
    let Packed { packs, frames, pages, rest } = packer.finish()?;
    let root = root(page_size, &hashes);
    let without_lock = page_count - u32::from(page_count >= lock_page(page_size));
    // As good as one that was meant to have all: what was before is not needed any more.
    let is_base = is_base || pages.len() == without_lock as usize;
    let change = Change { page_size, page_count, root, is_base, packs, frames, pages };
    Ok(Diff { change, frames: rest.into(), hashes })
}

/// Packs pages into frames, and frames into packs.
pub struct Packer<'a> {
    writer: FrameWriter,
    hashes: Vec<ShortHash>,
    take_pack: TakePack<'a>,
    packed: Packed,
    /// Those of `packed.frames` from here on lie in `packed.rest`.
    in_rest: usize,
}

/// Pages that were packed.
#[derive(Debug, Default)]
pub struct Packed {
    pub packs: Vec<Digest>,
    pub frames: Vec<Frame>,
    pub pages: Vec<(u32, ShortHash)>,
    /// Frames that came into no pack.
    pub rest: Vec<u8>,
}

impl<'a> Packer<'a> {
    pub fn new(page_size: u32, take_pack: TakePack<'a>) -> Self {
        let writer = FrameWriter::new(page_size);
        Self { writer, hashes: Vec::new(), take_pack, packed: Packed::default(), in_rest: 0 }
    }

    pub fn add(&mut self, number: u32, hash: ShortHash, page: &[u8]) -> Result<()> {
        self.writer.add(number, page);
        self.hashes.push(hash);
        if self.writer.is_full() { self.end_frame() } else { Ok(()) }
    }

    fn end_frame(&mut self) -> Result<()> {
        if self.writer.is_empty() {
            return Ok(());
        }
        let finished = self.writer.finish();
        let (stored, numbers) =
            finished.map_err(|error| Error::Internal(format!("pages can't be compressed: {error}")))?;
        if self.packed.rest.len() + stored.len() > PACK_BYTES {
            self.end_pack()?;
        }
        self.packed.frames.push(Frame {
            source: 0,
            offset: self.packed.rest.len() as u64,
            stored_bytes: stored.len() as u32,
            pages: numbers.len() as u32,
            hash: ShortHash::of(&stored),
        });
        self.packed.pages.extend(numbers.into_iter().zip(self.hashes.drain(..)));
        self.packed.rest.extend_from_slice(&stored);
        Ok(())
    }

    fn end_pack(&mut self) -> Result<()> {
        let bytes = Bytes::from(std::mem::take(&mut self.packed.rest));
        let digest = Digest::of(&bytes);
        (self.take_pack)(digest, bytes)?;
        self.packed.packs.push(digest);
        let source = self.packed.packs.len() as u32;
        self.packed.frames[self.in_rest..].iter_mut().for_each(|frame| frame.source = source);
        self.in_rest = self.packed.frames.len();
        Ok(())
    }

    pub fn finish(mut self) -> Result<Packed> {
        self.end_frame()?;
        Ok(self.packed)
    }

    /// As [`finish`](Self::finish), with everything in packs.
    pub fn finish_in_packs(mut self) -> Result<Packed> {
        self.end_frame()?;
        if !self.packed.rest.is_empty() {
            self.end_pack()?;
        }
        Ok(self.packed)
    }
}
