//! I4: a stop lets running work end; work that was acknowledged is done by the next process.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use larder_testkit::{
    fixtures,
    server::{Server, printed},
};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    client::{ask, client, finished, json_of, larder, lines_of, server, stdout_of, upload},
    store::folder,
};

/// Time for something to happen on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// A photo that keeps a worker busy for a while.
fn large(seed: u64) -> Vec<u8> {
    fixtures::unlike(seed, 4000, 3000)
}

async fn accepted(server: &Server, count: u64) -> Vec<String> {
    let client = client();
    let mut ids = Vec::new();
    for seed in 0..count {
        let (status, accepted) = upload(&client, server, "keeps", "a.jpg", large(seed)).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
        ids.push(accepted["id"].as_str().unwrap().to_owned());
    }
    ids
}

/// Waits until `look` answers something.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The jobs of a data directory in this state.
/// What the catalogue here says, also while somebody else replicates it and ends.
fn jobs(data_dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let mut list = larder();
    list.env("LARDER_CATALOG__REPLICATE", "off");
    list.args(["jobs", "ls", "--data-dir"]).arg(data_dir).args(arguments);
    json_of(&mut list)["items"].as_array().unwrap().clone()
}

fn a_job_runs(data_dir: &Path) {
    wait_for("a running job", || (!jobs(data_dir, &["--state", "running"]).is_empty()).then_some(()));
}

fn signal(child: &Child, name: &str) {
    let told = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(told.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_what_the_api_role_accepts_a_worker_does_and_both_stop_gracefully() {
    let dir = TempDir::new().unwrap();
    let server = server().data_dir(dir.path()).arg("--role").arg("api").start();
    let client = client();
    let ids = accepted(&server, 6).await;
    let url = server.url(&format!("/api/v1/uploads/{}?wait=1", ids[0]));
    let (_, waiting) = ask(&client, Method::GET, &url, None).await;
    assert_ne!(waiting["status"], "completed", "nobody runs jobs yet");

    let worker = || larder().args(["worker", "--data-dir"]).arg(dir.path()).spawn().unwrap();
    let mut first = worker();
    a_job_runs(dir.path());
    signal(&first, "TERM");
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert!(jobs(dir.path(), &["--state", "running"]).is_empty(), "what ran has ended");

    let mut second = worker();
    for id in &ids {
        let done = finished(&client, &server, id).await;
        assert_eq!(done["status"], "completed", "{done}");
    }
    for job in jobs(dir.path(), &["--kind", "ingest"]) {
        assert_eq!(job["attempts"], 1, "no job was cut off: {job}");
    }
    signal(&second, "INT");
    assert_eq!(second.wait().unwrap().code(), Some(0));
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_an_upload_outlives_the_process_that_accepted_it() {
    let dir = TempDir::new().unwrap();
    let first = server().data_dir(dir.path()).arg("--role").arg("api").start();
    let client = client();
    let (_, accepted) = upload(&client, &first, "keeps", "a.jpg", fixtures::jpeg(800, 600)).await;
    first.kill();
    let second = server().data_dir(dir.path()).start();
    let done = finished(&client, &second, accepted["id"].as_str().unwrap()).await;
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(done["variants"].as_object().unwrap().len(), 3);
    assert!(stdout_of(second.cli().arg("ls").arg("keeps")).contains("800x600"));
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_no_job_is_begun_after_the_first_signal_and_a_second_one_ends_all_at_once() {
    let dir = TempDir::new().unwrap();
    // Through a server that replicates and ends nothing can be asked any more.
    let server = || server().data_dir(dir.path()).env("LARDER_CATALOG__REPLICATE", "off");
    let api = server().arg("--role").arg("api").start();
    accepted(&api, 12).await;
    api.stop();

    let server = server().start();
    // A request whose body does not come keeps the server from ending.
    let mut stalled = TcpStream::connect(server.address().trim_start_matches("http://")).unwrap();
    let head = "POST /api/v1/uploads?bucket=keeps HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nx";
    stalled.write_all(head.as_bytes()).unwrap();
    a_job_runs(dir.path());
    server.signal("INT");
    let waiting = || jobs(dir.path(), &["--kind", "ingest", "--state", "queued"]).len();
    // A claim that was under way at the signal may still come.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let at_first = waiting();
    assert!(at_first > 0, "there was more to do");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(waiting(), at_first, "no job was begun");
    assert_eq!(server.stop(), Some(130), "the second signal");
}

#[test]
fn i4_a_server_whose_log_nobody_reads_serves_and_stops() {
    let dir = TempDir::new().unwrap();
    let mut command = larder();
    command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = serde_json::from_str::<Value>(&line).unwrap()["address"].as_str().unwrap().to_owned();
    drop(child.stderr.take());
    for _ in 0..3 {
        assert_eq!(json_of(larder().args(["stats", "--server", &address]))["total_objects"], 0);
    }
    signal(&child, "TERM");
    let status = wait_for("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

/// A command that brings in photos, when it is at work.
/// Number of the signal, as in the masks of proc(5).
const SIGTERM: u32 = 15;

fn putting(data_dir: &Path, photos: &Path) -> Child {
    let mut put = larder();
    put.args(["put", "--bucket", "keeps", "--data-dir"]).arg(data_dir).arg(photos);
    let child = put.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let staging = folder(data_dir).join(".larder/staging");
    wait_for("an upload", || std::fs::read_dir(&staging).ok()?.next().map(drop));
    // What an earlier command left may lie there: it counts only once this one listens to signals.
    let status = format!("/proc/{}/status", child.id());
    wait_for("signals to be caught", || {
        let status = std::fs::read_to_string(&status).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        (caught & (1 << (SIGTERM - 1)) != 0).then_some(())
    });
    child
}

#[test]
fn b17_a_signal_ends_a_command_and_the_same_command_goes_on_where_it_ended() {
    let (data, photos) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for seed in 0..6 {
        std::fs::write(photos.path().join(format!("{seed}.jpg")), large(seed)).unwrap();
    }
    for signals in [&["INT"][..], &["TERM", "TERM"]] {
        let child = putting(data.path(), photos.path());
        for name in signals {
            signal(&child, name);
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{signals:?}: {}", printed(&output));
    }
    let mut put = larder();
    put.args(["put", "--bucket", "keeps", "--data-dir"]).arg(data.path()).arg(photos.path());
    let reports = lines_of(&mut put);
    assert_eq!(reports.len(), 6);
    assert!(reports.iter().all(|report| report["error"].is_null()), "{reports:?}");
}

#[test]
fn b17_watching_ends_well_with_a_signal() {
    let server = server().start();
    let mut command = server.cli();
    command.args(["jobs", "ls", "--watch"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().is_ok());
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_a_job_is_cancelled_and_run_again_by_the_command_line() {
    let server = server().arg("--role").arg("api").start();
    let client = client();
    let (_, put) = ask_put(&client, &server).await;
    assert_eq!(put["status"], "processing", "{put}");
    let waiting = json_of(server.cli().args(["jobs", "ls", "--state", "queued", "--kind", "variants"]));
    let id = waiting["items"][0]["id"].as_str().unwrap();
    assert_eq!(json_of(server.cli().args(["jobs", "cancel", id]))["state"], "cancelled");
    assert_eq!(json_of(server.cli().args(["jobs", "retry", id]))["state"], "queued");
}

async fn ask_put(client: &reqwest::Client, server: &Server) -> (StatusCode, Value) {
    let url = server.url("/api/v1/buckets/keeps/objects/a.jpg");
    let response = client.put(url).body(fixtures::jpeg(320, 240)).send().await.unwrap();
    (response.status(), crate::client::json(response).await)
}
