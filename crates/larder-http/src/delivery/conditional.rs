//! Conditional requests: whether a method may be carried out, by the order of RFC 9110, section
//! 13.2.2.

use http::{HeaderMap, HeaderName, Method, header};
use larder_core::Timestamp;

/// The validators of the present representation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validators<'a> {
    /// The strong entity tag, with its quotes.
    pub(crate) etag: &'a str,
    /// When the bytes were last written.
    pub(crate) last_modified: Timestamp,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Carry the method out. A `Range` counts only if `range_holds`.
    Proceed {
        /// No `If-Range`, or one that holds.
        range_holds: bool,
    },
    /// 304: the client has it already.
    NotModified,
    /// 412: the client thinks of something else.
    PreconditionFailed,
}

/// Evaluates the conditional headers for a thing whose validators are `current`; `None` if it does
/// not exist.
pub(crate) fn evaluate(
    method: &Method,
    headers: &HeaderMap,
    current: Option<Validators<'_>>,
    now: Timestamp,
) -> Verdict {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if headers.contains_key(header::IF_MATCH) {
        if !any_match(headers, &header::IF_MATCH, current, Comparison::Strong) {
            return Verdict::PreconditionFailed;
        }
    } else if let Some(since) = date(headers, &header::IF_UNMODIFIED_SINCE)
        && current.is_none_or(|current| whole_seconds(current.last_modified) > since)
    {
        return Verdict::PreconditionFailed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        if any_match(headers, &header::IF_NONE_MATCH, current, Comparison::Weak) {
            return if is_read { Verdict::NotModified } else { Verdict::PreconditionFailed };
        }
    } else if is_read {
        let unchanged = date(headers, &header::IF_MODIFIED_SINCE)
            .zip(current)
            .is_some_and(|(since, current)| whole_seconds(current.last_modified) <= since);
        if unchanged {
            return Verdict::NotModified;
        }
    }
    Verdict::Proceed { range_holds: range_holds(headers, current, now) }
}

/// The entity tags of `If-Match`-like header `name` that a strong comparison can match, with their
/// quotes; empty for `*`, `None` without the header.
pub(crate) fn strong_tags(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let mut tags = Vec::new();
    for value in values {
        if value.as_bytes().trim_ascii() == b"*" {
            return Some(Vec::new());
        }
        let strong = Tags(value.as_bytes()).filter(|tag| !tag.weak);
        tags.extend(strong.filter_map(|tag| String::from_utf8(tag.opaque.to_vec()).ok()));
    }
    Some(tags)
}

/// `If-Range` (RFC 9110, section 13.1.5): an entity tag compared strongly, or the very date of
/// `Last-Modified`, which is strong only when it is at least a second old.
fn range_holds(headers: &HeaderMap, current: Option<Validators<'_>>, now: Timestamp) -> bool {
    let Some(condition) = headers.get(header::IF_RANGE) else { return true };
    let Some(current) = current else { return false };
    let text = condition.as_bytes().trim_ascii();
    if text.contains(&b'"') {
        return text == current.etag.as_bytes();
    }
    let written = whole_seconds(current.last_modified);
    date(headers, &header::IF_RANGE) == Some(written) && now.as_millis() - written * 1_000 >= 1_000
}

/// The strong and the weak comparison of RFC 9110, section 8.8.3.2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

fn any_match(
    headers: &HeaderMap,
    name: &HeaderName,
    current: Option<Validators<'_>>,
    comparison: Comparison,
) -> bool {
    let Some(current) = current else { return false };
    let mut values = headers.get_all(name).iter();
    values.any(|value| {
        value.as_bytes().trim_ascii() == b"*"
            || Tags(value.as_bytes()).any(|tag| {
                tag.opaque == current.etag.as_bytes() && (comparison == Comparison::Weak || !tag.weak)
            })
    })
}

/// An entity tag as it stands in a list.
#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    weak: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

/// The entity tags of a comma-separated list; ends at the first thing that is none. A comma may be
/// part of a tag.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let rest = &self.0[start..];
        let (weak, rest) = match rest.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let closing = rest.strip_prefix(b"\"")?.iter().position(|byte| *byte == b'"')?;
        let (opaque, rest) = rest.split_at(closing + 2);
        self.0 = rest;
        Some(Tag { weak, opaque })
    }
}

/// A date in whole seconds; anything else than one valid date is ignored (RFC 9110, section 13.1.3).
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    Timestamp::parse_http_date(value.to_str().ok()?.trim()).map(whole_seconds)
}

/// `Last-Modified` has no fractions of seconds.
fn whole_seconds(instant: Timestamp) -> i64 {
    instant.as_millis().div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    type Headers = &'static [(&'static str, &'static str)];

    const WRITTEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    const PROCEED: Verdict = Verdict::Proceed { range_holds: true };
    const WHOLE: Verdict = Verdict::Proceed { range_holds: false };

    fn written() -> Timestamp {
        // Half a second later than its date says: fractions must not count.
        Timestamp::parse_http_date(WRITTEN).unwrap().plus(std::time::Duration::from_millis(500))
    }

    fn judge(method: &Method, exists: bool, headers: &[(&str, &str)]) -> Verdict {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let current = exists.then(|| Validators { etag: "\"a\"", last_modified: written() });
        evaluate(method, &map, current, written().plus(std::time::Duration::from_secs(60)))
    }

    #[test]
    fn conditions_of_a_read() {
        use Verdict::{NotModified, PreconditionFailed};
        let table: &[(Headers, Verdict)] = &[
            (&[], PROCEED),
            (&[("if-match", "\"a\"")], PROCEED),
            (&[("if-match", "\"b\", \"a\"")], PROCEED),
            (&[("if-match", "*")], PROCEED),
            (&[("if-match", "\"b\"")], PreconditionFailed),
            (&[("if-match", "W/\"a\"")], PreconditionFailed),
            (&[("if-match", "a")], PreconditionFailed),
            (&[("if-match", "\"b\""), ("if-match", "\"a\"")], PROCEED),
            (&[("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "W/\"a\"")], NotModified),
            (&[("if-none-match", "\"x,y\",\"a\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"b\"")], PROCEED),
            (&[("if-none-match", "nonsense")], PROCEED),
            (&[("if-modified-since", WRITTEN)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (&[("if-modified-since", BEFORE)], PROCEED),
            (&[("if-modified-since", "yesterday")], PROCEED),
            (&[("if-unmodified-since", WRITTEN)], PROCEED),
            (&[("if-unmodified-since", BEFORE)], PreconditionFailed),
            // The entity tag wins over the date.
            (&[("if-none-match", "\"b\""), ("if-modified-since", AFTER)], PROCEED),
            (&[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)], PROCEED),
            // If-Match is evaluated before If-None-Match.
            (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], PreconditionFailed),
            (&[("if-match", "\"a\""), ("if-none-match", "\"a\"")], NotModified),
            // If-Range decides about the range only.
            (&[("if-range", "\"a\"")], PROCEED),
            (&[("if-range", "\"b\"")], WHOLE),
            (&[("if-range", "W/\"a\"")], WHOLE),
            (&[("if-range", WRITTEN)], PROCEED),
            (&[("if-range", AFTER)], WHOLE),
            (&[("if-range", "nonsense")], WHOLE),
        ];
        for method in [Method::GET, Method::HEAD] {
            for (headers, expected) in table {
                assert_eq!(judge(&method, true, headers), *expected, "{method} {headers:?}");
            }
        }
    }

    #[test]
    fn conditions_of_a_write() {
        use Verdict::PreconditionFailed;
        let table: &[(bool, Headers, Verdict)] = &[
            (true, &[("if-none-match", "*")], PreconditionFailed),
            (false, &[("if-none-match", "*")], PROCEED),
            (true, &[("if-none-match", "\"a\"")], PreconditionFailed),
            (true, &[("if-match", "\"a\"")], PROCEED),
            (false, &[("if-match", "*")], PreconditionFailed),
            (false, &[("if-unmodified-since", AFTER)], PreconditionFailed),
            (true, &[("if-modified-since", AFTER)], PROCEED),
        ];
        for (exists, headers, expected) in table {
            assert_eq!(judge(&Method::PUT, *exists, headers), *expected, "{exists} {headers:?}");
        }
    }

    #[test]
    fn tags_for_a_write_are_strong_and_a_star_is_any() {
        let read = |value: &'static str| {
            strong_tags(
                &HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(value))]),
                &header::IF_MATCH,
            )
        };
        assert_eq!(read("\"a\", W/\"b\", \"c\""), Some(vec!["\"a\"".to_owned(), "\"c\"".to_owned()]));
        assert_eq!(read("*"), Some(Vec::new()));
        assert_eq!(strong_tags(&HeaderMap::new(), &header::IF_MATCH), None);
    }

    #[test]
    fn a_date_of_this_second_is_too_weak_for_a_range() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_RANGE, HeaderValue::from_static(WRITTEN));
        let current = Some(Validators { etag: "\"a\"", last_modified: written() });
        assert_eq!(evaluate(&Method::GET, &headers, current, written()), WHOLE);
    }

    proptest! {
        #[test]
        fn a_tag_is_found_wherever_it_stands(
            before in prop::collection::vec("(W/)?\"[a-z,;]{0,6}\"", 0..4),
            after in prop::collection::vec("(W/)?\"[a-z,;]{0,6}\"", 0..4),
        ) {
            let list = [before, vec!["\"THE TAG\"".to_owned()], after].concat().join(" , ");
            let wanted = Tag { weak: false, opaque: b"\"THE TAG\"" };
            let is_found = Tags(list.as_bytes()).any(|tag| tag == wanted);
            prop_assert!(is_found);
        }

        #[test]
        fn strangers_bytes_never_panic(value in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(Tags(&value).count() <= value.len());
        }
    }
}
