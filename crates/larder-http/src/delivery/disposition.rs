//! `Content-Disposition`: under which name a download is saved (RFC 6266, RFC 8187).

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// `attr-char` of RFC 8187, section 3.2.1: what stays as it is in `filename*`.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Longest name that is handed on; file systems take 255 bytes.
const NAME_CHARS_MAX: usize = 200;

/// The header for a body shown in place (`inline`) or saved, under `file_name` if there is one.
pub(crate) fn header(inline: bool, file_name: Option<&str>) -> HeaderValue {
    let kind = if inline { "inline" } else { "attachment" };
    let Some(name) = file_name.map(clean).filter(|name| !name.is_empty()) else {
        return HeaderValue::from_static(kind);
    };
    let plain = ascii(&name);
    let text = if plain == name {
        format!("{kind}; filename=\"{plain}\"")
    } else {
        // Old clients read the first, all others prefer the second (RFC 6266, section 4.3).
        format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, KEPT))
    };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(kind))
}

/// The last path segment without control characters: a name must not choose a folder (RFC 6266,
/// section 4.3).
fn clean(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    last.chars().filter(|character| !character.is_control()).take(NAME_CHARS_MAX).collect()
}

fn ascii(name: &str) -> String {
    let plain = |character: char| match character {
        '"' | '\\' | '%' => '_',
        ' '..='~' => character,
        _ => '_',
    };
    name.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_encoded_and_stripped_of_folders() {
        let table = [
            (true, None, "inline"),
            (false, Some(""), "attachment"),
            (true, Some("a.jpg"), "inline; filename=\"a.jpg\""),
            (false, Some("../etc/a b.pdf"), "attachment; filename=\"a b.pdf\""),
            (false, Some("c:\\x\\y.pdf"), "attachment; filename=\"y.pdf\""),
            (false, Some("é.png"), "attachment; filename=\"_.png\"; filename*=UTF-8''%C3%A9.png"),
            (
                false,
                Some("a\"; filename=evil\r\nSet-Cookie: x"),
                "attachment; filename=\"a_; filename=evilSet-Cookie: x\"; \
                 filename*=UTF-8''a%22%3B%20filename%3DevilSet-Cookie%3A%20x",
            ),
            (false, Some("50%25.txt"), "attachment; filename=\"50_25.txt\"; filename*=UTF-8''50%2525.txt"),
        ];
        for (inline, name, expected) in table {
            assert_eq!(header(inline, name).to_str().unwrap(), expected, "{name:?}");
        }
    }
}
