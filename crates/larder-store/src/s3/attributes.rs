//! What S3 keeps beside bytes, in headers of requests and answers.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use larder_core::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::options::{Encryption, S3Options};
use crate::{
    error::{Error, Result},
    store::{Attributes, Fingerprint, Stat},
};

/// Headers of user metadata (S3, "User-defined object metadata").
const METADATA: &str = "x-amz-meta-";

/// Our own: which put wrote an object, by which one whose answer got lost knows itself again. No part of
/// [`Attributes`].
pub(super) const WRITTEN_BY: &str = "x-amz-meta-larder-put";

/// Most bytes of user metadata, names and values together (S3).
const METADATA_BYTES_MAX: usize = 2_048;

/// Attributes as headers.
///
/// # Errors
/// [`Error::Invalid`] for what S3 can't keep.
pub(super) fn to_headers(attributes: &Attributes) -> Result<HeaderMap> {
    let invalid = |detail: String| Error::Invalid { detail };
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("content-type", &attributes.content_type), ("cache-control", &attributes.cache_control)]
    {
        let Some(value) = value else { continue };
        let value = HeaderValue::from_str(value).map_err(|_| invalid(format!("\"{value}\" is no {name}")))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    let mut total = 0;
    for (name, value) in &attributes.metadata {
        let header: HeaderName = format!("{METADATA}{name}")
            .parse()
            .map_err(|_| invalid(format!("\"{name}\" can't be a name of metadata in S3")))?;
        let value = to_ascii(value);
        total += name.len() + value.len();
        let value = HeaderValue::from_str(&value)
            .map_err(|_| invalid(format!("the metadata \"{name}\" holds control characters")))?;
        headers.insert(header, value);
    }
    if total > METADATA_BYTES_MAX {
        return Err(invalid(format!("{total} bytes of metadata; S3 takes {METADATA_BYTES_MAX}")));
    }
    Ok(headers)
}

/// What an answer's headers say of an object of `size_bytes`.
pub(super) fn stat_of(headers: &HeaderMap, size_bytes: u64, now: Timestamp) -> Stat {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let metadata: BTreeMap<String, String> = headers
        .iter()
        .filter(|(name, _)| *name != WRITTEN_BY)
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix(METADATA)?;
            Some((name.to_owned(), from_ascii(value.to_str().ok()?).into_owned()))
        })
        .collect();
    Stat {
        size_bytes,
        fingerprint: Fingerprint::new(text("etag").unwrap_or_default()),
        modified: text("last-modified").and_then(Timestamp::parse_http_date).unwrap_or(now),
        attributes: Attributes {
            content_type: text("content-type").filter(|text| !is_default_type(text)).map(str::to_owned),
            cache_control: text("cache-control").map(str::to_owned),
            metadata,
        },
    }
}

/// The types that stores make up for objects that were put without one.
fn is_default_type(text: &str) -> bool {
    matches!(text, "binary/octet-stream" | "application/octet-stream")
}

/// The headers that ask for encryption at rest (S3, "Protecting data with encryption").
pub(super) fn encryption(options: &S3Options) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let name = HeaderName::from_static("x-amz-server-side-encryption");
    match &options.encryption {
        None => {}
        Some(Encryption::Aes256) => {
            headers.insert(name, HeaderValue::from_static("AES256"));
        }
        Some(Encryption::Kms { key_id }) => {
            headers.insert(name, HeaderValue::from_static("aws:kms"));
            if let Some(value) = key_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
                let name = HeaderName::from_static("x-amz-server-side-encryption-aws-kms-key-id");
                headers.insert(name, value);
            }
        }
    }
    headers
}

/// Text as headers can carry it: other characters as an encoded word of RFC 2047, as the AWS tools do.
fn to_ascii(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.starts_with("=?") {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("=?UTF-8?B?{}?=", BASE64.encode(text)))
}

fn from_ascii(text: &str) -> Cow<'_, str> {
    let word = text.strip_prefix("=?UTF-8?B?").and_then(|rest| rest.strip_suffix("?="));
    let decoded =
        word.and_then(|word| BASE64.decode(word).ok()).and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_went() {
        let attributes = Attributes {
            content_type: Some("image/png".to_owned()),
            cache_control: Some("no-store".to_owned()),
            metadata: [("by", "Jo"), ("place", "Zürich ☀"), ("odd", "=?x?=")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let mut headers = to_headers(&attributes).unwrap();
        headers.insert(WRITTEN_BY, HeaderValue::from_static("1"));
        headers.insert("etag", HeaderValue::from_static("\"e\""));
        let stat = stat_of(&headers, 3, Timestamp::from_millis(5));
        assert_eq!(stat.attributes, attributes);
        assert_eq!(stat.fingerprint.as_str(), "\"e\"");
    }

    #[test]
    fn what_s3_cannot_keep_is_refused() {
        for (name, value) in [("a b", "x"), ("", "\u{1}"), ("long", &"x".repeat(3_000) as &str)] {
            let metadata = [(name.to_owned(), value.to_owned())].into();
            let attributes = Attributes { metadata, ..Attributes::default() };
            let outcome = to_headers(&attributes);
            // A control character goes as an encoded word.
            assert_eq!(outcome.is_ok(), value == "\u{1}", "{name}: {outcome:?}");
        }
        let attributes = Attributes { content_type: Some("a\nb".to_owned()), ..Attributes::default() };
        assert!(matches!(to_headers(&attributes), Err(Error::Invalid { .. })));
    }
}
