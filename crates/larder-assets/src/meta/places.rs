//! Names of what lies below `.larder/meta/`.

use larder_core::Fault;
use larder_store::Place;

use crate::larder::{OWN_FOLDER, own_place};

/// A batch of the log: numbers of its oldest and its newest record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogName {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl LogName {
    pub(super) fn place(self) -> Result<Place, Fault> {
        own_place(&format!("meta/log/{:020}-{:020}.jsonl", self.first, self.last))
    }

    /// `None` for anything that is no name of ours.
    pub(super) fn of(place: &Place) -> Option<Self> {
        let name = place.as_str().strip_prefix(&log_prefix())?.strip_suffix(".jsonl")?;
        let (first, last) = name.split_once('-')?;
        Some(Self { first: number(first)?, last: number(last)? })
    }
}

pub(super) fn log_prefix() -> String {
    format!("{OWN_FOLDER}/meta/log/")
}

pub(super) fn base_prefix() -> String {
    format!("{OWN_FOLDER}/meta/base/")
}

pub(super) fn base_part(seq: i64, part: u32) -> Result<Place, Fault> {
    own_place(&format!("meta/base/{seq:020}/{part:08}.jsonl"))
}

/// What makes a base count: written after all of its parts.
pub(super) fn base_end(seq: i64) -> Result<Place, Fault> {
    own_place(&format!("meta/base/{seq:020}/complete.json"))
}

/// The number of the base that a place belongs to.
pub(super) fn base_of(place: &Place) -> Option<i64> {
    number(place.as_str().strip_prefix(&base_prefix())?.split('/').next()?)
}

pub(super) fn owner() -> Result<Place, Fault> {
    own_place("meta/owner.json")
}

fn number(digits: &str) -> Option<i64> {
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_their_numbers_and_read_back() {
        let (one, two) = (LogName { first: 9, last: 9 }, LogName { first: 10, last: 64 });
        assert!(one.place().unwrap() < two.place().unwrap());
        assert_eq!(LogName::of(&two.place().unwrap()), Some(two));
        assert_eq!(base_of(&base_part(7, 3).unwrap()), Some(7));
        for foreign in [".larder/meta/log/notes.jsonl", ".larder/meta/log/1-2.jsonl", "media/a"] {
            assert_eq!(LogName::of(&foreign.parse().unwrap()), None, "{foreign}");
        }
    }
}
