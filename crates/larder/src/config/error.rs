//! Mistakes in the configuration, each with the place where it was made.

use std::{fmt, ops::Range, path::Path};

/// A mistake in the configuration: the process does not start, the exit code is 2.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Place and cause; for a file with the line and a caret under the mistake.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

impl ConfigError {
    /// A mistake with its remedy.
    pub fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into() }
    }

    /// A mistake at the bytes `span` of a file.
    pub fn in_file(
        file: &Path,
        text: &str,
        span: Option<Range<usize>>,
        cause: &str,
        remedy: impl Into<String>,
    ) -> Self {
        let Some(span) = span else {
            return Self::new(format!("{}: {cause}", file.display()), remedy);
        };
        let (line_number, column, excerpt) = excerpt(text, span);
        let place = format!("{}:{line_number}:{column}", file.display());
        Self::new(format!("{place}: {cause}\n{excerpt}"), remedy)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for ConfigError {}

/// Line and column, both from 1, and the line with carets under the mistake.
fn excerpt(text: &str, span: Range<usize>) -> (usize, usize, String) {
    let start = span.start.min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let line_number = text[..start].matches('\n').count() + 1;
    let before = text[line_start..start].chars().count();
    let marked = text[start..span.end.clamp(start, line_end)].chars().count().max(1);
    let margin = " ".repeat(line_number.to_string().len());
    let line = &text[line_start..line_end];
    let carets = "^".repeat(marked);
    let pad = " ".repeat(before);
    (line_number, before + 1, format!("{margin} |\n{line_number} | {line}\n{margin} | {pad}{carets}"))
}

/// `did you mean "listen"?`, if a known name is near enough to the unknown one.
pub fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance_max = 1 + unknown.len() / 4;
    known
        .map(|name| (edit_distance(unknown, name), name))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein distance in bytes, ignoring case.
fn edit_distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.to_ascii_lowercase(), right.to_ascii_lowercase());
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, from) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, to) in right.bytes().enumerate() {
            let substitute = diagonal + usize::from(from != to);
            diagonal = row[column + 1];
            row[column + 1] = substitute.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_mistake_also_behind_wide_characters() {
        let text = "a = 1\nü_b = 2\n";
        let start = text.find("_b").unwrap();
        let error = ConfigError::in_file(Path::new("x.toml"), text, Some(start..start + 2), "no", "fix");
        assert_eq!(error.cause, "x.toml:2:2: no\n  |\n2 | ü_b = 2\n  |  ^^");
    }

    #[test]
    fn a_mistake_at_the_end_of_the_file_has_a_place() {
        let error = ConfigError::in_file(Path::new("x.toml"), "a =", Some(3..9), "no", "fix");
        assert!(error.cause.ends_with("1 | a =\n  |    ^"), "{}", error.cause);
    }

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        let known = ["listen", "data_dir", "log.level"];
        assert_eq!(nearest("listne", known.into_iter()), Some("listen"));
        assert_eq!(nearest("LOG.LEVLE", known.into_iter()), Some("log.level"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
