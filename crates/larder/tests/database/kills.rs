//! Killed at every step, and at random: the store restores to what was acknowledged, and the local file is the old or
//! the new version.

use std::{process::Stdio, time::Duration};

use larder_dbsync::fail_point;
use rusqlite::Connection;

use crate::lab::Lab;

/// A database whose first push makes packs, and whose rows tell what was acknowledged.
fn large(lab: &Lab) -> Connection {
    let a = lab.create("a.db", 20);
    a.execute_batch("CREATE TABLE ballast(x)").unwrap();
    for _ in 0..12 {
        a.execute("INSERT INTO ballast VALUES (randomblob(1000000))", []).unwrap();
    }
    a
}

#[test]
fn g4_a_kill_at_every_step_of_a_push_leaves_the_old_or_the_new_version() {
    let mut reached = Vec::new();
    for point in fail_point::ALL {
        let lab = Lab::new();
        let a = large(&lab);
        let killed = lab.db(&["push", "a.db", &lab.url]).env("LARDER_FAIL_POINT", point).output().unwrap();
        let died = killed.status.code().is_none();
        if died {
            reached.push(*point);
        }
        assert_eq!(lab.rows("a.db").len(), 20, "{point}");
        // Whatever is there is whole: nothing, or what was pushed.
        let pulled = lab.db(&["pull", &lab.url, "b.db"]).output().unwrap();
        if pulled.status.success() {
            assert_eq!(lab.rows("b.db").len(), 20, "{point}");
        } else {
            assert!(died && !lab.path("b.db").exists(), "{point}");
        }
        // More work, and the next push takes it all, without any word of force.
        a.execute("INSERT INTO t(text) VALUES ('after')", []).unwrap();
        lab.push("a.db");
        lab.pull("b.db");
        assert_eq!(lab.rows("b.db"), lab.rows("a.db"), "{point}");
        // And again from the second version on, with a map: many small commits.
        a.execute("INSERT INTO t(text) VALUES ('more')", []).unwrap();
        let killed = lab.db(&["push", "a.db", &lab.url]).env("LARDER_FAIL_POINT", point).output().unwrap();
        if killed.status.code().is_none() {
            reached.push(*point);
        }
        a.execute("INSERT INTO t(text) VALUES ('and more')", []).unwrap();
        lab.push("a.db");
        lab.pull("b.db");
        assert_eq!(lab.rows("b.db"), lab.rows("a.db"), "{point}");
        lab.ends(&["verify", &lab.url], 0);
    }
    for point in ["db.snapshot", "db.pack", "db.packed", "db.entry", "db.committed", "db.headed", "db.noted"]
    {
        assert!(reached.contains(&point), "{point} was never reached");
    }
}

#[test]
fn g4_a_kill_at_every_step_of_a_pull_leaves_the_old_or_the_new_version() {
    let mut reached = Vec::new();
    for mode in ["wal", "delete"] {
        for point in fail_point::ALL {
            let lab = Lab::new();
            lab.create("a.db", 2_000);
            lab.push("a.db");
            // A new file.
            let killed =
                lab.db(&["pull", &lab.url, "new.db"]).env("LARDER_FAIL_POINT", point).output().unwrap();
            if killed.status.code().is_none() {
                reached.push(*point);
            }
            if lab.path("new.db").exists() {
                assert_eq!(lab.rows("new.db").len(), 2_000, "{point}");
            }
            lab.pull("new.db");
            let left = std::fs::read_dir(lab.path("")).unwrap().flatten();
            let left: Vec<_> =
                left.filter(|entry| entry.file_name().to_string_lossy().contains("larder-new")).collect();
            assert!(left.is_empty(), "{point}: {left:?}");
            // One that is there.
            lab.open("new.db").execute_batch(&format!("PRAGMA journal_mode = {mode}")).unwrap();
            lab.open("a.db").execute("UPDATE t SET text = text || '!' WHERE id % 3 = 0", []).unwrap();
            lab.push("a.db");
            let (old, new) = (lab.rows("new.db"), lab.rows("a.db"));
            let killed =
                lab.db(&["pull", &lab.url, "new.db"]).env("LARDER_FAIL_POINT", point).output().unwrap();
            if killed.status.code().is_none() {
                reached.push(*point);
            }
            let now = lab.rows("new.db");
            assert!(now == old || now == new, "{mode} {point}");
            lab.pull("new.db");
            assert_eq!(lab.rows("new.db"), new, "{mode} {point}");
        }
    }
    for point in ["db.fetched", "db.applying", "db.applied", "db.renaming", "db.renamed"] {
        assert!(reached.contains(&point), "{point} was never reached");
    }
}

#[test]
fn g4_a_kill_at_every_step_of_a_collection_loses_no_version_that_is_kept() {
    for point in fail_point::OF_COLLECTION.iter().chain(fail_point::ALL) {
        let lab = Lab::new();
        let a = lab.create("a.db", 3_000);
        lab.push("a.db");
        lab.ends(&["backup", &lab.url, "--name", "first"], 0);
        let first = lab.rows("a.db");
        for round in 0..4 {
            a.execute("UPDATE t SET text = ?1 || text WHERE id % 4 = ?2", (round.to_string(), round))
                .unwrap();
            lab.push("a.db");
        }
        std::thread::sleep(Duration::from_millis(10));
        let collect = ["gc", &lab.url, "--keep", "0s", "--daily", "0", "--weekly", "0", "--min-age", "0s"];
        let killed = lab.db(&collect).env("LARDER_FAIL_POINT", point).output().unwrap();
        let died = killed.status.code().is_none();
        assert!(
            died || !fail_point::OF_COLLECTION.contains(point) || *point == "db.rewritten",
            "{point} was not reached"
        );
        let is_whole = |when: &str| {
            lab.ends(&["pull", "--force", &lab.url, "newest.db"], 0);
            assert_eq!(lab.rows("newest.db"), lab.rows("a.db"), "{point} {when}");
            lab.ends(&["restore", "--force", &lab.url, "first.db", "--name", "first"], 0);
            assert_eq!(lab.rows("first.db"), first, "{point} {when}");
        };
        is_whole("after the kill");
        lab.ends(&["unlock", &lab.url], 0);
        lab.ends(&collect, 0);
        is_whole("after another one");
        lab.ends(&["verify", &lab.url], 0);
    }
}

/// How often something is killed at random; more by `LARDER_KILLS`.
fn kills() -> u32 {
    std::env::var("LARDER_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(25)
}

#[test]
fn g4_kills_at_random_lose_nothing_that_was_acknowledged() {
    let lab = Lab::new();
    lab.create("a.db", 50);
    lab.push("a.db");
    lab.pull("reader.db");
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for round in 0..kills() {
        let text = format!("round {round}");
        lab.add("a.db", &text);
        if next(4) == 0 {
            lab.open("a.db").execute_batch("VACUUM").unwrap();
        }
        let arguments: [&str; 3] = match next(2) {
            0 => ["push", "a.db", &lab.url],
            _ => ["pull", &lab.url, "reader.db"],
        };
        let mut child = lab.db(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(next(60_000)));
        let _ = child.kill();
        let acknowledged = child.wait().unwrap().success() && arguments[0] == "push";
        let rows = lab.rows("reader.db");
        assert!(
            lab.rows("a.db").starts_with(&rows),
            "round {round}: the reader has a version that there was"
        );
        assert!(lab.rows("a.db").contains(&text));
        lab.ends(&["pull", &lab.url, "check.db"], 0);
        let there = lab.rows("check.db");
        assert!(lab.rows("a.db").starts_with(&there), "round {round}");
        assert!(!acknowledged || there.contains(&text), "round {round}: what was acknowledged is there");
    }
    lab.push("a.db");
    lab.pull("reader.db");
    assert_eq!(lab.rows("reader.db"), lab.rows("a.db"));
    lab.ends(&["verify", &lab.url], 0);
}
