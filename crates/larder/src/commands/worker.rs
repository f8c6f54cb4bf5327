//! `larder worker`: jobs without HTTP.

use std::{os::unix::fs::MetadataExt, time::Duration};

use larder_assets::meta::Recorder;
use larder_worker::Worker as Runner;
use serde_json::json;

use super::{
    Context,
    serve::{GRACE, worker_options},
};
use crate::{
    cli::Worker,
    config::{Config, FlagValue, Raw},
    failure::{Exit, Failure},
    service::{
        log,
        open::{Opening, open_beside},
        presence, stop,
    },
};

/// Time between two looks for a server.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs jobs until a signal.
pub async fn run(context: &Context, arguments: &Worker) -> Result<Exit, Failure> {
    let config = context.config(flags(arguments))?;
    log::start(&config.log)?;
    let stopping = stop::on_signals()?;
    let is_replicated = config.replication()?.is_some();
    log::notices(&config);
    let mut is_first = true;
    loop {
        let served = match is_replicated {
            true => tokio::select! {
                served = Served::wait(&config) => Some(served),
                () = stopping.cancelled() => return Ok(Exit::Done),
            },
            false => None,
        };
        let larder = open_beside(&config, Opening::Writer).await?;
        let options = worker_options(&config);
        let line = format!(
            "larder worker runs {} jobs at a time of {}; {}",
            options.concurrency,
            if options.queues.is_empty() { "all queues".to_owned() } else { options.queues.join(", ") },
            config.database_label()
        );
        let worker = Runner::start(larder.clone(), options).await?;
        let recorder = Recorder::start(larder.clone());
        if is_first {
            context.output.note(line);
            context.output.json(&json!({ "pid": std::process::id() }))?;
        }
        tokio::select! {
            () = stopping.cancelled() => {
                worker.stop(GRACE).await;
                recorder.stop().await;
            }
            () = ended(served, &config) => {
                tracing::warn!("the server has let the catalogue go: no job is run until there is one again");
                larder.catalog().refuse_writes("the server that replicates the catalogue has let it go");
                drop((worker, recorder));
            }
        }
        larder.catalog().close().await;
        if stopping.is_cancelled() {
            return Ok(Exit::Done);
        }
        is_first = false;
    }
}

/// The server of the data directory, beside which jobs may be run: it alone brings a replicated catalogue here, and
/// replicates what is committed beside it.
#[derive(PartialEq, Eq)]
struct Served {
    server: presence::Server,
    /// The file of the catalogue: another one is put in its place when somebody else took it over meanwhile.
    inode: Option<u64>,
}

impl Served {
    fn find(config: &Config) -> Option<Self> {
        let inode = std::fs::metadata(config.data_dir.join("catalog.db")).ok().map(|file| file.ino());
        Some(Self { server: presence::find(&config.data_dir)?, inode })
    }

    async fn wait(config: &Config) -> Self {
        let mut is_told = false;
        loop {
            if let Some(served) = Self::find(config) {
                return served;
            }
            if !is_told {
                tracing::info!("waiting for the server, which holds the catalogue");
                is_told = true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Waits until a server is there no more, if jobs depend on one.
async fn ended(served: Option<Served>, config: &Config) {
    let Some(served) = served else { return std::future::pending().await };
    while Served::find(config).as_ref() == Some(&served) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn flags(arguments: &Worker) -> Vec<FlagValue> {
    let mut flags = Vec::new();
    if !arguments.queues.is_empty() {
        let value = Raw::List(arguments.queues.clone());
        flags.push(FlagValue { flag: "--queues", path: "worker.queues", value });
    }
    if let Some(concurrency) = arguments.concurrency {
        let value = Raw::text(concurrency.to_string());
        flags.push(FlagValue { flag: "--concurrency", path: "worker.concurrency", value });
    }
    flags
}
