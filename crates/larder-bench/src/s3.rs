//! The S3 store beside the library for S3 that Rust programs use, on one server.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use larder_core::Ambient;
use larder_store::{OpenOptions, Place, Profile, PutOptions, S3Options, S3Store, Store, StoreExt};
use larder_testkit::s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, key, s3s_fs::S3sFs};
use object_store::{
    ObjectStoreExt, PutPayload,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};

use crate::report::table;
use crate::stats::Spread;
use crate::{Bench, Options, cpu};

pub const BENCH: Bench = Bench { name: "s3", doc: "puts and gets of the S3 store, beside object_store", run };

const BUCKET: &str = "bench";

const OBJECT_BYTES: usize = 100_000;

/// Of one side in one run.
const OBJECTS: usize = 400;

/// Requests at a time.
const CONCURRENCY: usize = 8;

/// How much more CPU a request may take than with the plain library.
const CPU_GOAL: f64 = 1.15;

/// What is streamed through memory of this much.
const LARGE_BYTES: u64 = 1 << 30;
const MEMORY_GOAL_MIB: f64 = 64.0;

/// A server in a process of its own, whose work is nobody's here.
pub struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    /// Starts this program as a server.
    ///
    /// # Errors
    /// It does not start.
    pub fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve-s3")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut endpoint = String::new();
        let stdout = child.stdout.take().context("its output is piped")?;
        BufReader::new(stdout).read_line(&mut endpoint)?;
        Ok(Self { child, endpoint: endpoint.trim().to_owned() })
    }

    /// How to reach its bucket.
    ///
    /// # Errors
    /// It did not say where it listens.
    pub fn options(&self) -> Result<S3Options> {
        options(&self.endpoint)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already at worst.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is such a server, until its standard input ends.
///
/// # Errors
/// Standard input can't be read.
#[expect(clippy::unnecessary_wraps, reason = "as every mode of this program")]
pub fn serve() -> Result<()> {
    let server = S3sFs::start();
    server.bucket(BUCKET);
    println!("{}", server.endpoint());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}

fn options(endpoint: &str) -> Result<S3Options> {
    let mut options = S3Options::new(Profile::Minio, BUCKET, key());
    options.endpoint = Some(endpoint.parse()?);
    Ok(options)
}

fn run(bench: &Options) -> Result<String> {
    let server = Server::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (ours, plain) = runtime.block_on(async {
        let store = S3Store::connect(&server.options()?, Ambient::system()).await?;
        let library = AmazonS3Builder::new()
            .with_endpoint(&server.endpoint)
            .with_allow_http(true)
            .with_bucket_name(BUCKET)
            .with_region("us-east-1")
            .with_access_key_id(ACCESS_KEY_ID)
            .with_secret_access_key(SECRET_ACCESS_KEY)
            .build()?;
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for number in 0..bench.pairs + 1 {
            let (first, second) = (of_store(&store, number).await?, of_library(&library, number).await?);
            // The first pair makes connections, and is not counted.
            if number > 0 {
                ours.push(first);
                plain.push(second);
            }
        }
        anyhow::Ok((ours, plain))
    })?;
    let row = |what: &str, part: fn(&Cost) -> f64| {
        let spread = |runs: &[Cost]| Spread::of(runs.iter().map(part)).text(0);
        let ratio = Spread::of(ours.iter().zip(&plain).map(|(ours, plain)| part(ours) / part(plain)));
        vec![what.to_owned(), spread(&ours), spread(&plain), ratio.text(2)]
    };
    let rows = [
        row("put, CPU us", |cost| cost.put_cpu_us),
        row("get, CPU us", |cost| cost.get_cpu_us),
        row("put, objects per second", |cost| cost.puts_per_s),
        row("get, objects per second", |cost| cost.gets_per_s),
    ];
    let large = Command::new(std::env::current_exe()?).args(["--stream-s3", &server.endpoint]).output()?;
    ensure!(large.status.success(), "{}", String::from_utf8_lossy(&large.stderr));
    Ok(format!(
        "{OBJECTS} objects of {OBJECT_BYTES} bytes, {CONCURRENCY} at a time, {} runs by turns; goal: at most {CPU_GOAL} of the \
         library's CPU.\n\n{}\nA file of 1 GiB put and read again, as a stream: {} (goal: at most {MEMORY_GOAL_MIB} MiB \
         each).",
        bench.pairs,
        table(&["figure", "Larder", "object_store", "Larder / object_store"], &rows),
        String::from_utf8_lossy(&large.stdout).trim(),
    ))
}

struct Cost {
    put_cpu_us: f64,
    get_cpu_us: f64,
    puts_per_s: f64,
    gets_per_s: f64,
}

/// No two objects are alike.
fn content(number: usize) -> Bytes {
    (0..OBJECT_BYTES).map(|index| (index.wrapping_mul(31).wrapping_add(number)) as u8).collect()
}

/// CPU and rate of one request of many.
async fn timed<F: Future<Output = Result<()>>>(requests: impl Iterator<Item = F>) -> Result<(f64, f64)> {
    let began = (Instant::now(), cpu::own_seconds());
    stream::iter(requests).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
    let cpu_us = (cpu::own_seconds() - began.1) * 1e6 / OBJECTS as f64;
    Ok((cpu_us, OBJECTS as f64 / began.0.elapsed().as_secs_f64()))
}

fn cost(puts: (f64, f64), gets: (f64, f64)) -> Cost {
    Cost { put_cpu_us: puts.0, get_cpu_us: gets.0, puts_per_s: puts.1, gets_per_s: gets.1 }
}

async fn of_store(store: &S3Store, run: usize) -> Result<Cost> {
    let place = move |number: usize| format!("ours/{run}/{number}").parse::<Place>();
    let contents: Vec<Bytes> = (0..OBJECTS).map(content).collect();
    let puts = timed(contents.iter().enumerate().map(|(number, bytes)| async move {
        store.put_bytes(&place(number)?, bytes.clone(), PutOptions::default()).await?;
        Ok(())
    }));
    let puts = puts.await?;
    let gets = timed((0..OBJECTS).map(|number| async move {
        let opened = store.open(&place(number)?, OpenOptions::default()).await?;
        let bytes = opened.body.read_all(OBJECT_BYTES as u64).await?;
        ensure!(bytes.len() == OBJECT_BYTES, "{} bytes", bytes.len());
        Ok(())
    }));
    Ok(cost(puts, gets.await?))
}

async fn of_library(library: &AmazonS3, run: usize) -> Result<Cost> {
    let path = move |number: usize| Path::from(format!("plain/{run}/{number}"));
    let contents: Vec<Bytes> = (0..OBJECTS).map(content).collect();
    let puts = timed(contents.iter().enumerate().map(|(number, bytes)| async move {
        library.put(&path(number), PutPayload::from_bytes(bytes.clone())).await?;
        Ok(())
    }));
    let puts = puts.await?;
    let gets = timed((0..OBJECTS).map(|number| async move {
        let bytes = library.get(&path(number)).await?.bytes().await?;
        ensure!(bytes.len() == OBJECT_BYTES, "{} bytes", bytes.len());
        Ok(())
    }));
    Ok(cost(puts, gets.await?))
}

/// Puts and reads a large file in this process, which has done nothing else, and says what memory it took.
///
/// # Errors
/// The store's.
pub fn stream_large(endpoint: &str) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = S3Store::connect(&options(endpoint)?, Ambient::system()).await?;
        let place: Place = "large".parse()?;
        let chunk: Bytes = content(0);
        let own = std::process::id();
        let before = cpu::resident_bytes(own)?;
        let chunks = LARGE_BYTES / OBJECT_BYTES as u64;
        let body = stream::iter((0..chunks).map(move |_| Ok(chunk.clone()))).boxed();
        // Without a hint of the size, as a body in chunks comes.
        store.put(&place, body, PutOptions::default()).await?;
        let mib = |bytes: u64| bytes.saturating_sub(before) as f64 / f64::from(1 << 20);
        let put = mib(cpu::peak_bytes(own)?);
        let mut body = store.open(&place, OpenOptions::default()).await?.body.into_stream();
        let mut read = 0;
        while let Some(chunk) = body.try_next().await.map_err(anyhow::Error::from_boxed)? {
            read += chunk.len() as u64;
        }
        ensure!(read == chunks * OBJECT_BYTES as u64, "{read} bytes");
        store.remove(&place).await?;
        Ok(format!(
            "{put:.1} MiB of memory after the put, {:.1} MiB after the read",
            mib(cpu::peak_bytes(own)?)
        ))
    })
}
