//! Photos to their sizes, in process, beside sharp.

mod jobs;
mod score;
mod sharp;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::report::table;
use crate::stats::Spread;
use crate::{Bench, Options, cpu};
use jobs::{JOBS, Job};
use score::Scorer;
use sharp::{Form, Sharp};

pub const BENCH: Bench = Bench { name: "image", doc: "photos to their sizes, beside sharp", run };

/// One side's outputs of one job.
struct Outputs {
    bytes: u64,
    /// Mean SSIMULACRA2 over all outputs.
    score: f64,
}

fn run(options: &Options) -> Result<String> {
    let paths = photos(options)?;
    let photos = paths.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    let mut sharp = Sharp::start(&paths)?;
    let mut scorer = Scorer::new(&photos)?;
    let mut rows = Vec::new();
    let mut stages = Vec::new();
    for job in JOBS {
        eprintln!("image {}", job.name);
        let (row, stage) = measure(job, &photos, &mut sharp, &mut scorer, options.pairs)?;
        rows.extend(row);
        stages.push(stage);
    }
    let head = [
        "job",
        "sharp's form",
        "Larder, CPU s",
        "sharp, CPU s",
        "sharp / Larder",
        "bytes, Larder / sharp",
        "SSIMULACRA2, Larder / sharp",
    ];
    Ok(format!(
        "{} photos, {} pairs of runs, {}.\n\n{}\nWhere Larder's CPU seconds go (median of the same runs):\n\n{}",
        photos.len(),
        options.pairs,
        sharp.version(),
        table(&head, &rows),
        table(&["job", "header and decode", "resize, turn, encode"], &stages)
    ))
}

/// Runs a job by turns: Larder, and sharp in each form.
fn measure(
    job: &Job,
    photos: &[Vec<u8>],
    sharp: &mut Sharp,
    scorer: &mut Scorer,
    pairs: usize,
) -> Result<(Vec<Vec<String>>, Vec<String>)> {
    let folder = TempDir::new()?;
    let forms = job.forms();
    // One run each to warm up; its outputs are the ones that are scored, as every run's are equal.
    let own = folder.path().join("larder");
    fs::create_dir(&own)?;
    job.run(photos, Some(&own))?;
    let own = score(&own, sharp, scorer)?;
    let mut theirs = Vec::new();
    for form in forms {
        let kept = folder.path().join(form.name());
        fs::create_dir(&kept)?;
        sharp.run(*form, job, Some(&kept))?;
        theirs.push(score(&kept, sharp, scorer)?);
    }

    let mut decode = Vec::new();
    let mut larder = Vec::new();
    let mut peers: Vec<Vec<f64>> = forms.iter().map(|_| Vec::new()).collect();
    for _ in 0..pairs {
        let before = cpu::own_seconds();
        decode.push(job.run(photos, None)?);
        larder.push(cpu::own_seconds() - before);
        for (form, seconds) in forms.iter().zip(&mut peers) {
            seconds.push(sharp.run(*form, job, None)?);
        }
    }
    let rows = forms.iter().zip(peers).zip(theirs).map(|((form, seconds), theirs)| {
        let ratio = Spread::of(seconds.iter().zip(&larder).map(|(theirs, own)| theirs / own));
        vec![
            format!("{}: {}", job.name, job.doc),
            form.name().to_owned(),
            Spread::of(larder.iter().copied()).text(2),
            Spread::of(seconds).text(2),
            ratio.text(2),
            format!(
                "{} / {} ({:+.1} %)",
                own.bytes,
                theirs.bytes,
                (own.bytes as f64 / theirs.bytes as f64 - 1.0) * 100.0
            ),
            format!("{:.2} / {:.2}", own.score, theirs.score),
        ]
    });
    let rest = Spread::of(larder.iter().zip(&decode).map(|(all, decode)| all - decode));
    let stages = vec![job.name.to_owned(), Spread::of(decode).text(2), rest.text(2)];
    Ok((rows.collect(), stages))
}

/// Scores the files of a folder, each named `<photo>-<size>`.
fn score(folder: &Path, sharp: &mut Sharp, scorer: &mut Scorer) -> Result<Outputs> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let (mut bytes, mut sum) = (0, 0.0);
    for file in &files {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let photo: usize = name.split('-').next().unwrap_or_default().parse().context("name of an output")?;
        bytes += file.metadata()?.len();
        let pixels = sharp.pixels(file)?;
        sum += scorer.score(photo, &pixels)?;
    }
    if files.is_empty() {
        bail!("no output");
    }
    Ok(Outputs { bytes, score: sum / files.len() as f64 })
}

fn photos(options: &Options) -> Result<Vec<PathBuf>> {
    let corpus =
        options.corpus.as_ref().context("the photos: set LARDER_CORPUS to the folder that holds photos/")?;
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
