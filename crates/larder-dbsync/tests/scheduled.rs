//! Backups by schedule: made when something changed, removed by age, and hand-made ones left alone.

mod support;

use std::{sync::Arc, time::Duration};

use larder_core::{Ambient, ManualClock, Timestamp};
use larder_dbsync::{
    Error, PullOptions, Remote, Retention, Wanted, back_up, backup, backups, collect_unheld, pull, unwatched,
};
use larder_store::MemoryStore;
use support::{Lab, add_rows};

/// A laboratory whose store and whose marks tell the time of a clock that the test moves.
fn lab_with_clock() -> (Lab, Arc<ManualClock>) {
    let clock = ManualClock::at(Timestamp::from_millis(1_772_366_400_000));
    let ambient = Ambient::new(clock.clone(), Arc::new(Random));
    let mut lab = Lab::over(Arc::new(MemoryStore::with_ambient(ambient.clone())));
    lab.remote = Remote::new(lab.remote.store().clone(), "org-data/99", ambient).unwrap();
    (lab, clock)
}

struct Random;

impl larder_core::Entropy for Random {
    fn fill(&self, target: &mut [u8]) {
        for part in target.chunks_mut(32) {
            part.copy_from_slice(&Ambient::system().random_bytes::<32>()[..part.len()]);
        }
    }
}

async fn names(lab: &Lab) -> Vec<String> {
    backups(&lab.remote).await.unwrap().into_iter().map(|backup| backup.name).collect()
}

#[tokio::test]
async fn a_version_is_marked_once_and_nothing_is_written_while_nothing_changes() {
    let (lab, clock) = lab_with_clock();
    let rule = Retention::default();
    assert!(matches!(back_up(&lab.remote, &rule).await, Err(Error::Absent { .. })));
    let a = lab.create("a.db", 20);
    lab.push("a.db").await.unwrap();
    let first = back_up(&lab.remote, &rule).await.unwrap();
    assert!(first.is_new && first.seq == 1 && first.pages > 0 && first.holder.is_none(), "{first:?}");
    assert_eq!(first.backup.name, "scheduled-20260301-120000");
    let before = lab.objects().await;
    clock.advance(Duration::from_secs(3_600));
    let again = back_up(&lab.remote, &rule).await.unwrap();
    assert_eq!((again.is_new, &again.backup), (false, &first.backup));
    // Taking it and letting it go changes no page.
    let mut session = lab.session().await;
    session.claim(&mut |_| Ok(())).await.unwrap();
    let held = back_up(&lab.remote, &rule).await.unwrap();
    assert!(!held.is_new && held.holder.is_some(), "{held:?}");
    session.release().await.unwrap();
    assert_eq!(lab.objects().await.len(), before.len() + 2);
    // A mark by hand does not stand for one by schedule: it may be removed.
    add_rows(&a, 5);
    lab.push("a.db").await.unwrap();
    backup(&lab.remote, "by-hand", &Wanted::Newest).await.unwrap();
    assert!(back_up(&lab.remote, &rule).await.unwrap().is_new);
    assert_eq!(names(&lab).await, ["by-hand", "scheduled-20260301-120000", "scheduled-20260301-130000"]);
}

#[tokio::test]
async fn old_scheduled_marks_go_and_those_made_by_hand_stay() {
    let (lab, clock) = lab_with_clock();
    let a = lab.create("a.db", 5);
    lab.push("a.db").await.unwrap();
    for name in ["before-the-move", "scheduled-by-me", "backup-20260301-120000"] {
        backup(&lab.remote, name, &Wanted::Newest).await.unwrap();
    }
    let rule = Retention::default();
    let mut removed = 0;
    for hour in 0..24 * 12 {
        clock.advance(Duration::from_secs(3_600));
        // As on a real day: some hours nothing is committed.
        if hour % 3 == 0 {
            a.execute("UPDATE t SET text = ?1 WHERE id = 1", [hour]).unwrap();
            lab.push("a.db").await.unwrap();
        }
        removed += back_up(&lab.remote, &rule).await.unwrap().removed.len();
    }
    let names = names(&lab).await;
    for name in ["before-the-move", "scheduled-by-me", "backup-20260301-120000"] {
        assert!(names.iter().any(|there| there == name), "{names:?}");
    }
    // Eight of the last day and the one of a day ago, seven days, and the end of a week or two.
    assert!((14..=19).contains(&(names.len() - 3)), "{names:?}");
    assert!(removed > 70, "{removed}");
    // What is kept can be restored after a collection.
    collect_unheld(&lab.remote, &larder_dbsync::CollectOptions::default(), false).await.unwrap();
    for (at, name) in names.iter().enumerate() {
        let options = PullOptions { wanted: Wanted::Name(name.clone()), force: false, may_go_back: true };
        pull(&lab.remote, &lab.path(&format!("{at}.db")), &options, &unwatched()).await.unwrap();
        lab.contents(&format!("{at}.db"));
    }
}

#[tokio::test]
async fn a_database_that_somebody_holds_is_not_collected_and_an_idle_one_not_written_to() {
    let (lab, clock) = lab_with_clock();
    let a = lab.create("a.db", 5);
    for round in 0..10 {
        a.execute("UPDATE t SET text = ?1 WHERE id = 1", [round]).unwrap();
        lab.push("a.db").await.unwrap();
        clock.advance(Duration::from_secs(12 * 3_600));
    }
    let options = larder_dbsync::CollectOptions {
        retention: Retention { daily: 0, weekly: 0, ..Retention::default() },
        ..larder_dbsync::CollectOptions::default()
    };
    let mut session = lab.session().await;
    session.claim(&mut |_| Ok(())).await.unwrap();
    let before = lab.objects().await;
    let refused = collect_unheld(&lab.remote, &options, false).await;
    assert!(matches!(refused, Err(Error::Held { .. })), "{refused:?}");
    assert_eq!(lab.objects().await, before);
    assert!(session.holds());
    session.release().await.unwrap();
    let collected = collect_unheld(&lab.remote, &options, false).await.unwrap();
    assert!(collected.removed > 0, "{collected:?}");
    let before = lab.objects().await;
    clock.advance(Duration::from_secs(24 * 3_600));
    assert_eq!(collect_unheld(&lab.remote, &options, false).await.unwrap().removed, 0);
    assert_eq!(lab.objects().await, before, "nothing to remove is nothing to write");
    let empty = Remote::new(lab.remote.store().clone(), "org-data/1", Ambient::system()).unwrap();
    assert!(matches!(collect_unheld(&empty, &options, false).await, Err(Error::Absent { .. })));
}
