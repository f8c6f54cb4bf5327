//! What the operator decides: `larder.toml`, the environment, and flags of the command line.
//!
//! [`settings::all`] is the one table from which reading, error texts and `docs/configuration.md` come. A
//! setting is added as a field of [`Config`] and a line of that table.
//!
//! Later sources win over earlier ones: defaults, names of other applications (`DATABASE_URL`, …),
//! the file, `PORT`, `LARDER_…` names, flags. Two names of other applications that disagree on one setting are
//! an error, if they count for the selected store.

mod address;
mod buckets;
mod catalog;
mod cdn;
mod docs;
mod environment;
mod error;
mod file;
mod raw;
mod sections;
mod settings;
mod shown;
mod store;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use larder_assets::{net::Network, statistics::Prices};
use larder_core::{
    BucketName,
    text::{ByteSize, Span},
};
use url::Url;

pub use self::{
    buckets::{BucketEntry, SHIPPED, shipped_policy},
    catalog::{CatalogConfig, Replicate},
    docs::configuration_page,
    environment::{ENV_FILE, Environment},
    error::ConfigError,
    raw::{FromRaw, Raw, Secret},
    sections::{
        CacheConfig, CdnConfig, Cron, DatabasesConfig, DeliveryConfig, ImagesConfig, ImportConfig,
        LimitsConfig, LogConfig, LogFormat, Sendfile, WorkerConfig,
    },
    store::{StoreBackend, StoreChoice, StoreConfig},
};
use self::{environment::Overlay, settings::Setting, store::Selection};

/// Everything that can be configured, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The folder of catalogue, bytes and secret.
    pub data_dir: PathBuf,
    /// The PostgreSQL catalogue; none means SQLite in the data directory.
    pub database_url: Option<Secret>,
    /// Whether the SQLite catalogue is replicated to the store.
    pub catalog: CatalogConfig,
    /// The databases in the store that are looked after.
    pub databases: DatabasesConfig,
    /// The address under which clients reach the server, with its path prefix.
    pub public_url: Option<Url>,
    /// The master secret of signatures; none means the generated one in the data directory.
    pub secret: Option<Secret>,
    /// A bearer token that may do everything.
    pub admin_key: Option<Secret>,
    /// Where bytes lie.
    pub store: StoreConfig,
    /// What is kept near of a remote store.
    pub cache: CacheConfig,
    /// Named maxima.
    pub limits: LimitsConfig,
    /// Shape of the shipped named sets.
    pub images: ImagesConfig,
    /// How jobs are run.
    pub worker: WorkerConfig,
    /// How bytes are served.
    pub delivery: DeliveryConfig,
    /// The caches in front.
    pub cdn: CdnConfig,
    /// What storage costs, for estimates.
    pub prices: Prices,
    /// What imports by URL may reach.
    pub import: ImportConfig,
    /// What is logged and how.
    pub log: LogConfig,
    /// Buckets of file and environment, read-only in the API.
    pub buckets: BTreeMap<BucketName, BucketEntry>,
    /// Presets of the file, read-only in the API: name and recipe.
    pub presets: BTreeMap<String, String>,
    /// Where each setting that is no default came from.
    pub origins: BTreeMap<&'static str, Origin>,
    /// What each setting that has a value was set to, as it may be printed.
    pub shown: BTreeMap<&'static str, String>,
    /// What was not set but follows from other settings: value, and from what.
    pub following: BTreeMap<&'static str, (String, String)>,
    /// Things worth a line at start that are no mistakes.
    pub notices: Vec<String>,
}

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(&'static str),
    /// An environment variable of the form `LARDER_A__B`.
    Overlay(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Overlay(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A flag of the command line that overrides a setting.
#[derive(Debug, Clone)]
pub struct FlagValue {
    /// The flag as it is typed, for messages.
    pub flag: &'static str,
    /// The setting's path.
    pub path: &'static str,
    /// Its value.
    pub value: Raw,
}

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "larder.toml";

impl Config {
    /// Every setting at the default of the table.
    fn with_defaults() -> Self {
        let mut config = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: PathBuf::new(),
            database_url: None,
            catalog: CatalogConfig {
                replicate: Replicate::Auto,
                interval: Span::seconds(0),
                lease: Span::seconds(0),
            },
            databases: DatabasesConfig { prefixes: Vec::new(), backup: Cron(None), verify: Cron(None) },
            public_url: None,
            secret: None,
            admin_key: None,
            store: StoreConfig::unset(),
            cache: CacheConfig { memory: ByteSize(0), disk: ByteSize(0), dir: None },
            limits: LimitsConfig::unset(),
            images: ImagesConfig { format: None, quality: None, optimize: true },
            worker: WorkerConfig { concurrency: None, queues: Vec::new() },
            delivery: DeliveryConfig {
                sendfile: Sendfile::Off,
                media_path: None,
                media_bucket: BucketName::from_str("media").expect("a bucket's name"),
                hot_cache: ByteSize(0),
            },
            cdn: CdnConfig::unset(),
            prices: Prices::default(),
            import: ImportConfig { allow_networks: Vec::new() },
            log: LogConfig { level: String::new(), format: LogFormat::Text },
            buckets: BTreeMap::new(),
            presets: BTreeMap::new(),
            origins: BTreeMap::new(),
            shown: BTreeMap::new(),
            following: BTreeMap::new(),
            notices: Vec::new(),
        };
        for setting in settings::all() {
            if let Some(default) = setting.default {
                // A test sets every default of the table.
                setting.set(&mut config, &Raw::text(default)).expect("a readable default");
            }
        }
        config
    }

    /// Reads file, environment and flags.
    ///
    /// # Errors
    /// The first mistake, with its place and remedy.
    pub fn load(
        file: Option<&Path>,
        environment: &Environment,
        flags: &[FlagValue],
    ) -> Result<Self, ConfigError> {
        let overlay = Overlay::of(environment)?;
        let mut config = Self::with_our_names(file, &overlay, flags)?;
        config.select_store(&overlay)?;
        overlay.apply_aliases(&mut config)?;
        if config.store.backend == StoreBackend::S3 {
            config.store.s3_options = Some(store::options(&mut config, &overlay)?);
        }
        if config.store.backend == StoreBackend::Local {
            config.follows("store.root", config.store_root().display().to_string(), "data_dir");
        }
        config.look_beside(&overlay);
        config.notices.extend(overlay.notices(&config));
        config.check()?;
        Ok(config)
    }

    /// As [`Config::load`] for work that touches no store: mistakes in what is said of one don't matter.
    ///
    /// # Errors
    /// The first mistake, with its place and remedy.
    pub fn load_without_store(
        file: Option<&Path>,
        environment: &Environment,
        flags: &[FlagValue],
    ) -> Result<Self, ConfigError> {
        let overlay = Overlay::of(environment)?;
        let mut config = Self::with_our_names(file, &overlay, flags)?;
        overlay.apply_aliases(&mut config)?;
        config.check()?;
        Ok(config)
    }

    /// What is set for Larder itself: by the file, `LARDER_…` and flags.
    fn with_our_names(
        file: Option<&Path>,
        overlay: &Overlay<'_>,
        flags: &[FlagValue],
    ) -> Result<Self, ConfigError> {
        let mut config = Self::with_defaults();
        if let Some((path, text)) = file::find(file)? {
            file::apply(&mut config, &path, &text)?;
        }
        overlay.apply_own_names(&mut config)?;
        for flag in flags {
            let setting = Setting::at(flag.path);
            setting.set(&mut config, &flag.value).map_err(|cause| {
                ConfigError::new(format!("{}: {cause}", flag.flag), setting.expectation())
            })?;
            config.origins.insert(setting.path, Origin::Flag(flag.flag));
        }
        Ok(config)
    }

    fn select_store(&mut self, overlay: &Overlay<'_>) -> Result<(), ConfigError> {
        overlay.apply_switch(self)?;
        let selection = Selection::of(self, overlay)?;
        self.store.backend = selection.backend;
        self.store.reason = selection.reason;
        self.notices.extend(selection.notice);
        Ok(())
    }

    /// Finds out what stands beside the store that is selected: bytes that were not moved away from there are
    /// read where they are. Names of other applications tell it too, as they did while it was selected. What
    /// does not suffice or is wrong is no mistake here.
    fn look_beside(&mut self, overlay: &Overlay<'_>) {
        let as_if = |choice, backend| {
            let mut other = self.clone();
            (other.store.choice, other.store.backend) = (choice, backend);
            overlay.apply_aliases(&mut other).is_ok().then_some(other)
        };
        match self.store.backend {
            StoreBackend::S3 if self.store.root.is_none() => {
                let other = as_if(StoreChoice::Local, StoreBackend::Local);
                self.store.root = other.and_then(|other| other.store.root);
            }
            StoreBackend::Local | StoreBackend::Local2 => {
                let bucket = |choice| {
                    let mut other = as_if(choice, StoreBackend::S3)?;
                    other.store.s3.bucket.as_ref()?;
                    store::options(&mut other, overlay).ok()
                };
                let bucket = bucket(StoreChoice::S3).or_else(|| bucket(StoreChoice::Minio));
                self.store.s3_options = bucket;
            }
            StoreBackend::S3 | StoreBackend::Memory => {}
        }
    }

    /// Notes a value that was not set but follows from others.
    fn follows(&mut self, path: &'static str, value: String, from: &str) {
        let is_set = self.origins.contains_key(path) && self.shown.get(path) == Some(&value);
        if !is_set {
            self.following.insert(path, (value, from.to_owned()));
        }
    }

    /// Forgets that a setting was set.
    fn unset(&mut self, path: &'static str) {
        self.origins.remove(path);
        self.shown.remove(path);
    }

    /// Goes on with the local disk where the bucket can't be reached and the operator asked for that: bytes of
    /// two stores have to be brought together later.
    pub fn fall_back_to_local(&mut self, cause: &str) {
        self.notices.push(format!(
            "--dev-fallback: {}: {cause}; new bytes lie on the local disk, in {}, and what is in the bucket is not served",
            self.store_label(),
            self.store_root().display()
        ));
        self.store.backend = StoreBackend::Local;
        self.store.s3_options = None;
        self.catalog.replicate = Replicate::Off;
        "--dev-fallback, since the S3 store can't be reached".clone_into(&mut self.store.reason);
    }

    /// Where the catalogue lies, without password.
    pub fn database_label(&self) -> String {
        let Some(secret) = &self.database_url else {
            return format!("SQLite {}", self.data_dir.join("catalog.db").display());
        };
        match Url::parse(secret.expose()) {
            Ok(mut url) => {
                let _ = url.set_password(None);
                let _ = url.set_username("");
                url.set_query(None);
                format!("PostgreSQL {url}")
            }
            Err(_) => "PostgreSQL".to_owned(),
        }
    }

    /// Folder of the local store that is the primary; of the first one if none is.
    pub fn store_root(&self) -> PathBuf {
        let second =
            self.root_of(StoreBackend::Local2).filter(|_| self.store.backend == StoreBackend::Local2);
        second.unwrap_or_else(|| self.first_root())
    }

    fn first_root(&self) -> PathBuf {
        self.store.root.clone().unwrap_or_else(|| self.data_dir.join("media"))
    }

    /// Folder of a store, if it is one of files and configured.
    pub fn root_of(&self, store: StoreBackend) -> Option<PathBuf> {
        match store {
            StoreBackend::Local => Some(self.first_root()),
            StoreBackend::Local2 => self.store.second_root.clone(),
            StoreBackend::S3 | StoreBackend::Memory => None,
        }
    }

    /// Why the store is the one it is.
    pub fn store_reason(&self) -> &str {
        &self.store.reason
    }

    /// Which store it is, and where.
    pub fn store_label(&self) -> String {
        match (self.store.backend, &self.store.s3_options) {
            (StoreBackend::S3, Some(options)) => {
                let prefix = Some(&options.prefix).filter(|prefix| !prefix.is_empty());
                let folder = prefix.map_or_else(String::new, |prefix| format!("/{prefix}"));
                let at = match &options.endpoint {
                    Some(endpoint) => address::spelling(endpoint),
                    None => "AWS".to_owned(),
                };
                format!("s3 {}{folder} at {at}, region {}", options.bucket, options.region)
            }
            (StoreBackend::Memory, _) => "memory: everything is gone when this process ends".to_owned(),
            _ => format!("{} {}", self.store.backend.name(), self.store_root().display()),
        }
    }

    fn check_stores(&self) -> Result<(), ConfigError> {
        let Some(second) = &self.store.second_root else {
            return match self.store.backend {
                StoreBackend::Local2 => Err(ConfigError::new(
                    "store.backend is local2, but store.second_root names no folder",
                    "set store.second_root (LARDER_STORE__SECOND_ROOT) to the folder of that store",
                )),
                _ => Ok(()),
            };
        };
        let first = self.first_root();
        if second.starts_with(&first) || first.starts_with(second) {
            return Err(ConfigError::new(
                format!(
                    "store.second_root {} and the store's folder {} overlap",
                    second.display(),
                    first.display()
                ),
                "name a folder that lies neither in the other nor around it",
            ));
        }
        Ok(())
    }

    /// What holds only between settings.
    fn check(&mut self) -> Result<(), ConfigError> {
        self.check_database_url()?;
        if self.database_url.is_some() && self.secret.is_none() {
            return Err(ConfigError::new(
                "a PostgreSQL catalogue needs the master secret from outside: processes that share it must sign alike",
                "set LARDER_SECRET to one random text of at least 16 characters in all processes, such as the output of `openssl rand -hex 32`",
            ));
        }
        for (setting, secret) in [("LARDER_SECRET", &self.secret), ("LARDER_ADMIN_KEY", &self.admin_key)] {
            if secret.as_ref().is_some_and(|secret| secret.expose().len() < 16) {
                return Err(ConfigError::new(
                    format!("{setting} is shorter than 16 characters and could be guessed"),
                    "use a random text, such as the output of `openssl rand -hex 32`",
                ));
            }
        }
        self.check_stores()?;
        if self.limits.signed_url_life.0 > self.limits.signed_url_life_max.0 {
            return Err(ConfigError::new(
                "limits.signed_url_life is longer than limits.signed_url_life_max",
                "lower the first or raise the second",
            ));
        }
        for network in &self.import.allow_networks {
            network.parse::<Network>().map_err(|problem| {
                ConfigError::new(
                    format!("import.allow_networks: {problem}"),
                    "write networks such as 10.0.0.0/8",
                )
            })?;
        }
        self.purge_hook()?;
        if self.store.public_url.is_some() && self.store.backend != StoreBackend::S3 {
            self.notices.push(format!(
                "store.public_url has no effect, since the store is {}; the address of Larder itself is public_url",
                self.store.backend.name()
            ));
        }
        if self.delivery.sendfile != Sendfile::Off && self.root_of(self.store.backend).is_none() {
            self.notices.push(format!(
                "delivery.sendfile has no effect, since the store is {} and there are no files to send",
                self.store.backend.name()
            ));
        }
        for (name, entry) in &self.buckets {
            let problem = match self.policy_of(name, entry, None) {
                Ok(policy) => policy.problems().into_iter().next(),
                Err(problem) => Some(problem),
            };
            if let Some(problem) = problem {
                return Err(ConfigError::new(
                    format!("bucket {name}: {problem}"),
                    format!("correct [buckets.{name}]"),
                ));
            }
        }
        Ok(())
    }

    fn check_database_url(&mut self) -> Result<(), ConfigError> {
        let Some(secret) = &self.database_url else { return Ok(()) };
        let scheme = secret.expose().split(':').next().unwrap_or_default();
        match scheme {
            "postgres" | "postgresql" => Ok(()),
            "sqlite" if secret.expose() == "sqlite:" => {
                self.database_url = None;
                Ok(())
            }
            _ => {
                let origin = self
                    .origins
                    .get("database_url")
                    .map_or_else(|| "database_url".to_owned(), Origin::to_string);
                // Only the scheme: the rest may hold a password.
                Err(ConfigError::new(
                    format!(
                        "{origin} begins with \"{scheme}:\", and the catalogue lies in PostgreSQL or in SQLite in the data directory"
                    ),
                    "set LARDER_DATABASE_URL=postgres://… for PostgreSQL, or LARDER_DATABASE_URL=sqlite: for the catalogue in the data directory",
                ))
            }
        }
    }
}

#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
