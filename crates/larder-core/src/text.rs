//! Sizes and durations as people write them, for configuration and messages.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes: read from an integer or from text such as `"10 MiB"`, written as an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A span of time: read from text such as `"7d"` or from seconds, written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A span of whole days.
    pub const fn days(days: u64) -> Self {
        Self::seconds(days * 86_400)
    }
}

impl fmt::Display for Span {
    /// The largest unit that leaves a whole number: `7d`, `90s`, `1500ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
        match units.iter().find(|(factor, _)| millis.is_multiple_of(*factor) && millis >= *factor) {
            Some((factor, unit)) => write!(f, "{}{unit}", millis / factor),
            None => f.write_str("0s"),
        }
    }
}

/// Numbers and text both come from configuration files; environment values are always text.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(bytes) => Ok(Self(bytes)),
            NumberOrText::Text(text) => parse_bytes(&text).map(Self).map_err(de::Error::custom),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(seconds) => Ok(Self::seconds(seconds)),
            NumberOrText::Text(text) => parse_duration(&text).map(Self).map_err(de::Error::custom),
        }
    }
}

/// Reads a size in bytes: `1024`, `10 MiB`, `1.5GB`. Units are B, kB, MB, GB, TB (powers of 1,000)
/// and KiB, MiB, GiB, TiB (powers of 1,024), in any case.
///
/// # Errors
/// The text is no number with a known unit, or does not fit 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u64)] = &[
        ("", 1),
        ("b", 1),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
    ];
    let scaled = scale(text, UNITS).ok_or_else(|| {
        format!("\"{text}\" is not a size; write bytes or a unit, such as 10485760 or \"10 MiB\"")
    })?;
    Ok(scaled as u64)
}

/// Reads a duration: `90`, `90s`, `500ms`, `15m`, `24h`, `7d`. A bare number is seconds.
///
/// # Errors
/// The text is no number with a known unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: &[(&str, u64)] =
        &[("", 1_000), ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let millis = scale(text, UNITS)
        .ok_or_else(|| format!("\"{text}\" is not a duration; write a unit, such as 30s, 15m, 24h or 7d"))?;
    Ok(Duration::from_millis(millis as u64))
}

fn scale(text: &str, units: &[(&str, u64)]) -> Option<f64> {
    let text = text.trim().to_lowercase();
    let split = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = units.iter().find(|(name, _)| *name == unit.trim())?.1;
    let scaled = number.replace('_', "").parse::<f64>().ok()? * factor as f64;
    // 2^63 keeps the value inside what both databases store.
    (scaled.is_finite() && scaled < 9.2e18).then_some(scaled)
}

/// Prints a size for people: `0 B`, `1.5 KiB`, `100.0 MiB`.
pub fn display_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut scaled = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while scaled >= 1_024.0 && unit + 1 < UNITS.len() {
        scaled /= 1_024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_with_and_without_units() {
        assert_eq!(parse_bytes("104857600"), Ok(104_857_600));
        assert_eq!(parse_bytes("10 MiB"), Ok(10_485_760));
        assert_eq!(parse_bytes("1.5kb"), Ok(1_500));
        assert!(parse_bytes("ten").is_err());
        assert!(parse_bytes("-1").is_err());
        assert!(parse_bytes("99999999999999999999").is_err());
    }

    #[test]
    fn durations_read_with_and_without_units() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("500 ms"), Ok(Duration::from_millis(500)));
        assert!(parse_duration("7 weeks").is_err());
    }

    #[test]
    fn sizes_and_spans_read_from_configuration() {
        assert_eq!(serde_json::from_str::<ByteSize>("\"1 KiB\"").unwrap(), ByteSize(1_024));
        assert_eq!(serde_json::from_str::<ByteSize>("7").unwrap(), ByteSize(7));
        assert_eq!(serde_json::from_str::<Span>("\"90m\"").unwrap().to_string(), "90m");
        assert_eq!(serde_json::from_str::<Span>("172800").unwrap(), Span::days(2));
        assert_eq!(serde_json::to_string(&Span::days(2)).unwrap(), "\"2d\"");
    }

    #[test]
    fn sizes_print_for_people() {
        assert_eq!(display_bytes(1_023), "1023 B");
        assert_eq!(display_bytes(1_536), "1.5 KiB");
        assert_eq!(display_bytes(104_857_600), "100.0 MiB");
    }
}
