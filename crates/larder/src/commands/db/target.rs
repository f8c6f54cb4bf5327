//! Where a database lies in a store: a URL, or the names of the environment.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use larder_core::{Ambient, Fault};
use larder_dbsync::Remote;
use larder_store::{LocalStore, Place, Store};

use crate::{
    commands::Context,
    config::{FlagValue, Raw},
    failure::Failure,
    service::{log, store::open_plain_bucket},
};

/// Whether a folder is made where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creates {
    /// Something is about to be written there.
    Yes,
    /// What is not there can't be read.
    No,
}

/// Where something lies in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// In a bucket.
    Bucket {
        /// The bucket.
        bucket: String,
        /// Key or prefix in it.
        path: String,
    },
    /// On a disk.
    Folder(PathBuf),
}

impl Target {
    /// What a URL or path says.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let refused = |cause: String| {
            Failure::usage(
                cause,
                "write s3://BUCKET/PREFIX, file:///FOLDER, or a path that begins with / or ./",
            )
        };
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(refused(format!("\"{text}\" names no bucket")));
            }
            return Ok(Self::Bucket { bucket: bucket.to_owned(), path: path.to_owned() });
        }
        if let Some(path) = text.strip_prefix("file://") {
            return match path.starts_with('/') {
                true => Ok(Self::Folder(path.into())),
                false => Err(refused(format!("\"{text}\" is no absolute path"))),
            };
        }
        match text.starts_with(['/', '.']) {
            true => Ok(Self::Folder(text.into())),
            false => Err(refused(format!("\"{text}\" is no place of a database"))),
        }
    }

    /// That of the environment: `s3://$BUCKET_NAME/org-data/$ORG_ID`.
    ///
    /// # Errors
    /// One of both is not set.
    pub fn of_environment(context: &Context) -> Result<Self, Failure> {
        let environment = context.environment()?;
        let set = |name: &str| {
            environment.get(name).filter(|value| !value.is_empty()).cloned().ok_or_else(|| {
                Failure::usage(
                    format!("no URL is given, and {name} is not set"),
                    "give the URL, or set BUCKET_NAME and ORG_ID: s3://$BUCKET_NAME/org-data/$ORG_ID",
                )
            })
        };
        Ok(Self::Bucket { bucket: set("BUCKET_NAME")?, path: format!("org-data/{}", set("ORG_ID")?) })
    }

    /// A URL that was given, or that of the environment.
    ///
    /// # Errors
    /// As both.
    pub fn given(context: &Context, text: Option<&str>) -> Result<Self, Failure> {
        text.map_or_else(|| Self::of_environment(context), Self::parse)
    }

    /// Below it, or beside it in the same bucket or folder, if it is absolute there.
    pub fn sibling(&self, name: &str) -> Self {
        match self {
            Self::Bucket { bucket, .. } => Self::Bucket { bucket: bucket.clone(), path: name.to_owned() },
            Self::Folder(folder) => Self::Folder(folder.parent().unwrap_or(Path::new("/")).join(name)),
        }
    }

    /// It, for people.
    pub fn label(&self) -> String {
        match self {
            Self::Bucket { bucket, path } => format!("s3://{bucket}/{path}"),
            Self::Folder(folder) => folder.display().to_string(),
        }
    }

    /// The database there.
    ///
    /// # Errors
    /// The store can't be opened; the remedy says what to change.
    pub async fn open(&self, context: &Context, creates: Creates) -> Result<Remote, Failure> {
        let ambient = Ambient::system();
        let (store, prefix) = match self {
            Self::Bucket { bucket, path } => (open_bucket(context, bucket, &ambient).await?, path.as_str()),
            Self::Folder(folder) => (open_folder(context, folder, creates, &ambient)?, ""),
        };
        Ok(Remote::new(store, prefix, ambient)?.named(self.label()))
    }

    /// The store in which a plain file lies, and its place there. What ends with a slash is a folder, in which `name`
    /// is the file.
    ///
    /// # Errors
    /// As [`open`](Self::open); the key can't be one.
    pub async fn open_file(&self, context: &Context, name: &str) -> Result<(Arc<dyn Store>, Place), Failure> {
        let ambient = Ambient::system();
        let (store, key) = match self {
            Self::Bucket { bucket, path } => {
                let key = match path.is_empty() || path.ends_with('/') {
                    true => format!("{path}{name}"),
                    false => path.clone(),
                };
                (open_bucket(context, bucket, &ambient).await?, key)
            }
            Self::Folder(path) => {
                let is_file = path.extension().is_some() && !path.is_dir();
                let (folder, file) = match (is_file, path.parent(), path.file_name()) {
                    (true, Some(folder), Some(file)) => (folder, file.to_string_lossy().into_owned()),
                    _ => (path.as_path(), name.to_owned()),
                };
                (open_folder(context, folder, Creates::Yes, &ambient)?, file)
            }
        };
        let place =
            key.parse().map_err(|error| Failure::usage(format!("\"{key}\": {error}"), "name another key"))?;
        Ok((store, place))
    }
}

async fn open_bucket(context: &Context, bucket: &str, ambient: &Ambient) -> Result<Arc<dyn Store>, Failure> {
    let flag = |path, value: &str| FlagValue { flag: "the URL", path, value: Raw::text(value) };
    let config = context.config(vec![
        flag("store.backend", "s3"),
        flag("store.s3.bucket", bucket),
        flag("store.s3.prefix", ""),
        flag("store.s3.variants_bucket", ""),
    ])?;
    log::start_steps(&config.log)?;
    let options = config.store.s3_options.as_ref().ok_or_else(|| {
        Failure::configuration(
            format!("bucket {bucket} is not configured"),
            "set the access key of the bucket",
        )
    })?;
    open_plain_bucket(&config, options, ambient).await
}

fn open_folder(
    context: &Context,
    folder: &Path,
    creates: Creates,
    ambient: &Ambient,
) -> Result<Arc<dyn Store>, Failure> {
    let config = context.config_without_store()?;
    log::start_steps(&config.log)?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if creates == Creates::No && !folder.is_dir() {
        let detail = format!("there is no database at {}", folder.display());
        return Err(larder_dbsync::Error::Absent { detail }.into());
    }
    let store = LocalStore::open(folder, ambient.clone()).map_err(Fault::from)?;
    Ok(Arc::new(store))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_told_apart_from_names() {
        let bucket = |path: &str| Target::Bucket { bucket: "b".to_owned(), path: path.to_owned() };
        assert_eq!(Target::parse("s3://b/org-data/99").unwrap(), bucket("org-data/99"));
        assert_eq!(Target::parse("s3://b").unwrap(), bucket(""));
        assert_eq!(Target::parse("file:///srv/db").unwrap(), Target::Folder("/srv/db".into()));
        assert_eq!(Target::parse("./db").unwrap(), Target::Folder("./db".into()));
        for wrong in ["", "db", "s3://", "file://db", "https://x/y"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(bucket("org-data/99").sibling("backups/").label(), "s3://b/backups/");
    }
}
