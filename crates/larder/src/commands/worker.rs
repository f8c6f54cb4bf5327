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
    if config.replication()?.is_some() {
        tokio::select! {
            () = served(&config) => {}
            () = stopping.cancelled() => return Ok(Exit::Done),
        }
    }
    let larder = open_beside(&config, Opening::Writer).await?;
    let options = worker_options(&config);
    let queues = if options.queues.is_empty() { "all queues".to_owned() } else { options.queues.join(", ") };
    log::notices(&config);
    let line = format!(
        "larder worker runs {} jobs at a time of {queues}; {}",
        options.concurrency,
        config.database_label()
    );
    let worker = Runner::start(larder.clone(), options).await?;
    let recorder = Recorder::start(larder.clone());
    context.output.note(line);
    context.output.json(&json!({ "pid": std::process::id() }))?;
    stopping.cancelled().await;
    worker.stop(GRACE).await;
    recorder.stop().await;
    larder.catalog().close().await;
    Ok(Exit::Done)
}

/// Waits for the server of the data directory: that alone brings a replicated catalogue here, and replicates what is
/// committed beside it.
async fn served(config: &Config) {
    let mut is_told = false;
    while presence::find(&config.data_dir).is_none() {
        if !is_told {
            tracing::info!("waiting for the server, which holds the catalogue");
            is_told = true;
        }
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
