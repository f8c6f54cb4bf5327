//! Pulling: a version from the store into a local file.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use crate::{
    apply::{self, blocking},
    error::{Error, Result},
    format::PageMap,
    hash::{Digest, ShortHash, lock_page, page_hash, root},
    history::Along,
    pages::{Database, is_there},
    progress::{Event, Watch},
    push::apart,
    remote::Remote,
    sidecar::Sidecar,
    standing::{Standing, standing},
    upload::open,
};

/// How often a pull begins again because what it was about to fetch was moved.
const ATTEMPTS: u32 = 5;

/// Which version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Wanted {
    /// The newest.
    #[default]
    Newest,
    /// That of an entry.
    Seq(u64),
    /// The newest that is not newer than a time, in milliseconds since 1970.
    At(u64),
    /// A backup by its name.
    Name(String),
}

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Which version.
    pub wanted: Wanted,
    /// The store wins, whatever was changed in the file.
    pub force: bool,
    /// Whether the file may be an earlier version than it is: a restore.
    pub may_go_back: bool,
}

/// What a pull did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PullReport {
    /// The version that the file is now.
    pub seq: u64,
    /// When that was committed, in milliseconds since 1970.
    pub time_ms: u64,
    /// Pages that were fetched; zero if the file was that version already.
    pub pages: u64,
    /// Pages of the database.
    pub of: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Whether the file has something to be pushed, and the store nothing newer.
    pub is_ahead: bool,
}

/// The version that is wanted.
///
/// # Errors
/// [`Error::Absent`], [`Error::Corrupt`], [`Error::Store`].
pub async fn find(
    remote: &Remote,
    wanted: &Wanted,
    known: Option<PageMap>,
    along: &mut Along,
) -> Result<PageMap> {
    let seq = match wanted {
        Wanted::Newest => {
            let newest = remote.newest(known, along).await?;
            return newest.filter(|newest| newest.page_size > 0).ok_or_else(|| Error::Absent {
                detail: format!("there is no database at {}", remote.label()),
            });
        }
        Wanted::Seq(seq) => *seq,
        Wanted::At(time_ms) => remote.version_at(*time_ms).await?,
        Wanted::Name(name) => {
            let keep = remote.keep(name).await?;
            let keep = keep.ok_or_else(|| Error::Absent {
                detail: format!("there is no backup \"{name}\" of {}", remote.label()),
            })?;
            let map = remote.version(keep.seq, along).await?;
            return match (map.database, map.root) == (keep.database, keep.root) {
                true => Ok(map),
                false => Err(Error::corrupt(
                    remote.name(&crate::remote::Object::Keep(name.clone())),
                    "the version that it names is another one",
                )),
            };
        }
    };
    remote.version(seq, along).await
}

/// Makes a local file the wanted version. Only pages that differ are fetched. One that is in use changes in one
/// transaction; one that is not there appears whole.
///
/// # Errors
/// [`Error::Diverged`] if the file has commits that were not pushed, [`Error::Absent`], [`Error::Corrupt`],
/// [`Error::Busy`], [`Error::Full`], [`Error::Store`] and more.
pub async fn pull(remote: &Remote, path: &Path, options: &PullOptions, watch: &Watch) -> Result<PullReport> {
    let sidecar = Sidecar::read(path);
    let mut known = sidecar.as_ref().and_then(|sidecar| sidecar.map(path));
    for attempt in 1.. {
        let mut along = Along::default();
        let map = Arc::new(find(remote, &options.wanted, known.take(), &mut along).await?);
        match pull_version(remote, path, map, &along, sidecar.as_ref(), options, watch).await {
            // What was named a moment ago was moved by a collection.
            Err(Error::Store(larder_store::Error::NotFound { .. })) if attempt < ATTEMPTS => {}
            pulled => return pulled,
        }
    }
    unreachable!("the last attempt returns")
}

pub(crate) async fn pull_version(
    remote: &Remote,
    path: &Path,
    map: Arc<PageMap>,
    along: &Along,
    sidecar: Option<&Sidecar>,
    options: &PullOptions,
    watch: &Watch,
) -> Result<PullReport> {
    let (seq, of, page_bytes) = (map.seq, u64::from(map.page_count()), u64::from(map.page_size));
    let report = |pages, is_ahead| PullReport { seq, time_ms: map.time_ms, pages, of, page_bytes, is_ahead };
    if !is_there(path) {
        apply::refuse_leftovers(path)?;
        if std::fs::metadata(path).is_ok() {
            std::fs::remove_file(path).map_err(|error| Error::io(path, "replaced", error))?;
        }
        watch(&Event::Pulling { seq, pages: of, of, page_bytes });
        apply::create(remote, &map, along, path, watch).await?;
        remember(&map, path)?;
        watch(&Event::Pulled { seq });
        return Ok(report(of, false));
    }
    let local = Local::read(path).await?;
    if local.root == map.root {
        remember(&map, path)?;
        watch(&Event::Unchanged { seq });
        return Ok(report(0, false));
    }
    if !options.force {
        let newest = match options.wanted {
            Wanted::Newest => None,
            _ => remote.newest(None, &mut Along::default()).await?,
        };
        let newest = newest.as_ref().unwrap_or(&map);
        match standing(remote, newest, sidecar, local.root, along).await? {
            Standing::Earlier => {}
            // The newest, to be made an earlier one.
            Standing::Newest if options.may_go_back => {}
            Standing::Newest | Standing::Ahead if !options.may_go_back => {
                watch(&Event::Unchanged { seq });
                return Ok(report(0, true));
            }
            Standing::Newest | Standing::Ahead | Standing::Apart => {
                return Err(apart(path, remote, newest, sidecar));
            }
        }
    }
    let wanted = Arc::new(local.differing(&map));
    watch(&Event::Pulling { seq, pages: wanted.len() as u64, of, page_bytes });
    let database = if local.page_size == map.page_size && local.database.has_page_table() {
        let fetched = apply::fetch_some(remote, &map, &wanted, along, path, watch).await?;
        let (map, wanted) = (Arc::clone(&map), Arc::clone(&wanted));
        let Local { database, data_version, .. } = local;
        blocking(move || apply::apply(&database, &map, &wanted, &fetched, data_version).map(|()| database))
            .await?
    } else {
        apply::replace(remote, &map, along, local.database, local.data_version, watch).await?
    };
    drop(database);
    remember(&map, path)?;
    watch(&Event::Pulled { seq });
    Ok(report(wanted.len() as u64, false))
}

/// The file is this version. Who wrote it last is not known to be this file.
fn remember(map: &PageMap, path: &Path) -> Result<()> {
    Sidecar::of(map, None, [0; 16]).write(path, map)
}

/// A local database with the hashes of its pages.
#[derive(Debug)]
pub struct Local {
    pub database: Database,
    pub page_size: u32,
    pub hashes: Vec<ShortHash>,
    pub root: Digest,
    /// It is what it was as long as this does not change.
    pub data_version: u32,
}

impl Local {
    /// Reads all of a local database.
    ///
    /// # Errors
    /// As [`Database::open`] and [`Snapshot::all`](crate::pages::Snapshot::all).
    pub async fn read(path: &Path) -> Result<Self> {
        let database = open(path).await?;
        let path: PathBuf = path.to_owned();
        blocking(move || {
            let data_version = database.data_version()?;
            let snapshot = database.snapshot()?;
            let page_size = snapshot.page_size();
            let mut hashes = vec![ShortHash::default(); snapshot.page_count() as usize];
            snapshot.all(|number, page| {
                hashes[number as usize - 1] = page_hash(number, page);
                Ok(())
            })?;
            drop(snapshot);
            if database.data_version()? != data_version {
                return Err(Error::Busy { path });
            }
            let root = root(page_size, &hashes);
            Ok(Self { database, page_size, hashes, root, data_version })
        })
        .await
    }

    /// The pages of a version that are others here.
    fn differing(&self, map: &PageMap) -> Vec<u32> {
        let lock = lock_page(map.page_size);
        let same_size = self.page_size == map.page_size;
        let differs = |number: &u32| {
            let slot = *number as usize - 1;
            !same_size || self.hashes.get(slot) != map.hashes.get(slot)
        };
        let pages: BTreeSet<u32> =
            (1..=map.page_count()).filter(|number| *number != lock).filter(differs).collect();
        pages.into_iter().collect()
    }
}
