//! One connection of either engine.

use futures::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Executor, Postgres, Sqlite, SqliteConnection, pool::PoolConnection, postgres::PgArguments,
    query::Query, sqlite::SqliteArguments,
};

use super::{Param, Row, Statement};
use crate::error::Result;

/// A connection that a transaction owns.
pub(crate) enum Connection {
    Sqlite(Box<SqliteConnection>),
    Postgres(PoolConnection<Postgres>),
}

impl Connection {
    /// Runs a statement; answers how many rows it changed.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64> {
        Ok(match self {
            Self::Sqlite(connection) => {
                sqlite_query(statement).execute(&mut **connection).await?.rows_affected()
            }
            Self::Postgres(connection) => {
                postgres_query(statement).execute(&mut **connection).await?.rows_affected()
            }
        })
    }

    /// Runs a statement and collects its rows.
    pub(crate) async fn fetch(&mut self, statement: Statement) -> Result<Vec<Row>> {
        match self {
            Self::Sqlite(connection) => fetch_sqlite(&mut **connection, statement).await,
            Self::Postgres(connection) => fetch_postgres(&mut **connection, statement).await,
        }
    }

    /// Runs constant SQL without parameters, several statements if need be.
    pub(crate) async fn control(&mut self, text: &'static str) -> Result<()> {
        match self {
            Self::Sqlite(connection) => connection.execute(sqlx::raw_sql(text)).await.map(drop)?,
            Self::Postgres(connection) => connection.execute(sqlx::raw_sql(text)).await.map(drop)?,
        }
        Ok(())
    }
}

/// Collects the rows of a statement on SQLite.
pub(crate) async fn fetch_sqlite<'c, E>(executor: E, statement: Statement) -> Result<Vec<Row>>
where
    E: Executor<'c, Database = Sqlite>,
{
    Ok(sqlite_query(statement).fetch(executor).map_ok(Row::Sqlite).try_collect().await?)
}

/// Collects the rows of a statement on PostgreSQL.
pub(crate) async fn fetch_postgres<'c, E>(executor: E, statement: Statement) -> Result<Vec<Row>>
where
    E: Executor<'c, Database = Postgres>,
{
    Ok(postgres_query(statement).fetch(executor).map_ok(Row::Postgres).try_collect().await?)
}

// The text of a statement is made of this crate's constants; every value is a parameter.

fn sqlite_query(statement: Statement) -> Query<'static, Sqlite, SqliteArguments> {
    let query = sqlx::query(AssertSqlSafe(statement.text));
    statement.params.into_iter().fold(query, |query, param| match param {
        Param::Text(value) => query.bind(value),
        Param::Int(value) => query.bind(value),
        Param::Real(value) => query.bind(value),
    })
}

fn postgres_query(statement: Statement) -> Query<'static, Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(statement.text));
    statement.params.into_iter().fold(query, |query, param| match param {
        Param::Text(value) => query.bind(value),
        Param::Int(value) => query.bind(value),
        Param::Real(value) => query.bind(value),
    })
}
