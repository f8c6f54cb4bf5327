//! Runs a job by turns: Larder, and each of its rivals.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::files::Inputs;
use super::jobs::{Job, Rival};
use super::larder::{self, Finished, Stages};
use super::peer::{Driver, Peer};
use super::score::Scorer;
use crate::stats::Spread;

/// One side's outputs of one job.
#[derive(Debug, Clone, Copy)]
pub struct Outputs {
    pub bytes: u64,
    /// Mean SSIMULACRA2 over all outputs.
    pub score: f64,
}

/// Larder beside one rival at one job.
pub struct Compared {
    pub job: &'static Job,
    pub rival: &'static Rival,
    /// CPU seconds.
    pub larder: Spread,
    pub peer: Spread,
    /// The rival's over Larder's, pair by pair.
    pub ratio: Spread,
    pub own: Outputs,
    pub theirs: Outputs,
}

/// Where Larder's CPU seconds of one job go.
pub struct Staged {
    pub job: &'static Job,
    pub header: Spread,
    pub decode: Spread,
    pub render: Spread,
    pub encode: Spread,
}

/// The peers that run, one of each.
pub struct Peers(Vec<Driver>);

impl Peers {
    pub fn start() -> Result<Self> {
        Ok(Self(Peer::ALL.into_iter().map(Driver::start).collect::<Result<_>>()?))
    }

    pub fn of(&mut self, peer: Peer) -> Result<&mut Driver> {
        self.0.iter_mut().find(|driver| driver.peer == peer).context("a peer that was not started")
    }

    pub fn versions(&self) -> String {
        self.0.iter().map(Driver::version).collect::<Vec<_>>().join(", ")
    }
}

pub fn measure(
    job: &'static Job,
    inputs: &Inputs,
    peers: &mut Peers,
    pairs: usize,
) -> Result<(Vec<Compared>, Staged)> {
    let set = inputs.set(job.files)?;
    let mut scorer = Scorer::new(set.originals(job.files)?);
    let kept = TempDir::new()?;
    for peer in Peer::ALL {
        peers.of(peer)?.load(&set.paths)?;
    }
    // One run each to warm up; its outputs are the ones that are scored, as every run's are equal.
    larder::run(job, &set.bytes, Some(kept.path()))?;
    let own = score(kept.path(), peers, &mut scorer)?;
    let mut theirs = Vec::new();
    for rival in job.rivals {
        let kept = TempDir::new()?;
        peers.of(rival.peer)?.run(job, rival, Some(kept.path()))?;
        theirs.push(score(kept.path(), peers, &mut scorer)?);
    }
    drop(scorer);
    let finished = Finished::of(job, &set.bytes)?;

    let mut stages: Vec<Stages> = Vec::new();
    let mut encode = Vec::new();
    let mut rivals: Vec<Vec<f64>> = job.rivals.iter().map(|_| Vec::new()).collect();
    for _ in 0..pairs.min(job.pairs_max) {
        stages.push(larder::run(job, &set.bytes, None)?);
        for (rival, seconds) in job.rivals.iter().zip(&mut rivals) {
            seconds.push(peers.of(rival.peer)?.run(job, rival, None)?);
        }
        encode.push(finished.encode()?);
    }
    let of = |stage: fn(&Stages) -> f64| Spread::of(stages.iter().map(stage));
    let staged = Staged {
        job,
        header: of(|stages| stages.header),
        decode: of(|stages| stages.decode),
        render: of(|stages| stages.render),
        encode: Spread::of(encode),
    };
    let compared = job.rivals.iter().zip(rivals).zip(theirs).map(|((rival, seconds), theirs)| Compared {
        job,
        rival,
        larder: of(Stages::all),
        ratio: Spread::of(seconds.iter().zip(&stages).map(|(theirs, own)| theirs / own.all())),
        peer: Spread::of(seconds),
        own,
        theirs,
    });
    Ok((compared.collect(), staged))
}

/// Scores the files of a folder, each named `<file>-<size>`.
fn score(folder: &Path, peers: &mut Peers, scorer: &mut Scorer) -> Result<Outputs> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let (mut bytes, mut sum) = (0, 0.0);
    for file in &files {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number: usize =
            name.split('-').next().unwrap_or_default().parse().context("name of an output")?;
        bytes += file.metadata()?.len();
        let pixels = peers.of(Peer::Sharp)?.pixels(file)?;
        sum += scorer.score(number, &pixels)?;
    }
    if files.is_empty() {
        bail!("no output");
    }
    Ok(Outputs { bytes, score: sum / files.len() as f64 })
}
