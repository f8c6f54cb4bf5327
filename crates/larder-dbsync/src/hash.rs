//! Digests of pages, objects and whole databases.

use std::fmt;

/// BLAKE3 of some bytes, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest that is printed so.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).ok()?;
        Some(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The first 16 bytes of BLAKE3: of a page, or of a stored frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ShortHash(pub [u8; 16]);

impl ShortHash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::cut(&blake3::hash(bytes))
    }

    fn cut(hash: &blake3::Hash) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_bytes()[..16]);
        Self(short)
    }
}

/// Bytes of the database header that belong to a file rather than to what it holds (SQLite file format, section
/// 1.3): the read and write versions, which say whether there is a WAL; the change counter, with the two fields that go
/// with it; and the schema cookie, by which connections to one file learn that its schema changed. Each file counts by
/// itself.
const OWN_BYTES: [std::ops::Range<usize>; 4] = [18..20, 24..28, 40..44, 92..100];

/// Length of the database header.
const HEADER_BYTES: usize = 100;

/// The hash of a page. Of page 1 the bytes of [`OWN_BYTES`] count as zero, so that two files with the same contents
/// are the same, however they came to them.
pub fn page_hash(number: u32, page: &[u8]) -> ShortHash {
    if number != 1 || page.len() < HEADER_BYTES {
        return ShortHash::of(page);
    }
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&page[..HEADER_BYTES]);
    for own in OWN_BYTES {
        header[own].fill(0);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header).update(&page[HEADER_BYTES..]);
    ShortHash::cut(&hasher.finalize())
}

/// The digest of a whole database: of its page size, its page count, and the hashes of its pages in order. The
/// page with the lock bytes, which SQLite never writes, counts with a hash of zeros.
pub fn root(page_size: u32, pages: &[ShortHash]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(b"larder database\0")
        .update(&page_size.to_le_bytes())
        .update(&(pages.len() as u32).to_le_bytes());
    // In chunks, so that the hasher gets enough at a time for its vector units.
    let mut buffer = Vec::with_capacity(16 * 4_096);
    for chunk in pages.chunks(4_096) {
        buffer.clear();
        chunk.iter().for_each(|hash| buffer.extend_from_slice(&hash.0));
        hasher.update(&buffer);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// The number of the page with the lock bytes, which lie at 1 GiB (SQLite file format, section 1.4). It is never
/// written; a database that is smaller has none.
pub fn lock_page(page_size: u32) -> u32 {
    (1 << 30) / page_size + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_1_is_the_same_whatever_its_file_counts() {
        let mut page = vec![7; 4_096];
        let before = page_hash(1, &page);
        for at in [18, 19, 24, 27, 40, 43, 92, 99] {
            page[at] ^= 0xff;
            assert_eq!(page_hash(1, &page), before, "{at}");
            assert_ne!(page_hash(2, &page), ShortHash::of(&[7; 4_096]), "{at}");
        }
        for at in [0, 17, 20, 23, 28, 39, 44, 91, 100, 4_095] {
            let mut other = page.clone();
            other[at] ^= 1;
            assert_ne!(page_hash(1, &other), before, "{at}");
        }
    }

    #[test]
    fn a_root_tells_sizes_apart() {
        let pages = vec![ShortHash::of(b"a"); 3];
        assert_ne!(root(4_096, &pages), root(8_192, &pages));
        assert_ne!(root(4_096, &pages), root(4_096, &pages[..2]));
        assert_eq!(root(4_096, &pages), root(4_096, &pages.clone()));
    }

    #[test]
    fn the_lock_page_is_where_sqlite_has_it() {
        assert_eq!([512, 4_096, 65_536].map(lock_page), [2_097_153, 262_145, 16_385]);
    }
}
