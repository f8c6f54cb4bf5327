//! Small objects in JSON: the hint where to begin, and marks that keep a version.

use serde::{Deserialize, Serialize};

use super::{DatabaseId, wire::Malformed};
use crate::hash::Digest;

/// The object `head`: a hint where a reader begins. Never trusted: what it names is checked, and the log from there on
/// is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Whose head it is.
    pub database: DatabaseId,
    /// The number of a map, or of an entry that has all pages.
    pub seq: u64,
    /// Whether that is a map.
    pub is_map: bool,
}

/// The object `keep/<name>`: a version that is kept, whatever its age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Whose version it is.
    pub database: DatabaseId,
    /// The entry that made it.
    pub seq: u64,
    /// The digest of its pages.
    pub root: Digest,
    /// When it was marked, in milliseconds since 1970.
    pub time_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadText {
    format: u16,
    database: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeepText {
    format: u16,
    database: String,
    seq: u64,
    root: String,
    time_ms: u64,
    /// Of all the others: what may be relied on for years is worth a check.
    sum: String,
}

impl KeepText {
    fn sum(&self) -> String {
        let Self { format, database, seq, root, time_ms, .. } = self;
        Digest::of(format!("keep {format} {database} {seq} {root} {time_ms}").as_bytes()).to_string()
    }
}

const NOT_JSON: Malformed = Malformed::Because("it is not what was written there");

impl Head {
    /// The object as it is stored.
    pub fn write(&self) -> Vec<u8> {
        let text = HeadText {
            format: super::VERSION,
            database: self.database.to_string(),
            map: self.is_map.then_some(self.seq),
            base: (!self.is_map).then_some(self.seq),
        };
        serde_json::to_vec(&text).unwrap_or_default()
    }

    /// Reads the object.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let text: HeadText = serde_json::from_slice(bytes).map_err(|_| NOT_JSON)?;
        check(text.format)?;
        let database = DatabaseId::parse(&text.database).ok_or(NOT_JSON)?;
        match (text.map, text.base) {
            (Some(seq), None) => Ok(Self { database, seq, is_map: true }),
            (None, Some(seq)) => Ok(Self { database, seq, is_map: false }),
            _ => Err(NOT_JSON),
        }
    }
}

impl Keep {
    /// The object as it is stored.
    pub fn write(&self) -> Vec<u8> {
        let mut text = KeepText {
            format: super::VERSION,
            database: self.database.to_string(),
            seq: self.seq,
            root: self.root.to_string(),
            time_ms: self.time_ms,
            sum: String::new(),
        };
        text.sum = text.sum();
        serde_json::to_vec(&text).unwrap_or_default()
    }

    /// Reads the object.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let text: KeepText = serde_json::from_slice(bytes).map_err(|_| NOT_JSON)?;
        check(text.format)?;
        if text.sum != text.sum() {
            return Err(Malformed::Because("its digest is not that of what it says"));
        }
        let database = DatabaseId::parse(&text.database).ok_or(NOT_JSON)?;
        let root = Digest::parse(&text.root).ok_or(NOT_JSON)?;
        Ok(Self { database, seq: text.seq, root, time_ms: text.time_ms })
    }
}

fn check(version: u16) -> Result<(), Malformed> {
    if version == super::VERSION { Ok(()) } else { Err(Malformed::Version(version)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back() {
        for is_map in [true, false] {
            let head = Head { database: DatabaseId([5; 16]), seq: 12, is_map };
            assert_eq!(Head::read(&head.write()), Ok(head));
        }
        let keep = Keep {
            database: DatabaseId([5; 16]),
            seq: 3,
            root: Digest::of(b"x"),
            time_ms: 1_700_000_000_000,
        };
        assert_eq!(Keep::read(&keep.write()), Ok(keep.clone()));
        let stored = keep.write();
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Digits of a digest may change their case.
            assert!(Keep::read(&flipped).is_err() || Keep::read(&flipped) == Ok(keep.clone()), "{bit}");
        }
        assert!(Head::read(b"{}").is_err());
        let later = br#"{"format":2,"database":"05","map":1}"#;
        assert_eq!(Head::read(later), Err(Malformed::Version(2)));
    }
}
