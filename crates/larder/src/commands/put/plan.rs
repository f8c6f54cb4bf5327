//! Which files go under which keys.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use larder_core::ObjectKey;

use super::super::{
    files::{self, Found},
    shown,
};
use crate::{cli::Put, failure::Failure};

/// A file and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// Its key; none where the bucket's template makes it.
    pub key: Option<ObjectKey>,
}

/// The files that the arguments name, each with its own key.
///
/// # Errors
/// A path can't be read, a name is no possible key, two files have one key, or there is no file.
pub fn items(arguments: &Put) -> Result<Vec<Item>, Failure> {
    let found = files::walk(&arguments.paths, None)?;
    if found.is_empty() {
        return Err(Failure::usage(
            "there is no file in what was given",
            "give files, or folders that hold some",
        ));
    }
    if arguments.key.is_some() && found.len() > 1 {
        return Err(Failure::usage(
            format!("--key names one asset, and there are {} files", found.len()),
            "give --prefix for several files",
        ));
    }
    let mut taken: HashMap<ObjectKey, PathBuf> = HashMap::new();
    let mut items = Vec::with_capacity(found.len());
    for file in found {
        let key = key_of(arguments, &file)?;
        if let Some(key) = &key
            && let Some(other) = taken.insert(key.clone(), file.path.clone())
        {
            return Err(Failure::usage(
                format!("{} and {} would both be {key}", shown(&other), shown(&file.path)),
                "put them one after the other with a --prefix of its own each",
            ));
        }
        let metadata =
            std::fs::metadata(&file.path).map_err(|error| Failure::file(&file.path, "read", error))?;
        items.push(Item { path: file.path, size_bytes: metadata.len(), key });
    }
    Ok(items)
}

fn key_of(arguments: &Put, file: &Found) -> Result<Option<ObjectKey>, Failure> {
    if arguments.auto_key {
        return Ok(None);
    }
    let text = match &arguments.key {
        Some(key) => key.clone(),
        None => format!("{}{}", arguments.prefix, slashed(&file.relative)?),
    };
    let key = text.parse::<ObjectKey>().map_err(|error| {
        Failure::usage(
            format!("{}: \"{text}\" is no possible key: {error}", shown(&file.path)),
            "rename the file, or give --key or --auto-key",
        )
    })?;
    Ok(Some(key))
}

fn slashed(relative: &Path) -> Result<String, Failure> {
    relative.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::usage(
            format!("the name of {} is no UTF-8 text", relative.display()),
            "rename the file, or give --key or --auto-key",
        )
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn plan(arguments: &[&str]) -> Result<Vec<Item>, Failure> {
        let line = ["larder", "put"].iter().chain(arguments);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Put(put) => items(&put),
            _ => unreachable!("put was given"),
        }
    }

    fn keys(items: &[Item]) -> Vec<&str> {
        items.iter().map(|item| item.key.as_ref().map_or("", |key| key.as_str())).collect()
    }

    #[test]
    fn keys_are_paths_below_the_folder_behind_the_prefix() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        for file in ["a.jpg", "sub/b.jpg"] {
            std::fs::write(dir.path().join(file), "x").unwrap();
        }
        let root = dir.path().to_str().unwrap();
        assert_eq!(keys(&plan(&[root]).unwrap()), ["a.jpg", "sub/b.jpg"]);
        assert_eq!(keys(&plan(&[root, "--prefix", "p/"]).unwrap()), ["p/a.jpg", "p/sub/b.jpg"]);
        let one = format!("{root}/sub/b.jpg");
        assert_eq!(keys(&plan(&[&one]).unwrap()), ["b.jpg"]);
        assert_eq!(keys(&plan(&[&one, "--key", "k/x.jpg"]).unwrap()), ["k/x.jpg"]);
        assert_eq!(plan(&[&one, "--auto-key"]).unwrap()[0].key, None);
        assert!(plan(&[root, "--key", "k"]).unwrap_err().cause.contains("2 files"));
        assert!(plan(&[&one, "--key", "../k"]).is_err());
    }

    #[test]
    fn two_files_never_meet_under_one_key() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["x", "y"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join("a.jpg"), "x").unwrap();
        }
        let paths = ["x/a.jpg", "y/a.jpg"].map(|file| dir.path().join(file).to_str().unwrap().to_owned());
        let failure = plan(&[&paths[0], &paths[1]]).unwrap_err();
        assert!(failure.cause.contains("would both be a.jpg"), "{failure}");
    }
}
