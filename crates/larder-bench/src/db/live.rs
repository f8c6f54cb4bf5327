//! Replication: what a writer loses by it, and how soon a commit is in the store.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use larder_dbsync::{ReplicateOptions, Replicator, Round, Session, unwatched};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{counted::Counted, database, remote};
use crate::{cache_folder, report::table, stats::Spread};

/// Bytes of the database.
const BYTES: u64 = 50_000_000;

/// How long a writer writes.
const SPAN: Duration = Duration::from_secs(4);

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Commits of which the way into the store is timed.
const COMMITS: u32 = 8;

pub async fn measure(pairs: usize) -> Result<String> {
    let folder = TempDir::new_in(cache_folder("db")?)?;
    let path = folder.path().join("a.db");
    drop(database(&path, BYTES, true)?);
    let (mut alone, mut followed, mut ratios, mut puts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        // By turns, and the first one by turns, too.
        let order = if pair % 2 == 0 { [false, true] } else { [true, false] };
        let mut rates = [0.0; 2];
        for is_followed in order {
            let (rate, written) = throughput(&path, is_followed).await?;
            rates[usize::from(is_followed)] = rate;
            if is_followed {
                puts.push(written);
            }
        }
        alone.push(rates[0]);
        followed.push(rates[1]);
        ratios.push(rates[1] / rates[0]);
    }
    let per_interval = writes_per_interval(&path).await?;
    let (delays, idle_requests) = delays(&path).await?;
    let rows = [
        vec!["commits a second, alone".to_owned(), String::new(), Spread::of(alone).text(0)],
        vec!["commits a second, replicated".to_owned(), String::new(), Spread::of(followed).text(0)],
        vec!["replicated / alone".to_owned(), ">= 0.95".to_owned(), Spread::of(ratios).text(3)],
        vec![
            "writes a second, with those of maps, since each second changes most pages".to_owned(),
            String::new(),
            Spread::of(puts).text(2),
        ],
        vec![
            "writes an interval, of a writer of 100 commits a second".to_owned(),
            "1".to_owned(),
            format!("{per_interval:.2}"),
        ],
        vec!["commit to store, s".to_owned(), "<= 1.1".to_owned(), Spread::of(delays).text(2)],
        vec!["requests in 5 idle seconds".to_owned(), "0".to_owned(), idle_requests.to_string()],
    ];
    Ok(format!(
        "Replication at an interval of 1 s of a database of 50 MB in WAL mode, {pairs} pairs of runs of {} s. The writer \
         commits one changed row at a time with `synchronous = NORMAL`.\n\n{}",
        SPAN.as_secs(),
        table(&["what", "goal", "measured"], &rows)
    ))
}

async fn replicator(path: &Path) -> Result<(Arc<Counted>, Replicator)> {
    let (store, to) = remote(Counted::new())?;
    let _ = std::fs::remove_file(path.with_extension("db.larder"));
    let mut session = Session::open(to, None, false).await?;
    session.claim(&mut |_| Ok(())).await?;
    let options = ReplicateOptions { interval: INTERVAL, renew: false, collect: None };
    let replicator = Replicator::begin(session, path, options, unwatched()).await?;
    store.take();
    Ok((store, replicator))
}

/// Commits a second of a writer, and writes a second of the replication.
async fn throughput(path: &Path, is_followed: bool) -> Result<(f64, f64)> {
    let following = if is_followed { Some(replicator(path).await?) } else { None };
    let stop = Arc::new(AtomicBool::new(false));
    let (writes_to, stopped) = (path.to_owned(), Arc::clone(&stop));
    let writer = std::thread::spawn(move || write(&writes_to, &stopped));
    let written = match following {
        None => {
            tokio::time::sleep(SPAN).await;
            0.0
        }
        Some((store, mut replicator)) => {
            replicator.run(tokio::time::sleep(SPAN)).await?;
            let writes = store.take().writes as f64 / SPAN.as_secs_f64();
            stop.store(true, Ordering::Relaxed);
            replicator.finish().await?;
            writes
        }
    };
    stop.store(true, Ordering::Relaxed);
    let rate = writer.join().ok().context("the writer panicked")??;
    Ok((rate, written))
}

fn write(path: &Path, stop: &AtomicBool) -> Result<f64> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    let last: u32 = connection.query_row("SELECT max(id) FROM t", [], |row| row.get(0))?;
    let mut update =
        connection.prepare("UPDATE t SET value = json_set(value, '$.state', ?1) WHERE id = ?2")?;
    let (begun, mut commits) = (Instant::now(), 0_u32);
    while !stop.load(Ordering::Relaxed) && begun.elapsed() < SPAN {
        update.execute((commits, commits.wrapping_mul(2_654_435_761) % last + 1))?;
        commits += 1;
    }
    Ok(f64::from(commits) / begun.elapsed().as_secs_f64())
}

/// Writes for each interval in which something is committed, of a writer as applications have them.
async fn writes_per_interval(path: &Path) -> Result<f64> {
    let (store, mut replicator) = replicator(path).await?;
    let (path, stop) = (path.to_owned(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let writer = std::thread::spawn(move || -> Result<()> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        let mut commit = 0_u32;
        while !stopped.load(Ordering::Relaxed) {
            let id = 1_000 + commit % 50;
            connection
                .execute("UPDATE t SET value = json_set(value, '$.state', ?1) WHERE id = ?2", (commit, id))?;
            commit += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    });
    let intervals = 10;
    // Half an interval more, so that no look falls on the end.
    replicator.run(tokio::time::sleep(INTERVAL * intervals + INTERVAL / 2)).await?;
    let writes = store.take().writes;
    stop.store(true, Ordering::Relaxed);
    writer.join().ok().context("the writer panicked")??;
    replicator.finish().await?;
    // One look at once, and one after each interval.
    Ok(writes as f64 / f64::from(intervals + 1))
}

/// Seconds from a commit to its entry, and requests while nothing is committed.
async fn delays(path: &Path) -> Result<(Vec<f64>, u64)> {
    let (store, mut replicator) = replicator(path).await?;
    let connection = Connection::open(path)?;
    let mut delays = Vec::new();
    for commit in 0..COMMITS {
        connection.execute("UPDATE t SET value = json_set(value, '$.state', ?1) WHERE id = 77", [commit])?;
        let begun = Instant::now();
        // As `run` does: a look each interval, at a random moment of which the commit comes.
        tokio::time::sleep(INTERVAL.mul_f64(f64::from(commit % 4) / 4.0)).await;
        ensure!(replicator.round().await? == Round::Committed, "the commit was not seen");
        delays.push(begun.elapsed().as_secs_f64());
    }
    store.take();
    replicator.run(tokio::time::sleep(Duration::from_secs(5))).await?;
    Ok((delays, store.take().requests()))
}
