//! Writers against each other: on a real S3 server whose conditions are atomic, and one that sleeps.

use std::{process::Child, time::Duration};

use larder_testkit::s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, moto};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, said};

fn on_moto() -> Lab {
    let options = moto::bucket();
    let mut lab = Lab::new();
    lab.url = format!("s3://{}/races", options.bucket);
    let endpoint = options.endpoint.unwrap().to_string();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL_S3", endpoint.trim_end_matches('/')),
    ] {
        lab.environment.push((name.to_owned(), value.to_owned()));
    }
    lab
}

#[test]
fn g3_of_processes_that_race_one_commits_each_number_and_the_others_end_with_3() {
    let lab = on_moto();
    lab.create("0.db", 20);
    lab.push("0.db");
    for writers in [2, 8] {
        let names: Vec<String> = (0..writers).map(|writer| format!("{writer}.db")).collect();
        for name in &names {
            lab.ends(&["pull", "--force", &lab.url, name], 0);
            lab.add(name, &format!("of {name}"));
        }
        let started: Vec<Child> = names.iter().map(|name| lab.start(&["push", name, &lab.url])).collect();
        let codes: Vec<i32> = started
            .into_iter()
            .map(|child| {
                let output = child.wait_with_output().unwrap();
                let code = output.status.code().unwrap();
                assert!([0, 3].contains(&code), "{}", said(&output));
                code
            })
            .collect();
        let winners: Vec<usize> = (0..writers).filter(|writer| codes[*writer] == 0).collect();
        let [winner] = winners[..] else { panic!("{codes:?}") };
        lab.ends(&["pull", "--force", &lab.url, "reader.db"], 0);
        assert_eq!(lab.rows("reader.db"), lab.rows(&names[winner]));
        for name in &names {
            assert!(lab.rows(name).contains(&format!("of {name}")), "its work is kept");
        }
    }
    lab.ends(&["verify", &lab.url], 0);
}

#[test]
fn g3_a_writer_that_sleeps_beyond_its_lease_is_fenced() {
    let lab = Lab::new();
    lab.create("a.db", 5);
    lab.push("a.db");
    let script = "import time\nprint('ready', flush=True)\ntime.sleep(300)";
    let mut sleeper = lab.start(&["run", &lab.url, "a.db", "--", "python3", "-c", script]);
    let mut line = String::new();
    let out = sleeper.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    let pid = Pid::from_child(&sleeper);
    kill_process(pid, Signal::STOP).unwrap();
    // Another one waits until it has been silent for its lease, and takes over.
    lab.ends(&["pull", "--force", &lab.url, "b.db"], 0);
    lab.add("b.db", "of b");
    let pushed = lab.ends(&["push", "b.db", &lab.url], 0);
    assert!(said(&pushed).contains("waiting"), "{}", said(&pushed));
    lab.add("a.db", "of the sleeper");
    kill_process(pid, Signal::CONT).unwrap();
    let output = sleeper.wait_with_output().unwrap();
    // The program was ended by a signal, and its code would win: 128 + SIGTERM.
    assert!([Some(3), Some(143)].contains(&output.status.code()), "{}", said(&output));
    assert!(said(&output).contains("ending the program"), "{}", said(&output));
    assert!(lab.rows("a.db").contains(&"of the sleeper".to_owned()), "its work is kept");
    lab.ends(&["pull", "--force", &lab.url, "c.db"], 0);
    let rows = lab.rows("c.db");
    assert!(rows.contains(&"of b".to_owned()) && !rows.contains(&"of the sleeper".to_owned()));
    std::thread::sleep(Duration::from_millis(1));
}

#[test]
fn g3_who_died_is_unlocked() {
    let lab = Lab::new();
    lab.create("a.db", 5);
    lab.push("a.db");
    let mut holder = lab.start(&["run", &lab.url, "a.db", "--", "sleep", "20"]);
    let is_held = || {
        let listed = lab.db(&["ls", &lab.url]).output().unwrap();
        String::from_utf8_lossy(&listed.stdout).contains("is writing it")
    };
    while !is_held() {
        std::thread::sleep(Duration::from_millis(20));
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    lab.ends(&["unlock", &lab.url], 0);
    assert!(!is_held());
    lab.push("a.db");
}
