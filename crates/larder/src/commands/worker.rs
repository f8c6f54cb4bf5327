//! `larder worker`: jobs without HTTP.

use std::time::Duration;

use larder_assets::meta::Recorder;
use larder_worker::Worker as Runner;
use serde_json::json;

use super::{
    Context,
    serve::{GRACE, worker_options},
};
use crate::{
    cli::Worker,
    config::{FlagValue, Raw},
    failure::{Exit, Failure},
    service::{
        beside::Served,
        log,
        open::{Opening, open_beside},
        stop,
    },
};

/// Time before the catalogue is opened again, when that failed.
const OPEN_AGAIN: Duration = Duration::from_secs(5);

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
        if let Some(barrier) = served.as_ref().and_then(Served::barrier) {
            larder.catalog().install_barrier(barrier);
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
        let ended = async {
            match &served {
                Some(served) => served.ended(&config).await,
                None => std::future::pending().await,
            }
        };
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
