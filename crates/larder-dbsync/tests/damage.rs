//! Damaged objects and failing stores: what is wrong is found and named, never applied, and what was acknowledged is there.

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use larder_dbsync::{Error, PullOptions, Wanted, backup, unwatched, verify};
use larder_store::{MemoryStore, PutOptions, Store, StoreExt};
use larder_testkit::faulty_store::{Failure, FaultyStore, Operation, Rule};
use support::{Lab, add_rows};

/// A small database with some history: entries, a pack, a map, a backup.
async fn history(lab: &Lab) {
    let a = lab.open("a.db");
    a.execute_batch("PRAGMA page_size = 512; CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT);").unwrap();
    add_rows(&a, 10);
    lab.push("a.db").await.unwrap();
    backup(&lab.remote, "first", &Wanted::Newest).await.unwrap();
    add_rows(&a, 3);
    lab.push("a.db").await.unwrap();
    let at_once = larder_dbsync::CollectOptions {
        retention: larder_dbsync::Retention {
            keep: Duration::from_secs(3_600),
            ..larder_dbsync::Retention::default()
        },
        age_min: Duration::ZERO,
        ..larder_dbsync::CollectOptions::default()
    };
    lab.collect(at_once).await.unwrap();
    a.execute("UPDATE t SET text = 'last' WHERE id = 1", []).unwrap();
    lab.push("a.db").await.unwrap();
}

async fn replace(lab: &Lab, name: &str, bytes: impl Into<Bytes> + Send) {
    lab.remote.store().put_bytes(&name.parse().unwrap(), bytes, PutOptions::default()).await.unwrap();
}

#[tokio::test]
async fn any_flipped_bit_or_cut_in_any_object_is_found_and_never_applied() {
    let lab = Lab::new();
    history(&lab).await;
    let (newest, names) = (lab.contents("a.db"), lab.objects().await);
    lab.pull("first.db").await.unwrap();
    assert!(names.iter().any(|(name, _)| name.contains("/map/")), "{names:?}");
    let (mut found, mut harmless) = (0, 0);
    for (name, size) in &names {
        let place = name.parse().unwrap();
        let whole = lab.remote.store().read_all(&place, 1 << 20).await.unwrap();
        let flips = (0..whole.len()).map(|at| {
            let mut flipped = whole.to_vec();
            flipped[at] ^= 1 << (at * 5 % 8);
            flipped
        });
        let cuts = (0..*size as usize).step_by(11).map(|length| whole[..length].to_vec());
        for damaged in flips.chain(cuts) {
            replace(&lab, name, damaged).await;
            let pulled = lab.pull("b.db").await;
            match &pulled {
                Ok(_) => {
                    // Nothing that was damaged was needed for this version.
                    assert_eq!(lab.contents("b.db"), newest, "{name}");
                    harmless += 1;
                }
                Err(error) => {
                    assert!(!lab.path("b.db").exists(), "{name}: {error}");
                    let named = name.rsplit_once("org-data/99/").unwrap().1;
                    assert!(
                        error.is_corruption() || matches!(error, Error::Version { .. }),
                        "{name}: {error:?}"
                    );
                    assert!(error.to_string().contains(named), "{name}: {error}");
                    found += 1;
                }
            }
            for ending in ["", ".larder", ".larder-map"] {
                let _ = std::fs::remove_file(lab.path(&format!("b.db{ending}")));
            }
        }
        // Verifying reads what no pull needs, too.
        if !name.ends_with("/head") && !name.contains("/floor/") {
            let mut flipped = whole.to_vec();
            flipped[whole.len() / 2] ^= 4;
            replace(&lab, name, flipped).await;
            let report = verify(&lab.remote, lab.folder.path(), &unwatched()).await.unwrap();
            let named = name.rsplit_once("org-data/99/").unwrap().1;
            assert!(
                report.problems.iter().any(|problem| problem.contains(named)),
                "{name}: {:?}",
                report.problems
            );
        }
        replace(&lab, name, whole).await;
    }
    assert!(found > 1_000 && harmless > 100, "{found} {harmless}");
    assert_eq!(
        verify(&lab.remote, lab.folder.path(), &unwatched()).await.unwrap().problems,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_missing_object_is_named() {
    let lab = Lab::new();
    history(&lab).await;
    for (name, _) in lab.objects().await {
        let place = name.parse().unwrap();
        let whole = lab.remote.store().read_all(&place, 1 << 20).await.unwrap();
        lab.remote.store().remove(&place).await.unwrap();
        let pulled = lab.pull("b.db").await;
        if let Err(error) = pulled {
            assert!(!lab.path("b.db").exists(), "{name}: {error}");
        }
        replace(&lab, &name, whole).await;
        for ending in ["", ".larder", ".larder-map"] {
            let _ = std::fs::remove_file(lab.path(&format!("b.db{ending}")));
        }
    }
    lab.pull("b.db").await.unwrap();
}

#[tokio::test]
async fn a_local_file_that_is_pulled_into_stays_what_it_was_if_the_store_is_damaged() {
    let lab = Lab::new();
    history(&lab).await;
    let wanted = PullOptions { wanted: Wanted::Seq(1), ..PullOptions::default() };
    lab.pull_with("b.db", wanted).await.unwrap();
    let before = lab.contents("b.db");
    for (name, _) in lab.objects().await.iter().filter(|(name, _)| name.contains("/log/")) {
        let place = name.parse().unwrap();
        let whole = lab.remote.store().read_all(&place, 1 << 20).await.unwrap();
        let mut flipped = whole.to_vec();
        let last = flipped.len() - 3;
        flipped[last] ^= 0x10;
        replace(&lab, name, flipped).await;
        if lab.pull("b.db").await.is_err() {
            assert_eq!(lab.contents("b.db"), before, "{name}");
        }
        replace(&lab, name, whole).await;
        lab.pull("b.db").await.unwrap();
        let wanted = PullOptions { wanted: Wanted::Seq(1), may_go_back: true, ..PullOptions::default() };
        lab.pull_with("b.db", wanted).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_got_lost_is_recognised_by_the_content() {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let lab = Lab::over(Arc::new(store));
    let a = lab.create("a.db", 20);
    lab.push("a.db").await.unwrap();
    // The entry is there, and its writer was told that it failed.
    faults.add(Rule::on(Operation::Put).times(1).fails_after_effect(Failure::Unavailable));
    add_rows(&a, 1);
    assert_eq!(lab.push("a.db").await.unwrap().seq, 2);
    assert_eq!(lab.objects().await.iter().filter(|(name, _)| name.contains("/log/")).count(), 2);
    lab.pull("b.db").await.unwrap();
    assert_eq!(lab.contents("a.db"), lab.contents("b.db"));
}

#[tokio::test]
async fn a_store_that_fails_at_any_request_loses_nothing() {
    for failing in 0..14 {
        for after_effect in [false, true] {
            let (store, faults) = FaultyStore::new(MemoryStore::new());
            let lab = Lab::over(Arc::new(store));
            let a = lab.create("a.db", 200);
            for operation in [Operation::Put, Operation::Open, Operation::List] {
                let rule = Rule::on(operation).skip(failing).times(1);
                faults.add(match after_effect {
                    true => rule.fails_after_effect(Failure::Unavailable),
                    false => rule.fails(Failure::Unavailable),
                });
            }
            for _ in 0..4 {
                add_rows(&a, 1);
                // Whatever comes of it; the next one goes on.
                let _ = lab.push("a.db").await;
                let _ = lab.pull("b.db").await;
            }
            faults.mend();
            lab.push("a.db").await.unwrap();
            lab.pull("b.db").await.unwrap();
            assert_eq!(lab.contents("a.db"), lab.contents("b.db"), "{failing} {after_effect}");
            let report = verify(&lab.remote, lab.folder.path(), &unwatched()).await.unwrap();
            assert_eq!(report.problems, Vec::<String>::new(), "{failing} {after_effect}");
        }
    }
}
