//! Range requests: which bytes of a representation a `Range` header asks for (RFC 9110, section 14).

use std::ops::Range;

/// Most ranges one request may ask for. More are answered with the whole representation, which RFC
/// 9110, section 14.2, allows for requests of many small ranges: they cost more than they save.
pub(crate) const RANGES_MAX: usize = 16;

/// Ranges closer to each other than this are sent as one: the head of another part is longer.
const GAP_BYTES_MIN: u64 = 80;

/// What a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything: there is no usable `Range`.
    Whole,
    /// These ranges, in the order asked for; none is empty, none overlaps or touches another.
    Parts(Vec<Range<u64>>),
    /// Nothing of it lies within the representation: 416.
    Nothing,
}

/// Reads the value of a `Range` header for a representation of `size_bytes`. Other units than bytes
/// and malformed values are ignored, as RFC 9110, section 14.2, demands.
pub(crate) fn wanted(header: &[u8], size_bytes: u64) -> Wanted {
    let Some(specs) = std::str::from_utf8(header).ok().and_then(specs) else {
        return Wanted::Whole;
    };
    let mut ranges = Vec::new();
    for spec in &specs {
        ranges.extend(spec.resolve(size_bytes));
    }
    match () {
        // A suffix of nothing can be satisfied but has no Content-Range; the whole is the same.
        () if size_bytes == 0 && specs.iter().any(|spec| matches!(spec, Spec::Suffix(1..))) => Wanted::Whole,
        () if ranges.is_empty() => Wanted::Nothing,
        () => Wanted::Parts(coalesce(ranges)),
    }
}

/// One `range-spec` of RFC 9110, section 14.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    /// `first-` or `first-last`; `last` is included.
    From(u64, Option<u64>),
    /// `-length`: the last bytes.
    Suffix(u64),
}

impl Spec {
    fn resolve(self, size_bytes: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first, last) => {
                first..last.map_or(size_bytes, |last| last.saturating_add(1).min(size_bytes))
            }
            Self::Suffix(length) => size_bytes.saturating_sub(length)..size_bytes,
        };
        (range.start < range.end).then_some(range)
    }
}

fn specs(header: &str) -> Option<Vec<Spec>> {
    let (unit, set) = header.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for text in set.split(',').map(|text| text.trim_matches([' ', '\t'])) {
        // Empty list elements are to be ignored (RFC 9110, section 5.6.1.2).
        if text.is_empty() {
            continue;
        }
        if specs.len() == RANGES_MAX {
            return None;
        }
        specs.push(spec(text)?);
    }
    (!specs.is_empty()).then_some(specs)
}

fn spec(text: &str) -> Option<Spec> {
    match text.split_once('-')? {
        ("", suffix) => Some(Spec::Suffix(number(suffix)?)),
        (first, "") => Some(Spec::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From(first, Some(last)))
        }
    }
}

/// Digits only; numbers beyond 64 bits lie behind the end of everything and saturate.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Merges ranges that overlap or nearly touch into the earlier one of them.
fn coalesce(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for mut range in ranges {
        // A range that grew may now touch others, so look again until nothing is near.
        let mut position = None;
        while let Some(near) = merged.iter().position(|other| {
            range.start <= other.end.saturating_add(GAP_BYTES_MIN)
                && other.start <= range.end.saturating_add(GAP_BYTES_MIN)
        }) {
            let other = merged.remove(near);
            range = range.start.min(other.start)..range.end.max(other.end);
            position = Some(position.map_or(near, |earlier: usize| earlier.min(near)));
        }
        merged.insert(position.unwrap_or(merged.len()), range);
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(ranges: &[(u64, u64)]) -> Wanted {
        Wanted::Parts(ranges.iter().map(|(start, end)| *start..*end).collect())
    }

    #[test]
    fn ranges_of_a_thousand_bytes() {
        let table: &[(&str, Wanted)] = &[
            ("bytes=0-499", parts(&[(0, 500)])),
            ("bytes=500-", parts(&[(500, 1_000)])),
            ("bytes=-300", parts(&[(700, 1_000)])),
            ("bytes=-5000", parts(&[(0, 1_000)])),
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=999-", parts(&[(999, 1_000)])),
            ("bytes=0-99999999999999999999999", parts(&[(0, 1_000)])),
            ("BYTES=0-4", parts(&[(0, 5)])),
            ("bytes=0-9, 500-509", parts(&[(0, 10), (500, 510)])),
            ("bytes=500-509,0-9", parts(&[(500, 510), (0, 10)])),
            ("bytes=0-9,,\t500-509,", parts(&[(0, 10), (500, 510)])),
            // Overlapping, touching and nearly touching ranges become one.
            ("bytes=0-99,50-149", parts(&[(0, 150)])),
            ("bytes=0-99,110-199", parts(&[(0, 200)])),
            ("bytes=0-9,500-509,0-600", parts(&[(0, 601)])),
            // What lies outside is left out of a set that has something inside.
            ("bytes=0-9,5000-6000", parts(&[(0, 10)])),
            ("bytes=1000-", Wanted::Nothing),
            ("bytes=5000-6000", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            // Malformed or of another unit: ignored.
            ("bytes=", Wanted::Whole),
            ("bytes=,", Wanted::Whole),
            ("bytes=9-0", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=--5", Wanted::Whole),
            ("bytes=+1-5", Wanted::Whole),
            ("bytes 0-5", Wanted::Whole),
            ("items=0-5", Wanted::Whole),
            ("", Wanted::Whole),
        ];
        for (header, expected) in table {
            assert_eq!(wanted(header.as_bytes(), 1_000), *expected, "{header}");
        }
        assert_eq!(wanted(b"bytes=\xFF-1", 1_000), Wanted::Whole);
    }

    #[test]
    fn an_empty_representation_has_no_ranges() {
        assert_eq!(wanted(b"bytes=0-", 0), Wanted::Nothing);
        assert_eq!(wanted(b"bytes=-5", 0), Wanted::Whole);
    }

    #[test]
    fn too_many_ranges_are_answered_with_the_whole() {
        let set = |count: usize| {
            let specs: Vec<_> = (0..count).map(|at| format!("{0}-{0}", at * 1_000)).collect();
            format!("bytes={}", specs.join(","))
        };
        assert!(
            matches!(wanted(set(RANGES_MAX).as_bytes(), 1 << 20), Wanted::Parts(parts) if parts.len() == 16)
        );
        assert_eq!(wanted(set(RANGES_MAX + 1).as_bytes(), 1 << 20), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn parts_lie_inside_and_never_overlap(
            header in "(bytes=)?([0-9]{0,4}-[0-9]{0,4}[, ]{0,2}){1,20}",
            size_bytes in 0_u64..3_000,
        ) {
            if let Wanted::Parts(mut parts) = wanted(header.as_bytes(), size_bytes) {
                prop_assert!(!parts.is_empty() && parts.len() <= RANGES_MAX);
                parts.sort_by_key(|part| part.start);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size_bytes));
                prop_assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }

        #[test]
        fn strangers_bytes_never_panic(header in prop::collection::vec(any::<u8>(), 0..60), size_bytes: u64) {
            let _ = wanted(&header, size_bytes);
        }
    }
}
