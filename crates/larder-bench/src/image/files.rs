//! What the jobs work on: photos of a corpus, and what is made of them or drawn, in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::jobs::Files;
use super::peer::Driver;
use super::score::Original;
use super::text::{SIDE_PX, Text};

/// Photos of jobs that take long.
const FEW: usize = 4;

/// Size of the large photo: 24 million pixels, as cameras of today have.
const LARGE_PX: (u32, u32) = (6000, 4000);

pub struct Inputs {
    photos: Vec<PathBuf>,
    folder: TempDir,
}

/// Files in memory, where Larder takes them, and on the disk, from where each peer reads them once.
pub struct Set {
    pub paths: Vec<PathBuf>,
    pub bytes: Vec<Vec<u8>>,
}

impl Inputs {
    /// Finds the photos and makes the large ones: the first photo, enlarged, as baseline and as
    /// progressive JPEG of the same pixels.
    pub fn make(corpus: &Path, sharp: &mut Driver) -> Result<Self> {
        let inputs = Self { photos: photos(corpus)?, folder: TempDir::new()? };
        for progressive in [false, true] {
            sharp.enlarge(&inputs.photos[0], &inputs.large(progressive), LARGE_PX, progressive)?;
        }
        Ok(inputs)
    }

    /// How many photos there are.
    pub fn photos(&self) -> usize {
        self.photos.len()
    }

    /// The photo of 24 million pixels.
    pub fn large(&self, progressive: bool) -> PathBuf {
        self.folder.path().join(if progressive { "progressive.jpg" } else { "baseline.jpg" })
    }

    pub fn set(&self, files: Files) -> Result<Set> {
        let paths = match files {
            Files::Photos => self.photos.clone(),
            Files::FewPhotos => self.photos.iter().take(FEW).cloned().collect(),
            Files::Large { progressive } => vec![self.large(progressive)],
            Files::Texts(text) => self.texts(text)?,
        };
        let bytes = paths.iter().map(fs::read).collect::<Result<_, _>>()?;
        Ok(Set { paths, bytes })
    }

    fn texts(&self, text: Text) -> Result<Vec<PathBuf>> {
        let write = |(number, bytes): (usize, Vec<u8>)| {
            let path = self.folder.path().join(format!("text-{number}.png"));
            fs::write(&path, bytes)?;
            Ok(path)
        };
        text.files()?.into_iter().enumerate().map(write).collect()
    }
}

impl Set {
    /// What outputs are scored against.
    pub fn originals(&self, files: Files) -> Result<Vec<Original>> {
        match files {
            Files::Texts(text) => {
                let original = |samples| Original { width: SIDE_PX, height: SIDE_PX, samples };
                Ok(text.pictures().into_iter().map(original).collect())
            }
            _ => self.bytes.iter().map(|bytes| Original::photo(bytes)).collect(),
        }
    }
}

fn photos(corpus: &Path) -> Result<Vec<PathBuf>> {
    let folder = corpus.join("photos");
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jpg") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        bail!("{} holds no photos", folder.display());
    }
    paths.sort();
    Ok(paths)
}
