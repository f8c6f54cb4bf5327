//! Moving everything from store to store, beside a plain copy of the same files by the same client.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use larder_assets::{Larder, MigrateOptions, Secrets, Settings, Stores, migrate::CONCURRENCY};
use larder_catalog::{AssetRecord, AssetStatus, Catalog, Class, Target};
use larder_core::{Ambient, AssetId, BucketName, ObjectKey};
use larder_store::{LocalStore, OpenOptions, Place, PutOptions, S3Store, Store, StoreExt};
use md5::Md5;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::report::table;
use crate::s3::Server;
use crate::stats::Spread;
use crate::{Bench, Options, cache_folder, cpu};

pub const BENCH: Bench = Bench { name: "migrate", doc: "moving between stores, beside a plain copy", run };

const OBJECTS: usize = 20_000;
const OBJECT_BYTES: usize = 20_000;

/// What a move is to reach of the rate of a plain copy.
const GOAL: f64 = 0.8;

/// Records stored in one transaction while the objects are made.
const BATCH: usize = 500;

fn run(options: &Options) -> Result<String> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(options))
}

async fn measure(options: &Options) -> Result<String> {
    let folder = TempDir::new_in(cache_folder("migrate")?)?;
    let (ambient, server) = (Ambient::system(), Server::start()?);
    let local = |name: &str| -> Result<Arc<dyn Store>> {
        let root = folder.path().join(name);
        std::fs::create_dir_all(&root)?;
        Ok(Arc::new(LocalStore::open(root, ambient.clone())?))
    };
    let bucket = async |name: &str| -> Result<Arc<dyn Store>> {
        let mut options = server.options()?;
        options.prefix = name.to_owned();
        let store: Arc<dyn Store> = Arc::new(S3Store::connect(&options, ambient.clone()).await?);
        Ok(store)
    };
    let one = local("one")?;
    // Each run goes to a store that has none of it yet, and nothing is removed in between: a file system is
    // slow at making files for some minutes after it removed many, and would be so for one side only.
    let mut stores = Stores::new("one", one.clone());
    for pair in 0..options.pairs {
        for (name, store) in
            [(folder_of(pair), local(&folder_of(pair))?), (bucket_of(pair), bucket(&bucket_of(pair)).await?)]
        {
            stores = stores.with(name, store);
        }
    }
    let larder = open(folder.path(), stores, &ambient).await?;
    let places = fill(&larder, &one).await?;

    let mut rows = Vec::new();
    for (what, name_of) in
        [("to another folder", folder_of as fn(usize) -> String), ("to a bucket", bucket_of)]
    {
        let mut runs = Vec::new();
        for pair in 0..options.pairs {
            let name = name_of(pair);
            let beside = format!("{name}-copy");
            let copied_to = match what {
                "to a bucket" => bucket(&beside).await?,
                _ => local(&beside)?,
            };
            let mut run: Run = ((0.0, 0.0), (0.0, 0.0));
            // By turns, also which of them comes first.
            for is_copy in [pair % 2 == 0, pair % 2 != 0] {
                write_out()?;
                let began = (Instant::now(), cpu::own_seconds());
                match is_copy {
                    true => copy(&one, &copied_to, &places).await?,
                    false => {
                        let report = larder.migrate(&migration("one", &name), &|_| Ok(())).await?;
                        let moved = report.originals.objects as usize;
                        ensure!(moved == OBJECTS && report.failed() == 0, "{report:?}");
                    }
                }
                let took = (began.0.elapsed().as_secs_f64(), cpu::own_seconds() - began.1);
                *(if is_copy { &mut run.0 } else { &mut run.1 }) = took;
            }
            runs.push(run);
            // Back again, at no cost that is counted: the copies that were left are taken up.
            let back = larder.migrate(&migration(&name, "one"), &|_| Ok(())).await?;
            ensure!(back.adopted as usize == OBJECTS, "{back:?}");
        }
        let spread = |part: fn(&Run) -> f64| Spread::of(runs.iter().map(part));
        rows.push(vec![
            what.to_owned(),
            spread(|run| OBJECTS as f64 / run.0.0).text(0),
            spread(|run| OBJECTS as f64 / run.1.0).text(0),
            spread(|run| run.0.0 / run.1.0).text(2),
            spread(|run| run.1.1 / run.0.1).text(2),
        ]);
    }
    let head = [
        "from a folder",
        "plain copy, objects/s",
        "move, objects/s",
        "move / copy, rate",
        "move / copy, CPU",
    ];
    Ok(format!(
        "{OBJECTS} objects of {OBJECT_BYTES} bytes, {CONCURRENCY} at a time, {} runs by turns; goal: at least {GOAL} of the \
         rate of the plain copy. The copy reads and writes through the same stores; the move hashes, too, and records each \
         copy. The server of the bucket is s3s-fs, in a process of its own on the same disk and processor.\n\n{}",
        options.pairs,
        table(&head, &rows)
    ))
}

fn folder_of(pair: usize) -> String {
    format!("folder-{pair}")
}

fn bucket_of(pair: usize) -> String {
    format!("bucket-{pair}")
}

/// Waits until the disk has what was written before, so that nobody pays for others.
fn write_out() -> Result<()> {
    let synced = std::process::Command::new("sync").status().context("sync")?;
    ensure!(synced.success(), "sync: {synced}");
    Ok(())
}

/// Wall and CPU seconds of a plain copy, then of a move.
type Run = ((f64, f64), (f64, f64));

async fn open(folder: &Path, stores: Stores, ambient: &Ambient) -> Result<Larder> {
    let target = Target::Sqlite { catalog: folder.join("catalog.db"), state: folder.join("state.db") };
    let catalog = Catalog::open(&target, ambient.clone()).await?;
    catalog.migrate().await?;
    let secrets = Secrets::new(*b"a secret of a bench").map_err(anyhow::Error::msg)?;
    let settings = Settings::new(secrets);
    let larder = Larder::open(settings, catalog, stores, ambient.clone()).await?;
    larder.put_bucket(&bucket()?, serde_json::from_value(json!({ "presets": [] }))?).await?;
    Ok(larder)
}

fn bucket() -> Result<BucketName> {
    Ok("bench".parse()?)
}

fn migration(from: &str, to: &str) -> MigrateOptions {
    MigrateOptions {
        from: from.to_owned(),
        to: to.to_owned(),
        bucket: None,
        prefix: None,
        concurrency: None,
        rate_bytes: None,
        cleanup: false,
        grace: None,
        verify: false,
        dry_run: false,
    }
}

/// Puts the objects and stores their records.
async fn fill(larder: &Larder, store: &Arc<dyn Store>) -> Result<Vec<Place>> {
    let mut places = Vec::with_capacity(OBJECTS);
    let numbers: Vec<usize> = (0..OBJECTS).collect();
    for batch in numbers.chunks(BATCH) {
        let records: Vec<AssetRecord> = stream::iter(batch.iter().copied())
            .map(|number| object(larder, store, number))
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        for record in &records {
            places.push(record.place.parse().context("a place")?);
        }
        larder
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    for record in &records {
                        tx.insert_asset(record).await?;
                    }
                    Ok(())
                })
            })
            .await?;
    }
    Ok(places)
}

async fn object(larder: &Larder, store: &Arc<dyn Store>, number: usize) -> Result<AssetRecord> {
    let key: ObjectKey = format!("{:03}/{number:05}.bin", number / 100).parse()?;
    let place = Place::of_key("bench", &key);
    // No two are alike, and none can be packed.
    let mut bytes = Vec::with_capacity(OBJECT_BYTES + 32);
    let mut block = Sha256::digest(number.to_le_bytes());
    while bytes.len() < OBJECT_BYTES {
        bytes.extend_from_slice(&block);
        block = Sha256::digest(block);
    }
    bytes.truncate(OBJECT_BYTES);
    let (sha256, md5) = (hex::encode(Sha256::digest(&bytes)), hex::encode(Md5::digest(&bytes)));
    let stat = store.put_bytes(&place, bytes, PutOptions::default()).await?;
    let now = larder.ambient().now();
    Ok(AssetRecord {
        id: AssetId::new(larder.ambient()),
        bucket: bucket()?,
        key,
        version: 1,
        status: AssetStatus::Ready,
        store: "one".to_owned(),
        place: place.to_string(),
        fingerprint: stat.fingerprint.to_string(),
        size_bytes: OBJECT_BYTES as u64,
        sha256,
        md5,
        content_type: "application/octet-stream".to_owned(),
        original_filename: None,
        owner: None,
        metadata: json!({}),
        tags: Vec::new(),
        width_px: None,
        height_px: None,
        frames: None,
        has_gps: false,
        description: None,
        perceptual_hash: None,
        created_at: now,
        written_at: now,
        updated_at: now,
        expires_at: None,
        deleted_at: None,
        trash_place: None,
    })
}

/// The same files with nothing but the store's client: as many at a time, each in a task of its own.
async fn copy(from: &Arc<dyn Store>, to: &Arc<dyn Store>, places: &[Place]) -> Result<()> {
    stream::iter(places.iter().cloned())
        .map(|place| {
            let (from, to) = (from.clone(), to.clone());
            tokio::spawn(async move {
                let opened = from.open(&place, OpenOptions::default()).await?;
                let options = PutOptions { size_hint: Some(opened.stat.size_bytes), ..PutOptions::default() };
                to.put(&place, opened.body.into_stream(), options).await
            })
        })
        .buffer_unordered(CONCURRENCY)
        .map(|copied| -> Result<()> {
            copied??;
            Ok(())
        })
        .try_collect()
        .await
}
