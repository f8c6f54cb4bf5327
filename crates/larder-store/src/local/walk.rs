//! Listing a tree of folders in bytewise order of the whole path, in pages, with bounded memory.
//!
//! In a folder, a file sorts by its name and a folder by its name and a slash, so that `a.b` comes
//! before `a/c`. A folder is read in chunks of its smallest names, whatever it holds: a folder of a
//! million files costs a scan of its names for each page and the memory of one chunk.

use std::{
    collections::{BTreeMap, BinaryHeap},
    os::fd::OwnedFd,
};

use rustix::{
    fs::{AtFlags, Dir, FileType},
    io::Errno,
};

use super::{PRIVATE, root::Root, stat};
use crate::{
    listing::{Entry, ListOptions, Listing, is_own},
    place::Place,
};

/// How many names of a folder are held at once.
const CHUNK_NAMES: usize = 2_048;

/// One page. Folders that vanish meanwhile are empty.
pub(super) fn list(root: &Root, options: &ListOptions) -> Result<Listing, Errno> {
    let mut walk =
        Walk { root, options, page: Listing::default(), last: String::new(), unnameable: BTreeMap::new() };
    // Nothing before the last slash of the prefix needs looking at.
    let folder = options.prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    let is_folder = folder.parse::<Place>().is_ok() || !options.prefix.contains('/');
    if is_folder && !is_private(&options.prefix) {
        walk.folder(folder)?;
    }
    Ok(walk.page)
}

struct Walk<'a> {
    root: &'a Root,
    options: &'a ListOptions,
    page: Listing,
    /// The last entry or prefix of the page.
    last: String,
    /// Children that are no places, as they are shown to people.
    unnameable: BTreeMap<Child, String>,
}

/// The path of a child, with a slash at the end if it is a folder: the text by which it sorts.
type Child = String;

/// Whether there is room for more.
#[derive(PartialEq, Eq)]
enum Page {
    Open,
    Full,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &str) -> Result<Page, Errno> {
        let mut seen = String::new();
        loop {
            let chunk = self.chunk(folder, &seen)?;
            let Some(last) = chunk.last().cloned() else {
                return Ok(Page::Open);
            };
            let is_last_chunk = chunk.len() < CHUNK_NAMES;
            // Held for a run of files only, so that a deep tree does not hold a file for each level.
            let mut opened: Option<OwnedFd> = None;
            for child in chunk {
                if let Some(shown) = self.unnameable.remove(&child) {
                    if self.is_full() {
                        return Ok(Page::Full);
                    }
                    self.page.unnameable.push(shown);
                    self.last = child;
                    continue;
                }
                let page = match child.strip_suffix('/') {
                    Some(path) => {
                        opened = None;
                        self.child_folder(&child, path)?
                    }
                    None => self.file(folder, &mut opened, &child)?,
                };
                if page == Page::Full {
                    return Ok(Page::Full);
                }
            }
            if is_last_chunk {
                return Ok(Page::Open);
            }
            seen = last;
        }
    }

    /// The smallest children after `seen` that matter to this listing, in order.
    fn chunk(&mut self, folder: &str, seen: &str) -> Result<Vec<Child>, Errno> {
        let opened = match self.root.folder(folder) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut smallest = BinaryHeap::with_capacity(CHUNK_NAMES.min(64));
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            let path = |name: &str| match folder {
                "" => name.to_owned(),
                folder => format!("{folder}/{name}"),
            };
            let name = entry.file_name().to_str().ok();
            let named = name.map(path).filter(|child| child.parse::<Place>().is_ok());
            let (child, shown) = match (name, named) {
                (Some(name), Some(child)) => match self.kind(&opened, name, entry.file_type())? {
                    FileType::RegularFile => (child, None),
                    FileType::Directory => (format!("{child}/"), None),
                    _ => continue,
                },
                // The control character keeps it apart from every place.
                _ => {
                    let shown = path(&entry.file_name().to_bytes().escape_ascii().to_string());
                    (format!("{}\u{1}", path(&entry.file_name().to_string_lossy())), Some(shown))
                }
            };
            let worth =
                smallest.len() < CHUNK_NAMES || smallest.peek().is_some_and(|largest| child < *largest);
            if worth && child.as_str() > seen && self.matters(&child) {
                if smallest.len() == CHUNK_NAMES {
                    smallest.pop();
                }
                if let Some(shown) = shown {
                    self.unnameable.insert(child.clone(), shown);
                }
                smallest.push(child);
            }
        }
        Ok(smallest.into_sorted_vec())
    }

    /// Not every file system tells the type with the name.
    fn kind(&self, folder: &OwnedFd, name: &str, told: FileType) -> Result<FileType, Errno> {
        if told != FileType::Unknown {
            return Ok(told);
        }
        match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT) => Ok(FileType::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Whether a child can add to the page.
    fn matters(&self, child: &str) -> bool {
        let prefix = self.options.prefix.as_str();
        let is_folder = child.ends_with('/');
        let matches = child.starts_with(prefix) || (is_folder && prefix.starts_with(child));
        let hidden = (is_own(child) && !self.options.asks_for_own()) || is_private(child);
        let after = self.options.after.as_deref().unwrap_or_default();
        let not_before = child > after || (is_folder && after.starts_with(child));
        matches && not_before && !hidden && !(self.is_folded(child) && child == after)
    }

    /// Whether this folder appears as one of the page's prefixes instead of with what it holds.
    fn is_folded(&self, child: &str) -> bool {
        let prefix = self.options.prefix.as_str();
        self.options.delimiter
            && child.ends_with('/')
            && child.len() > prefix.len()
            && child.starts_with(prefix)
    }

    fn child_folder(&mut self, child: &str, path: &str) -> Result<Page, Errno> {
        if !self.is_folded(child) {
            return self.folder(path);
        }
        // A folder counts only if a file lies below it, at any depth.
        let after = self.options.after.clone();
        let first = ListOptions { prefix: child.to_owned(), delimiter: false, after, limit: 1 };
        if list(self.root, &first)?.entries.is_empty() {
            return Ok(Page::Open);
        }
        if self.is_full() {
            return Ok(Page::Full);
        }
        self.page.prefixes.push(child.to_owned());
        child.clone_into(&mut self.last);
        Ok(Page::Open)
    }

    fn file(&mut self, folder: &str, opened: &mut Option<OwnedFd>, path: &str) -> Result<Page, Errno> {
        let folder = match opened {
            Some(folder) => folder,
            None => match self.root.folder(folder) {
                Ok(folder) => opened.insert(folder),
                Err(Errno::NOENT) => return Ok(Page::Open),
                Err(error) => return Err(error),
            },
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        let (Some(found), Ok(place)) = (stat::find(folder, name)?, path.parse::<Place>()) else {
            return Ok(Page::Open);
        };
        if self.is_full() {
            return Ok(Page::Full);
        }
        self.page.entries.push(Entry {
            place,
            size_bytes: stat::size_bytes(&found),
            fingerprint: stat::fingerprint(&found),
            modified: stat::modified(&found),
        });
        path.clone_into(&mut self.last);
        Ok(Page::Open)
    }

    /// Whether the page has no room; then it says where the next one begins.
    fn is_full(&mut self) -> bool {
        let limit = self.options.page_limit();
        let full = self.page.entries.len() + self.page.prefixes.len() >= limit
            || self.page.unnameable.len() >= limit;
        if full {
            self.page.next = Some(self.last.clone());
        }
        full
    }
}

/// Whether a path is, or lies in, the folder that the store keeps for itself.
fn is_private(path: &str) -> bool {
    path.strip_prefix(PRIVATE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
