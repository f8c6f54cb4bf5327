//! A2, and how a server starts: every mistake is named with its remedy, before anything is touched.

use std::{
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use larder_testkit::server::command;
use reqwest::Method;
use tempfile::TempDir;

use crate::client::{ask, binary, client, failure_of, json_of, larder, server, stdout_of};

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
    let (code, error) = failure_of(serve(&dir).env("MEDIA_STORAGE_BACKEND", "azure"));
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains("MEDIA_STORAGE_BACKEND: \"azure\" is no store") && error.contains("tigris"),
        "{error}"
    );
    let (_, error) = failure_of(serve(&dir).env("DATABASE_URL", "mysql://u:hunter2@h/d"));
    assert!(error.contains("DATABASE_URL") && !error.contains("hunter2"), "{error}");
    let (_, error) = failure_of(serve(&dir).env("DATABASE_URL", "postgres://u:hunter2@h/d"));
    assert!(error.contains("LARDER_SECRET") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a2_the_banner_says_what_runs_where_and_why() {
    let dir = TempDir::new().unwrap();
    let start = || server().data_dir(dir.path().join("data")).env("AWS_PROFILE", "work");
    let people = start().for_people().start();
    let banner = people.log();
    let has = |words: &[&str]| banner.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["larder", "listens on", people.address()]), "{banner}");
    assert!(has(&["catalogue", "SQLite", "data/catalog.db"]), "{banner}");
    assert!(has(&["store", "local", "data/media", "the default"]), "{banner}");
    assert!(has(&["try", "curl", "/api/v1/uploads"]), "{banner}");
    assert!(has(&["notice", "AWS_PROFILE"]), "{banner}");
    assert_eq!(banner.matches("AWS_PROFILE").count(), 1, "{banner}");
    people.stop();

    let server = start().env("LARDER_LOG__FORMAT", "json").start();
    let beside = json_of(server.cli_beside().arg("stats"));
    assert_eq!(beside["total_objects"], 0);
    assert!(dir.path().join("data/server.json").exists());
    assert!(dir.path().join("data/secret").exists() && dir.path().join("data/catalog.db").exists());
    let log = server.log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect();
    let notice = |line: &&serde_json::Value| line["message"].as_str().unwrap().contains("AWS_PROFILE");
    assert_eq!(lines.iter().find(notice).unwrap()["level"], "WARN", "{log}");
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

#[test]
fn a2_a_data_directory_that_cannot_be_written_to_is_said_at_once() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    stdout_of(larder().args(["catalog", "migrate", "--data-dir"]).arg(&data));
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o500)).unwrap();
    let mut list = larder();
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        // Root may write everywhere unless this right is taken away.
        list = command(std::path::Path::new("setpriv"));
        list.args(["--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]).arg(binary());
    }
    let start = std::time::Instant::now();
    let (code, error) = failure_of(list.args(["ls", "--data-dir"]).arg(&data));
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(code, 2, "{error}");
    assert!(error.contains(data.to_str().unwrap()) && error.contains("LARDER_DATA_DIR"), "{error}");
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "took {:?}", start.elapsed());

    std::fs::write(dir.path().join("file"), "x").unwrap();
    let (code, error) = failure_of(serve(&dir).args(["--data-dir", "file/data"]));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("a file lies where a folder belongs") && error.contains("--data-dir"), "{error}");
}

#[test]
fn a2_a_second_server_on_one_data_directory_works_beside_the_first() {
    let dir = TempDir::new().unwrap();
    let first = server().data_dir(dir.path()).start();
    let second = server().data_dir(dir.path()).start();
    for server in [&first, &second] {
        assert_eq!(json_of(server.cli().arg("stats"))["total_objects"], 0);
    }
    let mark = || std::fs::read_to_string(dir.path().join("server.json")).unwrap();
    assert!(mark().contains(first.address()), "{}", mark());
    assert_eq!(second.stop(), Some(0));
    assert!(mark().contains(first.address()), "the first keeps its mark");
    assert_eq!(first.stop(), Some(0));
}

#[test]
fn a2_one_field_of_a_shipped_bucket_by_the_environment_leaves_the_others() {
    let dir = TempDir::new().unwrap();
    let start = || server().data_dir(dir.path());
    let bucket = |server: &larder_testkit::server::Server, name: &str| {
        json_of(server.cli().args(["bucket", "show", name]))
    };
    let first = start().env("LARDER_BUCKETS__ARTWORK__VISIBILITY", "public").start();
    let artwork = bucket(&first, "artwork");
    assert_eq!(
        (&artwork["policy"]["visibility"], &artwork["managed_by_file"]),
        (&"public".into(), &true.into())
    );
    assert_eq!(artwork["policy"]["presets"], serde_json::json!(["artwork"]), "{artwork}");
    stdout_of(first.cli().args(["bucket", "set", "media", "deduplicate=true"]));
    stdout_of(first.cli().args(["bucket", "rm", "designs"]));
    first.stop();
    let second = start().env("LARDER_BUCKETS__MEDIA__VISIBILITY", "public").start();
    let media = bucket(&second, "media");
    assert_eq!(
        (&media["policy"]["deduplicate"], &media["policy"]["visibility"]),
        (&true.into(), &"public".into())
    );
    assert_eq!(bucket(&second, "artwork")["managed_by_file"], false, "detached, and as it was");
    stdout_of(second.cli().args(["bucket", "rm", "keeps"]));
    second.stop();
    let third = start().start();
    stdout_of(third.cli().args(["bucket", "rm", "media"]));
    third.stop();
    let last = start().start();
    let left = json_of(last.cli().args(["bucket", "ls"]));
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1), "what was removed stays removed: {left}");
}

#[test]
fn a2_a_queue_that_is_not_there_is_refused() {
    let dir = TempDir::new().unwrap();
    let (code, error) = failure_of(larder().current_dir(dir.path()).args(["worker", "--queues", "intke"]));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("intke") && error.contains("intake and maintenance"), "{error}");
    assert!(!dir.path().join("larder-data").exists());
}

#[test]
fn a2_the_own_name_of_the_database_wins_over_that_of_the_application() {
    let dir = TempDir::new().unwrap();
    let mut status = larder();
    status.env("DATABASE_URL", "postgres://u:p@127.0.0.1:9/x").env("LARDER_DATABASE_URL", "sqlite:");
    stdout_of(status.args(["catalog", "migrate", "--data-dir"]).arg(dir.path()));
    assert!(dir.path().join("catalog.db").exists());
}

#[test]
fn i11_the_generated_pages_say_what_the_program_says() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
    stdout_of(larder().args(["docs", "--check", "--dir", docs]));
}
