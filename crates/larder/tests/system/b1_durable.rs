//! B1 and the first promise: no success is written before the bytes, their folder and the record
//! are on the disk. Seen in the system calls of the server, as strace reports them.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use larder_testkit::{fixtures, server::Server};
use reqwest::{Method, StatusCode};
use tempfile::TempDir;

use crate::client::{ask, client, server, upload};

/// How long strace may take to attach, or to write down what it saw.
const WITHIN: Duration = Duration::from_secs(30);

/// The calls that matter: those that make durable, those that give a file its name, and those that
/// can send an answer.
const CALLS: &str = "trace=fsync,fdatasync,renameat,renameat2,write,writev,sendto,sendmsg";

struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    /// Attaches to every thread of the server, present and future. `-y` prints the path of each
    /// descriptor; with one output file the lines stand in the order in which they happened.
    fn attach(server: &Server, folder: &Path) -> Self {
        let file = folder.join("trace");
        let strace = Command::new("strace")
            .args(["-f", "-y", "-s", "64", "-e", CALLS, "-o"])
            .arg(&file)
            .args(["-p", &server.pid().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is there");
        // All threads are traced before the server runs on.
        let status = format!("/proc/{}/task", server.pid());
        let deadline = Instant::now() + WITHIN;
        let all_traced = || {
            std::fs::read_dir(&status).expect("a running server").flatten().all(|task| {
                let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
                status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
            })
        };
        while !all_traced() {
            assert!(Instant::now() < deadline, "strace does not attach");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { strace, file }
    }

    /// Detaches and answers what happened, a line a call that ended.
    fn calls(mut self) -> Vec<String> {
        let told = Command::new("kill").arg("-INT").arg(self.strace.id().to_string()).status();
        assert!(told.expect("kill(1) is there").success());
        self.strace.wait().expect("a child of ours");
        ended_calls(&std::fs::read_to_string(&self.file).expect("a trace"))
    }
}

/// Joins calls that strace had to print in two parts, at the place where they *ended*: a sync that
/// has only begun has made nothing durable. An answer, though, counts from where it *began*.
fn ended_calls(trace: &str) -> Vec<String> {
    let mut begun: std::collections::HashMap<&str, &str> = std::collections::HashMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or(("", line));
        let call = call.trim_start();
        if let Some(beginning) = call.strip_suffix(" <unfinished ...>") {
            if beginning.contains("HTTP/1.1 ") {
                calls.push(beginning.to_owned());
            }
            begun.insert(thread, beginning);
        } else if let Some((_, end)) = call.split_once(" resumed>") {
            let beginning = begun.remove(thread).unwrap_or_default();
            if !beginning.contains("HTTP/1.1 ") {
                calls.push(format!("{beginning}{end}"));
            }
        } else {
            calls.push(call.to_owned());
        }
    }
    calls
}

/// What is in the calls before the answer with this status, and only what succeeded.
fn before_answer<'a>(calls: &'a [String], status: &str) -> Vec<&'a str> {
    let answer = calls.iter().position(|call| call.contains(&format!("HTTP/1.1 {status} ")));
    let answer = answer.unwrap_or_else(|| panic!("no answer {status} in\n{}", calls.join("\n")));
    calls[..answer].iter().map(String::as_str).filter(|call| call.trim_end().ends_with("= 0")).collect()
}

fn is_sync(call: &str) -> bool {
    call.starts_with("fsync(") || call.starts_with("fdatasync(")
}

/// Where the first call is that syncs a path with this ending.
fn synced(calls: &[&str], ending: &str) -> usize {
    let path = format!("{ending}>)");
    let at = calls.iter().position(|call| is_sync(call) && call.contains(&path));
    at.unwrap_or_else(|| panic!("{ending} is not synced before the answer:\n{}", calls.join("\n")))
}

#[tokio::test(flavor = "multi_thread")]
async fn b1_no_success_is_answered_before_bytes_folders_and_record_are_synced() {
    let folder = TempDir::new().unwrap();
    let server = server().data_dir(folder.path().join("data")).arg("--role").arg("api").start();
    let client = client();
    // The folders are there and known to be durable, as they are in a server that has run a while.
    upload(&client, &server, "media", "first.jpg", fixtures::unlike(1, 64, 64)).await;

    let trace = Trace::attach(&server, folder.path());
    let (status, accepted) = upload(&client, &server, "media", "a.jpg", fixtures::unlike(2, 640, 480)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    let url = server.url("/api/v1/buckets/media/objects/b.jpg");
    let put = client.put(url).body(fixtures::unlike(3, 640, 480)).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::CREATED);
    let url = server.url("/api/v1/buckets/media/objects/b.jpg");
    assert_eq!(ask(&client, Method::DELETE, &url, None).await.0, StatusCode::OK);
    let calls = trace.calls();

    let accept = before_answer(&calls, "202");
    let staged = format!(".larder/staging/{}", accepted["id"].as_str().unwrap());
    let bytes = synced(&accept, &staged);
    let names = synced(&accept, "/.larder/staging");
    let record = synced(&accept, "/catalog.db-wal");
    assert!(bytes < names && names < record, "bytes, then their name, then the record: {accept:#?}");

    // A put ends with the move to its place: both folders of the rename, then the record.
    let put = before_answer(&calls, "201");
    let put = &put[accept.len()..];
    let moved = put.iter().position(|call| call.starts_with("renameat") && call.contains("\"b.jpg\""));
    let after = &put[moved.unwrap_or_else(|| panic!("no move in {put:#?}"))..];
    let place = synced(after, "/media/media");
    synced(after, "/.larder/staging");
    assert!(after[place..].iter().any(|call| is_sync(call) && call.contains("/catalog.db-wal>")), "{put:#?}");

    // A deletion moves the bytes away before it says so.
    let delete = before_answer(&calls, "200");
    let moved = delete.iter().rposition(|call| call.starts_with("renameat") && call.contains("b.jpg"));
    let after = &delete[moved.unwrap()..];
    let trash = synced(after, "/.larder/trash");
    assert!(
        after[trash..].iter().any(|call| is_sync(call) && call.contains("/catalog.db-wal>")),
        "{after:#?}"
    );
}

#[test]
fn a_call_in_two_parts_counts_where_it_ended_and_an_answer_where_it_began() {
    let trace = "1 fsync(7</a> <unfinished ...>\n\
                 2 sendto(9<socket>, \"HTTP/1.1 202 Accepted\" <unfinished ...>\n\
                 1 <... fsync resumed>) = 0\n\
                 2 <... sendto resumed>, 21, 0, NULL, 0) = 21\n";
    let calls = ended_calls(trace);
    assert_eq!(calls, ["sendto(9<socket>, \"HTTP/1.1 202 Accepted\"", "fsync(7</a>) = 0"]);
    assert!(before_answer(&calls, "202").is_empty(), "the sync ended after the answer had begun");
}
