//! SHA-256 of a file on disk.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use larder_core::{Code, Fault};
use sha2::{Digest, Sha256};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 * 1_024;

/// SHA-256 in hex.
///
/// # Errors
/// The file can't be read.
pub async fn of_file(path: &Path) -> Result<String, Fault> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || hash(path))
        .await
        .unwrap_or_else(|error| Err(Fault::internal("hashing was cut off").caused_by(error)))
}

fn hash(path: PathBuf) -> Result<String, Fault> {
    let unreadable = |error: std::io::Error| {
        Fault::new(Code::InvalidRequest, format!("{} can't be read: {error}", path.display()))
            .remedy("check path and permissions")
    };
    let mut file = File::open(&path).map_err(unreadable)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk).map_err(unreadable)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&chunk[..count]),
        }
    }
}
