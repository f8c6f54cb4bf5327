//! The files that a command was given.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// Deepest folder that is walked into; deeper ones are a mistake.
const DEPTH_MAX: usize = 64;

/// A file to work on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it lies.
    pub path: PathBuf,
    /// Its path below the folder that was given; its name if it was given itself.
    pub relative: PathBuf,
    /// Whether it was given by its own name.
    pub named: bool,
}

/// The files of `paths`, folders walked recursively in the order of names. Hidden files, and
/// everything below `except`, are left out.
///
/// # Errors
/// A path does not exist or can't be read.
pub fn walk(paths: &[PathBuf], except: Option<&Path>) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    let except = except.and_then(|path| path.canonicalize().ok());
    for path in paths {
        let metadata = std::fs::metadata(path).map_err(|error| Failure::file(path, "read", error))?;
        if metadata.is_dir() {
            folder(path, path, except.as_deref(), 0, &mut found)?;
        } else {
            let name = path.file_name().map_or_else(|| path.clone(), PathBuf::from);
            found.push(Found { path: path.clone(), relative: name, named: true });
        }
    }
    Ok(found)
}

fn folder(
    root: &Path,
    path: &Path,
    except: Option<&Path>,
    depth: usize,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let unreadable = |error| Failure::file(path, "read", error);
    if depth > DEPTH_MAX {
        return Err(Failure::usage(
            format!("{} lies more than {DEPTH_MAX} folders deep", path.display()),
            "give a folder further down",
        ));
    }
    if except.is_some() && path.canonicalize().ok().as_deref() == except {
        return Ok(());
    }
    let mut entries = BTreeMap::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            entries.insert(entry.file_name(), entry.path());
        }
    }
    for entry in entries.into_values() {
        // A link that points nowhere is no file to work on.
        let Ok(metadata) = std::fs::metadata(&entry) else { continue };
        if metadata.is_dir() {
            // Links to folders are not followed: they can lead out of the folder, or round in it.
            if !entry.is_symlink() {
                folder(root, &entry, except, depth + 1, found)?;
            }
        } else if metadata.is_file() {
            let relative = entry.strip_prefix(root).unwrap_or(&entry).to_owned();
            found.push(Found { path: entry, relative, named: false });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_walked_in_order_without_hidden_files_and_the_output() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["b.jpg", "a/2.jpg", "a/1.jpg", ".hidden", ".git/x", "out/z.jpg"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink("nowhere", dir.path().join("broken")).unwrap();
        let found = walk(&[dir.path().to_owned()], Some(&dir.path().join("out"))).unwrap();
        let names: Vec<_> = found.iter().map(|file| file.relative.to_str().unwrap()).collect();
        assert_eq!(names, ["a/1.jpg", "a/2.jpg", "b.jpg"]);
        assert!(found.iter().all(|file| !file.named));
        assert!(walk(&[dir.path().join("b.jpg")], None).unwrap()[0].named);
        assert!(walk(&[dir.path().join("missing")], None).unwrap_err().cause.contains("missing"));
    }

    #[test]
    fn links_to_folders_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("self")).unwrap();
        assert_eq!(walk(&[dir.path().to_owned()], None).unwrap(), []);
    }
}
