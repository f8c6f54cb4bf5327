//! Opens catalogue and store as the configuration says.

use std::{io, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

use larder_assets::{
    DatabaseSettings, Larder, Settings, cdn::CdnSettings, databases::PatternError, net::ImportSettings,
};
use larder_catalog::{Catalog, Target};
use larder_core::{Ambient, Code, Fault};
use larder_store::{Circuit, Store};
use rustix::fs::{Access, access};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    replication::{Candidate, Held, PREFIX, Replication},
    secret, shipped,
    standby::Standby,
    store::{OpenStore, open_store, with_others},
};
use crate::{
    config::{Config, ConfigError, StoreBackend},
    failure::Failure,
};

/// What a process may do to a data directory and to the catalogue's buckets and presets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Serve: create what is missing, and take over what the file says of buckets and presets.
    Server,
    /// A command that writes, or a worker: create what is missing.
    Writer,
    /// A command that reads: a data directory has to be there.
    Reader,
}

/// Larder, and what replicates its catalogue.
pub struct Opened {
    /// What everything is done with.
    pub larder: Larder,
    /// Of a catalogue that is replicated; to be ended after the catalogue was closed.
    pub replication: Option<Replication>,
}

/// Opens Larder for a command. Where the catalogue is replicated, it is this process's from now on, and what the store has
/// is here.
///
/// # Errors
/// Data directory, catalogue or store can't be opened; another process holds the catalogue. The remedy says what to
/// change.
pub async fn open(config: &Config, opening: Opening) -> Result<Opened, Failure> {
    let ambient = Ambient::system();
    prepare(config, opening)?;
    let store = open_store(config, opening, &ambient).await?;
    let held = match &store.bucket {
        Some(bucket) => Candidate::new(config, opening, Arc::clone(bucket)).await?,
        None => None,
    };
    let held = match held {
        Some(candidate) => Some(candidate.claim_unless_held().await?.bring().await?),
        None => None,
    };
    finish(config, opening, store, held, ambient).await
}

/// Opens Larder for a server. Only that takes over the file's buckets and presets: a command that is given in another
/// folder, or a worker on another machine, would otherwise detach them.
///
/// Where the catalogue is replicated and another process holds it, this waits for as long as it does; meanwhile
/// `stand_by` is given one that reads, until the token is cancelled.
///
/// With `may_fall_back` the local disk takes the place of a bucket that can't be reached, and `config` says so. Never
/// done unasked: the bytes would lie in two places.
///
/// # Errors
/// Data directory, catalogue or store can't be opened; the remedy says what to change.
pub async fn open_server(
    config: &mut Config,
    may_fall_back: bool,
    stand_by: &impl AsyncFn(Larder, CancellationToken),
) -> Result<Opened, Failure> {
    let (ambient, opening) = (Ambient::system(), Opening::Server);
    prepare(config, opening)?;
    let store = match open_store(config, opening, &ambient).await {
        Err(failure)
            if may_fall_back
                && config.store.backend == StoreBackend::S3
                && failure.code == Code::BackendUnavailable.as_str() =>
        {
            config.fall_back_to_local(&failure.cause);
            prepare_data_dir(config, opening)?;
            open_store(config, opening, &ambient).await?
        }
        outcome => outcome?,
    };
    let candidate = match &store.bucket {
        Some(bucket) => Candidate::new(config, opening, Arc::clone(bucket)).await?,
        None => None,
    };
    let held = match candidate {
        Some(candidate) => Some(wait_for(config, &store, candidate, stand_by).await?),
        None => None,
    };
    finish(config, opening, store, held, ambient).await
}

/// Takes the catalogue when it is free, and stands by until then.
async fn wait_for(
    config: &Config,
    store: &OpenStore,
    candidate: Candidate,
    stand_by: &impl AsyncFn(Larder, CancellationToken),
) -> Result<Held, Failure> {
    let (changed, ended) = (Notify::new(), CancellationToken::new());
    let (holder, follower) = (candidate.holder().map(str::to_owned), candidate.follower());
    let standing_by = async {
        if let Some(holder) = holder {
            let ended = ended.clone();
            Standby { config, store, follower, holder, changed: &changed, ended }.run(stand_by).await;
        }
    };
    let claiming = async {
        let claimed = candidate.claim(&changed).await;
        ended.cancel();
        claimed
    };
    let (claimed, ()) = tokio::join!(claiming, standing_by);
    claimed?.bring().await
}

async fn finish(
    config: &Config,
    opening: Opening,
    store: OpenStore,
    mut held: Option<Held>,
    ambient: Ambient,
) -> Result<Opened, Failure> {
    let assembling = async {
        // Where the store has no catalogue either, a reader ends here.
        prepare_data_dir(config, opening)?;
        assemble(config, opening, store, ambient).await
    };
    let assembled = match &mut held {
        Some(held) => held.keep(assembling).await?,
        None => assembling.await,
    };
    match (assembled, held) {
        (Ok(larder), None) => Ok(Opened { larder, replication: None }),
        (Ok(larder), Some(held)) => {
            let replication = held.follow(larder.catalog()).await?;
            Ok(Opened { larder, replication: Some(replication) })
        }
        (Err(failure), held) => {
            if let Some(held) = held {
                held.let_go().await;
            }
            Err(failure)
        }
    }
}

/// Opens Larder without a hand in the replication of its catalogue: beside a server, which replicates what this process
/// commits, or to look only.
///
/// # Errors
/// As [`open`].
pub async fn open_beside(config: &Config, opening: Opening) -> Result<Larder, Failure> {
    let ambient = Ambient::system();
    prepare_data_dir(config, opening)?;
    let store = open_store(config, opening, &ambient).await?;
    assemble(config, opening, store, ambient).await
}

/// A catalogue that may lie in the store need not be here.
fn prepare(config: &Config, opening: Opening) -> Result<(), Failure> {
    match config.replication()? {
        Some(_) => prepare_data_dir(config, Opening::Writer),
        None => prepare_data_dir(config, opening),
    }
}

async fn assemble(
    config: &Config,
    opening: Opening,
    store: OpenStore,
    ambient: Ambient,
) -> Result<Larder, Failure> {
    let catalog = open_catalog(config, &ambient).await?;
    catalog.migrate().await.map_err(Fault::from)?;
    let stores = with_others(config, opening, store.store, &catalog, &ambient).await?;
    let databases = databases(config, store.plain)?;
    let settings = Settings { databases, ..settings(config, store.circuit, &ambient)? };
    let larder = Larder::open(settings, catalog, stores, ambient).await?;
    let is_first = larder.presets().await?.is_empty();
    if opening == Opening::Server || is_first {
        shipped::declare(&larder, config).await?;
    }
    Ok(larder)
}

/// The catalogue alone, as it is.
///
/// # Errors
/// It can't be reached, or its schema is newer than this program.
pub async fn open_catalog(config: &Config, ambient: &Ambient) -> Result<Catalog, Failure> {
    let target = match &config.database_url {
        Some(url) => Target::from_url(url.expose()).map_err(Fault::from)?,
        None => Target::Sqlite {
            catalog: config.data_dir.join("catalog.db"),
            state: config.data_dir.join("state.db"),
        },
    };
    Ok(Catalog::open(&target, ambient.clone()).await.map_err(Fault::from)?)
}

/// Checks that the data directory is there, or makes it.
///
/// # Errors
/// It is absent and `opening` only reads, or it can't be made.
pub fn prepare_data_dir(config: &Config, opening: Opening) -> Result<(), Failure> {
    let dir = &config.data_dir;
    if config.database_url.is_none() && opening == Opening::Reader && !dir.join("catalog.db").exists() {
        return Err(Failure::configuration(
            format!("there is no Larder in {}", dir.display()),
            "give --data-dir, or --server for a running server; `larder serve` and `larder put` begin a new one",
        ));
    }
    create_private(dir)?;
    check_writable(config)?;
    match config.root_of(config.store.backend) {
        Some(root) => std::fs::create_dir_all(&root).map_err(|error| Failure::file(&root, "created", error)),
        None => Ok(()),
    }
}

/// Only the owner may look into the data directory: it holds the catalogue and the secret.
fn create_private(dir: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| names_the_setting(Failure::file(dir, "created", error)))
}

/// Refuses a data directory that this process can't write to. The database would say no more than
/// that it does not answer, and only after it was asked for 10 s, since that may also be a passing
/// state of one that is busy.
fn check_writable(config: &Config) -> Result<(), Failure> {
    let dir = &config.data_dir;
    let unwritable =
        |path: &Path, error: io::Error| Err(names_the_setting(Failure::file(path, "written", error)));
    if let Err(error) = access(dir, Access::WRITE_OK | Access::EXEC_OK) {
        return unwritable(dir, error.into());
    }
    if config.database_url.is_some() {
        return Ok(());
    }
    for file in ["catalog.db", "state.db"].map(|name| dir.join(name)) {
        match std::fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return unwritable(&file, error),
            Ok(metadata) if !metadata.is_file() => {
                return unwritable(&file, io::ErrorKind::IsADirectory.into());
            }
            Ok(_) => {
                if let Err(error) = access(&file, Access::READ_OK | Access::WRITE_OK) {
                    return unwritable(&file, error.into());
                }
            }
        }
    }
    Ok(())
}

/// A failure of the data directory, with the ways to name another.
fn names_the_setting(mut failure: Failure) -> Failure {
    if !failure.remedy.is_empty() {
        failure.remedy += "; ";
    }
    failure.remedy += "--data-dir or LARDER_DATA_DIR names another data directory";
    failure
}

/// The databases that are looked after: those that the settings name, and the catalogue itself where it is replicated.
fn databases(config: &Config, store: Arc<dyn Store>) -> Result<Option<DatabaseSettings>, Failure> {
    let mut patterns = config.databases.prefixes.clone();
    let bucket = config.store.s3_options.as_ref().filter(|_| config.store.backend == StoreBackend::S3);
    if let Some(options) = bucket
        && config.replication()?.is_some()
    {
        patterns.push(below(&options.prefix, PREFIX).parse().map_err(|error: PatternError| {
            ConfigError::new(error.to_string(), "give store.s3.prefix a path without braces")
        })?);
    }
    if patterns.is_empty() {
        return Ok(None);
    }
    let url_base = match (bucket, config.root_of(config.store.backend)) {
        (Some(options), _) => format!("s3://{}/", options.bucket),
        (None, Some(root)) => format!("{}/", std::path::absolute(&root).unwrap_or(root).display()),
        (None, None) => String::new(),
    };
    Ok(Some(DatabaseSettings {
        url_base,
        backup: config.databases.backup.0.clone(),
        verify: config.databases.verify.0.clone(),
        ..DatabaseSettings::new(store, patterns, config.data_dir.join("verifying"))
    }))
}

fn below(prefix: &str, path: &str) -> String {
    if prefix.is_empty() { path.to_owned() } else { format!("{prefix}/{path}") }
}

/// What the configuration tells Larder.
///
/// # Errors
/// A setting can't be used, or the secret not be read.
pub fn settings(config: &Config, circuit: Option<Circuit>, ambient: &Ambient) -> Result<Settings, Failure> {
    let allow_networks = config
        .import
        .allow_networks
        .iter()
        .map(|text| {
            text.parse().map_err(|problem: String| {
                ConfigError::new(
                    format!("import.allow_networks: {problem}"),
                    "write networks such as 10.0.0.0/8",
                )
            })
        })
        .collect::<Result<_, _>>()?;
    let mut settings = Settings::new(secret::load(config, ambient)?);
    settings.store_circuit = circuit;
    settings.owner_key = Some(hex::encode(ambient.random_bytes::<32>()));
    settings.public_url = config.public_url.clone();
    settings.admin_key = config.admin_key.as_ref().map(|key| key.expose().to_owned());
    settings.upload_bytes_max = config.limits.upload_bytes.0;
    settings.image = config.limits.image();
    settings.variants_at_upload = config.images.optimize;
    settings.signed_url_life = config.limits.signed_url_life.0;
    settings.signed_url_life_max = config.limits.signed_url_life_max.0;
    settings.history = config.limits.history.0;
    settings.upload_life = config.limits.upload_life.0;
    settings.idempotency_life = config.limits.idempotency_life.0;
    settings.batch_items_max = config.limits.batch_items;
    settings.hot_cache_bytes = config.delivery.hot_cache.0;
    settings.isolator = std::env::current_exe().ok();
    settings.cdn = CdnSettings {
        hook: config.purge_hook()?,
        alias: config.delivery.alias().map(|alias| {
            let (path, bucket) = alias.parts();
            (path.to_owned(), bucket.clone())
        }),
    };
    settings.prices = config.prices.clone();
    settings.import = ImportSettings { allow_networks, ..ImportSettings::default() };
    Ok(settings)
}
