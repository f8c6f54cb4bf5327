//! Choosing a picture's format by `Accept` (RFC 9110, section 12.5.1).

use http::{HeaderMap, header};
use larder_image::Format;

/// The formats that the client names, the best first. They must be named to be chosen: `*/*` and
/// `image/*` are sent by clients that know none of them.
pub(super) fn named(headers: &HeaderMap) -> impl Iterator<Item = Format> {
    Format::negotiated().into_iter().filter(|format| accepts(headers, format.content_type()))
}

/// What every client shows: JPEG for photos, PNG for whatever may be transparent.
pub(super) fn fallback(source_type: &str) -> Format {
    match source_type {
        "image/jpeg" => Format::Jpeg,
        _ => Format::Png,
    }
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    ranges.any(|value| value.split(',').any(|range| names(range, media_type)))
}

/// Whether a media range is this type, with a weight other than zero.
fn names(range: &str, media_type: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type));
    let refused = |parameter: &str| {
        let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
        weight.is_some_and(|weight| weight.trim().parse().is_ok_and(|weight: f32| weight <= 0.0))
    };
    is_named && !parts.any(refused)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_formats_that_are_named_count_and_the_smallest_first() {
        use Format::{Avif, Webp};
        let table: &[(&str, &[Format])] = &[
            ("image/avif,image/webp,image/apng,*/*;q=0.8", &[Avif, Webp]),
            ("image/webp,*/*", &[Webp]),
            ("image/webp;q=0.9, image/avif;q=0.1", &[Avif, Webp]),
            ("image/avif;q=0, image/webp", &[Webp]),
            ("IMAGE/WEBP", &[Webp]),
            ("image/*", &[]),
            ("*/*", &[]),
            ("image/webpx", &[]),
            ("", &[]),
        ];
        for (accept, expected) in table {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
            assert_eq!(named(&headers).collect::<Vec<_>>(), *expected, "{accept}");
        }
        assert_eq!(named(&HeaderMap::new()).count(), 0);
    }

    #[test]
    fn what_may_be_transparent_falls_back_to_png() {
        assert_eq!(fallback("image/jpeg"), Format::Jpeg);
        assert_eq!(fallback("image/gif"), Format::Png);
    }
}
