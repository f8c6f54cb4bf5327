//! How commands end, and what they say.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use larder_testkit::{
    s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, moto, proxy, s3s_fs::S3sFs},
    server::printed,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::lab::{Lab, said};

#[test]
fn g3_who_is_behind_ends_with_3_and_keeps_its_work() {
    let lab = Lab::new();
    lab.create("a.db", 50);
    lab.push("a.db");
    lab.pull("b.db");
    lab.add("a.db", "of a");
    lab.add("b.db", "of b");
    lab.push("a.db");
    let before = lab.rows("b.db");
    for arguments in [["push", "b.db", &lab.url], ["pull", &lab.url, "b.db"]] {
        let refused = lab.ends(&arguments, 3);
        assert!(
            said(&refused).contains("was changed since version 1") && said(&refused).contains("remedy:"),
            "{}",
            said(&refused)
        );
    }
    assert_eq!(lab.rows("b.db"), before);
    lab.ends(&["pull", "--force", &lab.url, "b.db"], 0);
    assert_eq!(lab.rows("b.db"), lab.rows("a.db"));
}

#[test]
fn g4_damage_ends_with_4_and_is_named() {
    let lab = Lab::new();
    lab.create("a.db", 500);
    lab.push("a.db");
    let entry = lab.path("bucket/log/0000000000000001");
    let mut bytes = std::fs::read(&entry).unwrap();
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    std::fs::write(&entry, bytes).unwrap();
    let pulled = lab.ends(&["pull", &lab.url, "b.db"], 4);
    assert!(said(&pulled).contains("log/0000000000000001"), "{}", said(&pulled));
    assert!(!lab.path("b.db").exists());
    let verified = lab.ends(&["verify", &lab.url, "--json"], 4);
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert!(report["problems"][0].as_str().unwrap().contains("log/0000000000000001"), "{report}");
}

#[test]
fn g10_what_is_wrong_is_said_with_its_remedy() {
    let lab = Lab::new();
    let said_by = |arguments: &[&str], code| said(&lab.ends(arguments, code));
    assert!(said_by(&["pull", &lab.url, "new.db"], 1).contains("there is no database at"));
    assert!(!lab.path("bucket").exists(), "looking makes no folder");
    let run = said_by(&["run", &lab.url, "new.db", "--", "true"], 1);
    assert!(run.contains("--create"), "{run}");
    assert!(said_by(&["push", "missing.db", &lab.url], 1).contains("missing.db"));
    std::fs::write(lab.path("text.db"), "this is no database, but a text that is long enough to be one")
        .unwrap();
    assert!(said_by(&["push", "text.db", &lab.url], 4).contains("encrypted"));
    assert!(said_by(&["push", "text.db", "bucket"], 2).contains("s3://BUCKET/PREFIX"));
    assert!(said_by(&["push", "text.db"], 2).contains("BUCKET_NAME"));
    lab.create("a.db", 5);
    lab.push("a.db");
    assert!(said_by(&["restore", &lab.url, "b.db", "--seq", "9"], 1).contains("version 9"));
    assert!(said_by(&["restore", &lab.url, "b.db", "--name", "x"], 1).contains("there is no backup \"x\""));
    assert!(said_by(&["run", &lab.url, "a.db", "--", "/no/such/program"], 2).contains("/no/such/program"));
}

#[test]
fn g1_a_program_runs_on_the_database_and_its_code_is_the_commands() {
    let lab = Lab::new();
    lab.create("a.db", 5);
    lab.push("a.db");
    let script = "import sqlite3,sys; c=sqlite3.connect('b.db'); c.execute(\"INSERT INTO t(text) VALUES ('ran')\"); \
                  c.commit(); print('of the program'); sys.exit(int(sys.argv[1]))";
    let run = |code: &str, more: &[&str]| {
        let mut arguments = vec!["run", &lab.url, "b.db"];
        arguments.extend(more);
        arguments.extend(["--", "python3", "-c", script, code]);
        lab.ends(&arguments, code.parse().unwrap())
    };
    let done = run("0", &[]);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "of the program\n", "standard output is the program's");
    for step in ["took the database", "pulled version", "running python3", "pushed version", "ended well"] {
        assert!(said(&done).contains(step), "{step}: {}", said(&done));
    }
    run("9", &[]);
    lab.pull("c.db");
    assert_eq!(lab.rows("c.db").len(), 7, "what a program committed is pushed even if it fails");
    run("9", &["--discard-on-failure"]);
    assert_eq!(lab.rows("b.db").len(), 7, "unless nothing of it shall stay");
    run("0", &["--discard-on-failure"]);
    let events = run("0", &["--json"]);
    let events: Vec<Value> = said(&events).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["event"] == "pushed"), "{events:?}");
    lab.pull("c.db");
    assert_eq!(lab.rows("c.db").len(), 9);
    let created = [
        "run",
        &format!("{}2", lab.url),
        "new.db",
        "--create",
        "--",
        "python3",
        "-c",
        "import sqlite3; c=sqlite3.connect('new.db'); c.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, text)')",
    ];
    lab.ends(&created, 0);
    lab.ends(&["pull", &format!("{}2", lab.url), "new2.db"], 0);
}

/// Runs a script on `b.db`, and waits until it says that it is ready.
fn started(lab: &Lab, script: &str) -> Child {
    let mut child = lab
        .db(&["run", &lab.url, "b.db", "--", "python3", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn g1_signals_reach_the_program() {
    let lab = Lab::new();
    lab.create("a.db", 5);
    lab.push("a.db");
    let script = "import signal,sys,time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(33)); print('ready', flush=True); time.sleep(60)";
    let mut child = started(&lab, script);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(33));
    lab.push("b.db");
}

#[test]
fn g1_after_a_kill_the_same_file_is_not_waited_for_and_another_is() {
    let lab = Lab::new();
    lab.create("a.db", 5);
    lab.push("a.db");
    // It ends with its input, which ends with the command.
    let script = "import sqlite3,sys; c=sqlite3.connect('b.db'); c.execute('INSERT INTO t(text) VALUES (1)'); c.commit(); print('ready', flush=True); sys.stdin.read()";
    let mut child = started(&lab, script);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut elsewhere =
        lab.db(&["run", &lab.url, "c.db", "--", "true"]).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(elsewhere.try_wait().unwrap().is_none(), "another file may be of another machine");
    elsewhere.kill().unwrap();
    elsewhere.wait().unwrap();
    let begun = std::time::Instant::now();
    lab.ends(&["run", &lab.url, "b.db", "--", "true"], 0);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    lab.pull("d.db");
    assert_eq!(lab.rows("d.db"), lab.rows("b.db"));
    assert_ne!(lab.rows("d.db"), lab.rows("a.db"));
}

#[test]
fn g8_the_names_of_the_environment_say_where() {
    let store = S3sFs::start();
    store.bucket("scheduler");
    let mut lab = Lab::new();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL_S3", &store.endpoint()),
        ("AWS_REGION", "auto"),
        ("BUCKET_NAME", "scheduler"),
        ("ORG_ID", "99"),
    ] {
        lab.environment.push((name.to_owned(), value.to_owned()));
    }
    lab.create("a.db", 50);
    lab.ends(&["push", "a.db"], 0);
    lab.ends(&["pull", "s3://scheduler/org-data/99", "b.db"], 0);
    assert_eq!(lab.rows("a.db"), lab.rows("b.db"));
    let script = "import sqlite3; c=sqlite3.connect('c.db'); c.execute(\"INSERT INTO t(text) VALUES ('sent')\"); c.commit()";
    lab.ends(&["run", "c.db", "--", "python3", "-c", script], 0);
    lab.ends(&["pull", "b.db"], 0);
    assert_eq!(lab.rows("b.db").len(), 51);
    lab.ends(&["backup", "--name", "nightly"], 0);
    lab.ends(&["backup", "--to"], 0);
    let listed = lab.ends(&["ls", "--json"], 0);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(
        (&listed["backups"][0]["name"], listed["is_held"].as_bool()),
        (&"nightly".into(), Some(false)),
        "{listed}"
    );
    lab.ends(&["verify"], 0);

    // A plain file that is there already is where a database begins.
    lab.ends(&["export", "s3://scheduler/org-data/99", "s3://scheduler/org-data/100.db"], 0);
    let pulled = lab.ends(&["pull", "s3://scheduler/org-data/100", "d.db"], 0);
    assert!(String::from_utf8_lossy(&pulled.stdout).contains("plain file"), "{}", printed(&pulled));
    assert_eq!(lab.rows("d.db"), lab.rows("b.db"));
    lab.ends(&["push", "d.db", "s3://scheduler/org-data/100"], 0);
    lab.ends(&["ls", "s3://scheduler/org-data/100"], 0);
}

#[test]
fn g3_a_store_that_ignores_conditions_is_refused_by_the_program() {
    let options = moto::bucket();
    let heedless = proxy::Proxy::start_blocking(&options.endpoint.unwrap(), proxy::Manner::IgnoresConditions);
    let url = format!("s3://{}/x", options.bucket);
    let mut lab = Lab::new();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL_S3", heedless.endpoint().as_str().trim_end_matches('/')),
    ] {
        lab.environment.push((name.to_owned(), value.to_owned()));
    }
    lab.create("a.db", 5);
    let refused = lab.ends(&["push", "a.db", &url], 1);
    assert!(
        said(&refused).contains("If-None-Match") && said(&refused).contains("--single-writer"),
        "{}",
        said(&refused)
    );
    lab.ends(&["push", "a.db", &url, "--single-writer"], 0);
    lab.ends(&["pull", &url, "b.db"], 0);
}

#[test]
fn g6_replication_follows_a_program_that_is_not_ours() {
    let lab = Lab::new();
    let a = lab.create("a.db", 5);
    a.execute_batch("PRAGMA journal_mode = wal").unwrap();
    let mut replicating = lab.start(&["replicate", "a.db", &lab.url, "--interval", "100ms"]);
    let newest = || {
        let listed = lab.db(&["ls", &lab.url, "--json"]).output().unwrap();
        serde_json::from_slice::<Value>(&listed.stdout).ok().and_then(|listed| listed["changed_at"].as_u64())
    };
    let after = |seq: u64| {
        for _ in 0..600 {
            if newest().is_some_and(|newest| newest > seq) {
                return newest().unwrap();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nothing was replicated after {seq}");
    };
    let first = after(0);
    lab.add("a.db", "while it is followed");
    let second = after(first);
    kill_process(Pid::from_child(&replicating), Signal::TERM).unwrap();
    assert!(replicating.wait().unwrap().success());
    lab.pull("b.db");
    assert_eq!(lab.rows("b.db"), lab.rows("a.db"));
    lab.ends(&["restore", &lab.url, "c.db", "--seq", &(second - 1).to_string(), "--verify", "full"], 0);
    assert_eq!(lab.rows("c.db").len(), 5);
}
