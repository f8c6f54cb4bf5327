//! Uploads from many clients up to their acknowledgement, beside what the disk can do.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tempfile::TempDir;

use crate::http::Connection;
use crate::report::table;
use crate::server::{Larder, Server};
use crate::stats::Spread;
use crate::{Bench, Options, cache_folder, pictures};

pub const BENCH: Bench = Bench { name: "intake", doc: "uploads, beside the disk's own limit", run };

const CLIENTS: usize = 16;
const FILE_BYTES: usize = 100_000;

/// Uploads that may wait: more than any run brings.
const BACKLOG_MAX: u32 = 100_000_000;

/// Uploads per second that are to be reached, unless the disk's limit is lower.
const GOAL_PER_SECOND: f64 = 500.0;

/// How long the disk and the server run by turns.
const DISK_FOR: Duration = Duration::from_secs(2);
const SERVER_FOR: Duration = Duration::from_secs(4);

fn run(options: &Options) -> Result<String> {
    let folder = TempDir::new_in(cache_folder("intake")?)?;
    let server = Larder { core: None, arguments: &["--role", "api"] }.start(&folder.path().join("data"))?;
    let numbers = AtomicU64::new(0);
    let template = pictures::jpeg(FILE_BYTES, 0)?;
    // Nobody works the uploads off, and at its goal a bench of minutes takes in far more than a bucket
    // lets wait otherwise.
    let policy = json!({ "backlog_max": BACKLOG_MAX, "presets": ["artwork"] }).to_string();
    Connection::open(server.address)?
        .send("PUT", "/api/v1/buckets/intake", "application/json", policy.as_bytes())?
        .expect_success("the bucket")?;
    uploads(&server, &template, &numbers, Duration::from_secs(1))?;

    let (mut appends, mut files, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.pairs {
        appends.push(synced_appends(folder.path())?);
        files.push(synced_files(folder.path(), &template)?);
        runs.push(uploads(&server, &template, &numbers, SERVER_FOR)?);
    }
    let (traced, syncs) = traced_syncs(&server, || uploads(&server, &template, &numbers, SERVER_FOR))?;

    let spread = |of: fn(&Run) -> f64| Spread::of(runs.iter().map(of));
    let rate = spread(|run| run.uploads / run.seconds);
    let of_disk = Spread::of(runs.iter().zip(&files).map(|(run, files)| run.uploads / run.seconds / files));
    let rows = [
        ("uploads per second, to the 202", rate.text(0)),
        (
            "the disk: files of 100 KB written, synced and renamed per second, by 16 threads",
            Spread::of(files).text(0),
        ),
        ("uploads / files of the disk", of_disk.text(2)),
        ("the disk: appends of 4 KiB, each synced, per second, by one thread", Spread::of(appends).text(0)),
        ("server's CPU per upload, ms", spread(|run| run.cpu_seconds / run.uploads * 1e3).text(2)),
        ("an upload's wait for its 202, median, ms", spread(|run| run.median_ms).text(1)),
        (
            "syncs per upload (strace, a run of its own)",
            format!("{:.2} ({syncs} / {:.0})", f64::from(syncs) / traced.uploads, traced.uploads),
        ),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(what, figure)| vec![what.to_owned(), figure]).collect();
    Ok(format!(
        "{CLIENTS} clients, {} runs of {} s by turns with the disk; goal: {GOAL_PER_SECOND} per second or the disk's limit.\n\n{}",
        options.pairs,
        SERVER_FOR.as_secs(),
        table(&["figure", "median (range)"], &rows)
    ))
}

struct Run {
    uploads: f64,
    seconds: f64,
    cpu_seconds: f64,
    median_ms: f64,
}

/// Uploads by all clients for some time; each file differs from every other.
fn uploads(server: &Server, template: &[u8], numbers: &AtomicU64, time: Duration) -> Result<Run> {
    let before = server.cpu_seconds()?;
    let begin = Instant::now();
    let client = || -> Result<Vec<Duration>> {
        let mut connection = Connection::open(server.address)?;
        let mut file = template.to_vec();
        let mut waits = Vec::new();
        while begin.elapsed() < time {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            // The content of the first comment begins behind the start of the file and its length.
            file[6..14].copy_from_slice(&number.to_be_bytes());
            let sent = Instant::now();
            let answer = connection.send("POST", "/api/v1/uploads?bucket=intake", "image/jpeg", &file)?;
            if answer.status != 202 {
                bail!("an upload was answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
            }
            waits.push(sent.elapsed());
        }
        Ok(waits)
    };
    let waits = in_threads(client)?;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu_seconds = server.cpu_seconds()? - before;
    let waits: Vec<Duration> = waits.into_iter().flatten().collect();
    let median_ms = Spread::of(waits.iter().map(|wait| wait.as_secs_f64() * 1e3)).median;
    Ok(Run { uploads: waits.len() as f64, seconds, cpu_seconds, median_ms })
}

/// Appends of 4 KiB, each made durable, per second: how often the disk can sync.
fn synced_appends(folder: &Path) -> Result<f64> {
    let path = folder.join("appends");
    let mut file = File::create(&path)?;
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < DISK_FOR {
        file.write_all(&[7; 4_096])?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / begin.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(rate)
}

/// The same files as the uploads, written durably by as many threads with no server between: written
/// under another name, synced, renamed, and the folder synced.
fn synced_files(folder: &Path, content: &[u8]) -> Result<f64> {
    let folder = TempDir::new_in(folder)?;
    let begin = Instant::now();
    let numbers = AtomicU64::new(0);
    let writer = || -> Result<u32> {
        let parent = File::open(folder.path())?;
        let mut count = 0;
        while begin.elapsed() < DISK_FOR {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let staged = folder.path().join(format!("{number}.part"));
            let mut file = File::create(&staged)?;
            file.write_all(content)?;
            file.sync_data()?;
            fs::rename(&staged, folder.path().join(number.to_string()))?;
            parent.sync_all()?;
            count += 1;
        }
        Ok(count)
    };
    let written: u32 = in_threads(writer)?.into_iter().sum();
    Ok(f64::from(written) / begin.elapsed().as_secs_f64())
}

/// Runs as many threads as there are clients; the first error of any of them.
fn in_threads<T: Send>(work: impl Fn() -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(&work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
            .collect()
    })
}

/// Runs `work` while strace counts the syncs of the server.
fn traced_syncs<T>(server: &Server, work: impl FnOnce() -> Result<T>) -> Result<(T, u32)> {
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-e", "trace=fsync,fdatasync,sync_file_range,msync,syncfs"])
        .args(["-p", &server.pid().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .context("strace did not start")?;
    // It says nothing when it is attached, at least not in a form that can be relied on.
    std::thread::sleep(Duration::from_millis(500));
    let outcome = work();
    if let Some(pid) = i32::try_from(strace.id()).ok().and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    }
    let mut text = String::new();
    strace.stderr.take().context("strace has no output")?.read_to_string(&mut text)?;
    strace.wait()?;
    Ok((outcome?, calls(&text).with_context(|| format!("strace said: {text}"))?))
}

/// The sum of the column `calls` of `strace -c`; its last line is that sum.
fn calls(text: &str) -> Option<u32> {
    let total = text.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_are_those_of_the_last_line() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                     90.00    0.100000         100      1000           fdatasync\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.110000          91      1200           total\n";
        assert_eq!(calls(text), Some(1200));
        assert_eq!(calls("attach: refused"), None);
    }
}
