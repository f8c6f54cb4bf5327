//! How soon a server is there, and what it takes while nobody asks for anything.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::http::Connection;
use crate::report::table;
use crate::server::Larder;
use crate::stats::Spread;
use crate::{Bench, Options, cache_folder, cpu, pictures};

pub const BENCH: Bench = Bench { name: "start", doc: "time to ready and idle memory", run };

/// Starts that are measured: a start is short, and other work on the machine shows.
const STARTS: usize = 15;

/// Pictures in the data directory: a server rarely starts on nothing.
const PICTURES: u64 = 100;

/// How long a server is left alone before its memory is read.
const IDLE_FOR: Duration = Duration::from_secs(2);

fn run(_options: &Options) -> Result<String> {
    let folder = TempDir::new_in(cache_folder("start")?)?;
    let data = folder.path().join("data");
    let larder = Larder { core: None, arguments: &[] };
    fill(&larder, &data)?;
    let (mut ready_ms, mut idle_mb) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let server = larder.start(&data)?;
        ready_ms.push(server.ready_after.as_secs_f64() * 1e3);
        sleep(IDLE_FOR);
        idle_mb.push(cpu::resident_bytes(server.pid())? as f64 / 1e6);
    }
    let row = |what: &str, spread: Spread, goal: &str| vec![what.to_owned(), spread.text(1), goal.to_owned()];
    let rows = [
        row("process started to `/readyz` 200, ms (wall time)", Spread::of(ready_ms), "below 100"),
        row("resident memory after 2 s of idling, MB", Spread::of(idle_mb), "below 40"),
    ];
    Ok(format!(
        "{STARTS} starts on a data directory of {PICTURES} assets with their variants.\n\n{}",
        table(&["figure", "median (range)", "goal"], &rows)
    ))
}

fn fill(larder: &Larder<'_>, data: &std::path::Path) -> Result<()> {
    let server = larder.start(data)?;
    let mut client = Connection::open(server.address)?;
    for number in 0..PICTURES {
        let path = "/api/v1/uploads?bucket=media&wait=30";
        client.send("POST", path, "image/jpeg", &pictures::jpeg(20_000, number)?)?.expect_success(path)?;
    }
    Ok(())
}
