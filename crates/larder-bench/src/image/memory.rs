//! The most memory of a process that does one job once: Larder's beside the peers'.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::files::Inputs;
use super::jobs::{Files, GROUPS, Job, LARGE_JOBS};
use super::larder;
use super::peer::Driver;
use crate::cpu;
use crate::stats::Spread;

/// Most of Larder's, in MiB, on the baseline file of 24 million pixels.
pub const GOAL_MIB: f64 = 64.0;

/// Peaks differ by a page or two from run to run.
const RUNS: usize = 3;

/// Peaks of one job, in MiB.
pub struct Peaks {
    pub job: &'static Job,
    pub larder: Spread,
    /// Of each of the job's rivals.
    pub rivals: Vec<Spread>,
}

pub fn measure(inputs: &Inputs) -> Result<Vec<Peaks>> {
    LARGE_JOBS.iter().map(|job| peaks(job, inputs)).collect()
}

fn peaks(job: &'static Job, inputs: &Inputs) -> Result<Peaks> {
    let Files::Large { progressive } = job.files else { bail!("memory is measured on one large file") };
    let file = inputs.large(progressive);
    let several = |one: &dyn Fn() -> Result<u64>| -> Result<Spread> {
        let peaks = (0..RUNS).map(|_| Ok(one()? as f64 / f64::from(1 << 20))).collect::<Result<Vec<_>>>()?;
        Ok(Spread::of(peaks))
    };
    let larder = several(&|| child(job, &file))?;
    let rivals = job.rivals.iter().map(|rival| {
        several(&|| {
            let mut driver = Driver::start(rival.peer)?;
            driver.load(std::slice::from_ref(&file))?;
            driver.run(job, rival, None)?;
            driver.peak_bytes()
        })
    });
    Ok(Peaks { job, larder, rivals: rivals.collect::<Result<_>>()? })
}

/// Starts this program once more, for one job.
fn child(job: &Job, file: &Path) -> Result<u64> {
    let mut child = Command::new(std::env::current_exe()?);
    let output = child.args(["--once", job.name, "--file"]).arg(file).output()?;
    if !output.status.success() {
        bail!("{}: {}", job.name, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Does a job once, in this process; the most memory that the process has had, in bytes.
pub fn once(job: &str, file: &Path) -> Result<u64> {
    let job = GROUPS.into_iter().flatten().find(|known| known.name == job).context("no such job")?;
    larder::run(job, &[fs::read(file)?], None)?;
    cpu::peak_bytes(std::process::id())
}
