//! One page as a file: written at once, and known to be whole when it is read.
//!
//! `LARDERP1`, the CRC-64/NVME of key and bytes (8 bytes, big-endian), the bytes. Nothing is synced: what a
//! kill or the power left torn has another checksum, or none.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};

use super::page::PageKey;

const MAGIC: &[u8; 8] = b"LARDERP1";

/// Bytes before those of the page.
pub(super) const HEAD_BYTES: u64 = 16;

/// The unit in which the usual file systems give room to files.
const BLOCK_BYTES: u64 = 4_096;

/// What a page of so many bytes takes on the disk.
pub(super) fn room_bytes(page_bytes: u64) -> u64 {
    (page_bytes + HEAD_BYTES).next_multiple_of(BLOCK_BYTES)
}

/// Writes a page to a file of its own and moves it to `path`, over whatever is there.
pub(super) fn write(temporary: &Path, path: &Path, key: &PageKey, bytes: &[u8]) -> io::Result<()> {
    let written = (|| {
        let mut file = File::create(temporary)?;
        let mut head = [0; HEAD_BYTES as usize];
        head[..8].copy_from_slice(MAGIC);
        head[8..].copy_from_slice(&checksum(key, bytes).to_be_bytes());
        file.write_all(&head)?;
        file.write_all(bytes)?;
        drop(file);
        match fs::rename(temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(path))?;
                fs::rename(temporary, path)
            }
            renamed => renamed,
        }
    })();
    if written.is_err() {
        let _ = fs::remove_file(temporary);
    }
    written
}

/// Reads a page of at most `bytes_max`; `None` if the file is damaged.
pub(super) fn read(path: &Path, key: &PageKey, bytes_max: u64) -> io::Result<Option<Bytes>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if length <= HEAD_BYTES || length > bytes_max + HEAD_BYTES {
        return Ok(None);
    }
    let mut all = BytesMut::zeroed(length as usize);
    match file.read_exact(&mut all) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let head = all.split_to(HEAD_BYTES as usize);
    let sound = head[..8] == *MAGIC && head[8..] == checksum(key, &all).to_be_bytes();
    Ok(sound.then(|| all.freeze()))
}

fn checksum(key: &PageKey, bytes: &[u8]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    digest.update(key.to_string().as_bytes());
    digest.update(bytes);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_with_any_byte_changed_cut_or_added_or_under_another_name_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/page");
        let key: PageKey = format!("{:032x}-{:032x}-5", 1, 2).parse().unwrap();
        let other: PageKey = format!("{:032x}-{:032x}-6", 1, 2).parse().unwrap();
        write(&folder.path().join("tmp"), &path, &key, b"the bytes").unwrap();
        assert_eq!(read(&path, &key, 9).unwrap().unwrap(), "the bytes");
        assert_eq!(read(&path, &key, 8).unwrap(), None);
        assert_eq!(read(&path, &other, 9).unwrap(), None);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read(&path, &key, 9).unwrap(), None, "cut to {length}");
            let mut changed = whole.clone();
            changed[length] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert_eq!(read(&path, &key, 9).unwrap(), None, "byte {length} changed");
        }
        fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert_eq!(read(&path, &key, 10).unwrap(), None);
        assert!(read(&folder.path().join("none"), &key, 9).is_err());
    }
}
