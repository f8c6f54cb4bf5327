//! The name of a request: in its answer, in problems and in the log.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use larder_core::Ambient;

/// Where a request's name travels, both ways.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest name that is taken over from a client or proxy.
const CHARS_MAX: usize = 128;

/// The name of one request.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(Name);

#[derive(Clone, Debug)]
enum Name {
    /// Made here: 16 hex digits.
    Own([u8; 16]),
    Given(Arc<str>),
}

impl RequestId {
    /// The name that a proxy or client gave, if it can be logged and echoed safely; else a new one.
    pub(crate) fn of(headers: &HeaderMap, ambient: &Ambient) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok()).filter(|text| is_sane(text));
        match given {
            Some(text) => Self(Name::Given(text.into())),
            None => Self(Name::Own(hex_digits(ambient.random_bytes()))),
        }
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        match &self.0 {
            Name::Own(digits) => std::str::from_utf8(digits).unwrap_or_default(),
            Name::Given(text) => text,
        }
    }

    /// The name as the value of [`HEADER`].
    pub(crate) fn to_header(&self) -> HeaderValue {
        // Both kinds of names consist of characters that a header may hold.
        HeaderValue::from_str(self.as_str()).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_sane(text: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'=' | b'+')
    };
    (1..=CHARS_MAX).contains(&text.len()) && text.bytes().all(plain)
}

fn hex_digits(random: [u8; 8]) -> [u8; 16] {
    let mut digits = [0; 16];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(random) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(given: &[u8]) -> RequestId {
        let headers = HeaderMap::from_iter([(HEADER, HeaderValue::from_bytes(given).unwrap())]);
        RequestId::of(&headers, &Ambient::system())
    }

    #[test]
    fn a_sane_name_is_taken_over_and_any_other_replaced() {
        assert_eq!(id_of(b"trace-1.a:b/c").as_str(), "trace-1.a:b/c");
        for strange in [&b""[..], b"a b", b"x\"y", b"{${jndi}}", "é".as_bytes(), &[b'a'; 129]] {
            let own = id_of(strange);
            assert_eq!(own.as_str().len(), 16, "{strange:?}");
            assert!(own.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
}
