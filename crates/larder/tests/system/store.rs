//! The store of these tests: the local disk, as a new user has it.

use std::path::{Path, PathBuf};

/// What a process is told of it: nothing.
pub fn environment() -> Vec<(&'static str, String)> {
    Vec::new()
}

/// The folder whose files are what lies in the store of a data directory.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("media")
}
