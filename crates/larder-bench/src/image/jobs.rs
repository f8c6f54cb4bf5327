//! The jobs, and how Larder does them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use larder_image::{Deadline, ImageLimits, Recipe, Source};

use super::Form;
use crate::cpu;

/// Photos to some sizes in one format, at quality 85.
pub struct Job {
    pub name: &'static str,
    pub doc: &'static str,
    /// As recipes and sharp call it.
    pub format: &'static str,
    /// Bounds of the outputs, the largest first.
    pub sizes: &'static [(u32, u32)],
}

const FOUR_SIZES: &[(u32, u32)] = &[(1920, 1080), (1280, 720), (640, 360), (300, 169)];

pub const JOBS: &[Job] = &[
    Job { name: "a", doc: "one JPEG of 300x300", format: "jpeg", sizes: &[(300, 300)] },
    Job { name: "b", doc: "four WebP", format: "webp", sizes: FOUR_SIZES },
    Job { name: "c", doc: "four JPEG", format: "jpeg", sizes: FOUR_SIZES },
];

/// More than any photo takes: what is measured is the work, not the limit.
const WITHIN: Duration = Duration::from_secs(60);

impl Job {
    /// sharp's forms that differ for this job.
    pub fn forms(&self) -> &'static [Form] {
        if self.sizes.len() == 1 { &[Form::Clone] } else { &[Form::Cascade, Form::Clone] }
    }

    /// Makes every size of every photo and writes the outputs to `keep`; the CPU seconds spent up to
    /// the decoded pictures.
    pub fn run(&self, photos: &[Vec<u8>], keep: Option<&Path>) -> Result<f64> {
        let recipes: Vec<Recipe> = self
            .sizes
            .iter()
            .map(|(width, height)| {
                format!("resize:inside:{width}x{height},format:{},quality:85", self.format).parse()
            })
            .collect::<Result<_, larder_image::Error>>()?;
        let limits = ImageLimits::default();
        let mut decoding = 0.0;
        for (number, photo) in photos.iter().enumerate() {
            let before = cpu::own_seconds();
            let decoded = Source::open(photo, &limits)?.decode(&recipes, Deadline::after(WITHIN))?;
            decoding += cpu::own_seconds() - before;
            let renditions = decoded.render(&recipes, Deadline::after(WITHIN));
            for (size, rendition) in renditions.into_iter().enumerate() {
                let rendition = rendition.map_err(|error| anyhow!("photo {number}: {error}"))?;
                if let Some(folder) = keep {
                    std::fs::write(folder.join(format!("{number}-{size}")), rendition.bytes)?;
                }
            }
        }
        Ok(decoding)
    }
}
