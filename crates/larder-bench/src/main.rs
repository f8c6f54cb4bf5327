//! `larder-bench`: the figures of `docs/benchmarks.md`, measured beside the peers.
//!
//! Called by `cargo xtask bench`, as a release build. It counts CPU seconds, since other work on the
//! machine changes those little, runs both sides by turns, and reports medians with their range.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to the person at the terminal")]

mod cache;
mod cpu;
mod db;
mod delivery;
mod http;
mod image;
mod intake;
mod migrate;
mod pictures;
mod report;
mod s3;
mod server;
mod start;
mod stats;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

/// A group of figures and how they are come by.
struct Bench {
    name: &'static str,
    doc: &'static str,
    run: fn(&Options) -> Result<String>,
}

const BENCHES: &[Bench] = &[
    image::BENCH,
    delivery::BENCH,
    intake::BENCH,
    start::BENCH,
    s3::BENCH,
    cache::BENCH,
    migrate::BENCH,
    db::BENCH,
];

/// Measures and rewrites the figures in docs/benchmarks.md.
#[derive(Debug, Parser)]
struct Options {
    /// Which benches; all unless given.
    benches: Vec<String>,
    /// How often each side runs, by turns.
    #[arg(long, default_value_t = 9)]
    pairs: usize,
    /// Folder that holds photos/.
    #[arg(long, env = "LARDER_CORPUS")]
    corpus: Option<PathBuf>,
    /// Only print, and leave docs/benchmarks.md alone.
    #[arg(long)]
    dry_run: bool,
    /// Does this job of the image bench once, on `--file`, and prints the most memory that it took.
    #[arg(long, hide = true, requires = "file")]
    once: Option<String>,
    #[arg(long, hide = true)]
    file: Option<PathBuf>,
    /// Is an S3 server until its standard input ends.
    #[arg(long, hide = true)]
    serve_s3: bool,
    /// Streams a large file to the S3 server at this address and back.
    #[arg(long, hide = true)]
    stream_s3: Option<String>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("larder-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    if options.serve_s3 {
        return s3::serve();
    }
    if let Some(endpoint) = &options.stream_s3 {
        println!("{}", s3::stream_large(endpoint)?);
        return Ok(());
    }
    if let (Some(job), Some(file)) = (&options.once, &options.file) {
        println!("{}", image::once(job, file)?);
        return Ok(());
    }
    if let Some(unknown) = options.benches.iter().find(|&name| BENCHES.iter().all(|bench| bench.name != name))
    {
        let known: Vec<_> =
            BENCHES.iter().map(|bench| format!("  {:<10}{}", bench.name, bench.doc)).collect();
        bail!("there is no bench \"{unknown}\"; there are\n{}", known.join("\n"));
    }
    if options.pairs == 0 {
        bail!("--pairs is at least 1");
    }
    let wanted =
        |bench: &&Bench| options.benches.is_empty() || options.benches.iter().any(|name| name == bench.name);
    for bench in BENCHES.iter().filter(wanted) {
        let machine = cpu::machine();
        let figures = (bench.run)(options).with_context(|| bench.name)?;
        let figures = format!("Measured {} on {machine}.\n\n{}", today(), figures.trim());
        println!("\n# {}\n\n{figures}", bench.name);
        if !options.dry_run {
            report::write(bench.name, &figures)?;
        }
    }
    Ok(())
}

/// Today's date, by the system's `date`: not worth a crate.
fn today() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// A folder for what a bench installs or makes and can use again: beside the build's own files.
fn cache_folder(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("the program lies outside of a build folder")?;
    let folder = target.join("bench").join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
