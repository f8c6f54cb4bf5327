//! Plain SQLite files in a store: the first version of a database, and copies for others.

use std::{fs::File, path::Path};

use futures::StreamExt;
use larder_store::{Body, Error as StoreError, FileBody, OpenOptions, Place, PutOptions, Store};

use crate::{
    apply::{
        begins_as_database, blocking, check_room, on_the_way, publish, refuse_leftovers, remove_unfinished,
    },
    error::{Error, Result},
    pages::{Database, folder_of},
    progress::{Event, Watch},
    remote::Remote,
};

/// Endings of files that may lie where a database is looked for.
const ENDINGS: [&str; 4] = ["", ".db", ".sqlite", ".sqlite3"];

/// A plain file in the store, where a database was looked for.
///
/// # Errors
/// [`Error::Store`].
pub async fn find(remote: &Remote) -> Result<Option<Place>> {
    for ending in ENDINGS {
        let Ok(place) = format!("{}{ending}", remote.prefix()).parse::<Place>() else { continue };
        match remote.store().stat(&place).await {
            Ok(_) => return Ok(Some(place)),
            Err(StoreError::NotFound { .. } | StoreError::Blocked { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Brings a plain file from the store. Nothing is written there: the first push makes it the first version.
///
/// # Errors
/// [`Error::NotADatabase`], [`Error::Full`], [`Error::Io`], [`Error::Store`].
pub async fn fetch(remote: &Remote, place: &Place, path: &Path, watch: &Watch) -> Result<u64> {
    refuse_leftovers(path)?;
    remove_unfinished(path);
    let opened = remote.store().open(place, OpenOptions::default()).await?;
    let size_bytes = opened.stat.size_bytes;
    check_room(folder_of(path), size_bytes)?;
    watch(&Event::Fetching { place: place.to_string(), bytes: size_bytes });
    let mut new = on_the_way(path)?;
    let mut bytes = opened.exact().body.into_stream();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(larder_store::Error::Body)?;
        let path = path.to_owned();
        new = blocking(move || {
            use std::io::Write;
            new.write_all(&chunk).map_err(|error| Error::io(&path, "written", error))?;
            Ok(new)
        })
        .await?;
    }
    let name = std::path::PathBuf::from(place.as_str());
    let new = blocking(move || {
        check(new.path(), &name)?;
        Ok(new)
    })
    .await?;
    publish(new, path).await?;
    Ok(size_bytes)
}

/// Whether a file that nobody has open is a whole database.
fn check(path: &Path, name: &Path) -> Result<()> {
    let named = |error| match error {
        Error::NotADatabase { detail, .. } => Error::NotADatabase { path: name.to_owned(), detail },
        error => error,
    };
    let mut beginning = [0; 16];
    let read = File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut beginning));
    if read.is_err() || !begins_as_database(&beginning) {
        return Err(Error::NotADatabase {
            path: name.to_owned(),
            detail: "it does not begin as one does; it may be encrypted, or another kind of file".to_owned(),
        });
    }
    let database = Database::open(path).map_err(named)?;
    database.check(false).map_err(named)
}

/// Puts a database as a plain file into a store: one object that any SQLite reads.
///
/// # Errors
/// [`Error::Io`], [`Error::Store`].
pub async fn put(store: &dyn Store, place: &Place, path: &Path) -> Result<u64> {
    let opened = path.to_owned();
    let (file, size_bytes) = blocking(move || {
        let file = File::open(&opened).map_err(|error| Error::io(&opened, "read", error))?;
        let size_bytes = file.metadata().map_err(|error| Error::io(&opened, "read", error))?.len();
        Ok((file, size_bytes))
    })
    .await?;
    let body = Body::File(FileBody { file, range: 0..size_bytes });
    let options = PutOptions { size_hint: Some(size_bytes), ..PutOptions::default() };
    store.put(place, body.into_stream(), options).await?;
    Ok(size_bytes)
}

/// Lets SQLite look through a local database: its `quick_check`, or in full its `integrity_check`.
///
/// # Errors
/// [`Error::NotADatabase`] with the first finding.
pub async fn check_file(path: &Path, is_full: bool) -> Result<()> {
    let path = path.to_owned();
    blocking(move || Database::open(&path)?.check(is_full)).await
}
