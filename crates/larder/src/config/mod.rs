//! What the operator decides: `larder.toml`, the environment, and flags of the command line.
//!
//! [`SETTINGS`](settings::SETTINGS) is the one table from which reading, error texts and `docs/configuration.md` come. A
//! setting is added as a field of [`Config`] and a line of that table.
//!
//! Later sources win over earlier ones: defaults, names of other applications (`DATABASE_URL`, …),
//! the file, `PORT`, `LARDER_…` names, flags.

mod buckets;
mod docs;
mod environment;
mod error;
mod file;
mod raw;
mod sections;
mod settings;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use larder_core::{BucketName, text::ByteSize};
use url::Url;

pub use self::{
    buckets::{BucketEntry, SHIPPED, shipped_policy},
    docs::configuration_page,
    environment::Environment,
    error::ConfigError,
    raw::{FromRaw, Raw, Secret},
    sections::{
        DeliveryConfig, ImagesConfig, ImportConfig, LimitsConfig, LogConfig, LogFormat, Sendfile,
        StoreBackend, StoreConfig, WorkerConfig,
    },
};
use self::{environment::Overlay, settings::Setting};

/// Everything that can be configured, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The folder of catalogue, bytes and secret.
    pub data_dir: PathBuf,
    /// The PostgreSQL catalogue; none means SQLite in the data directory.
    pub database_url: Option<Secret>,
    /// The address under which clients reach the server, with its path prefix.
    pub public_url: Option<Url>,
    /// The master secret of signatures; none means the generated one in the data directory.
    pub secret: Option<Secret>,
    /// A bearer token that may do everything.
    pub admin_key: Option<Secret>,
    /// Where bytes lie.
    pub store: StoreConfig,
    /// Named maxima.
    pub limits: LimitsConfig,
    /// Shape of the shipped named sets.
    pub images: ImagesConfig,
    /// How jobs are run.
    pub worker: WorkerConfig,
    /// How bytes are served.
    pub delivery: DeliveryConfig,
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
            public_url: None,
            secret: None,
            admin_key: None,
            store: StoreConfig { backend: StoreBackend::Local, root: None, second_root: None },
            limits: LimitsConfig::unset(),
            images: ImagesConfig { format: None, quality: None, optimize: true },
            worker: WorkerConfig { concurrency: None, queues: Vec::new() },
            delivery: DeliveryConfig { sendfile: Sendfile::Off, hot_cache: ByteSize(0) },
            import: ImportConfig { allow_networks: Vec::new() },
            log: LogConfig { level: String::new(), format: LogFormat::Text },
            buckets: BTreeMap::new(),
            presets: BTreeMap::new(),
            origins: BTreeMap::new(),
            notices: Vec::new(),
        };
        for setting in settings::SETTINGS {
            if let Some(default) = setting.default {
                // A test sets every default of the table.
                setting.set(&mut config, &Raw::text(default)).expect("a readable default");
            }
        }
        config
    }

    /// Reads file, environment and flags, in this order; later ones win.
    ///
    /// # Errors
    /// The first mistake, with its place and remedy.
    pub fn load(
        file: Option<&Path>,
        environment: &Environment,
        flags: &[FlagValue],
    ) -> Result<Self, ConfigError> {
        let mut config = Self::with_defaults();
        let overlay = Overlay::of(environment)?;
        if let Some((path, text)) = file::find(file)? {
            file::apply(&mut config, &path, &text)?;
        }
        overlay.apply_foreign_names(&mut config)?;
        overlay.apply_platform_names(&mut config)?;
        overlay.apply_own_names(&mut config)?;
        for flag in flags {
            let setting = Setting::at(flag.path);
            setting.set(&mut config, &flag.value).map_err(|cause| {
                ConfigError::new(format!("{}: {cause}", flag.flag), setting.expectation())
            })?;
            config.origins.insert(setting.path, Origin::Flag(flag.flag));
        }
        config.notices.extend(overlay.notices());
        config.check()?;
        Ok(config)
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
            StoreBackend::Memory => None,
        }
    }

    /// Why the store is the one it is.
    pub fn store_reason(&self) -> String {
        match self.origins.get("store.backend") {
            Some(origin) => format!("because {origin} says so"),
            None => "the default: no store is configured".to_owned(),
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
mod tests;
