//! sharp, installed from the npm registry into a cache folder and driven over its standard streams.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::jobs::Job;
use crate::cache_folder;

/// How an application uses sharp for several sizes.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// One decode, each size from the raw pixels of the one before.
    Cascade,
    /// One pipeline per size, each with its own decode.
    Clone,
}

impl Form {
    pub fn name(self) -> &'static str {
        match self {
            Self::Cascade => "cascade",
            Self::Clone => "clone",
        }
    }
}

/// Raw RGB of 8 bits.
pub struct Pixels {
    pub width: u32,
    pub height: u32,
    pub bytes: Vec<u8>,
}

/// A running driver; it ends with this.
pub struct Sharp {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    version: String,
    folder: PathBuf,
}

impl Sharp {
    /// Installs sharp if need be, starts it and has it read the photos.
    pub fn start(photos: &[PathBuf]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versions {
            sharp: String,
            vips: String,
        }
        let folder = installed()?;
        let mut process = Command::new("node")
            .arg(folder.join("driver.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("node did not start")?;
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut sharp = Self { process, orders, answers, version: String::new(), folder };
        let versions: Versions = sharp.order(&json!({ "do": "load", "photos": photos }))?;
        sharp.version = format!("sharp {} (libvips {})", versions.sharp, versions.vips);
        Ok(sharp)
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs a job over all photos; its CPU seconds.
    pub fn run(&mut self, form: Form, job: &Job, keep: Option<&Path>) -> Result<f64> {
        #[derive(Deserialize)]
        struct Ran {
            cpu_seconds: f64,
        }
        let order = json!({ "do": "run", "form": form.name(), "format": job.format, "sizes": job.sizes, "keep": keep });
        Ok(self.order::<Ran>(&order)?.cpu_seconds)
    }

    /// Decodes a file, whoever made it, so that both sides' outputs are scored through one decoder.
    pub fn pixels(&mut self, path: &Path) -> Result<Pixels> {
        #[derive(Deserialize)]
        struct Size {
            width: u32,
            height: u32,
        }
        let to = self.folder.join(format!("{}.rgb", std::process::id()));
        let size: Size = self.order(&json!({ "do": "pixels", "path": path, "to": to }))?;
        let bytes = fs::read(&to)?;
        fs::remove_file(&to)?;
        Ok(Pixels { width: size.width, height: size.height, bytes })
    }

    fn order<T: DeserializeOwned>(&mut self, order: &Value) -> Result<T> {
        let orders = self.orders.as_mut().context("the driver was told to end")?;
        writeln!(orders, "{order}")?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("sharp's driver ended; what it said stands above");
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Sharp {
    fn drop(&mut self) {
        // The end of its input is the end of the driver.
        drop(self.orders.take());
        if let Err(error) = self.process.wait() {
            eprintln!("sharp's driver: {error}");
        }
    }
}

/// The folder with the driver and its packages.
fn installed() -> Result<PathBuf> {
    let folder = cache_folder("sharp")?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/sharp");
    for file in ["package.json", "driver.mjs"] {
        fs::copy(repository.join(file), folder.join(file)).with_context(|| file.to_owned())?;
    }
    let status = Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .status()
        .context("npm did not start; the image bench needs Node.js")?;
    if !status.success() {
        bail!("npm install failed ({status})");
    }
    Ok(folder)
}
