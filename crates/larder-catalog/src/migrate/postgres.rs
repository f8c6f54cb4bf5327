//! Migrating a PostgreSQL schema.
//!
//! Schema changes are transactional in PostgreSQL: the lock row is held, and the migrations run, in
//! one transaction. A crashed migration leaves neither a lock nor half a schema.

use larder_core::Ambient;
use sqlx::{PgConnection, PgPool, Row as _};

use super::{Applied, AppliedMigration, MIGRATIONS, Migration, check_known, pending};
use crate::{
    db::{FromRow, Row},
    error::Result,
};

/// Tries to make schema and lock table; `IF NOT EXISTS` can still collide with another session's.
const BOOTSTRAP_TRIES_MAX: u32 = 50;

/// Fails if the schema is of a newer program.
pub(crate) async fn refuse_newer(connection: &mut PgConnection) -> Result<()> {
    check_known(MIGRATIONS, &versions(connection).await?)
}

/// The migrations that ran.
pub(crate) async fn applied(pool: &PgPool) -> Result<Vec<AppliedMigration>> {
    let mut connection = pool.acquire().await?;
    if !has_table(&mut connection).await? {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT version, name, applied_at FROM larder.schema_migrations ORDER BY version")
        .fetch_all(&mut *connection)
        .await?;
    rows.into_iter().map(|row| AppliedMigration::from_row(&Row::Postgres(row))).collect()
}

/// Runs the pending migrations in one transaction.
pub(crate) async fn migrate(pool: &PgPool, migrations: &[Migration], ambient: &Ambient) -> Result<Applied> {
    let mut connection = pool.acquire().await?;
    let before = versions(&mut connection).await?;
    check_known(migrations, &before)?;
    if pending(migrations, &before).is_empty() {
        return Ok(Applied::default());
    }
    bootstrap(&mut connection).await?;
    let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
    // Others wait here for as long as a migration takes.
    sqlx::raw_sql("SET LOCAL lock_timeout = '120s'").execute(&mut *transaction).await?;
    sqlx::query("UPDATE larder.migration_lock SET taken_at = $1 WHERE id = 1")
        .bind(ambient.now().as_millis())
        .execute(&mut *transaction)
        .await?;
    let before = versions(&mut transaction).await?;
    check_known(migrations, &before)?;
    let mut applied = Applied::default();
    for migration in pending(migrations, &before) {
        sqlx::raw_sql(migration.postgres).execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO larder.schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)")
            .bind(migration.version)
            .bind(migration.name)
            .bind(ambient.now().as_millis())
            .execute(&mut *transaction)
            .await?;
        applied.versions.push(migration.version);
    }
    transaction.commit().await?;
    Ok(applied)
}

/// Makes the schema and the lock row, while others may be doing the same.
async fn bootstrap(connection: &mut PgConnection) -> Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        let made = sqlx::raw_sql(
            "CREATE SCHEMA IF NOT EXISTS larder;
             CREATE TABLE IF NOT EXISTS larder.schema_migrations (
                 version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL);
             CREATE TABLE IF NOT EXISTS larder.migration_lock (
                 id BIGINT NOT NULL PRIMARY KEY, taken_at BIGINT NOT NULL);
             INSERT INTO larder.migration_lock (id, taken_at) VALUES (1, 0) ON CONFLICT (id) DO NOTHING",
        )
        .execute(&mut *connection)
        .await;
        match made {
            Ok(_) => return Ok(()),
            Err(error) if tries < BOOTSTRAP_TRIES_MAX && is_collision(&error) => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Two sessions that make the same schema or table at once: `unique_violation` in the system tables,
/// `duplicate_schema`, `duplicate_table`, `deadlock_detected`.
fn is_collision(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|database| database.code().map(|code| code.into_owned()));
    matches!(code.as_deref(), Some("23505" | "42P06" | "42P07" | "40P01" | "XX000"))
}

async fn has_table(connection: &mut PgConnection) -> Result<bool> {
    let row = sqlx::query("SELECT to_regclass('larder.schema_migrations') IS NOT NULL AS there")
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("there")?)
}

async fn versions(connection: &mut PgConnection) -> Result<Vec<i64>> {
    if !has_table(connection).await? {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT version FROM larder.schema_migrations").fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get("version")?)).collect()
}
