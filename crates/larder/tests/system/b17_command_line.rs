//! B17: the command line does the same on local data and against a server.

use std::{
    io::{Seek, SeekFrom, Write},
    path::Path,
    process::Command,
};

use larder_testkit::{
    fixtures,
    server::{Server, printed},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{failure_of, json_of, larder, lines_of, server, stdout_of},
    store::folder,
};

/// Where the commands of a test go.
enum Way {
    Embedded(TempDir),
    Remote(Box<Server>),
}

impl Way {
    fn embedded() -> Self {
        Self::Embedded(TempDir::new().unwrap())
    }

    fn remote() -> Self {
        Self::Remote(Box::new(server().start()))
    }

    fn larder(&self, arguments: &[&str]) -> Command {
        let mut command = match self {
            Self::Embedded(dir) => {
                let mut command = larder();
                command.env("LARDER_DATA_DIR", dir.path());
                command
            }
            Self::Remote(server) => server.cli(),
        };
        command.args(arguments);
        command
    }
}

fn photos() -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir_all(dir.path().join("trip")).unwrap();
    std::fs::write(dir.path().join("a.jpg"), fixtures::unlike(1, 640, 480)).unwrap();
    std::fs::write(dir.path().join("trip/b ü.jpg"), fixtures::unlike(2, 300, 400)).unwrap();
    dir
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn keys(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|asset| asset["key"].as_str().unwrap()).collect()
}

fn put_get_ls_rm(way: &Way) {
    let dir = photos();
    let folder = text(dir.path());
    let put = || {
        way.larder(&["put", folder, "--bucket", "keeps", "--prefix", "x/", "--owner", "ann", "--tag", "trip"])
    };

    let reports = lines_of(&mut put());
    assert_eq!(reports.len(), 2, "{reports:?}");
    for report in &reports {
        assert_eq!(report["outcome"], "stored", "{report}");
        let variants = report["variants"].as_array().unwrap();
        assert_eq!(variants.len(), 3, "{report}");
        assert!(variants.iter().all(|variant| variant["status"] == "ready"), "{report}");
    }
    assert!(
        lines_of(&mut put()).iter().all(|report| report["outcome"] == "skipped"),
        "the same again is skipped"
    );

    let page = json_of(&mut way.larder(&["ls", "keeps/x/", "--owner", "ann", "--tag", "trip"]));
    assert_eq!(keys(&page), ["x/a.jpg", "x/trip/b ü.jpg"]);
    assert_eq!(keys(&json_of(&mut way.larder(&["ls", "keeps", "--owner", "bob"]))), [""; 0]);
    let all = lines_of(&mut way.larder(&["ls", "keeps", "--all"]));
    assert_eq!(all.len(), 2);
    let level = json_of(&mut way.larder(&["ls", "keeps/x/", "--delimiter", "/"]));
    assert_eq!((keys(&level), &level["prefixes"]), (vec!["x/a.jpg"], &json!(["x/trip/"])));
    let lines = lines_of(&mut way.larder(&["ls", "keeps", "--delimiter", "/", "--all"]));
    assert_eq!(lines, [json!({ "prefix": "x/" })]);
    let table = stdout_of(&mut way.larder(&["ls", "keeps/x/", "-d", "/"]));
    assert!(table.find("x/a.jpg") < table.find("x/trip/") && !table.contains("ü"), "{table}");
    let (code, error) = failure_of(&mut way.larder(&["ls", "keeps", "--delimiter", "-"]));
    assert!(code != 0 && error.contains("\"-\" is no delimiter"), "{error}");
    let table = stdout_of(&mut way.larder(&["ls", "keeps", "--long"]));
    assert!(table.contains("x/a.jpg") && table.contains("640x480") && table.contains("ann"), "{table}");
    assert!(stdout_of(&mut way.larder(&["ls"])).contains("keeps"));

    let out = dir.path().join("back.jpg");
    stdout_of(&mut way.larder(&["get", "keeps/x/trip/b ü.jpg", "--output", text(&out)]));
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(dir.path().join("trip/b ü.jpg")).unwrap());
    let piped = way.larder(&["get", "keeps/x/a.jpg", "-o", "-"]).output().unwrap();
    assert_eq!(piped.stdout, std::fs::read(dir.path().join("a.jpg")).unwrap());
    assert!(piped.stderr.is_empty(), "nothing is said of a copy: {}", printed(&piped));
    let (code, error) = failure_of(&mut way.larder(&["get", "keeps/x/a.jpg", "--output", text(&out)]));
    assert_eq!(code, 2, "{error}");
    let (code, error) = failure_of(&mut way.larder(&["get", "keeps/nothing.jpg", "-o", "-"]));
    assert_eq!(code, 1, "{error}");

    std::fs::write(dir.path().join("a.jpg"), fixtures::unlike(3, 200, 100)).unwrap();
    let changed = text(&dir.path().join("a.jpg")).to_owned();
    let (code, error) =
        failure_of(&mut way.larder(&["put", &changed, "--bucket", "keeps", "--key", "x/a.jpg"]));
    assert_eq!(code, 1);
    assert!(error.contains("holds other bytes") && error.contains("--replace"), "{error}");
    let replaced =
        lines_of(&mut way.larder(&["put", &changed, "--bucket", "keeps", "--key", "x/a.jpg", "--replace"]));
    assert_eq!(replaced[0]["outcome"], "replaced");
    assert_eq!(replaced[0]["asset"]["width"], 200, "{replaced:?}");

    let url =
        stdout_of(&mut way.larder(&["url", "keeps/x/a.jpg", "--preset", "keep-small", "--expires", "2h"]));
    assert!(url.contains("/i/") && url.contains("exp="), "{url}");
    let statistics = json_of(&mut way.larder(&["stats", "keeps"]));
    assert_eq!(statistics["total_objects"], 2, "{statistics}");

    let (code, error) = failure_of(&mut way.larder(&["rm", "keeps/nothing.jpg"]));
    assert_eq!(code, 1);
    assert!(error.contains("nothing to delete"), "{error}");
    let (code, error) = failure_of(&mut way.larder(&["rm", "--prefix", "keeps/x/"]));
    assert_eq!(code, 2, "not confirmed: {error}");
    assert_eq!(lines_of(&mut way.larder(&["rm", "--prefix", "keeps/x/", "--dry-run"])).len(), 2);
    let output = way.larder(&["rm", "keeps/x/a.jpg", "keeps/nothing.jpg"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", printed(&output));
    assert_eq!(lines_of(&mut way.larder(&["rm", "--prefix", "keeps/x/", "--yes", "--purge"])).len(), 1);
    assert_eq!(keys(&json_of(&mut way.larder(&["ls", "keeps"]))), [""; 0]);
    assert_eq!(keys(&json_of(&mut way.larder(&["ls", "keeps", "--status", "deleted"]))), ["x/a.jpg"]);
}

#[test]
fn b17_put_get_ls_rm_on_local_data() {
    put_get_ls_rm(&Way::embedded());
}

#[test]
fn b17_put_get_ls_rm_against_a_server() {
    put_get_ls_rm(&Way::remote());
}

/// A disk that gives other bytes than were written changes neither size nor time.
#[test]
fn b17_get_notices_bytes_that_rotted_and_writes_no_file() {
    let (dir, data) = (photos(), TempDir::new().unwrap());
    let larder = |arguments: &[&str]| {
        let mut command = larder();
        command.env("LARDER_DATA_DIR", data.path()).args(arguments);
        command
    };
    stdout_of(&mut larder(&["put", text(&dir.path().join("a.jpg")), "--bucket", "keeps"]));
    let stored = folder(data.path()).join("keeps/a.jpg");
    let written = stored.metadata().unwrap().modified().unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&stored).unwrap();
    file.seek(SeekFrom::Start(200)).unwrap();
    file.write_all(b"rot").unwrap();
    file.set_modified(written).unwrap();
    let out = dir.path().join("back.jpg");
    let (code, error) = failure_of(&mut larder(&["get", "keeps/a.jpg", "--output", text(&out)]));
    assert!(code != 0 && error.contains("digest"), "{error}");
    assert!(!out.exists());
}

fn operate(way: &Way) {
    let dir = photos();
    let photo = text(&dir.path().join("a.jpg")).to_owned();
    stdout_of(&mut way.larder(&["put", &photo, "--bucket", "keeps"]));

    let bucket = json_of(&mut way.larder(&["bucket", "set", "avatars", "visibility=public", "presets=keep"]));
    assert_eq!(bucket["policy"]["visibility"], "public");
    let reports = lines_of(&mut way.larder(&["put", &photo, "--bucket", "avatars"]));
    let url = stdout_of(&mut way.larder(&["url", "avatars/a.jpg"]));
    assert!(url.contains("/m/avatars/a.jpg?v="), "a public asset has a plain link: {url}");
    let backfill = json_of(&mut way.larder(&["bucket", "backfill", "avatars", "--preset", "keep-small"]));
    assert!(backfill["job_id"].is_string(), "{backfill}");
    let (_, error) = failure_of(&mut way.larder(&["bucket", "backfill", "avatars", "--preset", "hero"]));
    assert!(error.contains("hero"), "{error}");
    let path = reports[0]["asset"]["url"].as_str().unwrap();
    assert!(url.starts_with("http://127.0.0.1:") && url.trim().ends_with(path), "{url}");
    let signed = stdout_of(&mut way.larder(&["sign", "keeps/a.jpg"]));
    assert!(signed.starts_with("http://127.0.0.1:") && signed.contains("exp="), "{signed}");
    let (code, error) = failure_of(&mut way.larder(&["bucket", "rm", "avatars"]));
    assert_eq!(code, 1);
    assert!(error.contains("avatars"), "{error}");

    let put = json_of(&mut way.larder(&["preset", "set", "hero", "quality:80,resize:inside:99x99"]));
    assert_eq!(put["preset"]["recipe"], "resize:inside:99x99,format:webp,quality:80");
    let filled = json_of(&mut way.larder(&["preset", "backfill", "keep-small", "--dry-run"]));
    assert_eq!(filled["assets"], 2, "{filled}");
    stdout_of(&mut way.larder(&["preset", "rm", "hero"]));
    let (code, _) = failure_of(&mut way.larder(&["preset", "rm", "hero"]));
    assert_eq!(code, 1);

    let jobs = json_of(&mut way.larder(&["jobs", "ls"]));
    let ingest = jobs["items"].as_array().unwrap().iter().find(|job| job["kind"] == "ingest").unwrap();
    let shown = json_of(&mut way.larder(&["jobs", "show", ingest["id"].as_str().unwrap()]));
    assert_eq!(shown["state"], "done", "{shown}");
    let (code, error) = failure_of(&mut way.larder(&["jobs", "cancel", "no-id"]));
    assert_eq!(code, 2, "{error}");
    let queues = json_of(&mut way.larder(&["jobs", "queues"]));
    assert!(queues["items"].as_array().unwrap().iter().any(|queue| queue["state"] == "done"), "{queues}");
    let workers = json_of(&mut way.larder(&["jobs", "workers"]));
    assert!(workers["items"].is_array(), "{workers}");

    let report = json_of(&mut way.larder(&["gc", "--dry-run"]));
    assert_eq!(report["dry_run"], true);
    let key =
        json_of(&mut way.larder(&["key", "create", "--name", "k", "--scope", "media", "--expires", "1h"]));
    assert!(key["secret"].as_str().unwrap().starts_with("lk_"), "{key}");
}

fn undo(way: &Way) {
    let dir = photos();
    let photo = text(&dir.path().join("a.jpg")).to_owned();
    let put = |key: &str| {
        lines_of(&mut way.larder(&["put", &photo, "--bucket", "keeps", "--key", key, "--expires", "30d"]))
    };
    let first = put("a.jpg")[0]["asset"].clone();
    assert!(first["expires_at"].as_str().unwrap() > first["created_at"].as_str().unwrap(), "{first}");
    put("b.jpg");
    let page = json_of(&mut way.larder(&["ls", "keeps"]));
    assert_eq!(keys(&page), ["a.jpg", "b.jpg"]);

    stdout_of(&mut way.larder(&["rm", "keeps/a.jpg", "keeps/b.jpg"]));
    let second = put("a.jpg")[0]["asset"].clone();
    stdout_of(&mut way.larder(&["rm", "keeps/a.jpg"]));
    let back = lines_of(&mut way.larder(&["restore", "keeps/a.jpg"]));
    assert_eq!(back[0]["id"], second["id"], "what was deleted last under the key");
    let (code, error) = failure_of(&mut way.larder(&["restore", first["id"].as_str().unwrap()]));
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("is taken by"), "{error}");
    let output = way.larder(&["restore", "keeps/b.jpg", "keeps/never.jpg"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", printed(&output));
    assert_eq!(keys(&json_of(&mut way.larder(&["ls", "keeps"]))), ["a.jpg", "b.jpg"]);
    let (code, error) = failure_of(&mut way.larder(&["restore", "nothing"]));
    assert_eq!(code, 2, "{error}");
}

#[test]
fn i8_what_was_deleted_comes_back_by_the_command_line_on_local_data() {
    undo(&Way::embedded());
}

#[test]
fn i8_what_was_deleted_comes_back_by_the_command_line_against_a_server() {
    undo(&Way::remote());
}

#[test]
fn b17_operating_commands_on_local_data() {
    operate(&Way::embedded());
}

#[test]
fn b17_operating_commands_against_a_server() {
    operate(&Way::remote());
}

#[test]
fn b17_a_refused_file_does_not_stop_the_others() {
    let way = Way::embedded();
    let dir = photos();
    std::fs::write(dir.path().join("fake.jpg"), b"\x7fELF\x02\x01\x01").unwrap();
    let output = way.larder(&["put", text(dir.path()), "--bucket", "keeps", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", printed(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    let failed: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|report| report["outcome"] == "failed")
        .collect();
    assert_eq!(failed.len(), 1, "{lines}");
    assert!(failed[0]["file"].as_str().unwrap().ends_with("fake.jpg"));
    assert!(failed[0]["error"]["code"].is_string());
}

#[test]
fn b17_a_command_beside_a_server_leaves_the_jobs_to_it() {
    let server = server().start();
    let dir = photos();
    let reports = lines_of(server.cli_beside().arg("put").arg(dir.path()).args(["--bucket", "keeps"]));
    assert!(reports.iter().all(|report| report["upload"]["status"] == "completed"), "{reports:?}");
    let jobs = json_of(server.cli().args(["jobs", "ls"]));
    let jobs = jobs["items"].as_array().unwrap();
    assert!(jobs.len() >= 2, "{jobs:?}");
    let by_server = format!("/{}/", server.pid());
    for job in jobs {
        let shown = json_of(server.cli().args(["jobs", "show", job["id"].as_str().unwrap()]));
        for attempt in shown["history"].as_array().unwrap() {
            assert!(attempt["worker"].as_str().unwrap().contains(&by_server), "{by_server}: {shown}");
        }
    }
}

#[test]
fn b17_a_server_that_is_not_there_is_named() {
    let (code, error) = failure_of(larder().args(["ls", "--server", "http://127.0.0.1:9"]));
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("http://127.0.0.1:9") && error.contains("--server"), "{error}");
}

#[test]
fn b17_a_reader_that_goes_away_is_no_error() {
    let way = Way::embedded();
    let dir = photos();
    lines_of(&mut way.larder(&["put", text(dir.path())]));
    let mut command = way.larder(&["ls", "media", "--json", "--all"]);
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    assert!(output.stderr.is_empty(), "{}", printed(&output));
}
