//! Migrating with steps that the released program does not have.

use std::collections::BTreeMap;

use larder_core::Ambient;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::{MIGRATIONS, Migration, run, status};
use crate::{
    catalog::Catalog,
    db::{SqliteFile, Target},
    error::Error,
    tx::Class,
};

/// The step after the last released one.
const NEXT_VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version + 1;

const NEXT: Migration = Migration {
    version: NEXT_VERSION,
    name: "flavour",
    class: Class::Durable,
    sqlite: "ALTER TABLE buckets ADD COLUMN flavour TEXT",
    postgres: "ALTER TABLE buckets ADD COLUMN flavour TEXT",
};

const BROKEN: Migration = Migration {
    version: NEXT_VERSION + 1,
    name: "broken",
    class: Class::Durable,
    sqlite: "CREATE TABLE half (a INTEGER); SELECT nonsense FROM nowhere",
    postgres: "CREATE TABLE half (a BIGINT); SELECT nonsense FROM nowhere",
};

async fn sqlite(directory: &tempfile::TempDir) -> Catalog {
    let target = Target::Sqlite {
        catalog: directory.path().join("catalog.db"),
        state: directory.path().join("state.db"),
    };
    Catalog::open(&target, Ambient::system()).await.unwrap()
}

fn steps(more: &[Migration]) -> Vec<Migration> {
    MIGRATIONS.iter().chain(more).copied().collect()
}

#[test]
fn versions_rise() {
    let versions: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
}

#[tokio::test]
async fn an_existing_catalogue_is_copied_before_it_is_migrated() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = sqlite(&directory).await;
    assert_eq!(catalog.migrate().await.unwrap().snapshot, None);
    catalog
        .commit(Class::Durable, |tx| {
            Box::pin(async {
                tx.upsert_bucket(&"media".parse().unwrap(), &serde_json::json!({}), false).await
            })
        })
        .await
        .unwrap();
    let applied = run(catalog.db(), &steps(&[NEXT]), catalog.ambient()).await.unwrap();
    let copy = directory.path().join(format!("catalog-before-{NEXT_VERSION}.db"));
    assert_eq!((applied.versions, applied.snapshot), (vec![NEXT_VERSION], Some(copy.clone())));

    let mut connection = SqliteFile::new(&copy, Class::Durable).connect().await.unwrap();
    let versions: i64 = sqlx::query("SELECT max(version) AS n FROM schema_migrations")
        .fetch_one(&mut connection)
        .await
        .unwrap()
        .get("n");
    let buckets: i64 =
        sqlx::query("SELECT count(*) AS n FROM buckets").fetch_one(&mut connection).await.unwrap().get("n");
    let of_records = MIGRATIONS.iter().filter(|migration| migration.class == Class::Durable);
    let last = of_records.map(|migration| migration.version).max().unwrap();
    assert_eq!((versions, buckets), (last, 1));
    assert!(status(catalog.db(), &steps(&[NEXT])).await.unwrap().pending.is_empty());
}

async fn a_broken_step_changes_nothing(catalog: &Catalog) {
    catalog.migrate().await.unwrap();
    let error = run(catalog.db(), &steps(&[NEXT, BROKEN]), catalog.ambient()).await.unwrap_err();
    assert!(matches!(error, Error::Internal { .. }), "{error:?}");
    let pending = status(catalog.db(), &steps(&[NEXT, BROKEN])).await.unwrap().pending;
    assert_eq!(pending.iter().map(|step| step.version).collect::<Vec<_>>(), [NEXT_VERSION, NEXT_VERSION + 1]);
    let applied = run(catalog.db(), &steps(&[NEXT]), catalog.ambient()).await.unwrap();
    assert_eq!(applied.versions, [NEXT_VERSION]);
}

#[tokio::test]
async fn a_step_that_fails_changes_nothing_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    a_broken_step_changes_nothing(&sqlite(&directory).await).await;
}

#[tokio::test]
async fn a_step_that_fails_changes_nothing_on_postgresql() {
    let database = larder_testkit::postgres::database().await;
    let target = Target::from_url(&database.url).unwrap();
    a_broken_step_changes_nothing(&Catalog::open(&target, Ambient::system()).await.unwrap()).await;
}

/// Table and column to type and whether it can be NULL.
type Columns = BTreeMap<String, (String, bool)>;

#[tokio::test]
async fn both_directories_make_the_same_columns() {
    let directory = tempfile::tempdir().unwrap();
    sqlite(&directory).await.migrate().await.unwrap();
    let mut lite = Columns::new();
    for file in ["catalog.db", "state.db"] {
        let mut connection =
            SqliteFile::new(&directory.path().join(file), Class::Durable).connect().await.unwrap();
        lite.extend(sqlite_columns(&mut connection).await);
        connection.close().await.unwrap();
    }

    let database = larder_testkit::postgres::database().await;
    let target = Target::from_url(&database.url).unwrap();
    Catalog::open(&target, Ambient::system()).await.unwrap().migrate().await.unwrap();
    let printed = database.psql(
        "SELECT table_name || '.' || column_name, data_type, is_nullable FROM information_schema.columns \
         WHERE table_schema = 'larder'",
    );
    let postgres: Columns = printed
        .lines()
        .filter_map(|line| {
            let mut parts = line.split('|').map(str::trim);
            let (name, kind, nullable) = (parts.next()?, parts.next()?, parts.next()?);
            let kind = match kind {
                "bigint" => "INTEGER",
                "text" => "TEXT",
                "double precision" => "REAL",
                other => other,
            };
            Some((name.to_owned(), (kind.to_owned(), nullable == "YES")))
        })
        .collect();
    assert!(lite.len() > 100, "{}", lite.len());
    assert_eq!(lite, postgres);
}

async fn sqlite_columns(connection: &mut SqliteConnection) -> Columns {
    let rows = sqlx::query(
        "SELECT tables.name || '.' || columns.name AS name, columns.type AS kind, columns.\"notnull\" AS required \
         FROM sqlite_master AS tables JOIN pragma_table_info(tables.name) AS columns \
         WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%'",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    rows.into_iter()
        .map(|row| {
            let kind: String = row.get("kind");
            let kind = if kind == "BIGINT" { "INTEGER".to_owned() } else { kind };
            (row.get("name"), (kind, row.get::<i64, _>("required") == 0))
        })
        .collect()
}
