//! Which databases there are: a listing for each part of a path that stands for any name, and one for each path found.

use std::collections::BTreeSet;

use larder_core::Fault;
use larder_store::{ListOptions, Store};

use super::pattern::{Part, Pattern};

/// Databases that are looked after, at most: an hourly run takes some six requests for each.
pub(super) const DATABASES_MAX: usize = 500;

/// Paths that are looked at, at most, for one that has a database: a pattern that matches most of a bucket must not
/// cost a request for each of its folders every hour.
const PATHS_MAX: usize = 4_000;

/// The databases at the places of some patterns.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) prefixes: BTreeSet<String>,
    /// There are more than are looked after.
    pub(super) is_cut: bool,
}

/// Finds them. Where a pattern matches nothing that is one request.
pub(super) async fn find(store: &dyn Store, patterns: &[Pattern]) -> Result<Found, Fault> {
    let mut found = Found::default();
    for pattern in patterns {
        for path in paths(store, pattern, &mut found.is_cut).await? {
            if found.prefixes.len() == DATABASES_MAX {
                found.is_cut = true;
                return Ok(found);
            }
            if has_log(store, &path).await? {
                found.prefixes.insert(path);
            }
        }
    }
    Ok(found)
}

/// The paths that a pattern means, as far as there is something below them.
async fn paths(store: &dyn Store, pattern: &Pattern, is_cut: &mut bool) -> Result<Vec<String>, Fault> {
    let mut paths = vec![String::new()];
    for part in pattern.parts() {
        let mut longer = Vec::new();
        for path in paths {
            match part {
                Part::Exactly(name) => longer.push(format!("{path}{name}/")),
                Part::Any(_) => {
                    let room = PATHS_MAX.saturating_sub(longer.len());
                    *is_cut |= folders(store, &path, room, &mut longer).await?;
                }
            }
        }
        paths = longer;
    }
    Ok(paths.into_iter().map(|path| path.trim_end_matches('/').to_owned()).collect())
}

/// Adds at most `room` folders below a path; answers whether there are more.
async fn folders(
    store: &dyn Store,
    path: &str,
    room: usize,
    folders: &mut Vec<String>,
) -> Result<bool, Fault> {
    let mut options = ListOptions { delimiter: true, ..ListOptions::under(path) };
    let full = folders.len() + room;
    loop {
        let page = store.list(options.clone()).await?;
        folders.extend(page.prefixes);
        if folders.len() > full {
            folders.truncate(full);
            return Ok(true);
        }
        match page.next {
            Some(next) => options.after = Some(next),
            None => return Ok(false),
        }
    }
}

/// Whether there is the log of a database: its entries have numbers of 16 digits for names.
async fn has_log(store: &dyn Store, path: &str) -> Result<bool, Fault> {
    let log = format!("{path}/log/");
    let page = store.list(ListOptions { limit: 1, ..ListOptions::under(&log) }).await?;
    Ok(page.entries.first().is_some_and(|entry| {
        let name = &entry.place.as_str()[log.len()..];
        name.len() == 16 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }))
}
