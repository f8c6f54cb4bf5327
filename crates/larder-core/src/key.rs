//! Names that strangers choose: buckets and object keys.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest object key in bytes, the limit of S3 (PutObject).
pub const KEY_BYTES_MAX: usize = 1_024;

/// Prefixes of keys that belong to Larder itself.
pub const RESERVED_PREFIXES: &[&str] = &[".larder/", "_variants/"];

/// Bucket names that would hide a route of the API.
pub const RESERVED_BUCKETS: &[&str] = &["api", "tus", "metrics", "healthz", "readyz"];

/// Why a name was refused; the text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name has no characters.
    #[error("the name is empty")]
    Empty,
    /// The name is longer than the limit.
    #[error("the name has {bytes} bytes, at most {limit} are possible")]
    TooLong {
        /// Bytes of the name in UTF-8.
        bytes: usize,
        /// Most bytes possible.
        limit: usize,
    },
    /// NUL or another control character.
    #[error("the name holds the control character U+{0:04X}")]
    Control(u32),
    /// A `.` or `..` between slashes.
    #[error("the name holds the path segment \"{0}\"")]
    DotSegment(&'static str),
    /// A slash at the beginning.
    #[error("the name begins with a slash")]
    LeadingSlash,
    /// The name lies under a prefix of Larder's own.
    #[error("names under \"{0}\" belong to Larder")]
    Reserved(&'static str),
    /// A bucket name outside the rules of S3.
    #[error("{0}")]
    Bucket(&'static str),
}

/// The key of an asset in its bucket: 1 to 1,024 bytes of UTF-8, compared bytewise.
///
/// Refused are NUL and control characters, `.` and `..` as path segments, a leading slash, and the
/// prefixes of [`RESERVED_PREFIXES`]. Everything else is possible, `a//b` and a trailing slash
/// included; a store that can't hold such a name as a path gives it an escaped place.
///
/// ```
/// use larder_core::ObjectKey;
/// assert!("keep/42/beach day.jpg".parse::<ObjectKey>().is_ok());
/// assert!("../secret".parse::<ObjectKey>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Box<str>);

/// Prefix of the names that stand among keys and that no asset can have.
const OWN_PREFIX: &str = ".larder/";

impl ObjectKey {
    /// A name of Larder's own among the keys of a bucket, `.larder/<name>`: no stranger's text is ever equal
    /// to it.
    ///
    /// # Errors
    /// As for parsing the key `name`.
    pub fn own(name: &str) -> Result<Self, KeyError> {
        check_key(name)?;
        Ok(Self(format!("{OWN_PREFIX}{name}").into()))
    }

    /// A key, or a name of [`own`](Self::own), that was stored as text.
    ///
    /// # Errors
    /// As for parsing.
    pub fn stored(text: &str) -> Result<Self, KeyError> {
        match text.strip_prefix(OWN_PREFIX) {
            Some(name) => Self::own(name),
            None => text.parse(),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last slash.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The extension of the file name in lower case, without its dot. A leading dot begins a hidden
    /// file's name, no extension.
    pub fn extension(&self) -> Option<String> {
        extension_of(self.file_name())
    }
}

/// The extension of a file name in lower case, without its dot; `None` for `.hidden` and `name.`.
pub fn extension_of(file_name: &str) -> Option<String> {
    let (stem, extension) = file_name.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then(|| extension.to_lowercase())
}

impl FromStr for ObjectKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        check_key(text)?;
        Ok(Self(text.into()))
    }
}

fn check_key(text: &str) -> Result<(), KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    if text.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong { bytes: text.len(), limit: KEY_BYTES_MAX });
    }
    if let Some(control) = text.chars().find(|character| character.is_control()) {
        return Err(KeyError::Control(control.into()));
    }
    if text.starts_with('/') {
        return Err(KeyError::LeadingSlash);
    }
    for (segment, name) in [(".", "."), ("..", "..")] {
        if text.split('/').any(|part| part == segment) {
            return Err(KeyError::DotSegment(name));
        }
    }
    match RESERVED_PREFIXES
        .iter()
        .find(|prefix| text.starts_with(**prefix) || text == prefix.trim_end_matches('/'))
    {
        Some(prefix) => Err(KeyError::Reserved(prefix)),
        None => Ok(()),
    }
}

/// The name of a bucket, by the general-purpose bucket rules of S3: 3 to 63 characters of
/// `[a-z0-9.-]`, beginning and ending with a letter or digit, no `..`, not shaped like an IPv4
/// address; and none of [`RESERVED_BUCKETS`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(Box<str>);

impl BucketName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BucketName {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        check_bucket(text)?;
        Ok(Self(text.into()))
    }
}

fn check_bucket(text: &str) -> Result<(), KeyError> {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    if !(3..=63).contains(&bytes.len()) {
        return Err(KeyError::Bucket("a bucket name has 3 to 63 characters"));
    }
    if bytes.iter().any(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-')) {
        return Err(KeyError::Bucket("a bucket name holds only a-z, 0-9, dots and hyphens"));
    }
    if !alphanumeric(bytes.first()) || !alphanumeric(bytes.last()) {
        return Err(KeyError::Bucket("a bucket name begins and ends with a letter or digit"));
    }
    if text.contains("..") {
        return Err(KeyError::Bucket("a bucket name holds no two dots in a row"));
    }
    if text.parse::<std::net::Ipv4Addr>().is_ok() {
        return Err(KeyError::Bucket("a bucket name is not an IP address"));
    }
    match RESERVED_BUCKETS.iter().find(|name| **name == text) {
        Some(name) => Err(KeyError::Reserved(name)),
        None => Ok(()),
    }
}

macro_rules! text_type {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

text_type! { ObjectKey BucketName }

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_and_awkward_keys_are_possible() {
        for key in [
            "a",
            "a/b.jpg",
            "a//b",
            "a/",
            "..a",
            "a..",
            "...",
            "ü/日本.png",
            "a b?c#d%2e",
            ".hidden",
            "_variant",
        ] {
            assert!(key.parse::<ObjectKey>().is_ok(), "{key}");
        }
        assert!("x".repeat(KEY_BYTES_MAX).parse::<ObjectKey>().is_ok());
    }

    #[test]
    fn a_name_of_our_own_is_no_key_and_can_be_stored() {
        let own = ObjectKey::own("content/ab").unwrap();
        assert_eq!(own.as_str(), ".larder/content/ab");
        assert!(own.as_str().parse::<ObjectKey>().is_err());
        assert_eq!(ObjectKey::stored(own.as_str()).unwrap(), own);
        assert_eq!(ObjectKey::stored("a/b").unwrap(), "a/b".parse().unwrap());
        assert!(ObjectKey::stored(".larder/../x").is_err() && ObjectKey::stored("..").is_err());
    }

    #[test]
    fn hostile_keys_are_refused_with_the_reason() {
        let refused = |text: &str| text.parse::<ObjectKey>().unwrap_err();
        assert_eq!(refused(""), KeyError::Empty);
        assert_eq!(refused("a\0b"), KeyError::Control(0));
        assert_eq!(refused("a\u{85}b"), KeyError::Control(0x85));
        assert_eq!(refused(".."), KeyError::DotSegment(".."));
        assert_eq!(refused("a/../b"), KeyError::DotSegment(".."));
        assert_eq!(refused("./a"), KeyError::DotSegment("."));
        assert_eq!(refused("/a"), KeyError::LeadingSlash);
        assert_eq!(refused(".larder/staging/x"), KeyError::Reserved(".larder/"));
        assert_eq!(refused("_variants/x"), KeyError::Reserved("_variants/"));
        assert_eq!(refused("_variants"), KeyError::Reserved("_variants/"));
        assert_eq!(refused(&"é".repeat(513)), KeyError::TooLong { bytes: 1_026, limit: 1_024 });
    }

    #[test]
    fn bucket_names_follow_s3() {
        for name in ["media", "a.b", "my-bucket-1", "123"] {
            assert!(name.parse::<BucketName>().is_ok(), "{name}");
        }
        for name in
            ["ab", "Media", "-ab", "ab-", "a..b", "192.168.1.1", "api", "tus", "a_b", "a/b", &"a".repeat(64)]
        {
            assert!(name.parse::<BucketName>().is_err(), "{name}");
        }
    }

    #[test]
    fn extensions_are_lower_case_and_never_a_hidden_file() {
        let extension = |key: &str| key.parse::<ObjectKey>().unwrap().extension();
        assert_eq!(extension("a.b/photo.JPG").as_deref(), Some("jpg"));
        assert_eq!(extension("a.b/photo"), None);
        assert_eq!(extension(".profile"), None);
        assert_eq!(extension("photo."), None);
    }

    proptest! {
        #[test]
        fn an_accepted_key_prints_as_it_was_read(text in "\\PC{0,40}") {
            if let Ok(key) = text.parse::<ObjectKey>() {
                prop_assert_eq!(key.as_str(), text);
            }
        }
    }
}
