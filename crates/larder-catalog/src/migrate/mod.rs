//! The schema's versions.
//!
//! Two directories of SQL with the same numbering, one per engine; a test compares the columns that
//! result. Changes of a running installation expand first and contract in a later version, so that
//! processes of two versions can run side by side during an update.

pub(crate) mod postgres;
pub(crate) mod sqlite;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use larder_core::{Ambient, Timestamp};

use crate::{
    db::{Db, FromRow, Row},
    error::{Error, Result},
    tx::Class,
};

/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    /// Its number; the schema's version is the highest that ran.
    pub(crate) version: i64,
    /// What it is about, in a word or two.
    pub(crate) name: &'static str,
    /// Which SQLite file it changes; PostgreSQL has all in one schema.
    pub(crate) class: Class,
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

macro_rules! migration {
    ($version:literal, $name:literal, $class:ident, $file:literal) => {
        Migration {
            version: $version,
            name: $name,
            class: Class::$class,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $file)),
            postgres: include_str!(concat!("../../migrations/postgres/", $file)),
        }
    };
}

/// All steps in order. A step that was released is never changed.
pub(crate) const MIGRATIONS: &[Migration] = &[
    migration!(1, "records", Durable, "0001_records.sql"),
    migration!(2, "queue", Durable, "0002_queue.sql"),
    migration!(3, "state", Ephemeral, "0003_state.sql"),
    migration!(4, "sweeps", Durable, "0004_sweeps.sql"),
    migration!(5, "written", Durable, "0005_written.sql"),
    migration!(6, "meta", Durable, "0006_meta.sql"),
    migration!(7, "stores", Durable, "0007_stores.sql"),
    migration!(8, "cdn and growth", Durable, "0008_cdn_growth.sql"),
    migration!(9, "figures", Ephemeral, "0009_figures.sql"),
];

/// A migration that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// Its number.
    pub version: i64,
    /// What it was about.
    pub name: String,
    /// When it ran.
    pub applied_at: Timestamp,
}

impl FromRow for AppliedMigration {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { version: row.get("version")?, name: row.get("name")?, applied_at: row.time("applied_at")? })
    }
}

/// A migration that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its number.
    pub version: i64,
    /// What it is about.
    pub name: &'static str,
}

/// How far the schema is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Migrations that ran, in order.
    pub applied: Vec<AppliedMigration>,
    /// Migrations that [`Catalog::migrate`](crate::Catalog::migrate) would run, in order.
    pub pending: Vec<Pending>,
}

/// What [`Catalog::migrate`](crate::Catalog::migrate) did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Versions that it reached, in order; empty if there was nothing to do or another process was
    /// faster.
    pub versions: Vec<i64>,
    /// The copy of the SQLite catalogue made before.
    pub snapshot: Option<PathBuf>,
}

/// The highest version that `migrations` know.
pub(crate) fn newest(migrations: &[Migration]) -> i64 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The migrations that have not run.
pub(crate) fn pending(migrations: &[Migration], applied: &[i64]) -> Vec<Migration> {
    migrations.iter().filter(|migration| !applied.contains(&migration.version)).copied().collect()
}

/// Fails if the schema has a version that `migrations` do not know.
pub(crate) fn check_known(migrations: &[Migration], applied: &[i64]) -> Result<()> {
    match applied.iter().max() {
        Some(version) if *version > newest(migrations) => Err(Error::invalid(
            format!(
                "the catalogue's schema has version {version}, this program knows versions up to {}",
                newest(migrations)
            ),
            format!(
                "run the newer Larder that wrote it, or restore the copy that was taken before its update \
                 (catalog-before-{}.db)",
                newest(migrations) + 1
            ),
        )),
        _ => Ok(()),
    }
}

/// Runs what is pending.
pub(crate) async fn run(db: &Db, migrations: &[Migration], ambient: &Ambient) -> Result<Applied> {
    match db {
        Db::Sqlite(db) => {
            let applied = sqlite::migrate(db.sqlite_file(Class::Durable), migrations, ambient).await?;
            sqlite::migrate(db.sqlite_file(Class::Ephemeral), migrations, ambient).await?;
            Ok(applied)
        }
        Db::Postgres(db) => postgres::migrate(db.pool(), migrations, ambient).await,
    }
}

/// Compares the schema with `migrations`.
pub(crate) async fn status(db: &Db, migrations: &[Migration]) -> Result<SchemaStatus> {
    let applied = match db {
        Db::Sqlite(db) => {
            let mut applied = sqlite::applied(db.sqlite_file(Class::Durable)).await?;
            applied.extend(sqlite::applied(db.sqlite_file(Class::Ephemeral)).await?);
            applied.sort_by_key(|migration| migration.version);
            applied
        }
        Db::Postgres(db) => postgres::applied(db.pool()).await?,
    };
    let versions: Vec<i64> = applied.iter().map(|migration| migration.version).collect();
    let pending = pending(migrations, &versions)
        .into_iter()
        .map(|migration| Pending { version: migration.version, name: migration.name })
        .collect();
    Ok(SchemaStatus { applied, pending })
}
