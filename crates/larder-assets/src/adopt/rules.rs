//! Which of the files beside an original are its variants.

use std::{fmt, str::FromStr};

use larder_core::{Code, Fault};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Stands for the original's name without its extension.
const STEM: &str = "{stem}";

/// `PRESET=PATTERN`: a file whose path, from the original's folder on and without its extension, is the
/// pattern, is the variant of a preset. `{stem}` stands for the original's name without its extension.
///
/// ```
/// # use larder_assets::VariantRule;
/// assert!("artwork-large=large".parse::<VariantRule>().is_ok());
/// assert!("artwork-thumbnail=thumbs/{stem}_s".parse::<VariantRule>().is_ok());
/// assert!("large".parse::<VariantRule>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantRule {
    /// The preset.
    pub preset: String,
    /// The pattern.
    pub pattern: String,
}

impl FromStr for VariantRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (preset, pattern) =
            text.split_once('=').ok_or("write it as PRESET=PATTERN, such as artwork-large=large")?;
        let plain = pattern.replace(STEM, "x");
        let possible = !preset.is_empty()
            && plain.parse::<larder_store::Place>().is_ok()
            && pattern.matches(STEM).count() <= 1
            && !plain.contains(['{', '}']);
        match possible {
            true => Ok(Self { preset: preset.to_owned(), pattern: pattern.to_owned() }),
            false => Err(format!(
                "\"{pattern}\" is no pattern: write a path from the original's folder on, without extension, with \
                 {{stem}} at most once"
            )),
        }
    }
}

impl fmt::Display for VariantRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.preset, self.pattern)
    }
}

impl Serialize for VariantRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VariantRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// All rules of an adoption.
#[derive(Debug, Default)]
pub(super) struct Rules {
    original: Option<String>,
    rules: Vec<VariantRule>,
}

/// A file that a rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) preset: &'a str,
    /// The original's place up to its extension, the dot included.
    pub(super) original: String,
}

impl Rules {
    /// # Errors
    /// [`Code::InvalidRequest`] if a rule can't tell which file is the original.
    pub(super) fn new(original: Option<String>, rules: &[VariantRule]) -> Result<Self, Fault> {
        if let Some(rule) = rules.iter().find(|rule| original.is_none() && !rule.pattern.contains(STEM)) {
            return Err(Fault::new(
                Code::InvalidRequest,
                format!("the rule {rule} does not say of which file it is the variant"),
            )
            .remedy("name the originals, such as --original original, or write {stem} into the pattern"));
        }
        Ok(Self { original, rules: rules.to_vec() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The first rule that names a place.
    pub(super) fn of(&self, place: &str) -> Option<Named<'_>> {
        let name_at = place.rfind('/').map_or(0, |slash| slash + 1);
        let dot = place[name_at..].rfind('.').filter(|dot| *dot > 0)?;
        let path = &place[..name_at + dot];
        self.rules.iter().find_map(|rule| {
            let (folder, stem) = split(path, &rule.pattern, self.original.as_deref())?;
            let stem_is_meant = self.original.as_deref().is_none_or(|original| original == stem);
            stem_is_meant.then(|| Named { preset: &rule.preset, original: format!("{folder}{stem}.") })
        })
    }
}

/// The folder of the original, with its slash, and the original's stem, if `path` fits the pattern.
fn split<'a>(path: &'a str, pattern: &str, original: Option<&'a str>) -> Option<(&'a str, &'a str)> {
    let segments = pattern.matches('/').count();
    let tail_at = path.rmatch_indices('/').nth(segments).map_or(0, |(slash, _)| slash + 1);
    let (folder, tail) = path.split_at(tail_at);
    if tail.matches('/').count() != segments {
        return None;
    }
    match pattern.split_once(STEM) {
        None => (tail == pattern).then_some((folder, original?)),
        Some((before, behind)) => {
            let stem = tail.strip_prefix(before)?.strip_suffix(behind)?;
            (!stem.is_empty() && !stem.contains('/')).then_some((folder, stem))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(original: Option<&str>, rules: &[&str]) -> Rules {
        let rules: Vec<VariantRule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Rules::new(original.map(str::to_owned), &rules).unwrap()
    }

    #[test]
    fn sizes_beside_an_original_are_its_variants() {
        let rules = rules(Some("original"), &["artwork-large=large", "artwork-small=small"]);
        let named = rules.of("series/ab/cd/7/poster/large.webp").unwrap();
        assert_eq!(
            (named.preset, named.original.as_str()),
            ("artwork-large", "series/ab/cd/7/poster/original.")
        );
        assert_eq!(rules.of("large.webp").unwrap().original, "original.");
        for other in
            ["series/7/poster/original.webp", "series/large/cover.webp", "series/xlarge.webp", "large"]
        {
            assert_eq!(rules.of(other), None, "{other}");
        }
    }

    #[test]
    fn a_stem_may_be_anywhere_in_the_pattern_and_below_the_original() {
        let rules = rules(None, &["keep-small=thumbs/s_{stem}", "keep-large={stem}-large"]);
        assert_eq!(rules.of("a/thumbs/s_beach.jpg").unwrap().original, "a/beach.");
        assert_eq!(rules.of("thumbs/s_beach.jpg").unwrap().original, "beach.");
        assert_eq!(rules.of("a/beach.day-large.jpg").unwrap().original, "a/beach.day.");
        for other in ["a/beach.jpg", "a/thumbs/beach.jpg", "a/-large.jpg", "s_beach.jpg"] {
            assert_eq!(rules.of(other), None, "{other}");
        }
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        for wrong in ["large", "=large", "p=", "p=/large", "p=../large", "p={stem}{stem}", "p={name}"] {
            assert!(wrong.parse::<VariantRule>().is_err(), "{wrong}");
        }
        let rule: VariantRule = "artwork-large=large".parse().unwrap();
        assert_eq!(Rules::new(None, &[rule]).unwrap_err().code, Code::InvalidRequest);
    }
}
