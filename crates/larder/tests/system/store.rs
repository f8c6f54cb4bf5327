//! The store of these tests: the local disk, as a new user has it.

use std::path::{Path, PathBuf};

/// Whether a process that starts alone removes what dead ones left in staging, which a lock tells it.
pub const LEFTOVERS_GO_AT_START: bool = true;

/// What a process is told of it: nothing.
pub fn environment() -> Vec<(&'static str, String)> {
    Vec::new()
}

/// Puts bytes at a place as another program would.
pub async fn plant(data_dir: &Path, place: &str, bytes: &'static str) {
    let file = folder(data_dir).join(place);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(file, bytes).expect("a file");
}

/// The folder whose files are what lies in the store of a data directory.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("media")
}
