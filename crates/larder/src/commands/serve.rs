//! `larder serve`: everything in one process.

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use larder_assets::{Larder, meta::Recorder};
use larder_http::{App, AppOptions, ServerLimits};
use larder_worker::{Worker, WorkerOptions};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::{
    cli::{Role, Serve},
    config::{Config, FlagValue, LogFormat, Raw, Sendfile},
    failure::{Exit, Failure},
    service::{
        banner::Banner,
        listener, log,
        open::{Opened, open_server},
        open_files,
        presence::{Presence, Server},
        replication::{Ended, Replication},
        stop,
    },
};

/// Time that running jobs get to end when the process stops.
pub const GRACE: Duration = Duration::from_secs(20);

/// Time that requests get to end when a server takes over: for so long nothing can be written.
const STANDBY_GRACE: Duration = Duration::from_secs(2);

/// Time before a server that has served opens its catalogue again, when that failed.
const OPEN_AGAIN: Duration = Duration::from_secs(5);

/// The location that nginx keeps for `X-Accel-Redirect`.
const ACCEL_LOCATION: &str = "/.larder-files";

/// Serves until a signal.
pub async fn run(context: &Context, arguments: &Serve) -> Result<Exit, Failure> {
    let config = context.config(flags(arguments))?;
    log::start(&config.log)?;
    open_files::raise_limit();
    let stopping = stop::on_signals()?;
    // The port first: that it is taken is known at once, and then nothing else is touched.
    let mut listener = listener::bind(config.listen).await?;
    let mut is_first = true;
    loop {
        let mut config = config.clone();
        let settings = config.clone();
        let stand_by = async |larder: Larder, ended: CancellationToken| {
            serve_standby(&settings, &listener, larder, ended).await;
        };
        let opening = open_server(&mut config, arguments.dev_fallback && is_first, &stand_by);
        let opened = tokio::select! {
            opened = opening => opened,
            () = stopping.cancelled() => return Ok(Exit::Done),
        };
        let Opened { larder, replication } = match opened {
            Ok(opened) => opened,
            Err(failure) if is_first => return Err(failure),
            // Who has served is not ended by an outage while it stands by.
            Err(failure) => {
                tracing::error!(cause = failure.cause, remedy = failure.remedy, "standing by: trying again");
                tokio::select! {
                    () = stopping.cancelled() => return Ok(Exit::Done),
                    () = tokio::time::sleep(OPEN_AGAIN) => continue,
                }
            }
        };
        config.notices.extend(replication.as_ref().map(|replication| replicated(&config, replication)));
        let turn = Turn {
            context,
            arguments,
            larder: &larder,
            replication: replication.as_ref(),
            ending: stopping.child_token(),
            is_first,
        };
        let (served, spare) = turn.serve(config, listener).await;
        larder.catalog().close().await;
        let ended = match replication {
            Some(replication) => replication.end().await,
            None => Ok(Ended::LetGo),
        };
        match (ended?, spare) {
            (Ended::TakenOver, Some(spare)) if !stopping.is_cancelled() => listener = spare,
            _ => {
                served?;
                break;
            }
        }
        tracing::warn!("another server holds the catalogue: standing by");
        is_first = false;
    }
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// The time in which this server is the one that writes.
struct Turn<'a> {
    context: &'a Context,
    arguments: &'a Serve,
    larder: &'a Larder,
    replication: Option<&'a Replication>,
    /// Cancelled by a signal, and when the catalogue is somebody else's.
    ending: CancellationToken,
    /// Whether the user is to be told where it listens.
    is_first: bool,
}

impl Turn<'_> {
    /// Answers requests and runs jobs until a signal, or until somebody else takes the catalogue over: then the socket is
    /// there still.
    async fn serve(
        &self,
        config: Config,
        listener: TcpListener,
    ) -> (Result<(), Failure>, Option<TcpListener>) {
        let Some(replication) = self.replication else { return (self.answer(config, listener).await, None) };
        let mut spare = match listener::again(&listener) {
            Ok(spare) => Some(spare),
            Err(failure) => return (Err(failure), None),
        };
        let serving = self.answer(config, listener);
        tokio::pin!(serving);
        loop {
            tokio::select! {
                served = &mut serving => return (served, spare),
                () = replication.lost() => break,
                // A signal: whoever comes now is to be refused at once.
                () = self.ending.cancelled(), if spare.is_some() => spare = None,
            }
        }
        self.ending.cancel();
        // Nothing can be written, and what is read is old: whoever is under way gets no more than a moment.
        let served = tokio::time::timeout(STANDBY_GRACE, serving).await;
        (served.unwrap_or(Ok(())), spare)
    }

    async fn answer(&self, mut config: Config, listener: TcpListener) -> Result<(), Failure> {
        let Self { context, arguments, larder, replication, ending, is_first } = self;
        let address = listener::address(&listener)?;
        let has_key = larder.any_key_configured().await?;
        listener::check_reach(address, has_key, &config.data_dir)?;
        config.notices.extend(unreachable_files(&config));
        let runs_jobs = arguments.role == Role::All;
        let url = listener::url(address);
        if let Some(replication) = replication {
            replication.tell_server(&url, larder.settings().owner_key.as_deref().unwrap_or_default())?;
        }
        let server = Server { address: url, pid: std::process::id(), runs_jobs };
        let mut presence = Presence::mark(&config.data_dir, &server)
            .map_err(|error| Failure::file(&config.data_dir.join("server.json"), "written", error))?;
        let worker = match runs_jobs {
            true => Some(Worker::start((*larder).clone(), worker_options(&config)).await?),
            false => None,
        };
        let recorder = Recorder::start((*larder).clone());
        let app = App::new((*larder).clone(), app_options(&config));
        if *is_first {
            announce(context, &Banner { config: &config, address, runs_jobs, has_key })?;
        }

        // From the first signal on no job is begun, and requests and jobs end in the same time.
        let jobs = async {
            ending.cancelled().await;
            if replication.is_some_and(Replication::is_lost) {
                // Workers end their jobs by that.
                drop(presence.take());
            }
            if let Some(worker) = worker {
                worker.stop(GRACE).await;
            }
        };
        tokio::join!(larder_http::serve(listener, app, ending.clone().cancelled_owned()), jobs);
        // The store's records are the next holder's.
        match replication.is_some_and(Replication::is_lost) {
            true => drop(recorder),
            false => recorder.stop().await,
        }
        Ok(())
    }
}

/// Answers reads until the catalogue is this server's.
async fn serve_standby(config: &Config, listener: &TcpListener, larder: Larder, ended: CancellationToken) {
    let checked = async {
        let address = listener::address(listener)?;
        listener::check_reach(address, larder.any_key_configured().await?, &config.data_dir)?;
        Ok::<_, Failure>((listener::again(listener)?, address))
    };
    match checked.await {
        Ok((listener, address)) => {
            tracing::info!(%address, "standing by: reads are answered");
            let mut options = app_options(config);
            options.limits.grace = STANDBY_GRACE;
            larder_http::serve(listener, App::new(larder, options), ended.cancelled_owned()).await;
        }
        Err(failure) => {
            tracing::warn!(cause = failure.cause, "standing by: nothing is answered");
            ended.cancelled().await;
        }
    }
}

/// What a replicated catalogue means, for the operator.
fn replicated(config: &Config, replication: &Replication) -> String {
    let promise = match replication.waits() {
        true => "nothing is acknowledged that is not there".to_owned(),
        false => format!("what was acknowledged within {} is lost with the disk", config.catalog.interval),
    };
    let secret = match config.secret {
        Some(_) => "",
        None => "; the secret lies on this disk alone: set LARDER_SECRET",
    };
    format!("the catalogue is replicated to the bucket: {promise}{secret}")
}

fn flags(arguments: &Serve) -> Vec<FlagValue> {
    let listen = arguments.listen.as_ref();
    listen
        .map(|text| FlagValue { flag: "--listen", path: "listen", value: Raw::text(text) })
        .into_iter()
        .collect()
}

/// How the configuration wants jobs to be run.
pub fn worker_options(config: &Config) -> WorkerOptions {
    let mut options = WorkerOptions::default();
    if let Some(concurrency) = config.worker.concurrency {
        options.concurrency = concurrency.max(1);
    }
    options.queues.clone_from(&config.worker.queues);
    options
}

/// What is wrong with the store's folder, if the server in front is to read it: it runs as another
/// user, and the data directory lets nobody else in.
fn unreachable_files(config: &Config) -> Option<String> {
    if config.delivery.sendfile == Sendfile::Off || config.root_of(config.store.backend).is_none() {
        return None;
    }
    let root = config.store_root().canonicalize().ok()?;
    let is_private =
        |path: &&Path| std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o011 == 0);
    let private = root.ancestors().find(is_private)?;
    Some(format!(
        "delivery.sendfile: only the owner may enter {}, so that the server in front can't read {}; name a folder outside with store.root",
        private.display(),
        root.display()
    ))
}

fn app_options(config: &Config) -> AppOptions {
    let limits = ServerLimits {
        headers_within: config.limits.headers_within.0,
        body_idle_max: config.limits.body_idle.0,
        json_bytes_max: usize::try_from(config.limits.json_bytes.0).unwrap_or(usize::MAX),
        ..ServerLimits::default()
    };
    let sendfile = match config.delivery.sendfile {
        Sendfile::Off => None,
        Sendfile::XAccelRedirect => Some(larder_http::Sendfile::Accel {
            prefix: ACCEL_LOCATION.to_owned(),
            root: std::path::absolute(config.store_root()).unwrap_or_else(|_| config.store_root()),
        }),
        Sendfile::XSendfile => Some(larder_http::Sendfile::XSendfile),
    };
    AppOptions { limits, sendfile, alias: config.delivery.alias(), tags: config.cdn.tag_headers.clone() }
}

/// Says that the server is ready: lines for people, an event in a JSON log, and the answer of
/// `--json`.
fn announce(context: &Context, banner: &Banner<'_>) -> Result<(), Failure> {
    if context.output.is_json() || banner.config.log.format == LogFormat::Json {
        log::notices(banner.config);
    }
    match banner.config.log.format {
        LogFormat::Text => context.output.note(banner.text()),
        LogFormat::Json => {
            let (address, catalogue) = (banner.address.to_string(), banner.config.database_label());
            let store = format!("{} ({})", banner.config.store_label(), banner.config.store_reason());
            tracing::info!(address, catalogue, store, "ready");
        }
    }
    context.output.json(&json!({
        "address": format!("http://{}", banner.address),
        "pid": std::process::id(),
        "runs_jobs": banner.runs_jobs,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn a_folder_that_the_server_in_front_cannot_enter_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("media");
        std::fs::create_dir(&root).unwrap();
        let environment: Environment = [
            ("LARDER_STORE__ROOT", root.to_str().unwrap()),
            ("LARDER_DELIVERY__SENDFILE", "x-accel-redirect"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let mut config = Config::load(None, &environment, &[]).unwrap();
        let with_mode = |mode| std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode));
        with_mode(0o700).unwrap();
        let told = unreachable_files(&config).expect("a notice");
        assert!(told.contains(dir.path().to_str().unwrap()) && told.contains("store.root"), "{told}");
        with_mode(0o755).unwrap();
        assert_eq!(unreachable_files(&config), None);
        config.delivery.sendfile = Sendfile::Off;
        assert_eq!(unreachable_files(&config), None);
    }
}
