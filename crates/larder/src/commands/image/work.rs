//! One file: read, decode once, render everything, write.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use larder_core::{
    Code, Fault, FileType,
    file_type::{Family, SNIFF_BYTES},
    key::extension_of,
    limits::ImageLimits,
};
use larder_image::{Deadline, Format, Recipe, Rendition, Source};

use super::{
    super::{files::Found, unfinished::Unfinished},
    Made, Refusal, Report, Wanted,
    budget::Budget,
    names::with_suffix,
};
use crate::failure::Failure;

/// What all threads work on.
pub struct Job {
    /// The files.
    pub files: Vec<Found>,
    /// For each file, the path of each picture without its extension.
    pub names: Vec<Vec<PathBuf>>,
    /// The pictures.
    pub wanted: Vec<Wanted>,
    /// What a picture may cost.
    pub limits: ImageLimits,
    /// Largest file that is read.
    pub bytes_max: u64,
    /// Whether existing files are overwritten.
    pub force: bool,
}

/// Hands out the files, each once.
#[derive(Debug, Default)]
pub struct Queue(AtomicUsize);

impl Queue {
    /// The index of the next file.
    pub fn next(&self, count: usize) -> Option<usize> {
        let index = self.0.fetch_add(1, Ordering::Relaxed);
        (index < count).then_some(index)
    }
}

/// Whether a file of a folder is meant to be a picture, by its bytes or by its name.
pub fn looks_like_a_picture(file: &Found) -> bool {
    let is_image = |known: Option<&FileType>| known.is_some_and(|known| known.family == Family::Image);
    let by_name = file.relative.to_str().and_then(extension_of);
    by_name.is_some_and(|extension| is_image(FileType::of_extension(&extension)))
        || head(&file.path).is_ok_and(|head| is_image(FileType::sniff(&head)))
}

fn head(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(SNIFF_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Makes the pictures of one file.
pub fn process(job: &Job, index: usize, budget: &Budget) -> Report {
    let start = Instant::now();
    let file = &job.files[index];
    let mut report = Report {
        file: file.path.clone(),
        size_bytes: 0,
        width: 0,
        height: 0,
        pictures: Vec::new(),
        errors: Vec::new(),
        milliseconds: 0,
    };
    if let Err(fault) = make(job, index, budget, &mut report) {
        report.errors.push(refusal(fault));
    }
    report.milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    report
}

fn make(job: &Job, index: usize, budget: &Budget, report: &mut Report) -> Result<(), Fault> {
    let bytes = read(&job.files[index].path, job.bytes_max)?;
    report.size_bytes = bytes.len() as u64;
    let source = Source::open(&bytes, &job.limits)?;
    let inspection = source.inspection();
    (report.width, report.height) = inspection.oriented_size();
    // Waiting for memory is not part of the time that a decode may take.
    let recipes: Vec<Recipe> = job.wanted.iter().map(|wanted| wanted.recipe.clone()).collect();
    let _loan = budget.borrow(source.memory_bytes(&recipes));
    let deadline = Deadline::after(job.limits.decode_time_max());
    let decoded = source.decode(&recipes, deadline)?;
    drop(bytes);
    // Each picture may take as long as a decode, since some encoders are slower than any decoder.
    let time = job.limits.decode_time_max() * u32::try_from(recipes.len() + 1).unwrap_or(u32::MAX);
    let renditions = decoded.render(&recipes, Deadline::after(time));
    for ((wanted, name), rendition) in job.wanted.iter().zip(&job.names[index]).zip(renditions) {
        let written = rendition
            .map_err(|error| refusal(Fault::from(error)))
            .and_then(|rendition| write(name, &wanted.label, &rendition, job.force));
        match written {
            Ok(made) => report.pictures.push(made),
            Err(refused) => report.errors.push(refused),
        }
    }
    Ok(())
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Fault> {
    let unreadable = |error| {
        Fault::new(Code::InvalidRequest, format!("the file can't be read: {error}"))
            .remedy("check path and permissions")
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    if size > bytes_max {
        return Err(Fault::new(
            Code::FileTooLarge,
            format!("{size} bytes are more than the limit of {bytes_max}"),
        )
        .remedy("raise limits.upload_bytes"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Writes a picture beside its final name and renames it, so that no half of it is ever seen.
fn write(name: &Path, label: &str, rendition: &Rendition, force: bool) -> Result<Made, Refusal> {
    let path = with_suffix(name, extension(rendition.format));
    let unwritable = |error: std::io::Error| {
        let failure = Failure::file(&path, "written", error);
        Refusal { code: failure.code, detail: failure.cause, remedy: failure.remedy }
    };
    if !force && path.exists() {
        let fault = Fault::new(Code::Conflict, format!("{} exists", path.display()))
            .remedy("give --force to overwrite, or another --out");
        return Err(refusal(fault));
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(unwritable)?;
    }
    let mut file = Unfinished::of(&path).map_err(unwritable)?;
    file.write_all(&rendition.bytes).and_then(|()| file.finish()).map_err(unwritable)?;
    Ok(Made {
        file: path,
        label: label.to_owned(),
        width: rendition.width_px,
        height: rendition.height_px,
        size_bytes: rendition.bytes.len() as u64,
    })
}

fn extension(format: Format) -> &'static str {
    format.extension()
}

fn refusal(fault: Fault) -> Refusal {
    Refusal { code: fault.code.to_string(), detail: fault.detail, remedy: fault.remedy }
}
