//! The two engines behind one face.

mod connection;
mod group;
mod many;
mod operation;
mod postgres;
mod sqlite;
mod statement;

use std::path::PathBuf;

use larder_core::Ambient;

pub(crate) use connection::Connection;
pub(crate) use many::Columns;
pub(crate) use operation::{Operation, Work};
pub(crate) use postgres::PostgresDb;
pub(crate) use sqlite::{SqliteDb, SqliteFile};
pub(crate) use statement::{FromRow, Param, Row, Statement, json, opt_json, prefix_end};

use crate::{
    catalog::Shared,
    error::{Error, Result},
    tx::Class,
};

/// Where the catalogue lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Two SQLite files, made when they are absent; their directory has to exist.
    Sqlite {
        /// Records and jobs: the file to back up.
        catalog: PathBuf,
        /// Heartbeats, progress, last uses: may be lost.
        state: PathBuf,
    },
    /// A PostgreSQL database; everything lies in its schema `larder`.
    Postgres {
        /// `postgres://user:password@host:port/database`.
        url: String,
    },
}

impl Target {
    /// Reads the address of a database server.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a scheme other than `postgres` and `postgresql`.
    pub fn from_url(url: &str) -> Result<Self> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Ok(Self::Postgres { url: url.to_owned() }),
            scheme => Err(Error::invalid(
                format!(
                    "the catalogue can't lie at a database of the scheme \"{}\"",
                    scheme.unwrap_or_default()
                ),
                "set LARDER_DATABASE_URL to postgres://user:password@host:port/database, or leave it out to keep the \
                 catalogue in SQLite files of the data directory",
            )),
        }
    }
}

/// An open database.
pub(crate) enum Db {
    Sqlite(SqliteDb),
    Postgres(PostgresDb),
}

impl Db {
    pub(crate) async fn open(
        target: &Target,
        ambient: &Ambient,
        shared: &std::sync::Arc<Shared>,
    ) -> Result<Self> {
        Ok(match target {
            Target::Sqlite { catalog, state } => {
                Self::Sqlite(SqliteDb::open(catalog, state, ambient, shared).await?)
            }
            Target::Postgres { url } => Self::Postgres(PostgresDb::open(url, ambient, shared).await?),
        })
    }

    /// Reads outside a transaction.
    pub(crate) async fn fetch(&self, class: Class, statement: Statement) -> Result<Vec<Row>> {
        match self {
            Self::Sqlite(db) => db.fetch(class, statement).await,
            Self::Postgres(db) => db.fetch(statement).await,
        }
    }

    /// Hands an operation to the writer of its class; the operation's own channel gets the answer.
    pub(crate) async fn submit(&self, class: Class, operation: Box<dyn Operation>) {
        match self {
            Self::Sqlite(db) => db.submit(class, operation).await,
            Self::Postgres(db) => db.run(class, operation).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_postgresql_has_an_address() {
        assert!(Target::from_url("postgresql://larder@db/larder").is_ok());
        for url in ["mysql://x", "sqlite://x", "catalog.db", ""] {
            assert!(matches!(Target::from_url(url), Err(Error::Invalid { .. })), "{url}");
        }
    }
}
