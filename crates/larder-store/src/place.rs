//! Places: names of bytes in a store.

use std::{fmt, str::FromStr};

use larder_core::ObjectKey;
use sha2::{Digest, Sha256};

/// Longest place in bytes: `PATH_MAX` of Linux.
pub const PLACE_BYTES_MAX: usize = 4_096;

/// Longest segment of a place in bytes: `NAME_MAX` of the usual file systems.
pub const SEGMENT_BYTES_MAX: usize = 255;

/// Longest prefix of a bucket in bytes, so that prefix and key together always fit into a place.
pub const PREFIX_BYTES_MAX: usize = 1_024;

/// First segment, below a bucket's prefix, of every place that is not the key itself.
const ESCAPED_SEGMENT: &str = "_keys";

/// First segment, below a bucket's prefix, of every place that is the digest of its bytes.
const CONTENT_SEGMENT: &str = "_hash";

/// Longest readable tail of an escaped place; with the digest before it, a name of 129 bytes, which
/// also fits file systems that encrypt names (143 bytes).
const TAIL_BYTES_MAX: usize = 64;

/// Why a text is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// No characters, or nothing between two slashes, before the first or after the last.
    #[error("the place \"{0}\" has an empty segment")]
    EmptySegment(String),
    /// `.` or `..` as a segment.
    #[error("the place \"{0}\" has a dot segment")]
    DotSegment(String),
    /// NUL or another control character.
    #[error("the place {0:?} holds a control character")]
    Control(String),
    /// A segment or the whole is too long.
    #[error("the place or a segment of it is too long: {bytes} bytes, at most {limit} are possible")]
    TooLong {
        /// Bytes there are.
        bytes: usize,
        /// Most bytes possible.
        limit: usize,
    },
}

/// Where bytes lie in a store: plain segments joined by `/`.
///
/// Each segment has 1 to 255 bytes, is neither `.` nor `..` and holds no control character; the
/// whole has at most 4,096 bytes. Places compare bytewise. That a text is a place says nothing
/// about whether bytes lie there, nor that a given store can hold it: on a disk, `a` blocks `a/b`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(Box<str>);

impl Place {
    /// The natural, readable place of a key under a bucket's prefix, `<prefix>/<key>`; or, where the
    /// key is no path (empty segments, a trailing slash, a segment over 255 bytes) or lies under
    /// `_keys/` or `_hash/`, its [escaped](Self::escaped) place. An empty prefix is the store's own root.
    ///
    /// # Panics
    /// If `prefix` fails [`check_prefix`](Self::check_prefix). Prefixes come from a bucket's policy and
    /// are checked where that is read.
    pub fn of_key(prefix: &str, key: &ObjectKey) -> Self {
        let segments = || key.as_str().split('/');
        let is_ours = matches!(segments().next(), Some(ESCAPED_SEGMENT | CONTENT_SEGMENT));
        if is_ours || segments().any(|segment| check_segment(segment).is_err()) {
            return Self::escaped(prefix, key);
        }
        Self::under(prefix, key.as_str())
    }

    /// The place of a key that can't lie under its own name:
    /// `<prefix>/_keys/<SHA-256 of the key>-<readable tail>`.
    ///
    /// Never equal to the natural place of any key, and, by the digest, never to the escaped place
    /// of another one.
    ///
    /// # Panics
    /// As [`Place::of_key`].
    pub fn escaped(prefix: &str, key: &ObjectKey) -> Self {
        let digest = hex::encode(Sha256::digest(key.as_str().as_bytes()));
        let tail = readable_tail(key.as_str());
        Self::under(prefix, &format!("{ESCAPED_SEGMENT}/{digest}-{tail}"))
    }

    /// The place of bytes by their SHA-256 in hex, `<prefix>/_hash/<2 digits>/<2 digits>/<digest>.<extension>`;
    /// `None` if either text is none. Never the natural or escaped place of a key.
    ///
    /// The extension tells other servers of the folder the type; as it follows from the bytes, equal bytes
    /// have one place.
    ///
    /// # Panics
    /// As [`Place::of_key`].
    pub fn of_content(prefix: &str, sha256: &str, extension: &str) -> Option<Self> {
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_digest(sha256) || !is_plain(extension) || extension.len() > 16 {
            return None;
        }
        let (first, second) = (&sha256[..2], &sha256[2..4]);
        Some(Self::under(prefix, &format!("{CONTENT_SEGMENT}/{first}/{second}/{sha256}.{extension}")))
    }

    /// The SHA-256 that this place stands for, if it is one of [`of_content`](Self::of_content).
    pub fn content(&self) -> Option<&str> {
        let mut segments = self.segments().rev();
        let sha256 = segments.next()?.split_once('.')?.0;
        let (second, first) = (segments.next()?, segments.next()?);
        let is_content = is_digest(sha256)
            && (first, second) == (&sha256[..2], &sha256[2..4])
            && segments.next() == Some(CONTENT_SEGMENT);
        is_content.then_some(sha256)
    }

    /// Whether a text can be the prefix of a bucket's places: empty, or a place of at most
    /// [`PREFIX_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_prefix(prefix: &str) -> Result<(), PlaceError> {
        match prefix.len() {
            0 => Ok(()),
            bytes if bytes > PREFIX_BYTES_MAX => Err(PlaceError::TooLong { bytes, limit: PREFIX_BYTES_MAX }),
            _ => check(prefix),
        }
    }

    fn under(prefix: &str, rest: &str) -> Self {
        if prefix.is_empty() {
            return Self(rest.into());
        }
        if let Err(error) = Self::check_prefix(prefix) {
            panic!("the prefix of a bucket was not checked: {error}");
        }
        Self(format!("{prefix}/{rest}").into())
    }

    /// The place as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The place `rest`, one or more segments, below this one.
    ///
    /// # Errors
    /// As for parsing a place.
    pub fn join(&self, rest: &str) -> Result<Self, PlaceError> {
        format!("{self}/{rest}").parse()
    }

    /// The segments in order; at least one.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The place above, `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.into()))
    }

    /// Whether this place lies below `folder` (and is not `folder` itself).
    pub fn lies_below(&self, folder: &str) -> bool {
        self.0.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn check(text: &str) -> Result<(), PlaceError> {
    if text.len() > PLACE_BYTES_MAX {
        return Err(PlaceError::TooLong { bytes: text.len(), limit: PLACE_BYTES_MAX });
    }
    text.split('/').try_for_each(check_segment)
}

fn check_segment(segment: &str) -> Result<(), PlaceError> {
    match segment {
        "" => Err(PlaceError::EmptySegment(segment.to_owned())),
        "." | ".." => Err(PlaceError::DotSegment(segment.to_owned())),
        _ if segment.len() > SEGMENT_BYTES_MAX => {
            Err(PlaceError::TooLong { bytes: segment.len(), limit: SEGMENT_BYTES_MAX })
        }
        _ if segment.chars().any(char::is_control) => Err(PlaceError::Control(segment.to_owned())),
        _ => Ok(()),
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The end of a key, with everything but letters, digits, dots and dashes replaced, so that a
/// person can tell what lies there and a file keeps its extension.
fn readable_tail(key: &str) -> String {
    let name = key.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let plain: String = name
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => character,
            _ => '_',
        })
        .collect();
    plain[plain.len().saturating_sub(TAIL_BYTES_MAX)..].to_owned()
}

impl std::borrow::Borrow<str> for Place {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> ObjectKey {
        text.parse().unwrap()
    }

    #[test]
    fn an_ordinary_key_is_its_own_place() {
        assert_eq!(
            Place::of_key("media", &key("keep/42/beach day.jpg")).as_str(),
            "media/keep/42/beach day.jpg"
        );
        assert_eq!(Place::of_key("", &key("日本.png")).as_str(), "日本.png");
        assert_eq!(Place::of_key("a/b", &key("...")).as_str(), "a/b/...");
    }

    #[test]
    fn keys_that_are_no_paths_are_escaped_and_keep_their_extension() {
        let long = format!("{}.jpg", "x".repeat(300));
        for awkward in ["a//b.jpg", "a/b.jpg/", long.as_str(), "_keys/b.jpg", "_keys", "_hash/b.jpg"] {
            let place = Place::of_key("media", &key(awkward));
            assert!(place.as_str().starts_with("media/_keys/"), "{place}");
            assert!(place.as_str().parse::<Place>().is_ok(), "{place}");
        }
        assert!(Place::of_key("media", &key("a//b.jpg")).as_str().ends_with("-b.jpg"));
        assert!(Place::of_key("media", &key("a/b.jpg/")).as_str().ends_with("-b.jpg"));
        assert!(Place::of_key("media", &key("a//b c;d.jpg")).as_str().ends_with("-b_c_d.jpg"));
    }

    #[test]
    fn an_escaped_place_is_never_the_natural_place_of_another_key() {
        let victim = key("a//b");
        let escaped = Place::escaped("media", &victim);
        let attacker = key(escaped.as_str().strip_prefix("media/").unwrap());
        assert_ne!(Place::of_key("media", &attacker), escaped);
    }

    #[test]
    fn bytes_have_a_place_by_their_digest_that_no_key_has() {
        let sha256 = "ab12".repeat(16);
        let content = Place::of_content("media", &sha256, "jpg").unwrap();
        assert_eq!(content.as_str(), format!("media/_hash/ab/12/{sha256}.jpg"));
        assert_eq!(content.content(), Some(sha256.as_str()));
        let attacker = key(content.as_str().strip_prefix("media/").unwrap());
        assert_ne!(Place::of_key("media", &attacker), content);
        assert_eq!(Place::of_key("media", &attacker).content(), None);
        for (sha256, extension) in [("ab12", "jpg"), (sha256.as_str(), "a/b"), (&"AB12".repeat(16), "jpg")] {
            assert_eq!(Place::of_content("media", sha256, extension), None, "{sha256}.{extension}");
        }
        for other in
            ["media/a.jpg", &format!("media/ab/12/{sha256}.jpg"), &format!("_hash/ab/13/{sha256}.jpg")]
        {
            assert_eq!(other.parse::<Place>().unwrap().content(), None, "{other}");
        }
    }

    #[test]
    fn hostile_texts_are_no_places() {
        for text in ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/./b", "a\0b", "a\nb"] {
            assert!(text.parse::<Place>().is_err(), "{text:?}");
        }
        assert!("x".repeat(255).parse::<Place>().is_ok());
        assert!("x".repeat(256).parse::<Place>().is_err());
        assert!(["x"; 2_048].join("/").parse::<Place>().is_ok());
        assert!(["x"; 2_049].join("/").parse::<Place>().is_err());
    }

    #[test]
    fn a_prefix_is_empty_or_a_place_that_leaves_room_for_keys() {
        assert!(Place::check_prefix("").is_ok());
        assert!(Place::check_prefix("media/artwork").is_ok());
        for wrong in ["/", "media/", "../x", &["x"; 600].join("/")] {
            assert!(Place::check_prefix(wrong).is_err(), "{wrong}");
        }
        let (prefix, longest) = (["x"; 512].join("/"), "k/".repeat(511) + "kk");
        let place = Place::of_key(&prefix, &key(&longest));
        assert!(place.as_str().parse::<Place>().is_ok());
    }

    #[test]
    fn lying_below_a_folder_is_not_sharing_its_first_letters() {
        let place: Place = "media/a".parse().unwrap();
        assert!(place.lies_below("media"));
        assert!(!place.lies_below("med"));
        assert!(!place.lies_below("media/a"));
    }

    proptest! {
        #[test]
        fn every_key_has_a_valid_place_of_its_own(one in "[a-c./_\\PC]{1,30}", two in "[a-c./_\\PC]{1,30}") {
            let (Ok(one), Ok(two)) = (one.parse::<ObjectKey>(), two.parse::<ObjectKey>()) else {
                return Ok(());
            };
            let places = [Place::of_key("p", &one), Place::of_key("p", &two)];
            prop_assert!(places.iter().all(|place| place.as_str().parse::<Place>().is_ok()));
            prop_assert_eq!(one == two, places[0] == places[1]);
        }
    }
}
