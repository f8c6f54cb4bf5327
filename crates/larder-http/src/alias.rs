//! A second path under which originals are served: what an application's pages and records already name,
//! such as `/media/` or `/static/`.

use http::{Uri, uri::PathAndQuery};
use larder_core::BucketName;

use crate::path;

/// Bytes of an alias, at most.
const ALIAS_BYTES_MAX: usize = 200;

/// Requests below a path are served as those of one bucket: with the alias `/media/` of the bucket
/// `photos`, `/media/a/b.jpg` is `/m/photos/a/b.jpg`, in everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathAlias {
    /// With a slash at both ends.
    prefix: String,
    bucket: BucketName,
}

impl PathAlias {
    /// The alias `path` of the bucket; slashes at its ends may be left out.
    ///
    /// # Errors
    /// A sentence: the path is none, or it is taken by a route of Larder.
    pub fn new(path: &str, bucket: BucketName) -> Result<Self, String> {
        let trimmed = path.trim_matches('/');
        if trimmed.is_empty() {
            return Err("the root of the server can't be an alias: write a path such as /media/".to_owned());
        }
        let prefix = format!("/{trimmed}/");
        if prefix.len() > ALIAS_BYTES_MAX {
            return Err(format!("the path has more than {ALIAS_BYTES_MAX} bytes"));
        }
        let is_plain = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        };
        if !trimmed.split('/').all(is_plain) {
            return Err(format!("\"{path}\" is no path of letters, digits, -, ., _ and ~, such as /media/"));
        }
        if path::is_ours(&prefix) {
            return Err(format!("Larder itself answers below {prefix}"));
        }
        Ok(Self { prefix, bucket })
    }

    /// The path, with a slash at both ends, and the bucket whose originals it serves.
    pub fn parts(&self) -> (&str, &BucketName) {
        (&self.prefix, &self.bucket)
    }

    /// Whether the path lies below the alias.
    pub(crate) fn covers(&self, path: &str) -> bool {
        path.strip_prefix(&self.prefix).is_some_and(|key| !key.is_empty() && !key.starts_with('?'))
    }

    /// Makes a request below the alias one of `/m`.
    pub(crate) fn resolve(&self, uri: &mut Uri) {
        let Some(whole) = uri.path_and_query().map(PathAndQuery::as_str).filter(|whole| self.covers(whole))
        else {
            return;
        };
        path::replace(uri, &format!("/m/{}/{}", self.bucket, &whole[self.prefix.len()..]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(path: &str) -> Result<PathAlias, String> {
        PathAlias::new(path, "photos".parse().unwrap())
    }

    #[test]
    fn what_lies_below_is_of_the_bucket_and_nothing_else() {
        let table = [
            ("/media/a/b.jpg?v=1", "/m/photos/a/b.jpg?v=1"),
            ("/media/a%2Fb", "/m/photos/a%2Fb"),
            ("/media//a", "/m/photos//a"),
            ("/media/", "/media/"),
            ("/media/?x", "/media/?x"),
            ("/media", "/media"),
            ("/mediathek/a", "/mediathek/a"),
            ("/m/photos/a", "/m/photos/a"),
        ];
        for (given, expected) in table {
            let mut uri = given.parse().unwrap();
            alias("/media/").unwrap().resolve(&mut uri);
            assert_eq!(uri.to_string(), expected, "{given}");
        }
    }

    #[test]
    fn slashes_at_the_ends_may_be_left_out() {
        assert_eq!(alias("media"), alias("/media/"));
        let mut uri = "/app/static/a".parse().unwrap();
        alias("app/static").unwrap().resolve(&mut uri);
        assert_eq!(uri.path(), "/m/photos/a");
    }

    #[test]
    fn what_is_taken_or_no_path_is_refused() {
        for taken in ["/m/", "/i/x/", "/api/", "/healthz", "/metrics/"] {
            assert!(alias(taken).unwrap_err().contains("Larder itself"), "{taken}");
        }
        for wrong in ["/", "", "/a//b/", "/../x/", "/a b/", "/ä/", "/a?b/", "/a%2F/"] {
            assert!(alias(wrong).is_err(), "{wrong}");
        }
        assert!(alias(&"a".repeat(ALIAS_BYTES_MAX)).is_err());
    }
}
