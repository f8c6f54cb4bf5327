//! A2, and how a server starts: every mistake is named with its remedy, before anything is touched.

use std::net::TcpListener;

use reqwest::Method;
use tempfile::TempDir;

use crate::client::{ask, client, failure_of, json_of, larder, server, stdout_of};

fn serve(dir: &TempDir) -> std::process::Command {
    let mut command = larder();
    command.current_dir(dir.path()).args(["serve", "--listen", "127.0.0.1:0"]);
    command
}

#[test]
fn a2_a_busy_port_is_an_error_that_names_another() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = TempDir::new().unwrap();
    let (code, error) = failure_of(larder().current_dir(dir.path()).args(["serve", "--listen", &address]));
    assert_eq!(code, 2, "{error}");
    assert!(error.starts_with(&format!("larder: {address} is in use")), "{error}");
    assert!(error.contains("remedy:") && error.contains("--listen"), "{error}");
    assert!(!dir.path().join("larder-data").exists(), "nothing was touched");
}

#[test]
fn a2_a_mistake_in_the_file_has_a_caret() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("larder.toml"), "[log]\nlevle = \"debug\"\n").unwrap();
    let (code, error) = failure_of(&mut serve(&dir));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("larder.toml:2:1"), "{error}");
    assert!(error.contains("2 | levle = \"debug\"\n  | ^^^^^"), "{error}");
    assert!(error.contains("did you mean log.level?"), "{error}");
}

#[test]
fn a2_an_unknown_variable_is_named() {
    let dir = TempDir::new().unwrap();
    let (code, error) = failure_of(serve(&dir).env("LARDER_LIMITS__UPLOAD_BITES", "5"));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("LARDER_LIMITS__UPLOAD_BITES is no setting"), "{error}");
    assert!(error.contains("LARDER_LIMITS__UPLOAD_BYTES"), "{error}");
}

#[test]
fn a2_an_error_is_a_problem_object_with_json() {
    let dir = TempDir::new().unwrap();
    let (code, error) = failure_of(serve(&dir).arg("--json").env("LARDER_LISTEM", "x"));
    assert_eq!(code, 2, "{error}");
    let problem: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!(problem["code"], "configuration");
    assert!(problem["remedy"].as_str().unwrap().contains("LARDER_LISTEN"));
    let (code, error) = failure_of(larder().args(["sevre", "--json"]));
    assert_eq!(code, 2);
    let problem: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!(problem["code"], "usage");
}

#[test]
fn a2_beyond_loopback_nothing_starts_without_a_key() {
    let dir = TempDir::new().unwrap();
    let open = || {
        let mut command = larder();
        command.current_dir(dir.path()).args(["serve", "--listen", "0.0.0.0:0"]);
        command
    };
    let (code, error) = failure_of(&mut open());
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("larder key create") && error.contains("LARDER_ADMIN_KEY"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_with_the_admin_key_of_the_environment_it_starts_and_asks_for_it() {
    let key = "correct-horse-battery-staple";
    let server = server().env("LARDER_ADMIN_KEY", key).start();
    let client = client();
    let url = server.url("/api/v1/buckets");
    assert_eq!(ask(&client, Method::GET, &url, None).await.0, 401);
    let (status, buckets) = ask(&client, Method::GET, &url, Some(key)).await;
    assert_eq!(status, 200);
    assert_eq!(buckets["items"].as_array().unwrap().len(), 4, "{buckets}");
    assert!(!server.log().contains(key), "{}", server.log());
}

#[test]
fn a2_another_store_or_database_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let (_, error) = failure_of(serve(&dir).env("MEDIA_STORAGE_BACKEND", "minio"));
    assert!(error.contains("MEDIA_STORAGE_BACKEND") && error.contains("not in this version"), "{error}");
    let (_, error) = failure_of(serve(&dir).env("DATABASE_URL", "mysql://u:hunter2@h/d"));
    assert!(error.contains("DATABASE_URL") && !error.contains("hunter2"), "{error}");
    let (_, error) = failure_of(serve(&dir).env("DATABASE_URL", "postgres://u:hunter2@h/d"));
    assert!(error.contains("LARDER_SECRET") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a2_the_banner_says_what_runs_where_and_why() {
    let dir = TempDir::new().unwrap();
    let server = server().data_dir(dir.path().join("data")).env("AWS_ACCESS_KEY_ID", "AKIA").start();
    let beside = json_of(server.cli_beside().arg("stats"));
    assert_eq!(beside["total_objects"], 0);
    assert!(dir.path().join("data/server.json").exists());
    assert!(dir.path().join("data/secret").exists() && dir.path().join("data/catalog.db").exists());
    assert_eq!(server.stop(), Some(0));
    assert!(!dir.path().join("data/server.json").exists(), "the mark goes with the server");
}

#[test]
fn a2_reading_where_nothing_is_does_not_begin_a_larder() {
    let dir = TempDir::new().unwrap();
    let (code, error) = failure_of(larder().current_dir(dir.path()).arg("ls"));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("there is no Larder in") && error.contains("--data-dir"), "{error}");
    assert!(!dir.path().join("larder-data").exists());
}

#[test]
fn i15_the_catalogue_tells_its_schema_and_migrates_once() {
    let dir = TempDir::new().unwrap();
    let catalog = |verb: &str| {
        let mut command = larder();
        command.current_dir(dir.path()).args(["catalog", verb]);
        command
    };
    assert!(!json_of(&mut catalog("migrate"))["versions"].as_array().unwrap().is_empty());
    assert!(json_of(&mut catalog("migrate"))["versions"].as_array().unwrap().is_empty());
    let status = json_of(&mut catalog("status"));
    assert!(
        status["pending"].as_array().unwrap().is_empty() && !status["applied"].as_array().unwrap().is_empty()
    );
    assert!(stdout_of(&mut catalog("status")).contains("SQLite"));
}
