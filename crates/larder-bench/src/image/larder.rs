//! How Larder does a job.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use larder_image::{Deadline, Decoded, ImageLimits, Recipe, Source};

use super::jobs::Job;
use crate::cpu;

/// More than any picture takes: what is measured is the work, not the limit.
const WITHIN: Duration = Duration::from_secs(60);

/// CPU seconds of the stages that can be told apart from outside.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stages {
    pub header: f64,
    pub decode: f64,
    /// Resize, turn, encode.
    pub render: f64,
}

impl Stages {
    pub fn all(&self) -> f64 {
        self.header + self.decode + self.render
    }
}

/// Makes every size of every file and writes the outputs to `keep`.
pub fn run(job: &Job, files: &[Vec<u8>], keep: Option<&Path>) -> Result<Stages> {
    let recipes = parsed(&job.recipes())?;
    let limits = ImageLimits::default();
    let mut stages = Stages::default();
    for _ in 0..job.repeat {
        for (number, file) in files.iter().enumerate() {
            let start = cpu::own_seconds();
            let source = Source::open(file, &limits)?;
            let source = if job.trusted { source.trusted() } else { source };
            let opened = cpu::own_seconds();
            let decoded = source.decode(&recipes, Deadline::after(WITHIN))?;
            let done = cpu::own_seconds();
            let renditions = decoded.render(&recipes, Deadline::after(WITHIN));
            drop(decoded);
            stages.header += opened - start;
            stages.decode += done - opened;
            stages.render += cpu::own_seconds() - done;
            for (size, rendition) in renditions.into_iter().enumerate() {
                let rendition = rendition.map_err(|error| anyhow!("file {number}: {error}"))?;
                if let Some(folder) = keep {
                    std::fs::write(folder.join(format!("{number}-{size}")), rendition.bytes)?;
                }
            }
        }
    }
    Ok(stages)
}

/// The pictures of a job in their final sizes, with nothing left to do but encoding.
pub struct Finished {
    pictures: Vec<Decoded>,
    recipe: [Recipe; 1],
    repeat: u32,
}

impl Finished {
    pub fn of(job: &Job, files: &[Vec<u8>]) -> Result<Self> {
        let sizes =
            job.sizes.iter().map(|(width, height)| format!("resize:inside:{width}x{height},format:png"));
        let recipes = parsed(&sizes.collect::<Vec<_>>())?;
        let limits = ImageLimits::default();
        let mut pictures = Vec::new();
        for file in files {
            let decoded = Source::open(file, &limits)?.decode(&recipes, Deadline::after(WITHIN))?;
            for rendition in decoded.render(&recipes, Deadline::after(WITHIN)) {
                pictures
                    .push(Source::open(&rendition?.bytes, &limits)?.decode(&[], Deadline::after(WITHIN))?);
            }
        }
        let recipe = [job.output().parse()?];
        Ok(Self { pictures, recipe, repeat: job.repeat })
    }

    /// Encodes each; the CPU seconds. From RGB, whatever the way from the file would have kept.
    pub fn encode(&self) -> Result<f64> {
        let start = cpu::own_seconds();
        for _ in 0..self.repeat {
            for picture in &self.pictures {
                for rendition in picture.render(&self.recipe, Deadline::after(WITHIN)) {
                    rendition?;
                }
            }
        }
        Ok(cpu::own_seconds() - start)
    }
}

fn parsed(recipes: &[String]) -> Result<Vec<Recipe>> {
    Ok(recipes.iter().map(|recipe| recipe.parse()).collect::<Result<_, larder_image::Error>>()?)
}
