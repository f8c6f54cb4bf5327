//! How long caches may keep what is delivered.

use std::fmt::Write;

use http::HeaderValue;

use super::access::Right;

/// What `?v=` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// No version was asked for.
    Unnamed,
    /// The present one: these bytes will never be others.
    Present,
    /// Another than the present one, which is answered all the same.
    Other,
    /// Whatever was asked for: what is answered stands in for something that is being made.
    Meanwhile,
}

impl Version {
    /// Judges the version that a query asks for.
    pub(super) fn of(query: Option<&str>, present: &str) -> Self {
        let asked = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("v=")));
        match asked {
            None => Self::Unnamed,
            Some(asked) if asked == present => Self::Present,
            Some(_) => Self::Other,
        }
    }
}

/// A year: what RFC 9111 and browsers take for "for ever".
const FOREVER_SECONDS: u64 = 31_536_000;

/// How long other bytes than those asked for may be kept.
const MISMATCH_SECONDS: u64 = 60;

/// How long what stands in for a better format may be kept: making that one takes seconds, or minutes
/// where uploads come first.
const MEANWHILE_SECONDS: u64 = 60;

/// `Cache-Control` for bytes read by `right`, of a bucket that lets caches keep unversioned URLs for
/// `bucket_seconds`.
pub(super) fn control(right: Right, version: Version, bucket_seconds: u64) -> HeaderValue {
    let (scope, limit) = match right {
        Right::Public | Right::Signed { seconds_left: None } => ("public", u64::MAX),
        // Whoever has the URL may read only until it ends, and so may their cache.
        Right::Signed { seconds_left: Some(seconds) } => ("private", seconds),
        Right::Credential { .. } => return HeaderValue::from_static("private, no-store"),
    };
    let (seconds, rest) = match version {
        Version::Present => (FOREVER_SECONDS, ", immutable"),
        Version::Other => (MISMATCH_SECONDS, ", must-revalidate"),
        Version::Unnamed => (bucket_seconds, ""),
        Version::Meanwhile => (bucket_seconds.min(MEANWHILE_SECONDS), ""),
    };
    if (scope, seconds, rest) == ("public", FOREVER_SECONDS, ", immutable") {
        return HeaderValue::from_static("public, max-age=31536000, immutable");
    }
    let mut text = String::with_capacity(48);
    // Writing to a string can't fail.
    let _ = write!(text, "{scope}, max-age={}{rest}", seconds.min(limit));
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("no-store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_follow_right_and_version() {
        let signed = |seconds_left| Right::Signed { seconds_left };
        let table = [
            (Right::Public, Version::Present, "public, max-age=31536000, immutable"),
            (Right::Public, Version::Other, "public, max-age=60, must-revalidate"),
            (Right::Public, Version::Unnamed, "public, max-age=300"),
            (Right::Public, Version::Meanwhile, "public, max-age=60"),
            (signed(Some(9)), Version::Meanwhile, "private, max-age=9"),
            (signed(Some(100)), Version::Present, "private, max-age=100, immutable"),
            (signed(Some(100)), Version::Other, "private, max-age=60, must-revalidate"),
            (signed(Some(100)), Version::Unnamed, "private, max-age=100"),
            (signed(Some(9_000)), Version::Unnamed, "private, max-age=300"),
            (Right::Credential { by_machine: false, is_admin: true }, Version::Present, "private, no-store"),
            (Right::Credential { by_machine: true, is_admin: true }, Version::Unnamed, "private, no-store"),
        ];
        for (right, version, expected) in table {
            assert_eq!(control(right, version, 300), expected, "{right:?} {version:?}");
        }
    }

    #[test]
    fn versions_are_compared_whole() {
        let judge = |query| Version::of(query, "0123456789abcdef");
        assert_eq!(judge(None), Version::Unnamed);
        assert_eq!(judge(Some("download")), Version::Unnamed);
        assert_eq!(judge(Some("v=0123456789abcdef")), Version::Present);
        assert_eq!(judge(Some("exp=1&v=0123456789abcdef")), Version::Present);
        assert_eq!(judge(Some("v=0123456789abcde")), Version::Other);
        assert_eq!(judge(Some("v=")), Version::Other);
    }
}
