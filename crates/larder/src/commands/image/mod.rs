//! `larder image`: pictures made offline, with the recipes of the server.

mod budget;
mod names;
mod work;

use std::{path::PathBuf, sync::mpsc, time::Duration};

use larder_core::text::display_bytes;
use larder_image::Recipe;
use serde::Serialize;

use super::{
    Context,
    files::{self, Found},
    shown,
};
use crate::{
    cli::Image,
    config::Config,
    failure::{Exit, Failure},
    output::Progress,
    service::shipped,
};

/// A picture to make of every file.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What its file is called after: the preset's name, or the recipe in letters for file names.
    pub label: String,
    /// How it is made.
    pub recipe: Recipe,
}

/// What became of one file: a line of the `--json` stream.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The file as it was given.
    pub file: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// Width of the upright picture in pixels; 0 if it was refused.
    pub width: u32,
    /// Height of the upright picture in pixels; 0 if it was refused.
    pub height: u32,
    /// What was made.
    pub pictures: Vec<Made>,
    /// Why the file, or one of its pictures, was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Refusal>,
    /// Processor time of decoding, rendering and writing, as passed on the wall.
    pub milliseconds: u64,
}

/// A picture that was made.
#[derive(Debug, Serialize)]
pub struct Made {
    /// Where it lies.
    pub file: PathBuf,
    /// The preset's name or the recipe.
    pub label: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Its size.
    pub size_bytes: u64,
}

/// Why something was refused.
#[derive(Debug, Serialize)]
pub struct Refusal {
    /// For programs.
    pub code: String,
    /// For people.
    pub detail: String,
    /// What to do.
    pub remedy: String,
}

/// Makes the pictures.
pub fn run(context: &Context, arguments: &Image) -> Result<Exit, Failure> {
    let config = context.config_without_store()?;
    let wanted = wanted(&config, arguments)?;
    let found = files::walk(&arguments.paths, Some(&arguments.out))?;
    let (pictures, others): (Vec<Found>, Vec<Found>) =
        found.into_iter().partition(|file| file.named || work::looks_like_a_picture(file));
    if pictures.is_empty() {
        return Err(Failure::usage("no picture was found", "give picture files, or folders that hold some"));
    }
    let names = names::outputs(&arguments.out, &pictures, &wanted)?;
    std::fs::create_dir_all(&arguments.out)
        .map_err(|error| Failure::file(&arguments.out, "created", error))?;

    let job = work::Job {
        names,
        files: pictures,
        wanted,
        limits: config.limits.image(),
        bytes_max: config.limits.upload_bytes.0,
        force: arguments.force,
    };
    let threads = arguments.jobs.unwrap_or_else(processors).clamp(1, job.files.len());
    let progress = context.output.progress(job.files.len() as u64, "files");
    let reports = collect(context, &job, threads, &progress)?;
    progress.finish();
    summary(context, &reports, others.len())?;
    Ok(exit_of(&reports))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The recipes that presets, sets and recipes of the command line stand for, each once.
fn wanted(config: &Config, arguments: &Image) -> Result<Vec<Wanted>, Failure> {
    let presets = shipped::all_presets(config);
    let mut wanted: Vec<Wanted> = Vec::new();
    for name in arguments.presets.iter().flat_map(|name| larder_assets::preset::expand(name)) {
        let Some((_, recipe)) = presets.iter().find(|(preset, _)| preset == name) else {
            let known: Vec<&str> = presets.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Failure::usage(
                format!("there is no preset {name}"),
                format!(
                    "use artwork, keep, design or one of {}; or define it in [presets] of larder.toml",
                    known.join(", ")
                ),
            ));
        };
        wanted.push(Wanted { label: name.to_owned(), recipe: recipe.parse().map_err(refused_recipe)? });
    }
    for text in &arguments.recipes {
        let recipe: Recipe = text.parse().map_err(refused_recipe)?;
        wanted.push(Wanted { label: names::label_of(&recipe), recipe });
    }
    if wanted.is_empty() {
        return Err(Failure::usage(
            "nothing is to be made",
            "give at least one --preset or --recipe, such as --preset keep",
        ));
    }
    let mut seen = std::collections::HashSet::new();
    wanted.retain(|wanted| seen.insert(wanted.label.clone()));
    Ok(wanted)
}

fn refused_recipe(error: larder_image::Error) -> Failure {
    Failure::usage(
        error.to_string(),
        "write steps such as resize:inside:800x600,format:webp,quality:80; docs/configuration.md lists them",
    )
}

/// Runs the job on its threads and hands out each report as it comes.
fn collect(
    context: &Context,
    job: &work::Job,
    threads: usize,
    progress: &Progress,
) -> Result<Vec<Report>, Failure> {
    let (send, receive) = mpsc::channel();
    let queue = &work::Queue::default();
    let budget = &budget::Budget::of(job.limits.decode_memory_bytes);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let send = send.clone();
            scope.spawn(move || {
                while let Some(index) = queue.next(job.files.len()) {
                    // The receiver goes when the answer can't be written any more.
                    if send.send((index, work::process(job, index, budget))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut reports = Vec::with_capacity(job.files.len());
        for (index, report) in receive {
            progress.at(&shown(&report.file));
            progress.advance(1);
            context.output.json(&report)?;
            reports.push((index, report));
        }
        reports.sort_by_key(|(index, _)| *index);
        Ok(reports.into_iter().map(|(_, report)| report).collect())
    })
}

fn summary(context: &Context, reports: &[Report], left_out: usize) -> Result<(), Failure> {
    let output = &context.output;
    let mut table = output.table(["file", "size", "bytes", "made", "bytes", "time"]).numbers([2, 3, 4, 5]);
    for report in reports.iter().filter(|report| !report.pictures.is_empty()) {
        let made: u64 = report.pictures.iter().map(|made| made.size_bytes).sum();
        table.row([
            shown(&report.file),
            format!("{}x{}", report.width, report.height),
            display_bytes(report.size_bytes),
            report.pictures.len().to_string(),
            display_bytes(made),
            format!("{} ms", report.milliseconds),
        ]);
    }
    if !table.is_empty() {
        output.line(table.to_string())?;
    }
    let refused: Vec<(&Report, &Refusal)> =
        reports.iter().flat_map(|report| report.errors.iter().map(move |error| (report, error))).collect();
    for (report, refusal) in &refused {
        output.note(format!("refused {}: {}", shown(&report.file), refusal.detail));
        if !refusal.remedy.is_empty() {
            output.note(format!("  remedy: {}", refusal.remedy));
        }
    }
    let pictures: usize = reports.iter().map(|report| report.pictures.len()).sum();
    let bytes: u64 = reports.iter().flat_map(|report| &report.pictures).map(|made| made.size_bytes).sum();
    let busy = Duration::from_millis(reports.iter().map(|report| report.milliseconds).sum());
    let mut line = format!(
        "{} of {} files: {pictures} pictures, {}, {:.1} s of work",
        reports.iter().filter(|report| report.errors.is_empty()).count(),
        reports.len(),
        display_bytes(bytes),
        busy.as_secs_f64(),
    );
    if left_out > 0 {
        line += &format!("; {left_out} files that are no pictures were left out");
    }
    output.note(line);
    Ok(())
}

fn exit_of(reports: &[Report]) -> Exit {
    let clean = reports.iter().filter(|report| report.errors.is_empty()).count();
    match clean {
        0 if reports.iter().all(|report| report.pictures.is_empty()) => Exit::Failed,
        _ if clean == reports.len() => Exit::Done,
        _ => Exit::Partly,
    }
}
