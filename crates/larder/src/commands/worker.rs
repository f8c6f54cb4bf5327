//! `larder worker`: jobs without HTTP.

use std::{os::unix::fs::MetadataExt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use larder_assets::meta::Recorder;
use larder_catalog::CommitBarrier;
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
        presence,
        replication::{Serving, server_of},
        stop,
    },
};

/// Time before the catalogue is opened again, when that failed.
const OPEN_AGAIN: Duration = Duration::from_secs(5);

/// The longest that a commit waits for the server's word.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

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
        let larder = match open_beside(&config, Opening::Writer).await {
            Ok(larder) => larder,
            Err(failure) if is_first => return Err(failure),
            Err(failure) => {
                tracing::error!(
                    cause = failure.cause,
                    remedy = failure.remedy,
                    "no job is run: trying again"
                );
                tokio::select! {
                    () = stopping.cancelled() => return Ok(Exit::Done),
                    () = tokio::time::sleep(OPEN_AGAIN) => continue,
                }
            }
        };
        if let Some(Served { by: Some(serving), .. }) = &served {
            larder.catalog().install_barrier(Arc::new(ServersBarrier::of(serving)));
        }
        // Opened while the server let go, it may be another file by now.
        if served.is_some() && Served::find(&config) != served {
            larder.catalog().close().await;
            continue;
        }
        let options = worker_options(&config);
        let line = format!(
            "larder worker runs {} jobs at a time of {}; {}",
            options.concurrency,
            if options.queues.is_empty() { "all queues".to_owned() } else { options.queues.join(", ") },
            config.database_label()
        );
        let worker = match Runner::start(larder.clone(), options).await {
            Ok(worker) => worker,
            Err(fault) if served.is_none() => return Err(fault.into()),
            // Its server has just let go, or does not reach the store.
            Err(fault) => {
                tracing::error!(%fault, "no job is run: trying again");
                larder.catalog().close().await;
                tokio::select! {
                    () = stopping.cancelled() => return Ok(Exit::Done),
                    () = tokio::time::sleep(OPEN_AGAIN) => continue,
                }
            }
        };
        let recorder = Recorder::start(larder.clone());
        if is_first {
            context.output.note(line);
            context.output.json(&json!({ "pid": std::process::id() }))?;
        }
        is_first = false;
        let ended = ended(served.as_ref(), &config);
        tokio::pin!(ended);
        let let_go = || {
            tracing::warn!("the server has let the catalogue go: no job is run until there is one again");
            larder.catalog().refuse_writes("the server that replicates the catalogue has let it go");
        };
        tokio::select! {
            () = &mut ended => {
                let_go();
                drop((worker, recorder));
            }
            () = stopping.cancelled() => tokio::select! {
                () = &mut ended => let_go(),
                () = async {
                    worker.stop(GRACE).await;
                    recorder.stop().await;
                } => {}
            }
        }
        larder.catalog().close().await;
        if stopping.is_cancelled() {
            return Ok(Exit::Done);
        }
    }
}

/// The server of the data directory, beside which jobs may be run: it alone brings a replicated catalogue here, and
/// replicates what is committed beside it.
#[derive(PartialEq, Eq)]
struct Served {
    server: presence::Server,
    /// How it is asked, if it replicates the catalogue. Jobs of a server that does not, since its bucket ignores conditions,
    /// go on without it.
    by: Option<Serving>,
    /// The file of the catalogue: another one is put in its place when somebody else took it over meanwhile.
    inode: u64,
}

impl Served {
    fn find(config: &Config) -> Option<Self> {
        let server = presence::find(&config.data_dir)?;
        let inode = std::fs::metadata(config.data_dir.join("catalog.db")).ok()?.ino();
        Some(Self { server, by: server_of(&config.data_dir), inode })
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
async fn ended(served: Option<&Served>, config: &Config) {
    let Some(served) = served.filter(|served| served.by.is_some()) else {
        return std::future::pending().await;
    };
    while Served::find(config).as_ref() == Some(served) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Makes the commits of this process wait as those of its server do: it alone knows what is in the store. Without its
/// answer nothing that a job does next may rest on them.
struct ServersBarrier {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl ServersBarrier {
    fn of(serving: &Serving) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build();
        Self {
            client: client.unwrap_or_default(),
            url: format!("{}/api/v1/catalog/barrier", serving.address),
            key: serving.key.clone(),
        }
    }
}

impl CommitBarrier for ServersBarrier {
    fn passed(&self) -> BoxFuture<'_, larder_catalog::Result<()>> {
        Box::pin(async {
            let unavailable = larder_catalog::Error::unavailable;
            match self.client.post(&self.url).bearer_auth(&self.key).send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(unavailable(format!(
                    "the server that replicates the catalogue answered {}",
                    answer.status()
                ))),
                Err(error) => Err(unavailable(format!(
                    "the server that replicates the catalogue does not answer: {error}"
                ))),
            }
        })
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
