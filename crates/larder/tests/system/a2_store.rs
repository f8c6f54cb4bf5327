//! A2: which store it is, why, and that a bucket never becomes a folder unasked.

use std::process::Command;

use reqwest::Method;
use tempfile::TempDir;

use crate::client::{ask, client, failure_of, json_of, larder, server, stdout_of};

/// A bucket of a server that nobody runs: the port is that of discard (RFC 863).
const UNREACHABLE: [(&str, &str); 5] = [
    ("S3_ENDPOINT_URL", "http://127.0.0.1:9"),
    ("S3_ACCESS_KEY_ID", "minioadmin"),
    ("S3_SECRET_ACCESS_KEY", "correct-horse-battery"),
    ("S3_BUCKET_NAME", "photos"),
    ("LARDER_STORE__S3__RETRIES", "0"),
];

fn config(dir: &TempDir) -> Command {
    let mut command = larder();
    command.current_dir(dir.path()).arg("config").env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

#[test]
fn a2_one_line_says_which_store_it_is_and_why() {
    let dir = TempDir::new().unwrap();
    let text = stdout_of(&mut config(&dir));
    let last = text.lines().last().unwrap();
    assert_eq!(last, "store: local ./larder-data/media (the default: no S3 store is configured)");
    let text = stdout_of(config(&dir).envs(UNREACHABLE));
    let last = text.lines().last().unwrap();
    assert_eq!(
        last,
        "store: s3 photos at http://127.0.0.1:9, region us-east-1 (because S3_ACCESS_KEY_ID and S3_BUCKET_NAME are set)"
    );
    assert!(!text.contains("correct-horse-battery"), "{text}");
    assert!(!dir.path().join("larder-data").exists(), "looking changes nothing");
}

#[test]
fn a2_the_configuration_can_be_checked_before_a_start() {
    let dir = TempDir::new().unwrap();
    let text = stdout_of(config(&dir).arg("--check"));
    assert!(text.starts_with("the configuration is sound\nstore: local "), "{text}");
    let answer = json_of(config(&dir).arg("--check").envs(UNREACHABLE));
    assert_eq!((&answer["sound"], &answer["store"]["backend"]), (&true.into(), &"s3".into()), "{answer}");
    let keys = [("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let (code, error) = failure_of(config(&dir).arg("--check").envs(keys));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("AWS_ACCESS_KEY_ID is set, but no bucket is named"), "{error}");
    assert!(error.contains("remedy:") && error.contains("S3_BUCKET_NAME"), "{error}");
    assert!(error.contains("USE_LOCAL_STORAGE=true") && !error.contains("hunter2"), "{error}");
    let (code, error) = failure_of(config(&dir).args(["--check", "--server", "http://127.0.0.1:9"]));
    assert_eq!(code, 2, "{error}");
}

#[test]
fn a2_a_bucket_that_cannot_be_reached_never_becomes_a_folder_unasked() {
    let dir = TempDir::new().unwrap();
    let mut serve = larder();
    serve.current_dir(dir.path()).args(["serve", "--listen", "127.0.0.1:0"]).envs(UNREACHABLE);
    let (_, error) = failure_of(&mut serve);
    assert!(error.contains("photos") && error.contains("http://127.0.0.1:9"), "{error}");
    assert!(!error.contains("correct-horse-battery"), "{error}");
    assert!(!dir.path().join("larder-data/media").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_for_development_the_disk_takes_the_place_of_a_bucket_with_a_warning() {
    let dir = TempDir::new().unwrap();
    let starter = UNREACHABLE
        .iter()
        .fold(server().data_dir(dir.path()), |starter, (name, value)| starter.env(*name, *value));
    let server = starter.arg("--dev-fallback").for_people().start();
    let log = server.log();
    let store = log.lines().find(|line| line.starts_with("  store ")).unwrap();
    assert!(store.contains("local ") && store.contains("--dev-fallback"), "{log}");
    let notice = log.lines().find(|line| line.contains("notice") && line.contains("--dev-fallback")).unwrap();
    assert!(notice.contains("photos at http://127.0.0.1:9") && notice.contains("is not served"), "{log}");
    assert!(!log.contains("correct-horse-battery"), "{log}");
    let (status, buckets) = ask(&client(), Method::GET, &server.url("/api/v1/buckets"), None).await;
    assert_eq!(status, 200, "{buckets}");
    assert!(dir.path().join("media").exists());
}
