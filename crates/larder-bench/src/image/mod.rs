//! Pictures to their sizes, in process, beside the peers.

mod files;
mod goals;
mod jobs;
mod larder;
mod measure;
mod memory;
mod peer;
mod plot;
mod score;
mod text;

use anyhow::{Context, Result};

use crate::report::{self, table};
use crate::stats::Spread;
use crate::{Bench, Options};
use files::Inputs;
use goals::Goal;
use jobs::{AVIF_JOBS, Job, LARGE_JOBS, PHOTO_JOBS, TEXT_JOBS};
use measure::{Compared, Peers, Staged};
use memory::Peaks;
use peer::Peer;

pub use memory::once;

pub const BENCH: Bench =
    Bench { name: "image", doc: "pictures to their sizes, beside sharp and others", run };

/// The plot's file, beside `docs/benchmarks.md`, which shows it.
const PLOT: &str = "benchmarks-image.svg";

/// A table of its own each.
const SUBJECTS: [(&str, &[Job]); 4] = [
    ("Photos", PHOTO_JOBS),
    ("A photo of 24 million pixels", LARGE_JOBS),
    ("AVIF", AVIF_JOBS),
    ("Text", TEXT_JOBS),
];

fn run(options: &Options) -> Result<String> {
    let corpus =
        options.corpus.as_ref().context("the photos: set LARDER_CORPUS to the folder that holds photos/")?;
    let mut peers = Peers::start()?;
    let inputs = Inputs::make(corpus, peers.of(Peer::Sharp)?)?;
    let (photos, pairs) = (inputs.photos(), options.pairs);
    let mut text = format!("{photos} photos, {pairs} pairs of runs; {}.\n", peers.versions());
    let (mut all, mut stages, mut goals) = (Vec::new(), Vec::new(), Vec::new());
    for (subject, jobs) in SUBJECTS {
        let first = all.len();
        for job in jobs {
            eprintln!("image {}", job.name);
            let (compared, staged) = measure::measure(job, &inputs, &mut peers, options.pairs)?;
            goals.extend(goals::of_job(&compared));
            all.extend(compared);
            stages.push(staged);
        }
        text += &section(subject, &compared_table(&all[first..]));
    }
    eprintln!("image memory");
    let peaks = memory::measure(&inputs)?;
    goals.extend(peaks.iter().filter_map(goals::of_memory));
    text += &section("Stages", &stage_table(&stages));
    text += &section("Memory", &memory_table(&peaks));
    text += &section("Goals", &goal_table(&goals));
    if !options.dry_run {
        report::write_plot(PLOT, &plot::svg(&all))?;
    }
    Ok(text)
}

fn section(name: &str, table: &str) -> String {
    format!("\n### {name}\n\n{table}")
}

fn compared_table(compared: &[Compared]) -> String {
    let head = [
        "job",
        "peer",
        "Larder, CPU s",
        "peer, CPU s",
        "peer / Larder",
        "goal",
        "bytes, Larder / peer",
        "SSIMULACRA2, Larder / peer",
    ];
    let row = |one: &Compared| {
        let (own, theirs) = (one.own, one.theirs);
        let more = (own.bytes as f64 / theirs.bytes as f64 - 1.0) * 100.0;
        vec![
            format!("{}: {}", one.job.name, one.job.doc),
            one.rival.label(one.job),
            seconds(&one.larder),
            seconds(&one.peer),
            one.ratio.text(2),
            one.rival.goal.map_or_else(String::new, |goal| format!("{goal:.2}")),
            format!("{} / {} ({more:+.1} %)", own.bytes, theirs.bytes),
            format!("{:.2} / {:.2}", own.score, theirs.score),
        ]
    };
    table(&head, &compared.iter().map(row).collect::<Vec<_>>())
}

fn stage_table(stages: &[Staged]) -> String {
    let head = ["job", "header", "decode", "resize, turn, encode", "encoding alone, from RGB"];
    let row = |staged: &Staged| {
        let spreads = [&staged.decode, &staged.render, &staged.encode];
        // Headers are read within a millisecond.
        [staged.job.name.to_owned(), staged.header.text(5)].into_iter().chain(spreads.map(seconds)).collect()
    };
    table(&head, &stages.iter().map(row).collect::<Vec<_>>())
}

fn memory_table(peaks: &[Peaks]) -> String {
    let mut rows = Vec::new();
    for peaks in peaks {
        for (rival, peak) in peaks.job.rivals.iter().zip(&peaks.rivals) {
            let (own, label) = (peaks.larder.text(0), rival.label(peaks.job));
            rows.push(vec![peaks.job.name.to_owned(), own, label, peak.text(0)]);
        }
    }
    table(&["job", "Larder, MiB", "peer", "peer, MiB"], &rows)
}

fn goal_table(goals: &[Goal]) -> String {
    let row = |goal: &Goal| {
        let met = if goal.met { "yes" } else { "no" };
        vec![goal.what.clone(), goal.wanted.clone(), goal.found.clone(), met.to_owned()]
    };
    table(&["what", "goal", "found", "reached"], &goals.iter().map(row).collect::<Vec<_>>())
}

/// Short jobs take some hundredths.
fn seconds(spread: &Spread) -> String {
    spread.text(3)
}
