//! Push and pull of 1 % changed pages, of nothing, of a whole; a backup; and the size at rest.

use std::path::Path;

use anyhow::Result;
use larder_dbsync::{PullOptions, PushOptions, Remote, Wanted, backup, pull, push, unwatched};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    counted::{Asked, Counted},
    database, megabytes, remote,
};
use crate::{cache_folder, cpu, report::table, stats::Spread};

/// Bytes of the database of all figures but those of restores.
const BYTES: u64 = 220_800_000;

/// Of the pages, those that are changed.
const PART: u32 = 100;

/// What one run took.
#[derive(Clone, Copy)]
struct Cost {
    asked: Asked,
    cpu_s: f64,
    pages: u64,
}

pub async fn measure(pairs: usize) -> Result<String> {
    let folder = TempDir::new_in(cache_folder("db")?)?;
    let at = |name: &str| folder.path().join(name);
    let a = database(&at("a.db"), BYTES, false)?;
    let (mut full, mut changed, mut same, mut cached, mut uncached, mut at_home, mut kept) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        for name in ["a.db", "b.db", "c.db"] {
            for ending in [".larder", ".larder-map"] {
                let _ = std::fs::remove_file(at(&format!("{name}{ending}")));
            }
        }
        let _ = std::fs::remove_file(at("b.db"));
        let (store, to) = remote(Counted::new())?;
        full.push(cost(&store, pushed(&to, &at("a.db"))).await?);
        pulled(&to, &at("b.db")).await?;
        // Another machine, which has the file and no map beside it.
        std::fs::copy(at("b.db"), at("c.db"))?;
        change(&a)?;
        changed.push(cost(&store, pushed(&to, &at("a.db"))).await?);
        same.push(cost(&store, pushed(&to, &at("a.db"))).await?);
        cached.push(cost(&store, pulled(&to, &at("b.db"))).await?);
        at_home.push(cost(&store, pulled(&to, &at("b.db"))).await?);
        uncached.push(cost(&store, pulled(&to, &at("c.db"))).await?);
        let keeping = async {
            backup(&to, "bench", &Wanted::Newest).await?;
            Ok(0)
        };
        kept.push(cost(&store, keeping).await?);
    }
    let rows = [
        row("push, 1 % of the pages", "<= 2.1 MB, 3 requests, 0.25 s", &changed),
        row("push, nothing changed", "no write, <= 2 reads, 0.15 s", &same),
        row("pull of that 1 %, map beside the file", "<= 2.1 MB", &cached),
        row("pull of that 1 %, no map", "<= 3 MB", &uncached),
        row("pull, nothing changed", "no write, <= 2 reads", &at_home),
        row("first push", "", &full),
        row("backup", "one write", &kept),
    ];
    drop(a);
    let sizes = sizes(folder.path()).await?;
    Ok(format!(
        "A database of {:.1} MB in pages of 4 KiB, rows that don't compress, {pairs} runs. Requests and bytes are counted in \
         the store; the seed's way, a mounted bucket and sqlite3_rsync, moved 444 MB in 93 requests for the same push, and \
         221 MB for the pull, and sqlite3_rsync from machine to machine 2.54 MB (figures of earlier measurements).\n\n{}\n\n{sizes}",
        megabytes(BYTES as f64),
        table(&["what", "goal", "pages", "reads", "MB read", "writes", "MB written", "CPU, s"], &rows)
    ))
}

/// Rows of about 1 % of the pages, anywhere.
fn change(connection: &Connection) -> Result<()> {
    let pages: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let last: u32 = connection.query_row("SELECT max(id) FROM t", [], |row| row.get(0))?;
    connection.execute_batch("BEGIN")?;
    {
        let mut random = connection.prepare("SELECT 1 + abs(random() % ?1)")?;
        let mut by_id = connection.prepare("UPDATE t SET value = randomblob(380) WHERE id = ?1")?;
        for _ in 0..pages / PART {
            let id: u32 = random.query_row([last], |row| row.get(0))?;
            by_id.execute([id])?;
        }
    }
    connection.execute_batch("COMMIT")?;
    Ok(())
}

async fn pushed(to: &Remote, path: &Path) -> Result<u64> {
    Ok(push(to, path, PushOptions::default(), &unwatched()).await?.pages)
}

async fn pulled(from: &Remote, path: &Path) -> Result<u64> {
    Ok(pull(from, path, &PullOptions::default(), &unwatched()).await?.pages)
}

async fn cost(store: &Counted, work: impl Future<Output = Result<u64>>) -> Result<Cost> {
    store.take();
    let before = cpu::own_seconds();
    let pages = work.await?;
    Ok(Cost { cpu_s: cpu::own_seconds() - before, asked: store.take(), pages })
}

fn row(what: &str, goal: &str, costs: &[Cost]) -> Vec<String> {
    let spread = |part: fn(&Cost) -> f64, digits| Spread::of(costs.iter().map(part)).text(digits);
    vec![
        what.to_owned(),
        goal.to_owned(),
        spread(|cost| cost.pages as f64, 0),
        spread(|cost| cost.asked.reads as f64, 0),
        spread(|cost| megabytes(cost.asked.read_bytes as f64), 3),
        spread(|cost| cost.asked.writes as f64, 0),
        spread(|cost| megabytes(cost.asked.written_bytes as f64), 3),
        spread(|cost| cost.cpu_s, 3),
    ]
}

/// What a database of text takes in the store, beside LZ4 of each page, which is what Litestream's files have.
async fn sizes(folder: &Path) -> Result<String> {
    let path = folder.join("text.db");
    drop(database(&path, BYTES, true)?);
    let (store, to) = remote(Counted::new())?;
    store.take();
    pushed(&to, &path).await?;
    let ours = store.take().written_bytes as f64;
    let raw = std::fs::read(&path)?;
    let by_page: usize = raw.chunks(4_096).map(|page| 6 + lz4_flex::block::compress(page).len()).sum();
    Ok(format!(
        "A database of JSON rows with two indexes, {:.1} MB, takes {:.1} MB in the store; LZ4 of each page takes {:.1} MB: \
         **{:.2}** (goal: at most 0.6).",
        megabytes(raw.len() as f64),
        megabytes(ours),
        megabytes(by_page as f64),
        ours / by_page as f64
    ))
}
