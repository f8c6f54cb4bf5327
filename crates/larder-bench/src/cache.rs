//! What the cache in front of a remote store spares.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use larder_store::{
    CACHE_PAGE_BYTES, CacheOptions, CachedStore, MemoryStore, OpenOptions, Place, PutOptions, Stat, Store,
    StoreExt,
};
use larder_testkit::faulty_store::{FaultyStore, Operation, Rule};
use tempfile::TempDir;

use crate::report::table;
use crate::stats::Spread;
use crate::{Bench, Options, cache_folder, cpu};

pub const BENCH: Bench =
    Bench { name: "cache", doc: "reads of a remote store with the cache before it", run };

/// How far away the store is.
const DELAY: Duration = Duration::from_millis(20);

/// Objects as large as a variant.
const OBJECTS: usize = 100;
const OBJECT_BYTES: usize = 20_000;

/// How often each is read again: a hit is short.
const ROUNDS: usize = 50;

/// The goals: how much more a miss takes than a hit of the memory.
const LATENCY_GOAL: f64 = 20.0;
const CPU_GOAL: f64 = 3.0;

/// One object and what is known of it.
struct Object {
    place: Place,
    stat: Stat,
}

/// What one read takes.
#[derive(Clone, Copy)]
struct Cost {
    latency_ms: f64,
    cpu_us: f64,
}

fn run(options: &Options) -> Result<String> {
    // As many threads as a server on this machine has.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = TempDir::new_in(cache_folder("cache")?)?;
    let runs = runtime.block_on(async {
        let (remote, objects) = remote().await?;
        let mut runs = Vec::new();
        for number in 0..options.pairs {
            let folder = folder.path().join(number.to_string());
            runs.push(measure(Arc::clone(&remote), &objects, &folder).await?);
        }
        anyhow::Ok(runs)
    })?;
    let of = |kind: usize| runs.iter().map(move |costs| costs[kind]);
    let row = |kind: usize, what: &str| {
        let ratio = |part: fn(&Cost) -> f64| {
            Spread::of(runs.iter().map(|costs| part(&costs[0]) / part(&costs[kind]))).text(1)
        };
        vec![
            what.to_owned(),
            Spread::of(of(kind).map(|cost| cost.latency_ms)).text(4),
            Spread::of(of(kind).map(|cost| cost.cpu_us)).text(1),
            ratio(|cost| cost.latency_ms),
            ratio(|cost| cost.cpu_us),
        ]
    };
    let rows = [row(0, "miss"), row(1, "hit in memory"), row(2, "hit on the disk, by the next process")];
    Ok(format!(
        "{OBJECTS} objects of {OBJECT_BYTES} bytes, {} pairs of runs. Goals for a hit: a miss takes at least {LATENCY_GOAL} \
         times its latency and {CPU_GOAL} times its CPU.\n\n{}",
        options.pairs,
        table(
            &["read", "latency, ms", "CPU, us", "latency of a miss / of this", "CPU of a miss / of this"],
            &rows
        )
    ))
}

/// A store behind a delay, and what lies in it. Any other store will do: a real one makes a miss dearer.
async fn remote() -> Result<(Arc<dyn Store>, Vec<Object>)> {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let mut objects = Vec::new();
    for number in 0..OBJECTS {
        let place: Place = format!("media/_variants/{number}.webp").parse()?;
        let bytes: Bytes = (0..OBJECT_BYTES).map(|index| (index * 31 + number) as u8).collect();
        let stat = store.put_bytes(&place, bytes, PutOptions::default()).await?;
        objects.push(Object { place, stat });
    }
    faults.add(Rule::on(Operation::Open).delayed(DELAY));
    Ok((Arc::new(store), objects))
}

/// A miss, a hit in memory and a hit on the disk.
async fn measure(remote: Arc<dyn Store>, objects: &[Object], folder: &Path) -> Result<[Cost; 3]> {
    let cached = |memory_bytes| {
        let options = CacheOptions {
            name: "bench".to_owned(),
            identity: "bench".to_owned(),
            memory_bytes,
            disk_bytes: 1 << 30,
            folder: Some(folder.to_owned()),
            page_bytes: CACHE_PAGE_BYTES,
        };
        CachedStore::new(Arc::clone(&remote), options)
    };
    let cache = cached(32 << 20);
    let miss = cost(&cache, objects, 1).await?;
    let memory = cost(&cache, objects, ROUNDS).await?;
    drop(cache);
    // All in memory is gone, and nothing gets there.
    let cache = cached(0);
    cache.flushed().await;
    let disk = cost(&cache, objects, ROUNDS).await?;
    Ok([miss, memory, disk])
}

/// Reads all objects, one after another; the latency is the median.
async fn cost(cache: &CachedStore<Arc<dyn Store>>, objects: &[Object], rounds: usize) -> Result<Cost> {
    let cpu_before = cpu::own_seconds();
    let mut latencies = Vec::new();
    for object in (0..rounds).flat_map(|_| objects) {
        let began = Instant::now();
        let options = OpenOptions { range: None, known: Some(object.stat.clone()) };
        let bytes = cache.open(&object.place, options).await?.body.read_all(OBJECT_BYTES as u64).await?;
        latencies.push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(bytes.len() == OBJECT_BYTES, "{} has {} bytes", object.place, bytes.len());
    }
    // What is left to be done for these reads is their cost too.
    cache.flushed().await;
    let cpu_us = (cpu::own_seconds() - cpu_before) * 1e6 / latencies.len() as f64;
    Ok(Cost { latency_ms: Spread::of(latencies).median, cpu_us })
}
