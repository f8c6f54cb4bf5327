//! Where databases lie: a path of which some parts stand for any name.

use std::{fmt, str::FromStr};

/// A path in the store, such as `org-data/{id}`: a part in braces stands for any one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

/// A part of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// This name.
    Exactly(String),
    /// Any name; what the braces hold is for people.
    Any(String),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no path of databases: {why}")]
pub struct PatternError {
    text: String,
    why: &'static str,
}

impl Pattern {
    pub(super) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Whether a path is one of those that the pattern means.
    pub fn matches(&self, path: &str) -> bool {
        let mut names = path.split('/');
        let all = self.0.iter().all(|part| match (part, names.next()) {
            (Part::Exactly(wanted), Some(name)) => wanted == name,
            (Part::Any(_), Some(name)) => !name.is_empty(),
            (_, None) => false,
        });
        all && names.next().is_none()
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why| Err(PatternError { text: text.to_owned(), why });
        let path = text.trim_matches('/');
        if path.is_empty() {
            return refuse("it is empty");
        }
        let mut parts = Vec::new();
        for part in path.split('/') {
            parts.push(match part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(name) if !name.is_empty() && !name.contains(['{', '}']) => Part::Any(name.to_owned()),
                None if part.contains(['{', '}']) => return refuse("braces stand for a whole part"),
                None if matches!(part, "" | "." | "..") => return refuse("a part is empty, . or .."),
                None => Part::Exactly(part.to_owned()),
                Some(_) => return refuse("write a name in braces, such as {id}"),
            });
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            let slash = if at == 0 { "" } else { "/" };
            match part {
                Part::Exactly(name) => write!(f, "{slash}{name}")?,
                Part::Any(name) => write!(f, "{slash}{{{name}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_one_name_and_nothing_else() {
        let pattern: Pattern = "/org-data/{id}/".parse().unwrap();
        assert_eq!(pattern.to_string(), "org-data/{id}");
        for path in ["org-data/1", "org-data/a b", "org-data/{id}"] {
            assert!(pattern.matches(path), "{path}");
        }
        for path in
            ["org-data", "org-data/", "org-data/1/2", "org-data/1/", "x/org-data/1", "org-data2/1", ""]
        {
            assert!(!pattern.matches(path), "{path}");
        }
        let two: Pattern = "tenants/{tenant}/dbs/{db}".parse().unwrap();
        assert!(two.matches("tenants/a/dbs/b") && !two.matches("tenants/a/db/b"));
        let one: Pattern = ".larder/catalog".parse().unwrap();
        assert!(one.matches(".larder/catalog") && !one.matches(".larder/catalogs"));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "/", "a//b", "a/../b", "./a", "org-{id}", "{}", "{a}{b}", "{a", "a}"] {
            let error = text.parse::<Pattern>().unwrap_err();
            assert!(error.to_string().contains(&format!("\"{text}\"")), "{error}");
        }
    }
}
