//! `BUCKET/KEY`, as commands take it.

use larder_core::{BucketName, Fault, ObjectKey};

use crate::failure::Failure;

/// Bucket and key of `media/a/b.jpg`.
///
/// # Errors
/// There is no slash, or one of the two is not possible.
pub fn asset(text: &str) -> Result<(BucketName, ObjectKey), Failure> {
    let (bucket, key) = text.split_once('/').ok_or_else(|| {
        Failure::usage(format!("\"{text}\" names no asset"), "write bucket and key, as in media/a/b.jpg")
    })?;
    Ok((self::bucket(bucket)?, key.parse::<ObjectKey>().map_err(|error| wrong(error.into()))?))
}

/// Bucket and prefix of `media` or `media/a/`; the prefix may be empty.
///
/// # Errors
/// The bucket's name is not possible.
pub fn prefix(text: &str) -> Result<(BucketName, String), Failure> {
    let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
    Ok((self::bucket(bucket)?, prefix.to_owned()))
}

/// The name of a bucket.
///
/// # Errors
/// It is not possible.
pub fn bucket(text: &str) -> Result<BucketName, Failure> {
    text.parse::<BucketName>().map_err(|error| wrong(error.into()))
}

/// An id of the API.
///
/// # Errors
/// It is none.
pub fn id<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::usage(format!("\"{text}\" is no id"), "use the id as it was listed"))
}

fn wrong(fault: Fault) -> Failure {
    Failure::usage(fault.detail, fault.remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slash_ends_the_bucket() {
        let (bucket, key) = asset("media/a/b.jpg").unwrap();
        assert_eq!((bucket.as_str(), key.as_str()), ("media", "a/b.jpg"));
        assert_eq!(prefix("media").unwrap().1, "");
        assert_eq!(prefix("media/a/").unwrap().1, "a/");
        for wrong in ["media", "media/", "M/a", "media/../a"] {
            assert_eq!(asset(wrong).unwrap_err().exit, crate::failure::Exit::Usage, "{wrong}");
        }
    }
}
