//! Whether the catalogue is replicated to the store.

use larder_core::text::Span;

use super::{
    Config, ConfigError, StoreBackend,
    raw::{FromRaw, Raw},
};

/// Whether the SQLite catalogue is replicated to the store.
#[derive(Debug, Clone)]
pub struct CatalogConfig {
    /// Whether, and what is acknowledged when.
    pub replicate: Replicate,
    /// Time between two looks where commits don't wait.
    pub interval: Span,
    /// Time of silence after which another server takes over.
    pub lease: Span,
}

/// Whether a catalogue is replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicate {
    /// As [`Self::Commit`] where a bucket keeps the bytes and can tell two writers apart, else as [`Self::Off`].
    Auto,
    /// It lies in the data directory alone.
    Off,
    /// Each interval; what was acknowledged since the last one is lost with the disk.
    Interval,
    /// Nothing is acknowledged that is not in the store.
    Commit,
}

impl FromRaw for Replicate {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        match String::from_raw(raw)?.as_str() {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            "interval" => Ok(Self::Interval),
            "commit" => Ok(Self::Commit),
            other => Err(format!("\"{other}\" is none of auto, off, interval and commit")),
        }
    }
}

/// How a catalogue is to be replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replication {
    /// Whether nothing is acknowledged that is not in the store.
    pub waits: bool,
    /// Whether somebody asked for it: then a store that can't is an error.
    pub is_asked_for: bool,
}

impl Config {
    /// How the catalogue is to be replicated, if it is.
    ///
    /// # Errors
    /// It was asked for, and the other settings don't allow it.
    pub fn replication(&self) -> Result<Option<Replication>, ConfigError> {
        let is_possible = self.store.backend == StoreBackend::S3 && self.database_url.is_none();
        let replication = |waits, is_asked_for| Ok(Some(Replication { waits, is_asked_for }));
        match self.catalog.replicate {
            Replicate::Off => Ok(None),
            Replicate::Auto if !is_possible => Ok(None),
            Replicate::Auto => replication(true, false),
            Replicate::Interval | Replicate::Commit if !is_possible => Err(ConfigError::new(
                "catalog.replicate is set, and the store is no bucket or the catalogue lies in PostgreSQL",
                "set it to \"off\", or keep bytes in an S3 bucket and the catalogue in SQLite",
            )),
            Replicate::Interval => replication(false, true),
            Replicate::Commit => replication(true, true),
        }
    }
}
