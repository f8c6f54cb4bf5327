//! The commands, one file each. A command reads its arguments, asks a backend, and prints.

mod adopt;
mod bucket;
mod catalog;
mod config;
mod db;
mod docs;
mod doctor;
mod files;
mod gc;
mod get;
mod image;
mod jobs;
mod key;
mod link;
mod ls;
mod migrate;
mod place;
mod preset;
mod put;
mod reindex;
mod restore;
mod rm;
mod scrub;
mod serve;
mod stats;
mod store;
mod unfinished;
mod version;
mod worker;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::timeout;

use crate::{
    backend::{Backend, Embedded, Remote},
    cli::{Cli, Command, Shared},
    config::{Config, ENV_FILE, Environment, FlagValue, Raw},
    failure::{Exit, Failure},
    output::Output,
    service::{log, open::Opening, replication, runtime, stop},
};

/// Time within which what a command opened is closed without a word.
const CLOSED_AT_ONCE: Duration = Duration::from_millis(300);

/// Runs the command and says how it ended.
pub fn run(cli: Cli, output: Output) -> Result<Exit, Failure> {
    let context = Context { shared: cli.shared, output };
    let context = &context;
    match cli.command {
        Command::Serve(arguments) => runtime::run(serve::run(context, &arguments)),
        Command::Worker(arguments) => runtime::run(worker::run(context, &arguments)),
        Command::Image(arguments) => image::run(context, &arguments),
        Command::Docs(arguments) => docs::run(context, &arguments),
        Command::Version => version::run(context),
        Command::Store(arguments) => runtime::run(store::run(context, &arguments)),
        Command::Db(arguments) => runtime::run(db::run(context, arguments)),
        Command::Doctor(arguments) => runtime::run(doctor::run(context, &arguments)),
        Command::Config(arguments) => config::run(context, &arguments),
        Command::Catalog(arguments) => runtime::run(catalog::run(context, &arguments)),
        Command::Put(a) => context.ask(Opening::Writer, async |larder| put::run(context, larder, &a).await),
        Command::Get(a) => context.ask(Opening::Reader, async |larder| get::run(context, larder, &a).await),
        Command::Ls(a) => context.ask(Opening::Reader, async |larder| ls::run(context, larder, &a).await),
        Command::Rm(a) => context.ask(Opening::Reader, async |larder| rm::run(context, larder, &a).await),
        Command::Restore(a) => {
            context.ask(Opening::Reader, async |larder| restore::run(context, larder, &a).await)
        }
        Command::Url(a) => context.ask(Opening::Reader, async |larder| link::run(context, larder, &a).await),
        Command::Stats(a) => {
            context.ask(Opening::Reader, async |larder| stats::run(context, larder, &a).await)
        }
        Command::Migrate(a) => {
            context.ask(Opening::Reader, async |larder| migrate::run(context, larder, &a).await)
        }
        Command::Gc(a) => context.ask(Opening::Reader, async |larder| gc::run(context, larder, &a).await),
        Command::Adopt(a) => {
            context.ask(Opening::Writer, async |larder| adopt::run(context, larder, &a).await)
        }
        Command::Reindex(a) => {
            context.ask(Opening::Writer, async |larder| reindex::run(context, larder, &a).await)
        }
        Command::Scrub(a) => {
            context.ask(Opening::Reader, async |larder| scrub::run(context, larder, &a).await)
        }
        Command::Jobs(a) => {
            let outcome = context.ask(Opening::Reader, async |larder| jobs::run(context, larder, &a).await);
            match outcome {
                // Watching has no other end.
                Err(failure) if a.watches() && failure.exit == Exit::Interrupted => Ok(Exit::Done),
                outcome => outcome,
            }
        }
        Command::Key(a) => context.ask(Opening::Writer, async |larder| key::run(context, larder, &a).await),
        Command::Preset(a) => {
            context.ask(Opening::Writer, async |larder| preset::run(context, larder, &a).await)
        }
        Command::Bucket(a) => {
            context.ask(Opening::Writer, async |larder| bucket::run(context, larder, &a).await)
        }
    }
}

/// What every command has.
pub struct Context {
    /// Options of every command.
    pub shared: Shared,
    /// Where it answers.
    pub output: Output,
}

impl Context {
    /// The configuration, with these flags over it.
    ///
    /// # Errors
    /// The first mistake.
    pub fn config(&self, flags: Vec<FlagValue>) -> Result<Config, Failure> {
        Ok(Config::load(self.config_file(), &self.environment()?, &self.with_shared_flags(flags))?)
    }

    /// The configuration for work that touches no store.
    ///
    /// # Errors
    /// The first mistake.
    pub fn config_without_store(&self) -> Result<Config, Failure> {
        let flags = self.with_shared_flags(Vec::new());
        Ok(Config::load_without_store(self.config_file(), &self.environment()?, &flags)?)
    }

    /// The variables of the process, and below them those of the file that is named.
    pub fn environment(&self) -> Result<Environment, Failure> {
        let mut environment = environment()?;
        let Some(file) = self.shared.env_file.as_ref().filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(environment);
        };
        let variables = larder_store::read_env_file(file).map_err(|error| {
            Failure::configuration(
                format!("the environment file {} can't be read: {error}", file.display()),
                "correct the file, or name another with --env-file or LARDER_ENV_FILE",
            )
        })?;
        for (name, value) in variables {
            environment.entry(name).or_insert(value);
        }
        environment.insert(ENV_FILE.to_owned(), file.display().to_string());
        Ok(environment)
    }

    /// The file that is named. An empty variable is as good as none.
    fn config_file(&self) -> Option<&Path> {
        self.shared.config.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    fn with_shared_flags(&self, mut flags: Vec<FlagValue>) -> Vec<FlagValue> {
        if let Some(dir) = &self.shared.data_dir {
            let value = Raw::text(dir.to_string_lossy());
            flags.push(FlagValue { flag: "--data-dir", path: "data_dir", value });
        }
        flags
    }

    /// The server that commands speak to, if one is named.
    pub fn server(&self) -> Option<&str> {
        self.shared.server.as_deref().filter(|address| !address.is_empty())
    }

    /// Runs `work` over the data directory, or over a server where one is named.
    fn ask(
        &self,
        opening: Opening,
        work: impl AsyncFnOnce(&dyn Backend) -> Result<Exit, Failure>,
    ) -> Result<Exit, Failure> {
        runtime::run(async {
            let key = self.shared.api_key.clone().filter(|key| !key.is_empty());
            let backend: Box<dyn Backend> = match self.server() {
                Some(address) => Box::new(Remote::new(address, key)?),
                None => {
                    let config = self.config(Vec::new())?;
                    log::start_quiet(&config.log)?;
                    // Only what goes through a server that replicates the catalogue waits for the store.
                    match replication::server_of(&config.data_dir) {
                        Some(server) => Box::new(Remote::new(&server.address, Some(server.key))?),
                        None => Box::new(Embedded::open(&config, opening).await?),
                    }
                }
            };
            let stopping = stop::on_signals()?;
            let outcome = tokio::select! {
                outcome = work(&*backend) => outcome,
                () = stopping.cancelled() => Err(Failure::interrupted()),
            };
            let mut closing = backend.close();
            if stopping.is_cancelled() && timeout(CLOSED_AT_ONCE, &mut closing).await.is_ok() {
                return outcome;
            }
            if stopping.is_cancelled() {
                self.output.note("stopping: jobs that run may end; a second signal stops at once");
            }
            closing.await;
            outcome
        })
    }
}

/// The environment as text. Names that are no text are not ours.
fn environment() -> Result<Environment, Failure> {
    let mut environment = Environment::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => drop(environment.insert(name, value)),
            Err(_) if name.starts_with("LARDER_") => {
                return Err(Failure::configuration(
                    format!("{name} is no UTF-8 text"),
                    "correct or unset it",
                ));
            }
            Err(_) => {}
        }
    }
    Ok(environment)
}

/// A path for people: without `./` before it.
fn shown(path: &Path) -> String {
    path.strip_prefix(".").map_or_else(|_| path.to_owned(), PathBuf::from).display().to_string()
}
