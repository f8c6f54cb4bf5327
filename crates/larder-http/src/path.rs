//! Paths of requests: the prefix of `public_url`, and percent-decoding, which happens exactly once.

use http::{Uri, uri::PathAndQuery};
use larder_core::{Code, Fault};
use percent_encoding::percent_decode_str;

use crate::alias::PathAlias;

/// Takes `prefix` (`/media`, or empty) off the path where it is there. A proxy may have taken it off
/// already, so a path without it is answered too; one of ours, or of the alias, that happens to begin like
/// the prefix stays whole.
pub(crate) fn strip_prefix(uri: &mut Uri, prefix: &str, alias: Option<&PathAlias>) {
    if prefix.is_empty() {
        return;
    }
    let Some(rest) = uri.path_and_query().and_then(|whole| whole.as_str().strip_prefix(prefix)) else {
        return;
    };
    let rest = match rest.as_bytes().first() {
        Some(b'/') => rest.to_owned(),
        None | Some(b'?') => format!("/{rest}"),
        // `/mediathek` does not lie below `/media`.
        Some(_) => return,
    };
    if is_ours(&rest) || alias.is_some_and(|alias| alias.covers(&rest)) {
        replace(uri, &rest);
    }
}

/// Puts another path and query into `uri`; what is no such is left alone.
pub(crate) fn replace(uri: &mut Uri, path_and_query: &str) {
    if let Ok(path) = path_and_query.parse::<PathAndQuery>() {
        let mut parts = std::mem::take(uri).into_parts();
        parts.path_and_query = Some(path);
        *uri = Uri::from_parts(parts).unwrap_or_default();
    }
}

/// Whether a path begins as one of our routes does: with a prefix such as `/api`, `/api/v1/uploads` is
/// what the proxy left of `/api/api/v1/uploads`, and `/v1/uploads` is nothing.
pub(crate) fn is_ours(path: &str) -> bool {
    fn root(path: &str) -> Option<&str> {
        path.split(['/', '?']).nth(1)
    }
    matches!(root(path), Some("m" | "i")) || crate::routes::all().any(|route| root(route.path) == root(path))
}

/// Decodes a part of a path, once: `%252F` is the text `%2F`, not a slash.
///
/// # Errors
/// The bytes are no UTF-8.
pub(crate) fn decode(text: &str) -> Result<String, Fault> {
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(Fault::new(Code::InvalidKey, "the path is no UTF-8 after percent-decoding")
            .remedy("encode names as UTF-8 before percent-encoding them")),
    }
}

/// The value of `name` in a query, decoded; the first of several.
pub(crate) fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    let pair = query?.split('&').find_map(|pair| match pair.split_once('=') {
        Some((key, value)) => (key == name).then_some(value),
        None => (pair == name).then_some(""),
    })?;
    let spaced = pair.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_off_at_a_segment_only() {
        let table = [
            ("/y/media/m/a/b?v=1", "/m/a/b?v=1"),
            ("/y/media", "/"),
            ("/y/media/", "/"),
            ("/y/media?x", "/?x"),
            ("/y/mediathek/m", "/y/mediathek/m"),
            ("/m/a/b", "/m/a/b"),
            ("http://x.example/y/media/m/a", "http://x.example/m/a"),
        ];
        for (given, expected) in table {
            let mut uri = given.parse().unwrap();
            strip_prefix(&mut uri, "/y/media", None);
            assert_eq!(uri.to_string(), expected);
        }
    }

    #[test]
    fn a_prefix_that_looks_like_a_route_is_taken_off_once() {
        let table = [
            ("/api", "/api/v1/uploads?x=1", "/api/v1/uploads?x=1"),
            ("/api", "/api/api/v1/uploads?x=1", "/api/v1/uploads?x=1"),
            ("/api", "/api/m/media/a", "/m/media/a"),
            ("/api", "/m/media/a", "/m/media/a"),
            ("/api", "/api", "/"),
            ("/m", "/m/media/a.jpg", "/m/media/a.jpg"),
            ("/m", "/m/m/media/a.jpg", "/m/media/a.jpg"),
            ("/i", "/i/_/p:x/media/a.jpg.webp", "/i/_/p:x/media/a.jpg.webp"),
            ("/i", "/i/i/_/p:x/media/a.jpg.webp", "/i/_/p:x/media/a.jpg.webp"),
            ("/i", "/i/healthz", "/healthz"),
        ];
        for (prefix, given, expected) in table {
            let mut uri = given.parse().unwrap();
            strip_prefix(&mut uri, prefix, None);
            assert_eq!(uri.to_string(), expected, "{prefix} {given}");
        }
    }

    #[test]
    fn a_prefix_in_front_of_the_alias_is_taken_off_too() {
        let table = [
            ("/x", "/x/media/a.jpg?v=1", "/media/a.jpg?v=1"),
            ("/media", "/media/a.jpg", "/media/a.jpg"),
            ("/media", "/media/media/a.jpg", "/media/a.jpg"),
            ("/media", "/media/m/photos/a.jpg", "/m/photos/a.jpg"),
        ];
        let alias = PathAlias::new("/media/", "photos".parse().unwrap()).unwrap();
        for (prefix, given, expected) in table {
            let mut uri = given.parse().unwrap();
            strip_prefix(&mut uri, prefix, Some(&alias));
            assert_eq!(uri.to_string(), expected, "{prefix} {given}");
        }
    }

    #[test]
    fn decoding_happens_once() {
        assert_eq!(decode("a%2Fb%20c").unwrap(), "a/b c");
        assert_eq!(decode("a%252Fb").unwrap(), "a%2Fb");
        assert_eq!(decode("a+b%zz%").unwrap(), "a+b%zz%");
        assert_eq!(decode("%ff").unwrap_err().code, Code::InvalidKey);
    }

    #[test]
    fn query_values_are_found_whole() {
        let query = Some("xv=2&v=1&exp&n=a+b%26");
        assert_eq!(query_value(query, "v").as_deref(), Some("1"));
        assert_eq!(query_value(query, "exp").as_deref(), Some(""));
        assert_eq!(query_value(query, "n").as_deref(), Some("a b&"));
        assert_eq!(query_value(query, "x"), None);
        assert_eq!(query_value(None, "v"), None);
    }
}
