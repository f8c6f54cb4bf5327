//! The peers: installed from their registries into cache folders, and driven over their standard
//! streams.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::jobs::{Job, Rival};
use crate::{cache_folder, cpu};

/// Another image library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Sharp,
    Pyvips,
    Pillow,
}

/// How an application uses it for several sizes.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// One decode, each size from the pixels of the one before.
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

impl Peer {
    pub const ALL: [Self; 3] = [Self::Sharp, Self::Pyvips, Self::Pillow];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sharp => "sharp",
            Self::Pyvips => "pyvips",
            Self::Pillow => "Pillow",
        }
    }

    /// Installs what is missing; the command that starts the driver.
    fn driver(self) -> Result<Command> {
        match self {
            Self::Sharp => {
                let folder = copied("sharp", &["package.json", "driver.mjs"])?;
                let install = ["install", "--silent", "--no-audit", "--no-fund"];
                must(
                    Command::new("npm").args(install).current_dir(&folder),
                    "the image bench needs Node.js",
                )?;
                Ok(command("node", [folder.join("driver.mjs")]))
            }
            Self::Pyvips | Self::Pillow => {
                let folder = copied("python", &["requirements.txt", "driver.py"])?;
                let python = folder.join("venv/bin/python");
                if !python.exists() {
                    let install = command("python3", ["-m", "venv", "venv"]);
                    must({ install }.current_dir(&folder), "the image bench needs Python with venv")?;
                }
                let install = [
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "-r",
                    "requirements.txt",
                ];
                must(Command::new(&python).args(install).current_dir(&folder), "the peers in Python")?;
                let mut driver = command(python, [folder.join("driver.py")]);
                driver.arg(self.name().to_lowercase());
                Ok(driver)
            }
        }
    }
}

fn command<T: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = T>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// A cache folder with these files of the repository.
fn copied(name: &str, files: &[&str]) -> Result<PathBuf> {
    let folder = cache_folder(name)?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench").join(name);
    for file in files {
        fs::copy(repository.join(file), folder.join(file)).with_context(|| (*file).to_owned())?;
    }
    Ok(folder)
}

fn must(command: &mut Command, why: &'static str) -> Result<()> {
    let status = command.status().context(why)?;
    if !status.success() {
        bail!("{why}: installing failed ({status})");
    }
    Ok(())
}

/// A running driver; it ends with this.
pub struct Driver {
    pub peer: Peer,
    version: String,
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Driver {
    /// Installs the peer if need be and starts it.
    pub fn start(peer: Peer) -> Result<Self> {
        let mut process = peer
            .driver()?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} did not start", peer.name()))?;
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut driver = Self { peer, version: String::new(), process, orders, answers };
        driver.load(&[])?;
        Ok(driver)
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// Has it read the files that it works on from now on.
    pub fn load(&mut self, files: &[PathBuf]) -> Result<()> {
        #[derive(Deserialize)]
        struct Loaded {
            version: String,
        }
        self.version = self.order::<Loaded>(&json!({ "do": "load", "files": files }))?.version;
        Ok(())
    }

    /// Runs a job over all files; its CPU seconds.
    pub fn run(&mut self, job: &Job, rival: &Rival, keep: Option<&Path>) -> Result<f64> {
        #[derive(Deserialize)]
        struct Ran {
            cpu_seconds: f64,
        }
        let order = json!({
            "do": "run",
            "form": rival.form.name(),
            "format": job.format,
            "options": rival.settings(job),
            "sizes": job.sizes,
            "repeat": job.repeat,
            "keep": keep,
        });
        Ok(self.order::<Ran>(&order)?.cpu_seconds)
    }

    /// Decodes a file, whoever made it, so that all outputs are scored through one decoder. sharp only.
    pub fn pixels(&mut self, path: &Path) -> Result<Pixels> {
        #[derive(Deserialize)]
        struct Size {
            width: u32,
            height: u32,
        }
        let to = path.with_extension("rgb");
        let size: Size = self.order(&json!({ "do": "pixels", "path": path, "to": to }))?;
        let bytes = fs::read(&to)?;
        fs::remove_file(&to)?;
        Ok(Pixels { width: size.width, height: size.height, bytes })
    }

    /// Writes a picture as a JPEG of another size. sharp only.
    pub fn enlarge(
        &mut self,
        path: &Path,
        to: &Path,
        (width, height): (u32, u32),
        progressive: bool,
    ) -> Result<()> {
        let options = json!({ "quality": 90, "progressive": progressive });
        let order = json!({ "do": "enlarge", "path": path, "to": to, "width": width, "height": height, "options": options });
        self.order::<Value>(&order).map(drop)
    }

    /// The most memory that its process has had so far.
    pub fn peak_bytes(&self) -> Result<u64> {
        cpu::peak_bytes(self.process.id())
    }

    fn order<T: DeserializeOwned>(&mut self, order: &Value) -> Result<T> {
        let orders = self.orders.as_mut().context("the driver was told to end")?;
        writeln!(orders, "{order}")?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the driver of {} ended; what it said stands above", self.peer.name());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The end of its input is the end of the driver.
        drop(self.orders.take());
        if let Err(error) = self.process.wait() {
            eprintln!("the driver of {}: {error}", self.peer.name());
        }
    }
}
