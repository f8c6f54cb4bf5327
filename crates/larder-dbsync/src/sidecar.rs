//! What is remembered beside a local database: `FILE.larder` says which version it was last the same as, and
//! `FILE.larder-map` holds that version's map, so that it need not be fetched.
//!
//! Neither is needed. Without them a push or pull reads the map from the store and finds out by its root which version
//! the file is; so neither is synced, and what can't be read is as good as not there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use larder_store::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    format::{DatabaseId, PageMap},
    hash::Digest,
    pages::companion,
};

/// Which version a local file was last the same as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// Whose version that is.
    pub database: DatabaseId,
    /// The entry that made it.
    pub seq: u64,
    /// The digest of that entry.
    pub entry: Digest,
    /// The object that entry is, where that is known.
    pub fingerprint: Option<Fingerprint>,
    /// The digest of its pages.
    pub root: Digest,
    /// The writer that this file belonged to: what that wrote since was in this file.
    pub token: [u8; 16],
}

#[derive(Serialize, Deserialize)]
struct Text {
    format: u16,
    database: String,
    seq: u64,
    root: String,
    entry: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    writer: String,
}

/// Where it lies.
pub fn path_of(database: &Path) -> PathBuf {
    companion(database, ".larder")
}

fn map_path_of(database: &Path) -> PathBuf {
    companion(database, ".larder-map")
}

impl Sidecar {
    /// That of a version.
    pub fn of(map: &PageMap, fingerprint: Option<Fingerprint>, token: [u8; 16]) -> Self {
        Self { database: map.database, seq: map.seq, entry: map.entry, fingerprint, root: map.root, token }
    }

    /// Reads what lies beside a database.
    pub fn read(database: &Path) -> Option<Self> {
        let text: Text = serde_json::from_slice(&fs::read(path_of(database)).ok()?).ok()?;
        let mut token = [0; 16];
        hex::decode_to_slice(&text.writer, &mut token).ok()?;
        Some(Self {
            database: DatabaseId::parse(&text.database)?,
            seq: text.seq,
            entry: Digest::parse(&text.entry)?,
            fingerprint: text.object.map(Fingerprint::new),
            root: Digest::parse(&text.root)?,
            token,
        })
        .filter(|_| text.format == crate::format::VERSION)
    }

    /// The map of the version, if it lies there.
    pub fn map(&self, database: &Path) -> Option<PageMap> {
        if self.seq == 0 {
            return None;
        }
        let map = PageMap::read(&fs::read(map_path_of(database)).ok()?).ok()?;
        ((map.database, map.seq, map.entry) == (self.database, self.seq, self.entry)).then_some(map)
    }

    /// Replaces what lies beside a database; the map too, unless it lies there already or nothing was pushed yet.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, database: &Path, map: &PageMap) -> Result<()> {
        let known =
            Self::read(database).filter(|known| known.entry == self.entry && known.database == self.database);
        let has_map = known.is_some() && map_path_of(database).exists();
        let text = Text {
            format: crate::format::VERSION,
            database: self.database.to_string(),
            seq: self.seq,
            root: self.root.to_string(),
            entry: self.entry.to_string(),
            object: self.fingerprint.as_ref().map(|fingerprint| fingerprint.as_str().to_owned()),
            writer: hex::encode(self.token),
        };
        if map.page_size > 0 && !has_map {
            replace(&map_path_of(database), &map.write())?;
        }
        let mut text = serde_json::to_vec(&text).unwrap_or_default();
        text.push(b'\n');
        replace(&path_of(database), &text)
    }

    /// Removes what lies beside a database.
    pub fn forget(database: &Path) {
        let _ = fs::remove_file(path_of(database));
        let _ = fs::remove_file(map_path_of(database));
    }
}

fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error| Error::io(path, "written", error);
    let new = companion(path, "-new");
    fs::write(&new, bytes).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back_and_what_is_damaged_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        assert_eq!(Sidecar::read(&path), None);
        let sidecar = Sidecar {
            database: DatabaseId([1; 16]),
            seq: 7,
            entry: Digest::of(b"entry"),
            fingerprint: Some(Fingerprint::new("\"etag\"")),
            root: Digest::of(b"root"),
            token: [3; 16],
        };
        sidecar.write(&path, &PageMap::empty(sidecar.database)).unwrap();
        assert_eq!(Sidecar::read(&path), Some(sidecar.clone()));
        assert_eq!(sidecar.map(&path), None);
        fs::write(path_of(&path), "{\"format\":1").unwrap();
        assert_eq!(Sidecar::read(&path), None);
        Sidecar::forget(&path);
        assert!(!path_of(&path).exists());
    }
}
