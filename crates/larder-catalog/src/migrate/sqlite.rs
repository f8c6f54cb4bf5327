//! Migrating a SQLite file.
//!
//! The lock is the file's write lock, taken by writing the lock row in `BEGIN IMMEDIATE`: it ends
//! with its process, so a crashed migration leaves nothing to clean up. While it is held, a second
//! connection copies the file, and nobody can write in between.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use larder_core::Ambient;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::{Applied, AppliedMigration, MIGRATIONS, Migration, check_known, pending};
use crate::{
    db::{FromRow, Row, SqliteFile},
    error::{Error, Result},
    tx::Class,
};

/// How long to wait for another process that migrates.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(120);

/// Fails if the file is of a newer program.
pub(crate) async fn refuse_newer(connection: &mut SqliteConnection) -> Result<()> {
    check_known(MIGRATIONS, &versions(connection).await?)
}

/// The migrations that ran on a file.
pub(crate) async fn applied(file: &SqliteFile) -> Result<Vec<AppliedMigration>> {
    let mut connection = file.connect().await?;
    if !has_table(&mut connection).await? {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT version, name, applied_at FROM schema_migrations ORDER BY version")
        .fetch_all(&mut connection)
        .await?;
    rows.into_iter().map(|row| AppliedMigration::from_row(&Row::Sqlite(row))).collect()
}

/// Runs the file's pending migrations in one transaction.
pub(crate) async fn migrate(
    file: &SqliteFile,
    migrations: &[Migration],
    ambient: &Ambient,
) -> Result<Applied> {
    let ours: Vec<Migration> =
        migrations.iter().filter(|migration| migration.class == file.class()).copied().collect();
    let mut connection = file.connect().await?;
    let before = versions(&mut connection).await?;
    check_known(migrations, &before)?;
    if pending(&ours, &before).is_empty() {
        return Ok(Applied::default());
    }
    lock(&mut connection, ambient).await?;
    let result = migrate_locked(file, &mut connection, migrations, &ours, ambient).await;
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = sqlx::raw_sql(end).execute(&mut connection).await;
    let applied = result?;
    ended?;
    connection.close().await?;
    Ok(applied)
}

async fn migrate_locked(
    file: &SqliteFile,
    connection: &mut SqliteConnection,
    migrations: &[Migration],
    ours: &[Migration],
    ambient: &Ambient,
) -> Result<Applied> {
    // Another process may have migrated while we waited for the lock.
    let before = versions(connection).await?;
    check_known(migrations, &before)?;
    let pending = pending(ours, &before);
    let snapshot = match pending.first() {
        Some(first) if file.class() == Class::Durable && !before.is_empty() => {
            Some(snapshot(file, first.version).await?)
        }
        _ => None,
    };
    let mut applied = Applied { versions: Vec::new(), snapshot };
    for migration in pending {
        sqlx::raw_sql(migration.sqlite).execute(&mut *connection).await?;
        sqlx::query("INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)")
            .bind(migration.version)
            .bind(migration.name)
            .bind(ambient.now().as_millis())
            .execute(&mut *connection)
            .await?;
        applied.versions.push(migration.version);
    }
    Ok(applied)
}

/// Begins the migration's transaction and takes the lock row.
async fn lock(connection: &mut SqliteConnection, ambient: &Ambient) -> Result<()> {
    let start = Instant::now();
    loop {
        match sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(Error::from) {
            Ok(_) => break,
            Err(Error::Unavailable { .. }) if start.elapsed() < LOCK_WAIT_MAX => {}
            Err(error) => return Err(error),
        }
    }
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL);
         CREATE TABLE IF NOT EXISTS migration_lock (
             id BIGINT NOT NULL PRIMARY KEY, taken_at BIGINT NOT NULL)",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO migration_lock (id, taken_at) VALUES (1, $1)
         ON CONFLICT (id) DO UPDATE SET taken_at = excluded.taken_at",
    )
    .bind(ambient.now().as_millis())
    .execute(connection)
    .await?;
    Ok(())
}

async fn has_table(connection: &mut SqliteConnection) -> Result<bool> {
    let row = sqlx::query("SELECT count(*) AS n FROM sqlite_master WHERE name = 'schema_migrations'")
        .fetch_one(connection)
        .await?;
    Ok(row.try_get::<i64, _>("n")? > 0)
}

async fn versions(connection: &mut SqliteConnection) -> Result<Vec<i64>> {
    if !has_table(connection).await? {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT version FROM schema_migrations").fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get("version")?)).collect()
}

/// Copies the file with a connection of its own, which sees what was committed before the lock was
/// taken. The name appears only once the copy is complete and synced.
async fn snapshot(file: &SqliteFile, version: i64) -> Result<PathBuf> {
    let target = file.snapshot_path(version);
    let draft = target.with_extension("draft");
    remove_if_there(&draft)?;
    let mut reader = file.connect().await?;
    let quoted = draft.to_string_lossy().replace('\'', "''");
    sqlx::raw_sql(AssertSqlSafe(format!("VACUUM INTO '{quoted}'"))).execute(&mut reader).await?;
    reader.close().await?;
    let durable = || -> std::io::Result<()> {
        std::fs::File::open(&draft)?.sync_all()?;
        std::fs::rename(&draft, &target)?;
        std::fs::File::open(target.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    durable().map_err(sqlx::Error::Io)?;
    Ok(target)
}

fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(sqlx::Error::Io(error).into()),
        _ => Ok(()),
    }
}
