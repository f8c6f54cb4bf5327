//! Opening and migrating: many processes at once, and files that are not ours.

use larder_catalog::{Catalog, Error, Target};
use larder_core::{Ambient, Fault};
use larder_testkit::postgres::TestDatabase;

use crate::child;

fn six_processes_migrate_once(target: &str) {
    let children: Vec<_> = (0..6).map(|_| child::start("migrate", target)).collect();
    let mut applied: Vec<usize> = Vec::new();
    for mut child in children {
        applied.extend(child::lines(&mut child, "migrated ").map(|count| count.parse::<usize>().unwrap()));
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(applied.len(), 6);
    assert_eq!(applied.iter().filter(|count| **count > 0).count(), 1, "{applied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_migrate_once_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().to_str().unwrap();
    six_processes_migrate_once(target);
    let catalog = Catalog::open(&child::target(target), Ambient::system()).await.unwrap();
    assert!(catalog.status().await.unwrap().pending.is_empty());
    assert!(!directory.path().join("catalog-before-1.db").exists(), "there was nothing to keep");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_migrate_once_on_postgresql() {
    let database = larder_testkit::postgres::database().await;
    six_processes_migrate_once(&database.url);
    let catalog = Catalog::open(&child::target(&database.url), Ambient::system()).await.unwrap();
    assert!(catalog.status().await.unwrap().pending.is_empty());
}

const NEWER: &str = "INSERT INTO schema_migrations (version, name, applied_at) VALUES (9999, 'future', 1)";

async fn refused(target: &Target) {
    let error = Catalog::open(target, Ambient::system()).await.expect_err("a newer schema");
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    let fault = Fault::from(error);
    assert!(fault.detail.contains("9999"), "{}", fault.detail);
    assert!(fault.remedy.contains("newer Larder"), "{}", fault.remedy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let target = child::target(directory.path().to_str().unwrap());
    let catalog = Catalog::open(&target, Ambient::system()).await.unwrap();
    assert_eq!(catalog.status().await.unwrap().applied.len(), 2, "the state is made at once");
    catalog.migrate().await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.path().join("catalog.db"));
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    sqlx::raw_sql(NEWER).execute(&mut connection).await.unwrap();
    refused(&target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_on_postgresql() {
    let database = larder_testkit::postgres::database().await;
    let target = child::target(&database.url);
    Catalog::open(&target, Ambient::system()).await.unwrap().migrate().await.unwrap();
    database.psql(&format!("SET search_path TO larder; {NEWER}"));
    refused(&target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_on_postgresql_lies_in_one_schema() {
    let database: TestDatabase = larder_testkit::postgres::database().await;
    let target = child::target(&database.url);
    Catalog::open(&target, Ambient::system()).await.unwrap().migrate().await.unwrap();
    let elsewhere = database.psql(
        "SELECT count(*) FROM information_schema.tables \
         WHERE table_schema NOT IN ('larder', 'pg_catalog', 'information_schema')",
    );
    assert_eq!(elsewhere.trim(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_would_lose_commits_is_refused() {
    let database = larder_testkit::postgres::database().await;
    let name = database.psql("SELECT current_database()");
    database.psql(&format!("ALTER DATABASE {} SET synchronous_commit = off", name.trim()));
    let error = Catalog::open(&child::target(&database.url), Ambient::system()).await.expect_err("a refusal");
    assert!(Fault::from(error).remedy.contains("synchronous_commit = on"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_database_is_corrupt_and_a_missing_directory_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let target = child::target(directory.path().to_str().unwrap());
    std::fs::write(
        directory.path().join("catalog.db"),
        "something else entirely, and long enough".repeat(100),
    )
    .unwrap();
    let error = Catalog::open(&target, Ambient::system()).await.expect_err("no database");
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");

    let absent = child::target(directory.path().join("absent").to_str().unwrap());
    let error = Catalog::open(&absent, Ambient::system()).await.expect_err("no directory");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("absent"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_of_another_process_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let target = child::target(directory.path().to_str().unwrap());
    let ambient = Ambient::system();
    let catalog = Catalog::open(&target, ambient.clone()).await.unwrap();
    catalog.migrate().await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.path().join("catalog.db"));
    let mut other = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let upload = child::upload(&ambient);
    let id = upload.id;
    let writing = tokio::spawn({
        let catalog = catalog.clone();
        async move { child::store(&catalog, upload).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert!(!writing.is_finished());
    assert_eq!(catalog.upload(id).await.unwrap(), None, "reading goes on meanwhile");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    writing.await.unwrap().unwrap();
    assert!(catalog.upload(id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_unavailable() {
    // A port that was free a moment ago, and on which nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = Target::from_url(&format!("postgres://larder@127.0.0.1:{port}/larder")).unwrap();
    let error = Catalog::open(&target, Ambient::system()).await.expect_err("nobody there");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_state_file_is_set_aside_and_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let target = child::target(directory.path().to_str().unwrap());
    let state = directory.path().join("state.db");
    let damage = "something else entirely, and long enough".repeat(100);
    for _ in 0..2 {
        std::fs::write(&state, &damage).unwrap();
        let catalog = Catalog::open(&target, Ambient::system()).await.unwrap();
        catalog.migrate().await.unwrap();
        catalog.forget_state_before(Ambient::system().now()).await.unwrap();
        catalog.close().await;
        drop(catalog);
        assert_eq!(std::fs::read_to_string(directory.path().join("state.db.damaged")).unwrap(), damage);
        let _ = std::fs::remove_file(directory.path().join("state.db-wal"));
        let _ = std::fs::remove_file(directory.path().join("state.db-shm"));
    }
}

/// As a command beside a server under load: SQLite's own waiting let it wait for seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_beside_a_busy_one_gets_its_turn_soon() {
    use std::time::{Duration, Instant};
    let directory = tempfile::tempdir().unwrap();
    let target = child::target(directory.path().to_str().unwrap());
    let ambient = Ambient::system();
    let busy = Catalog::open(&target, ambient.clone()).await.unwrap();
    busy.migrate().await.unwrap();
    let beside = Catalog::open(&target, ambient.clone()).await.unwrap();
    let until = Instant::now() + Duration::from_secs(6);
    let load: Vec<_> = (0..16)
        .map(|_| {
            let (busy, ambient) = (busy.clone(), ambient.clone());
            tokio::spawn(async move {
                while Instant::now() < until {
                    child::store(&busy, child::upload(&ambient)).await.unwrap();
                }
            })
        })
        .collect();
    let mut waits = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        child::store(&beside, child::upload(&ambient)).await.unwrap();
        waits.push(asked.elapsed());
    }
    for task in load {
        task.await.unwrap();
    }
    waits.sort_unstable();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    assert!(longest < Duration::from_millis(1_500), "median {median:?}, longest {longest:?}");
}
