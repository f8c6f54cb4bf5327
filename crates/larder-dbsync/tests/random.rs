//! Random work on a database, pushed, pulled, restored, backed up and collected, against what it held at each version.

mod support;

use std::{collections::BTreeMap, time::Duration};

use larder_dbsync::{CollectOptions, PullOptions, Retention, Wanted, backup, unwatched, verify};
use proptest::prelude::*;
use support::Lab;

#[derive(Debug, Clone)]
enum Step {
    Insert { rows: u8, bytes: u16 },
    Update { every: u8 },
    Delete { every: u8 },
    Table(u8),
    Vacuum,
    PageSize(u8),
    Mode(bool),
    Push,
    Pull,
    Backup(u8),
    Restore(u8),
    Collect,
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..40_u8, 0..3_000_u16).prop_map(|(rows, bytes)| Step::Insert { rows, bytes }),
        2 => (1..20_u8).prop_map(|every| Step::Update { every }),
        2 => (1..5_u8).prop_map(|every| Step::Delete { every }),
        1 => (0..4_u8).prop_map(Step::Table),
        1 => Just(Step::Vacuum),
        1 => (0..8_u8).prop_map(Step::PageSize),
        1 => any::<bool>().prop_map(Step::Mode),
        6 => Just(Step::Push),
        4 => Just(Step::Pull),
        1 => (0..3_u8).prop_map(Step::Backup),
        2 => any::<u8>().prop_map(Step::Restore),
        1 => Just(Step::Collect),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 10..50)
}

fn cases() -> u32 {
    std::env::var("LARDER_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_every_version_is_what_was_pushed(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work(steps));
    }
}

async fn work(steps: Vec<Step>) {
    let lab = Lab::new();
    let a = lab.create("a.db", 20);
    let mut versions: BTreeMap<u64, String> = BTreeMap::new();
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Insert { rows, bytes } => {
                for row in 0..rows {
                    let text = format!("{row}{}", "ab\u{e9}".repeat(usize::from(bytes) / 4));
                    a.execute("INSERT INTO t(text) VALUES (?1)", [text]).unwrap();
                }
            }
            Step::Update { every } => {
                a.execute("UPDATE t SET text = text || '!' WHERE id % ?1 = 0", [every]).unwrap();
            }
            Step::Delete { every } => {
                a.execute("DELETE FROM t WHERE id % ?1 = 0", [every]).unwrap();
            }
            Step::Table(table) => {
                a.execute_batch(&format!(
                    "CREATE TABLE IF NOT EXISTS u{table}(x); INSERT INTO u{table} VALUES ({table});"
                ))
                .unwrap();
            }
            Step::Vacuum => a.execute_batch("VACUUM").unwrap(),
            Step::PageSize(power) => {
                // Takes effect only outside of WAL mode.
                a.execute_batch(&format!("PRAGMA page_size = {}; VACUUM", 512_u32 << power)).unwrap();
            }
            Step::Mode(wal) => {
                let mode = if wal { "wal" } else { "delete" };
                a.execute_batch(&format!("PRAGMA journal_mode = {mode}")).unwrap();
            }
            Step::Push => {
                let pushed = lab.push("a.db").await.unwrap();
                versions.insert(pushed.seq, lab.contents("a.db"));
            }
            Step::Pull if !versions.is_empty() => {
                let pulled = lab.pull("b.db").await.unwrap();
                let newest = versions.range(..=pulled.seq).next_back().unwrap().1;
                assert_eq!(lab.contents("b.db"), *newest);
            }
            Step::Backup(name) if !versions.is_empty() => {
                let name = format!("backup {name}");
                if let std::collections::btree_map::Entry::Vacant(entry) = kept.entry(name) {
                    let backup = backup(&lab.remote, entry.key(), &Wanted::Newest).await.unwrap();
                    entry.insert(versions.range(..=backup.seq).next_back().unwrap().1.clone());
                }
            }
            Step::Restore(which) if !versions.is_empty() => {
                let seq = *versions.keys().nth(usize::from(which) % versions.len()).unwrap();
                let wanted = PullOptions { wanted: Wanted::Seq(seq), force: true, may_go_back: true };
                match lab.pull_with("b.db", wanted).await {
                    Ok(_) => assert_eq!(lab.contents("b.db"), versions[&seq]),
                    // Collected.
                    Err(larder_dbsync::Error::Absent { .. }) => {}
                    Err(error) => panic!("{seq}: {error:?}"),
                }
                // What was restored is no version to go on from.
                lab.pull_with("b.db", PullOptions { force: true, ..PullOptions::default() }).await.unwrap();
            }
            Step::Collect if !versions.is_empty() => {
                tokio::time::sleep(Duration::from_millis(2)).await;
                let options = CollectOptions {
                    retention: Retention { keep: Duration::ZERO, daily: 1, weekly: 0 },
                    age_min: Duration::ZERO,
                    dry_run: false,
                };
                lab.collect(options).await.unwrap();
            }
            Step::Forget => {
                for name in ["a.db", "b.db"] {
                    let _ = std::fs::remove_file(lab.path(&format!("{name}.larder-map")));
                }
            }
            _ => {}
        }
    }
    let pushed = lab.push("a.db").await.unwrap();
    versions.insert(pushed.seq, lab.contents("a.db"));
    lab.pull("b.db").await.unwrap();
    assert_eq!(lab.contents("b.db"), lab.contents("a.db"));
    for (name, contents) in kept {
        let wanted = PullOptions { wanted: Wanted::Name(name), ..PullOptions::default() };
        let _ = std::fs::remove_file(lab.path("kept.db"));
        lab.pull_with("kept.db", PullOptions { force: true, may_go_back: true, ..wanted }).await.unwrap();
        assert_eq!(lab.contents("kept.db"), contents);
    }
    let report = verify(&lab.remote, lab.folder.path(), &unwatched()).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}
