//! What the fuzz targets do with their bytes, so that an ordinary test can replay saved files.
//!
//! A target panics when a promise is broken; that the bytes are refused is no finding. Where a digest would refuse
//! nearly everything, it is put right first: whoever can write into the store can do that, too.

use crate::{
    format::{Entry, Frame, FramePages, Head, Keep, PageMap},
    hash::{Digest, ShortHash},
    wal,
};

/// A target: its name, and what it does with an input.
type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] =
    &[("db_entry", entry), ("db_frame", frame), ("db_map", map), ("db_note", note), ("db_wal", wal_frames)];

/// The names of all targets, which are also the folders of their saved files.
pub fn targets() -> impl Iterator<Item = &'static str> {
    TARGETS.iter().map(|target| target.0)
}

/// Runs the target of this name.
///
/// # Panics
/// If there is none, or if the bytes break a promise.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.0 == name);
    target.unwrap_or_else(|| panic!("no target {name}")).1(bytes);
}

/// The bytes with the digest at their end that belongs there.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let body = &bytes[..bytes.len().saturating_sub(32)];
    [body, &Digest::of(body).0].concat()
}

fn entry(bytes: &[u8]) {
    let _ = Entry::read(bytes);
    let mut bytes = bytes.to_vec();
    // The length of the head, so that the digest at its end is looked at.
    let length = bytes.len() as u32;
    if let Some(field) = bytes.get_mut(12..16) {
        field.copy_from_slice(&length.to_le_bytes());
    }
    let Ok(head) = Entry::read(&sealed(&bytes)) else { return };
    let again = Entry::read(&head.entry.write()).expect("what was read can be written and read");
    assert_eq!(again.entry, head.entry);
    let mut map = PageMap::empty(head.entry.database);
    if map.advance(&head.entry, head.digest, head.bytes).is_ok() && map.page_size > 0 {
        map.is_whole();
        for page in 1..=map.page_count().min(1_000) {
            map.frame_of(page);
        }
        let _ = PageMap::read(&map.write());
    }
}

fn map(bytes: &[u8]) {
    if let Ok(map) = PageMap::read(&sealed(bytes)) {
        let again = PageMap::read(&map.write()).expect("what was read can be written and read");
        assert_eq!((again.root, again.hashes), (map.root, map.hashes));
    }
}

fn frame(bytes: &[u8]) {
    let Some((&[size, pages], stored)) = bytes.split_first_chunk() else { return };
    let page_size = 512 << (size % 8);
    let frame = Frame {
        source: 0,
        offset: 0,
        stored_bytes: stored.len() as u32,
        pages: u32::from(pages) % 16 + 1,
        hash: ShortHash::of(stored),
    };
    if let Ok(read) = FramePages::read(&frame, page_size, stored) {
        assert_eq!(read.iter().count(), frame.pages as usize);
        assert!(read.iter().all(|(_, page)| page.len() == page_size as usize));
    }
}

fn note(bytes: &[u8]) {
    if let Ok(head) = Head::read(bytes) {
        assert_eq!(Head::read(&head.write()), Ok(head));
    }
    if let Ok(keep) = Keep::read(bytes) {
        assert_eq!(Keep::read(&keep.write()), Ok(keep));
    }
}

fn wal_frames(bytes: &[u8]) {
    let found = wal::frames_of(bytes);
    assert!(found.bytes <= bytes.len() as u64, "{found:?}");
}
