//! A store of plain files below a folder.
//!
//! `docs/decisions/0002-local-store.md` says why this is our own code. Each file below `local/`
//! holds one idea: [`root`] never leaves the folder, [`temporary`] never leaves a file behind,
//! [`publish`] lets bytes appear at their place all at once, [`durable`] and [`dir_sync`] make that
//! survive a power cut, [`place_lock`] makes conditions atomic, [`walk`] lists.

mod dir_sync;
mod durable;
mod errno;
mod place_lock;
mod publish;
mod root;
mod stat;
mod temporary;
mod walk;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use larder_core::Ambient;
use rustix::{
    fs::{AtFlags, OFlags},
    io::Errno,
};

use self::{
    durable::{Durable, Unsettled},
    place_lock::PlaceLocks,
    root::Root,
    temporary::Temporary,
};
use url::Url;

use crate::{
    body::{Body, ByteStream, FileBody},
    error::{Error, Result},
    listing::{ListOptions, Listing},
    place::Place,
    store::{
        Capabilities, Condition, CopyOptions, OpenOptions, Opened, PutOptions, RenameOptions, SignedAction,
        Stat, Store, UnfinishedOptions,
    },
};

/// Where uploads wait; puts directly into it are written in place.
const STAGING: &str = ".larder/staging";

/// What this store keeps for itself: temporary files and lock files. No place lies there.
const PRIVATE: &str = ".larder/local";

/// Opening a pipe for reading would wait for its writer.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// How many bytes of a body are gathered for one write; up to here a put takes one blocking step.
const WRITE_BYTES: usize = 1024 * 1024;

/// Plain files below a folder: the place is the path, so any other tool can read them.
///
/// - A put writes a file in `.larder/local/tmp` (directly in `.larder/staging` if that is where the
///   place lies: such a file is visible before it is complete, and nobody reads it before its put
///   returns), syncs it, renames it to its place and syncs every folder whose entries changed, before it
///   returns. Syncs of one folder by concurrent puts are shared.
/// - Attributes are not kept; the catalogue holds them.
/// - Conditions are atomic among all processes that open the same folder through this type.
/// - Symbolic links below the folder are not followed, in any part of a path: reading and writing
///   through one is [`Error::Denied`], listing leaves it out. The folder itself may be one. Hard links
///   and mounts below it are not told apart from ordinary files and folders.
/// - Files that are no regular files, and names that are no [`Place`], do not exist for it; a listing tells
///   such names.
/// - Folders that become empty are removed.
#[derive(Debug, Clone)]
pub struct LocalStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: Arc<Root>,
    durable: Durable,
    locks: PlaceLocks,
    ambient: Ambient,
    file_syncs: AtomicU64,
}

impl LocalStore {
    /// Opens the store below `folder`, which is created if it is absent, and removes the temporary
    /// files of processes that are gone. Blocks for a moment: meant for the start of a program.
    ///
    /// # Errors
    /// [`Error::Denied`] if the folder can't be made or written; [`Error::Unavailable`].
    pub fn open(folder: impl Into<PathBuf>, ambient: Ambient) -> Result<Self> {
        let folder = folder.into();
        let failed = |error: Errno| errno::failed(&folder, "", error);
        let root = Arc::new(Root::open(&folder).map_err(failed)?);
        for own in [STAGING, temporary::FOLDER, place_lock::FOLDER] {
            root.make_folders(own).map_err(failed)?;
        }
        let durable = Durable::new(Arc::clone(&root));
        durable.settle_blocking(&[STAGING, temporary::FOLDER, place_lock::FOLDER]).map_err(failed)?;
        temporary::sweep(&root, false).map_err(failed)?;
        match Temporary::create(&root, &ambient) {
            // A full store still serves what it holds.
            Ok(_) | Err(Errno::NOSPC | Errno::DQUOT) => {}
            Err(error) => return Err(failed(error)),
        }
        let locks = PlaceLocks::new(Arc::clone(&root));
        let shared = Shared { root, durable, locks, ambient, file_syncs: AtomicU64::new(0) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The folder of the store.
    pub fn folder(&self) -> &Path {
        self.shared.root.path()
    }

    /// How many times a file was synced since the store was opened; for benches.
    pub fn file_syncs_total(&self) -> u64 {
        self.shared.file_syncs.load(Ordering::Relaxed)
    }

    /// How many times a folder was synced since the store was opened; for benches. Fewer than
    /// changes, since concurrent changes of a folder share one.
    pub fn folder_syncs_total(&self) -> u64 {
        self.shared.durable.syncs_total()
    }

    /// Runs a step that may block, on a thread where that is no harm. The step runs to its end even
    /// if the caller is dropped.
    async fn blocking<T, F>(&self, place: &Place, step: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Shared, &Place) -> Result<T> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let own_place = place.clone();
        match tokio::task::spawn_blocking(move || step(&shared, &own_place)).await {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => Err(Error::unavailable(place.to_string(), error)),
            Err(error) => Err(Error::Internal { place: place.to_string(), source: error.into() }),
        }
    }

    /// Removes the folders above a place that are empty now. Nothing depends on it.
    async fn prune_above(&self, place: &Place) -> Result<()> {
        let prune = |shared: &Shared, place: &Place| {
            shared.root.prune_above(place.as_str());
            Ok(())
        };
        self.blocking(place, prune).await
    }

    /// Makes a written file durable and lets it stay.
    async fn complete(&self, place: &Place, finished: Finished) -> Result<Stat> {
        let Finished { stat, unsettled, in_place } = finished;
        self.sync_folders(place, unsettled).await?;
        if let Some(file) = in_place {
            file.keep();
        }
        Ok(stat)
    }

    /// Syncs the folders of a change.
    async fn sync_folders(&self, place: &Place, unsettled: Unsettled) -> Result<()> {
        self.shared.durable.settle(unsettled).await.map_err(|error| self.shared.failed_io(place, &error))
    }
}

/// A file at its place, whose folders are still to be synced.
struct Finished {
    stat: Stat,
    unsettled: Unsettled,
    /// A file that was written where it lies replaced nothing: unless its folder is synced and its
    /// caller still waits, it is removed.
    in_place: Option<Temporary>,
}

impl Shared {
    /// The error of a system call about a place.
    fn failed(&self, place: &Place, error: Errno) -> Error {
        errno::failed(self.root.path(), place.as_str(), error)
    }

    fn failed_io(&self, place: &Place, error: &io::Error) -> Error {
        self.failed(place, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// As [`failed`](Self::failed), where whatever keeps a file from being there means that none is.
    fn failed_to_find(&self, place: &Place, error: Errno) -> Error {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::NXIO => {
                Error::NotFound { place: place.clone() }
            }
            _ => self.failed(place, error),
        }
    }

    /// Opens the regular file at a place.
    fn open_file(&self, place: &Place, flags: OFlags) -> Result<(File, rustix::fs::Stat)> {
        refuse_private(place)?;
        let file =
            self.root.resolve(place.as_str(), flags).map_err(|error| self.failed_to_find(place, error))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| self.failed(place, error))?;
        if !stat::is_file(&stat) {
            return Err(Error::NotFound { place: place.clone() });
        }
        Ok((file.into(), stat))
    }

    /// A file to write the bytes of a place to: the place itself if it lies in staging and is free.
    fn begin(&self, place: &Place, condition: &Condition) -> Result<Temporary> {
        refuse_private(place)?;
        if stat::parent(place) == STAGING && !matches!(condition, Condition::IfMatch(_)) {
            match Temporary::create_in_place(&self.root, place.as_str()) {
                // Something is there: it is replaced all at once, or the condition fails below.
                Err(Errno::EXIST) => {}
                created => return created.map_err(|error| self.failed(place, error)),
            }
        }
        Temporary::create(&self.root, &self.ambient).map_err(|error| self.failed(place, error))
    }

    /// Syncs a written file and lets it appear at its place.
    fn finish(&self, temporary: Temporary, place: &Place, condition: &Condition) -> Result<Finished> {
        stat::make_unique(temporary.file(), &self.ambient).map_err(|error| self.failed(place, error))?;
        self.file_syncs.fetch_add(1, Ordering::Relaxed);
        temporary.file().sync_all().map_err(|error| self.failed_io(place, &error))?;
        let stat = rustix::fs::fstat(temporary.file()).map_err(|error| self.failed(place, error))?;
        let in_place = if temporary.is_in_place() {
            Some(temporary)
        } else {
            publish::publish(self, temporary.relative(), place, condition)?;
            temporary.keep();
            None
        };
        Ok(Finished { stat: stat::stat(&stat), unsettled: self.unsettled(place)?, in_place })
    }

    fn unsettled(&self, place: &Place) -> Result<Unsettled> {
        self.durable.unsettled(stat::parent(place)).map_err(|error| self.failed(place, error))
    }

    /// What lies at a place, and the folders to sync for it to stay so.
    fn found(&self, place: &Place) -> Result<(Option<Stat>, Unsettled)> {
        refuse_private(place)?;
        if !self.has_folder(place)? {
            return Ok((None, Unsettled::default()));
        }
        let stat = match self.open_file(place, root::LOOK) {
            Ok((_, stat)) => Some(stat::stat(&stat)),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok((stat, self.unsettled(place)?))
    }

    /// Whether the folder of a place is there. A folder is removed only after the removal of its files
    /// was made durable, so without it there is nothing to sync either.
    fn has_folder(&self, place: &Place) -> Result<bool> {
        match self.root.folder(stat::parent(place)) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(false),
            Err(error) => Err(self.failed(place, error)),
        }
    }

    fn remove(&self, place: &Place) -> Result<(bool, Unsettled)> {
        refuse_private(place)?;
        let folder = match self.root.folder(stat::parent(place)) {
            Ok(folder) => folder,
            // A folder is removed only after the removal of its files was made durable.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => {
                return Ok((false, Unsettled::default()));
            }
            Err(error) => return Err(self.failed(place, error)),
        };
        let _lock = self.locks.lock(&[place]).map_err(|error| self.failed_io(place, &error))?;
        let existed = match stat::find(&folder, place.name()) {
            Ok(None) => false,
            Ok(Some(_)) => match rustix::fs::unlinkat(&folder, place.name(), AtFlags::empty()) {
                Ok(()) => true,
                Err(Errno::NOENT) => false,
                Err(error) => return Err(self.failed(place, error)),
            },
            Err(error) => return Err(self.failed(place, error)),
        };
        // Also if nothing was there: whoever removed it may not have lived to sync.
        Ok((existed, self.unsettled(place)?))
    }
}

fn refuse_private(place: &Place) -> Result<()> {
    if place.lies_below(PRIVATE) || place.as_str() == PRIVATE {
        return Err(Error::Invalid { detail: format!("{place} belongs to the store itself") });
    }
    Ok(())
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for LocalStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            attributes: false,
            rename_keeps_fingerprint: true,
            create_if_absent: true,
            replace_if_match: true,
            local_files: true,
            folders_block: true,
            fingerprints_tell_puts: true,
            puts_tell_time: true,
        }
    }

    fn local_path(&self, place: &Place) -> Option<PathBuf> {
        Some(self.shared.root.path().join(place.as_str()))
    }

    fn public_url(&self, _: &Place) -> Option<Url> {
        None
    }

    async fn signed_url(&self, _: &Place, _: &SignedAction, _: Duration) -> Result<Option<Url>> {
        Ok(None)
    }

    async fn put(&self, place: &Place, mut body: ByteStream, options: PutOptions) -> Result<Stat> {
        let mut temporary: Option<Temporary> = None;
        let mut gathered: Vec<Bytes> = Vec::new();
        let mut gathered_bytes = 0;
        while let Some(chunk) = body.try_next().await.map_err(Error::Body)? {
            gathered_bytes += chunk.len();
            gathered.push(chunk);
            if gathered_bytes < WRITE_BYTES {
                continue;
            }
            let (opened, chunks, condition) =
                (temporary.take(), std::mem::take(&mut gathered), options.condition.clone());
            gathered_bytes = 0;
            temporary = Some(
                self.blocking(place, move |shared, place| {
                    let temporary = opened.map_or_else(|| shared.begin(place, &condition), Ok)?;
                    temporary.write(&chunks).map_err(|error| shared.failed_io(place, &error))?;
                    Ok(temporary)
                })
                .await?,
            );
        }
        let last_step = move |shared: &Shared, place: &Place| {
            let temporary = temporary.map_or_else(|| shared.begin(place, &options.condition), Ok)?;
            temporary.write(&gathered).map_err(|error| shared.failed_io(place, &error))?;
            shared.finish(temporary, place, &options.condition)
        };
        let finished = self.blocking(place, last_step).await?;
        self.complete(place, finished).await
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        self.blocking(place, move |shared, place| {
            let (file, stat) = shared.open_file(place, READ)?;
            let stat = stat::stat(&stat);
            let range = options.resolve(place, stat.size_bytes)?;
            Ok(Opened { stat, range: range.clone(), body: Body::File(FileBody { file, range }) })
        })
        .await
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        self.blocking(place, |shared, place| {
            let (_, stat) = shared.open_file(place, root::LOOK)?;
            Ok(stat::stat(&stat))
        })
        .await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        let (stat, unsettled) = self.blocking(place, |shared, place| shared.found(place)).await?;
        self.sync_folders(place, unsettled).await?;
        Ok(stat)
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        let shared = Arc::clone(&self.shared);
        let prefix = options.prefix.clone();
        let walk = move || {
            walk::list(&shared.root, &options)
                .map_err(|error| errno::failed(shared.root.path(), &options.prefix, error))
        };
        match tokio::task::spawn_blocking(walk).await {
            Ok(result) => result,
            Err(error) => Err(Error::Internal { place: prefix, source: error.into() }),
        }
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        let (existed, unsettled) = self.blocking(place, |shared, place| shared.remove(place)).await?;
        self.sync_folders(place, unsettled).await?;
        if existed {
            self.prune_above(place).await?;
        }
        Ok(existed)
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        let from = from.clone();
        let copied = self.blocking(to, move |shared, to| {
            let (mut source, _) = shared.open_file(&from, READ)?;
            let temporary = shared.begin(to, &options.condition)?;
            // The kernel copies, or shares blocks where the file system can.
            io::copy(&mut source, &mut temporary.file()).map_err(|error| shared.failed_io(to, &error))?;
            shared.finish(temporary, to, &options.condition)
        });
        let finished = copied.await?;
        self.complete(to, finished).await
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        let source = from.clone();
        let renamed = self.blocking(to, move |shared, to| {
            refuse_private(to)?;
            publish::rename(shared, &source, to, &options.condition)
        });
        let (stat, arrived, left) = renamed.await?;
        // The new name first: a power cut in between may leave both, never neither.
        self.sync_folders(to, arrived).await?;
        self.sync_folders(from, left).await?;
        self.prune_above(from).await?;
        Ok(stat)
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        let shared = Arc::clone(&self.shared);
        let sweep = move || {
            temporary::sweep(&shared.root, options.dry_run)
                .map_err(|error| errno::failed(shared.root.path(), temporary::FOLDER, error))
        };
        tokio::task::spawn_blocking(sweep)
            .await
            .map_err(|error| Error::Internal { place: temporary::FOLDER.to_owned(), source: error.into() })?
    }
}
