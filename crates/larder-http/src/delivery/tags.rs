//! Headers by which caches in front know what an answer belongs to, so that they can be told to forget all
//! of an asset or of a bucket.

use http::{HeaderMap, HeaderName, HeaderValue};
use larder_assets::{
    Readable,
    cdn::{asset_tag, bucket_tag},
};

use super::access::Right;

/// A header of tags, as a kind of cache expects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagHeader {
    name: HeaderName,
    separator: &'static str,
}

impl TagHeader {
    /// The header of this name. Fastly's `Surrogate-Key` and Varnish's `xkey` hold tags with spaces between
    /// them; `Cache-Tag` of Cloudflare and Google, `Edge-Cache-Tag` of Akamai, and any other, commas.
    ///
    /// # Errors
    /// A sentence: the text is no name of a header, or one that means something else.
    pub fn new(name: &str) -> Result<Self, String> {
        let lower = name.to_ascii_lowercase();
        let name = HeaderName::from_bytes(lower.as_bytes())
            .map_err(|_| format!("\"{name}\" is no name of a header"))?;
        if !["tag", "key"].iter().any(|word| lower.contains(word)) {
            return Err(format!("{name} is no header of tags, such as Cache-Tag, Surrogate-Key or xkey"));
        }
        let separator = if matches!(lower.as_str(), "surrogate-key" | "xkey") { " " } else { "," };
        Ok(Self { name, separator })
    }
}

/// The tags of an answer, in each of `headers`; none if shared caches don't keep it.
pub(super) fn of(headers: &[TagHeader], right: Right, readable: &Readable) -> HeaderMap {
    let mut tags = HeaderMap::new();
    if !matches!(right, Right::Public | Right::Signed { seconds_left: None }) {
        return tags;
    }
    for header in headers {
        let text = [asset_tag(readable.asset), bucket_tag(&readable.bucket.name)].join(header.separator);
        // An id and a bucket's name are ASCII.
        if let Ok(value) = HeaderValue::try_from(text) {
            tags.insert(header.name.clone(), value);
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cache_has_its_separator_and_other_headers_are_refused() {
        assert_eq!(TagHeader::new("Cache-Tag").unwrap().separator, ",");
        assert_eq!(TagHeader::new("Surrogate-Key").unwrap().separator, " ");
        assert_eq!(TagHeader::new("XKEY").unwrap().separator, " ");
        for wrong in ["", "a b", "Cache-Control", "Content-Type", "ü-tag"] {
            assert!(TagHeader::new(wrong).is_err(), "{wrong}");
        }
    }
}
