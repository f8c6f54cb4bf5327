//! One file after the other: what is pushed is pulled, what differs moves, what diverged is refused.

mod support;

use std::time::Duration;

use larder_dbsync::{CollectOptions, Error, PullOptions, Retention, Wanted, backup, verify};
use support::{Lab, add_rows, is_diverged};

#[tokio::test]
async fn what_was_pushed_is_pulled_elsewhere() {
    let lab = Lab::new();
    let a = lab.create("a.db", 3_000);
    let pushed = lab.push("a.db").await.unwrap();
    assert_eq!((pushed.seq, pushed.pages), (1, pushed.of));
    let pulled = lab.pull("b.db").await.unwrap();
    assert_eq!((pulled.seq, pulled.pages), (1, pushed.of));
    assert_eq!(lab.contents("a.db"), lab.contents("b.db"));

    // One row: a few pages, both ways.
    a.execute("UPDATE t SET text = 'new' WHERE id = 1500", []).unwrap();
    let pushed = lab.push("a.db").await.unwrap();
    assert!(pushed.seq == 2 && (1..10).contains(&pushed.pages), "{pushed:?}");
    let pulled = lab.pull("b.db").await.unwrap();
    assert_eq!((pulled.seq, pulled.pages), (2, pushed.pages));
    assert_eq!(lab.contents("a.db"), lab.contents("b.db"));

    // Nothing.
    assert_eq!(lab.push("a.db").await.unwrap().pages, 0);
    assert_eq!(lab.push("b.db").await.unwrap().pages, 0);
    assert_eq!(lab.pull("b.db").await.unwrap().pages, 0);
    let names: Vec<String> = lab.objects().await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["head", "log/0000000000000001", "log/0000000000000002"].map(|name| format!("org-data/99/{name}"))
    );
}

#[tokio::test]
async fn a_writer_that_is_behind_is_refused_and_keeps_its_work() {
    let lab = Lab::new();
    lab.create("a.db", 100);
    lab.push("a.db").await.unwrap();
    lab.pull("b.db").await.unwrap();
    let (a, b) = (lab.open("a.db"), lab.open("b.db"));
    a.execute("INSERT INTO t(text) VALUES ('of a')", []).unwrap();
    b.execute("INSERT INTO t(text) VALUES ('of b')", []).unwrap();
    assert_eq!(lab.push("a.db").await.unwrap().seq, 2);
    let before = lab.contents("b.db");
    assert!(is_diverged(&lab.push("b.db").await));
    assert!(is_diverged(&lab.pull("b.db").await));
    assert_eq!(lab.contents("b.db"), before);

    // By force, each of the two may win.
    assert_eq!(lab.push_by_force("b.db").await.unwrap().seq, 3);
    lab.pull("a.db").await.unwrap();
    assert_eq!(lab.contents("a.db"), before);
    a.execute("DELETE FROM t", []).unwrap();
    let wanted = PullOptions { wanted: Wanted::Seq(2), force: true, may_go_back: true };
    lab.pull_with("a.db", wanted).await.unwrap();
    assert!(lab.contents("a.db").contains("of a"));
    drop(b);
}

#[tokio::test]
async fn a_file_without_its_companion_is_recognised_by_its_contents() {
    let lab = Lab::new();
    let a = lab.create("a.db", 100);
    for row in 0..3 {
        lab.push("a.db").await.unwrap();
        lab.pull(&format!("{row}.db")).await.unwrap();
        a.execute("INSERT INTO t(text) VALUES ('one more')", []).unwrap();
    }
    for name in ["1.db", "2.db", "a.db"] {
        for ending in ["larder", "larder-map"] {
            std::fs::remove_file(lab.path(&format!("{name}.{ending}"))).unwrap();
        }
    }
    // An earlier version is brought up to date, the newest is at home, and what is neither is refused.
    assert_eq!(lab.pull("1.db").await.unwrap().seq, 3);
    assert_eq!(lab.pull("2.db").await.unwrap().pages, 0);
    assert_eq!(lab.contents("1.db"), lab.contents("2.db"));
    assert!(is_diverged(&lab.push("a.db").await));
    assert!(is_diverged(&lab.pull("a.db").await));
    lab.create("c.db", 3);
    assert!(is_diverged(&lab.push("c.db").await));
}

#[tokio::test]
async fn what_was_taken_back_is_a_change_like_any_other() {
    let lab = Lab::new();
    let a = lab.create("a.db", 50);
    lab.push("a.db").await.unwrap();
    let first = lab.contents("a.db");
    a.execute("UPDATE t SET text = 'other' WHERE id = 7", []).unwrap();
    lab.push("a.db").await.unwrap();
    let before = format!("6 {}", "the quick brown fox jumps over the lazy dog ".repeat(2));
    a.execute("UPDATE t SET text = ?1 WHERE id = 7", [before]).unwrap();
    assert_eq!(lab.contents("a.db"), first, "the same as version 1");
    let _ = std::fs::remove_file(lab.path("a.db.larder-map"));
    assert!(lab.pull("a.db").await.unwrap().is_ahead, "and no reason to undo it");
    assert_eq!(lab.contents("a.db"), first);
    assert_eq!(lab.push("a.db").await.unwrap().seq, 3);
}

#[tokio::test]
async fn an_empty_file_beside_a_wal_is_left_as_it_is() {
    let lab = Lab::new();
    lab.create("a.db", 50);
    lab.push("a.db").await.unwrap();
    let b = lab.create("b.db", 20);
    b.execute_batch(
        "PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0; INSERT INTO t(text) VALUES ('x')",
    )
    .unwrap();
    std::fs::copy(lab.path("b.db-wal"), lab.path("c.db-wal")).unwrap();
    std::fs::write(lab.path("c.db"), "").unwrap();
    let before = std::fs::read(lab.path("c.db-wal")).unwrap();
    for refused in [lab.pull("c.db").await.map(drop), lab.push("c.db").await.map(drop)] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("c.db"), "{refused}");
        assert_eq!(std::fs::read(lab.path("c.db")).unwrap(), b"");
        assert_eq!(std::fs::read(lab.path("c.db-wal")).unwrap(), before, "SQLite would have removed it");
    }
}

#[tokio::test]
async fn every_version_can_be_restored() {
    let lab = Lab::new();
    let a = lab.create("a.db", 50);
    let mut versions = Vec::new();
    for row in 0..80 {
        a.execute("INSERT INTO t(text) VALUES (?1)", [format!("row {row}").repeat(50)]).unwrap();
        if row == 10 {
            a.execute_batch("VACUUM").unwrap();
        }
        let pushed = lab.push("a.db").await.unwrap();
        versions.push((pushed.seq, lab.contents("a.db")));
    }
    assert!(
        lab.objects().await.iter().any(|(name, _)| name.contains("/map/")),
        "after 64 entries there is a map"
    );
    for (seq, contents) in &versions {
        let wanted = PullOptions { wanted: Wanted::Seq(*seq), ..PullOptions::default() };
        let name = format!("{seq}.db");
        lab.pull_with(&name, wanted).await.unwrap();
        assert_eq!(lab.contents(&name), *contents, "{seq}");
    }
    // In place, back and forth.
    for seq in [80, 3, 11, 12, 1] {
        let wanted = PullOptions { wanted: Wanted::Seq(seq), may_go_back: true, ..PullOptions::default() };
        lab.pull_with("1.db", wanted).await.unwrap();
        assert_eq!(lab.contents("1.db"), versions[seq as usize - 1].1, "{seq}");
    }
    let verified = verify(&lab.remote, lab.folder.path(), &larder_dbsync::unwatched()).await.unwrap();
    assert_eq!(verified.problems, Vec::<String>::new());
    assert_eq!(verified.seq, 80);
}

#[tokio::test]
async fn databases_of_every_page_size_and_mode_travel() {
    for page_size in [512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536] {
        for mode in ["wal", "delete"] {
            let lab = Lab::new();
            let a = lab.open("a.db");
            a.execute_batch(&format!("PRAGMA page_size = {page_size}; PRAGMA journal_mode = {mode};"))
                .unwrap();
            a.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX i ON t(text);")
                .unwrap();
            add_rows(&a, 2_000);
            lab.push("a.db").await.unwrap();
            lab.pull("b.db").await.unwrap();
            assert_eq!(lab.contents("a.db"), lab.contents("b.db"), "{page_size} {mode}");
            a.execute("DELETE FROM t WHERE id % 2 = 0", []).unwrap();
            a.execute_batch("VACUUM").unwrap();
            lab.push("a.db").await.unwrap();
            lab.pull("b.db").await.unwrap();
            assert_eq!(lab.contents("a.db"), lab.contents("b.db"), "{page_size} {mode} after VACUUM");
            // A file that has become smaller is smaller there, too.
            let size = |name| {
                let connection = lab.open(name);
                connection.query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0)).unwrap()
            };
            assert_eq!(size("a.db"), size("b.db"));
        }
    }
}

#[tokio::test]
async fn a_new_page_size_reaches_a_file_in_its_place() {
    for mode in ["wal", "delete"] {
        let lab = Lab::new();
        let a = lab.create("a.db", 500);
        lab.push("a.db").await.unwrap();
        lab.pull("b.db").await.unwrap();
        lab.open("b.db").execute_batch(&format!("PRAGMA journal_mode = {mode}")).unwrap();
        a.execute_batch("PRAGMA page_size = 1024; VACUUM").unwrap();
        let pushed = lab.push("a.db").await.unwrap();
        assert_eq!(pushed.pages, pushed.of);
        lab.pull("b.db").await.unwrap();
        assert_eq!(lab.contents("a.db"), lab.contents("b.db"));
        let b = lab.open("b.db");
        let kept: String = b.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, mode);
    }
}

#[tokio::test]
async fn files_that_are_no_databases_are_refused_with_the_reason() {
    let lab = Lab::new();
    std::fs::write(lab.path("empty.db"), "").unwrap();
    let empty = lab.push("empty.db").await.unwrap_err();
    assert!(empty.to_string().contains("empty"), "{empty}");
    std::fs::write(lab.path("random.db"), [0x5a; 8_192]).unwrap();
    let random = lab.push("random.db").await.unwrap_err();
    assert!(random.to_string().contains("encrypted"), "{random}");
    lab.create("damaged.db", 3_000);
    let mut bytes = std::fs::read(lab.path("damaged.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4_096].fill(0xee);
    std::fs::write(lab.path("damaged.db"), &bytes).unwrap();
    let damaged = lab.push("damaged.db").await.unwrap_err();
    assert!(damaged.is_corruption(), "{damaged:?}");
    assert!(lab.push("missing.db").await.is_err());
    assert_eq!(lab.objects().await, []);
    let absent = lab.pull("new.db").await.unwrap_err();
    assert!(matches!(absent, Error::Absent { .. }), "{absent:?}");
    assert!(!lab.path("new.db").exists());
}

#[tokio::test]
async fn a_wal_left_behind_is_part_of_the_database() {
    let lab = Lab::new();
    let a = lab.create("a.db", 100);
    a.execute_batch("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0;").unwrap();
    a.execute("INSERT INTO t(text) VALUES ('only in the WAL')", []).unwrap();
    // As a crash leaves it.
    for ending in ["", "-wal"] {
        std::fs::copy(lab.path(&format!("a.db{ending}")), lab.path(&format!("b.db{ending}"))).unwrap();
    }
    lab.push("b.db").await.unwrap();
    lab.pull("c.db").await.unwrap();
    assert!(lab.contents("c.db").contains("only in the WAL"));
    // A WAL without its database is no part of a new one.
    std::fs::copy(lab.path("a.db-wal"), lab.path("d.db-wal")).unwrap();
    let refused = lab.pull("d.db").await.unwrap_err();
    assert!(refused.to_string().contains("d.db-wal"), "{refused}");
}

#[tokio::test]
async fn a_backup_outlives_the_collection_of_what_is_old() {
    let lab = Lab::new();
    let a = lab.create("a.db", 2_000);
    lab.push("a.db").await.unwrap();
    let first = lab.contents("a.db");
    backup(&lab.remote, "first", &Wanted::Newest).await.unwrap();
    for row in 0..30 {
        a.execute("UPDATE t SET text = ?1 WHERE id % 10 = ?2", (format!("round {row}"), row % 10)).unwrap();
        lab.push("a.db").await.unwrap();
    }
    let (before, newest) = (lab.objects().await, lab.contents("a.db"));
    let nothing = Retention { keep: Duration::ZERO, daily: 0, weekly: 0 };
    let at_once = CollectOptions { retention: nothing, age_min: Duration::ZERO, dry_run: true };
    tokio::time::sleep(Duration::from_millis(5)).await;
    let counted = lab.collect(at_once).await.unwrap();
    assert!(counted.removed > 10, "{counted:?}");
    let collected = lab.collect(CollectOptions { dry_run: false, ..at_once }).await.unwrap();
    assert!(collected.removed > 10 && collected.versions < 10, "{collected:?}");
    let after = lab.objects().await;
    let bytes = |objects: &[(String, u64)]| objects.iter().map(|(_, bytes)| bytes).sum::<u64>();
    assert!(bytes(&after) < bytes(&before), "{after:?}");

    lab.pull("newest.db").await.unwrap();
    assert_eq!(lab.contents("newest.db"), newest);
    let wanted = PullOptions { wanted: Wanted::Name("first".to_owned()), ..PullOptions::default() };
    lab.pull_with("first.db", wanted).await.unwrap();
    assert_eq!(lab.contents("first.db"), first);
    let verified = verify(&lab.remote, lab.folder.path(), &larder_dbsync::unwatched()).await.unwrap();
    assert_eq!(verified.problems, Vec::<String>::new());
    // And it goes on.
    a.execute("INSERT INTO t(text) VALUES ('after')", []).unwrap();
    lab.push("a.db").await.unwrap();
    lab.pull("newest.db").await.unwrap();
    assert_eq!(lab.contents("newest.db"), lab.contents("a.db"));
    let gone = PullOptions { wanted: Wanted::Seq(5), ..PullOptions::default() };
    assert!(matches!(lab.pull_with("gone.db", gone).await, Err(Error::Absent { .. })));
}

#[tokio::test]
async fn regression_a_file_goes_back_and_forth_and_stays_whole() {
    let lab = Lab::new();
    let a = lab.create("a.db", 20);
    lab.push("a.db").await.unwrap();
    a.execute_batch("CREATE TABLE u(x); INSERT INTO u VALUES (1)").unwrap();
    lab.pull("b.db").await.unwrap();
    lab.push("a.db").await.unwrap();
    for round in 0..4 {
        for seq in [2, 1] {
            let wanted =
                PullOptions { wanted: Wanted::Seq(seq), may_go_back: true, ..PullOptions::default() };
            lab.pull_with("b.db", wanted).await.unwrap_or_else(|error| panic!("{round}, {seq}: {error:?}"));
            lab.contents("b.db");
        }
    }
}

#[tokio::test]
async fn a_database_above_1_gib_travels_without_its_lock_page() {
    let lab = Lab::new();
    let a = lab.open("a.db");
    a.execute_batch(
        "PRAGMA page_size = 65536; PRAGMA journal_mode = off; PRAGMA synchronous = off; CREATE TABLE t(x);",
    )
    .unwrap();
    a.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1090)
         INSERT INTO t SELECT zeroblob(1000000) FROM n;",
    )
    .unwrap();
    let pages: u32 = a.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    assert!(pages > 16_385, "{pages} pages: the lock page is number 16385");
    let pushed = lab.push("a.db").await.unwrap();
    assert_eq!(pushed.pages, u64::from(pages) - 1);
    lab.pull("b.db").await.unwrap();
    let check = |name: &str| -> String {
        lab.open(name).query_row("PRAGMA quick_check", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(check("b.db"), "ok");
    // Behind the lock page, too.
    a.execute("UPDATE t SET x = randomblob(1000000) WHERE rowid > 1085", []).unwrap();
    let pushed = lab.push("a.db").await.unwrap();
    assert!((50..200).contains(&pushed.pages), "{pushed:?}");
    assert_eq!(lab.pull("b.db").await.unwrap().pages, pushed.pages);
    assert_eq!(check("b.db"), "ok");
    let sum = |name: &str| -> String {
        lab.open(name)
            .query_row(
                "SELECT group_concat(hex(substr(x, 500000, 8))) FROM t WHERE rowid > 1080",
                [],
                |row| row.get(0),
            )
            .unwrap()
    };
    assert_eq!(sum("a.db"), sum("b.db"));
}
