//! A SQLite database to and from a store: bytes, requests and CPU of what changed, replication, and a restore.

mod counted;
mod live;
mod moves;
mod restore;

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use larder_core::Ambient;
use larder_dbsync::Remote;
use rusqlite::Connection;

use self::counted::Counted;
use crate::{Bench, Options};

pub const BENCH: Bench = Bench { name: "db", doc: "a SQLite database to and from a store", run };

fn run(options: &Options) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let moves = moves::measure(options.pairs).await?;
        let live = live::measure(options.pairs).await?;
        let restore = restore::measure(options.pairs.min(5)).await?;
        Ok(format!("{moves}\n\n{live}\n\n{restore}"))
    })
}

/// A store that counts, and the database in it.
fn remote(store: Counted) -> Result<(Arc<Counted>, Remote)> {
    let store = Arc::new(store);
    Ok((Arc::clone(&store), Remote::new(store, "org-data/99", Ambient::system())?))
}

/// A database of about so many bytes: rows that don't compress, or rows of JSON with two indexes.
fn database(path: &Path, bytes: u64, is_text: bool) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = wal; PRAGMA synchronous = OFF; CREATE TABLE t(id INTEGER PRIMARY KEY, value);",
    )?;
    if is_text {
        connection.execute_batch("CREATE INDEX by_name ON t(json_extract(value, '$.name')); CREATE INDEX by_day ON t(json_extract(value, '$.day'));")?;
    }
    let insert = match is_text {
        false => "INSERT INTO t(value) SELECT randomblob(380) FROM generate",
        true => {
            "INSERT INTO t(value) SELECT json_object('name', 'contact ' || abs(random() % 1000000), 'day', '2026-' || \
             (1 + abs(random() % 12)) || '-' || (1 + abs(random() % 28)), 'subject', 'Your appointment with us', 'body', \
             'Dear customer ' || abs(random() % 100000) || ', we look forward to seeing you. Please bring your papers. ' || \
             hex(randomblob(12)), 'state', CASE abs(random() % 3) WHEN 0 THEN 'scheduled' WHEN 1 THEN 'sent' ELSE 'failed' END) \
             FROM generate"
        }
    };
    let batch = format!(
        "WITH RECURSIVE generate(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM generate WHERE n < 20000) {insert}"
    );
    let size = || -> Result<u64> {
        let pages: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        Ok(u64::from(pages) * 4_096)
    };
    while size()? < bytes {
        connection.execute_batch(&batch)?;
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).context("a checkpoint")?;
    Ok(connection)
}

fn megabytes(bytes: f64) -> f64 {
    bytes / 1e6
}
