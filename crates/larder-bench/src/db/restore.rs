//! A restore of 1 GB, beside a plain parallel download of the same bytes.

use std::{fs::File, os::unix::fs::FileExt, path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use larder_dbsync::{PullOptions, PushOptions, pull, push, unwatched};
use larder_store::{OpenOptions, Place, PutOptions, Store, StoreExt};
use tempfile::TempDir;

use super::{counted::Counted, database, megabytes, remote};
use crate::{cache_folder, report::table, stats::Spread};

const BYTES: u64 = 1_000_000_000;

/// Bytes a second that the store gives.
const RATE: f64 = 200e6;

/// How much the plain download asks for at once, and how often at a time.
const RANGE_BYTES: u64 = 8 << 20;
const AT_A_TIME: usize = 8;

pub async fn measure(pairs: usize) -> Result<String> {
    let folder = TempDir::new_in(cache_folder("db")?)?;
    let path = folder.path().join("a.db");
    drop(database(&path, BYTES, false)?);
    let (store, to) = remote(Counted::capped(RATE))?;
    push(&to, &path, PushOptions::default(), &unwatched()).await?;
    let plain: Place = "plain.db".parse()?;
    let bytes = std::fs::read(&path)?;
    let size = bytes.len() as u64;
    store.put_bytes(&plain, bytes, PutOptions::default()).await?;
    std::fs::remove_file(&path)?;
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        let mut seconds = [0.0; 2];
        for is_plain in if pair % 2 == 0 { [false, true] } else { [true, false] } {
            let begun = Instant::now();
            let target = folder.path().join("restored.db");
            match is_plain {
                true => download(&store, &plain, size, &target).await?,
                false => drop(pull(&to, &target, &PullOptions::default(), &unwatched()).await?),
            }
            seconds[usize::from(is_plain)] = begun.elapsed().as_secs_f64();
            for ending in ["", ".larder", ".larder-map"] {
                let _ = std::fs::remove_file(folder.path().join(format!("restored.db{ending}")));
            }
        }
        ours.push(megabytes(size as f64) / seconds[0]);
        theirs.push(megabytes(size as f64) / seconds[1]);
        ratios.push(seconds[1] / seconds[0]);
    }
    let rows = [
        vec!["restore, all hashes checked, MB/s".to_owned(), String::new(), Spread::of(ours).text(0)],
        vec!["plain parallel download, MB/s".to_owned(), String::new(), Spread::of(theirs).text(0)],
        vec!["restore / plain".to_owned(), ">= 0.8".to_owned(), Spread::of(ratios).text(2)],
    ];
    Ok(format!(
        "A restore of 1 GB that does not compress, from a store that gives 200 MB/s in all, beside {AT_A_TIME} parallel \
         requests for ranges of 8 MiB of the plain file; both write and sync. {pairs} pairs.\n\n{}",
        table(&["what", "goal", "measured"], &rows)
    ))
}

async fn download(store: &Arc<Counted>, place: &Place, size: u64, target: &Path) -> Result<()> {
    let file = Arc::new(File::create(target)?);
    stream::iter((0..size).step_by(RANGE_BYTES as usize))
        .map(|start| {
            let file = Arc::clone(&file);
            async move {
                let range = start..(start + RANGE_BYTES).min(size);
                let opened = store.open(place, OpenOptions::range(range)).await?;
                let bytes = opened.body.read_all(RANGE_BYTES).await?;
                tokio::task::spawn_blocking(move || file.write_all_at(&bytes, start)).await??;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect::<()>()
        .await?;
    tokio::task::spawn_blocking(move || file.sync_all()).await?.context("the file can't be synced")
}
