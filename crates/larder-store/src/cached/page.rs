//! What bytes are called in the cache: the place, which bytes lay there, and the number of a page of them.

use std::{fmt, ops::Range, str::FromStr};

use sha2::{Digest, Sha256};

use crate::{place::Place, store::Stat};

/// A place of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PlaceId(u128);

/// Certain bytes at a place: others that come to lie there later are another object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ObjectId {
    pub(super) place: PlaceId,
    bytes: u128,
}

/// One page of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PageKey {
    pub(super) object: ObjectId,
    pub(super) number: u64,
}

impl PlaceId {
    /// The id of a place in the store of this identity.
    pub(super) fn of(identity: &str, place: &Place) -> Self {
        Self(digest(&[identity, place.as_str()]))
    }
}

impl ObjectId {
    /// The id of the bytes at a place. The size of a page is a part of it, since it decides which bytes a
    /// page's number means.
    pub(super) fn of(identity: &str, place: &Place, stat: &Stat, page_bytes: u64) -> Self {
        let sizes = format!("{}/{page_bytes}", stat.size_bytes);
        let bytes = digest(&[identity, place.as_str(), stat.fingerprint.as_str(), &sizes]);
        Self { place: PlaceId::of(identity, place), bytes }
    }

    pub(super) fn page(self, number: u64) -> PageKey {
        PageKey { object: self, number }
    }
}

/// 128 bits of SHA-256: nobody finds two texts with the same ones. No text holds a NUL.
fn digest(texts: &[&str]) -> u128 {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    }
    let digest = hasher.finalize();
    u128::from_be_bytes(std::array::from_fn(|index| digest[index]))
}

/// How an object of some size falls into pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paging {
    pub(super) page_bytes: u64,
    pub(super) size_bytes: u64,
}

impl Paging {
    /// The page that holds a byte.
    pub(super) fn page_of(self, offset: u64) -> u64 {
        offset / self.page_bytes
    }

    /// The pages that hold a range of bytes that is not empty.
    pub(super) fn pages_of(self, range: &Range<u64>) -> Range<u64> {
        self.page_of(range.start)..self.page_of(range.end - 1) + 1
    }

    /// The bytes of some pages.
    pub(super) fn bytes_of(self, pages: Range<u64>) -> Range<u64> {
        pages.start * self.page_bytes..(pages.end * self.page_bytes).min(self.size_bytes)
    }
}

impl fmt::Display for PageKey {
    /// As the name of a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{:032x}-{:x}", self.object.place.0, self.object.bytes, self.number)
    }
}

impl FromStr for PageKey {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let mut parts = name.split('-');
        let mut part = || parts.next().and_then(|text| u128::from_str_radix(text, 16).ok()).ok_or(());
        let (place, bytes, number) = (PlaceId(part()?), part()?, part()?);
        let key = ObjectId { place, bytes }.page(u64::try_from(number).map_err(drop)?);
        // Only the one way in which it is written: no other name is a page of ours.
        if key.to_string() == name { Ok(key) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use larder_core::Timestamp;

    use super::*;
    use crate::store::{Attributes, Fingerprint};

    fn stat(fingerprint: &str, size_bytes: u64) -> Stat {
        let modified = Timestamp::from_millis(0);
        Stat {
            size_bytes,
            fingerprint: Fingerprint::new(fingerprint),
            modified,
            attributes: Attributes::default(),
        }
    }

    #[test]
    fn other_bytes_another_place_and_another_store_are_other_objects() {
        let of = |identity, place: &str, fingerprint, size| {
            ObjectId::of(identity, &place.parse().unwrap(), &stat(fingerprint, size), 10)
        };
        let one = of("s", "a", "f", 1);
        assert_eq!(one, of("s", "a", "f", 1));
        assert_eq!(one.place, of("s", "a", "g", 1).place);
        for other in [of("s", "a", "g", 1), of("s", "a", "f", 2), of("s", "b", "f", 1), of("t", "a", "f", 1)]
        {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn the_name_of_a_page_is_read_back_and_no_other_name_is_one() {
        let key = ObjectId::of("s", &"a".parse().unwrap(), &stat("f", 1), 10).page(31);
        assert_eq!(key.to_string().parse(), Ok(key));
        let upper = key.to_string().to_uppercase();
        for name in ["", "1-2-3", "lock", &upper, &format!("{key}-0"), &format!("+{}", &key.to_string()[1..])]
        {
            assert_eq!(name.parse::<PageKey>(), Err(()), "{name}");
        }
    }

    #[test]
    fn pages_cover_a_range_and_the_last_one_ends_with_the_object() {
        let paging = Paging { page_bytes: 10, size_bytes: 25 };
        assert_eq!(paging.pages_of(&(0..10)), 0..1);
        assert_eq!(paging.pages_of(&(9..11)), 0..2);
        assert_eq!(paging.pages_of(&(20..25)), 2..3);
        assert_eq!((paging.bytes_of(0..1), paging.bytes_of(1..3)), (0..10, 10..25));
    }
}
