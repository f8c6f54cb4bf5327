//! A file that gets its name when it is whole.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use larder_core::Ambient;

/// A file under a name that nobody else has, in the folder of the name that it is to get. It goes
/// when this is dropped before [`finish`](Self::finish).
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Unfinished {
    /// Begins a file that is to be called `path`. The temporary name is drawn anew each time, so that
    /// two writers of one path never write into one file, and what lies around is never overwritten.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn of(path: &Path) -> io::Result<Self> {
        let name = format!(".larder-{}.part", hex::encode(Ambient::system().random_bytes::<8>()));
        let temporary = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        Ok(Self { path: path.to_owned(), temporary, file })
    }

    /// Gives it its name, over a file that has it.
    ///
    /// # Errors
    /// It can't be renamed; nothing is left of it then.
    pub fn finish(self) -> io::Result<()> {
        std::fs::rename(&self.temporary, &self.path)
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After `finish` nothing has this name any more.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_writers_of_one_name_never_mix_and_one_that_breaks_off_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        let mut one = Unfinished::of(&path).unwrap();
        let mut two = Unfinished::of(&path).unwrap();
        one.write_all(b"one and one").unwrap();
        two.write_all(b"two").unwrap();
        assert!(!path.exists(), "not before it is whole");
        one.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one and one");
        drop(two);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
