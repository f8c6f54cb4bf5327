//! A writer that holds its database for long, and removes what is not kept beside its commits.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use larder_core::{Ambient, ManualClock, Timestamp};
use larder_dbsync::{
    Along, CollectOptions, CollectWhile, Error, Event, PullOptions, ReplicateOptions, Replicator, Retention,
    Round, Wanted, Watch, backup, format::Source, unwatched, verify,
};
use larder_store::MemoryStore;
use larder_testkit::faulty_store::{Failure, Faults, FaultyStore, Operation, Rule};
use support::{Lab, held};

/// Nothing of the past but backups.
const NOTHING: Retention = Retention { keep: Duration::ZERO, daily: 0, weekly: 0 };

fn collecting(age_min: Duration, every_entries: u64) -> ReplicateOptions {
    let options = CollectOptions { retention: NOTHING, age_min, dry_run: false };
    let collect = CollectWhile { options, every: Duration::from_secs(3_600), every_entries };
    ReplicateOptions { interval: Duration::from_millis(1), renew: true, collect: Some(collect) }
}

/// How many objects of a kind there are.
async fn count(lab: &Lab, part: &str) -> usize {
    lab.objects().await.iter().filter(|(name, _)| name.contains(part)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_writer_that_stays_removes_what_is_not_kept_and_goes_on_committing() {
    let lab = Lab::new();
    let a = lab.create("a.db", 2_000);
    a.execute_batch("PRAGMA journal_mode = wal").unwrap();
    let collections = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&collections);
    let watch: Watch = Arc::new(move |event| {
        if let Event::Collected { objects, .. } = event {
            told.lock().unwrap().push(*objects);
        }
    });
    let options = collecting(Duration::from_millis(50), 128);
    let mut replicator =
        Replicator::begin(held(&lab).await, &lab.path("a.db"), options, watch).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, writes) = (Arc::clone(&stop), a);
    let writer = std::thread::spawn(move || {
        let mut commits = 0_u32;
        while !stopped.load(Ordering::Relaxed) {
            // A few pages each, so that each entry is needed for some time, and then for some of its pages.
            writes
                .execute(
                    "UPDATE t SET text = ?1 || substr(text, 8) WHERE id % 97 = ?2",
                    (format!("{commits:07}"), commits % 97),
                )
                .unwrap();
            // Now and then more than an entry carries, so that there are packs.
            if commits % 300 == 299 {
                writes.execute_batch("VACUUM").unwrap();
            }
            commits += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let mut kept = Vec::new();
    let begun = Instant::now();
    while collections.lock().unwrap().len() < 4 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", collections.lock().unwrap());
        if replicator.round().await.unwrap() == Round::Committed
            && replicator.session().newest().seq % 100 == 0
        {
            let (name, seq) = (format!("backup {}", kept.len()), replicator.session().newest().seq);
            backup(&lab.remote, &name, &Wanted::Seq(seq)).await.unwrap();
            kept.push((name, seq));
        }
        replicator.collect_some().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.store(true, Ordering::Relaxed);
    tokio::task::spawn_blocking(move || writer.join().unwrap()).await.unwrap();
    let finished = replicator.finish().await.unwrap();

    let removed: u64 = collections.lock().unwrap().iter().sum();
    let entries = count(&lab, "/log/").await;
    assert!(
        removed > 200 && (entries as u64) < finished.seq,
        "{removed} of {} went, {entries} are there",
        finished.seq
    );
    let verified = verify(&lab.remote, lab.folder.path(), &unwatched()).await.unwrap();
    assert_eq!(verified.problems, Vec::<String>::new());
    lab.pull("newest.db").await.unwrap();
    assert_eq!(lab.contents("newest.db"), lab.contents("a.db"));
    assert!(!kept.is_empty());
    for (name, seq) in kept {
        let wanted = PullOptions { wanted: Wanted::Name(name), force: true, may_go_back: true };
        assert_eq!(lab.pull_with("kept.db", wanted).await.unwrap().seq, seq);
        lab.contents("kept.db");
    }
    // What lies between the floor and the newest can be restored, too, whatever was put elsewhere.
    let floor = lab.objects().await.iter().find_map(|(name, _)| {
        let (_, seq) = name.split_once("/floor/")?;
        u64::from_str_radix(seq, 16).ok()
    });
    let (floor, mut restored) = (floor.unwrap(), 0);
    for seq in (floor..=finished.seq).step_by(13) {
        let wanted = PullOptions { wanted: Wanted::Seq(seq), force: true, may_go_back: true };
        restored += u32::from(lab.pull_with("kept.db", wanted).await.is_ok());
        lab.contents("kept.db");
    }
    assert!(restored > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_long_collection_keeps_neither_commits_nor_the_lease_waiting() {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let lab = Lab::over(Arc::new(store));
    let a = lab.create("a.db", 50);
    let session = held(&lab).await.with_lease(Duration::from_secs(1));
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    let watch: Watch = Arc::new(move |event| {
        if let Event::Collected { objects, .. } = event {
            assert!(*objects > 400, "{objects}");
            told.store(true, Ordering::Relaxed);
        }
    });
    let mut replicator =
        Replicator::begin(session, &lab.path("a.db"), collecting(Duration::from_millis(1), 500), watch)
            .await
            .unwrap();
    let commit = |seq: u64| a.execute("UPDATE t SET text = ?1 WHERE id = 7", [seq.to_string()]).unwrap();
    while replicator.session().newest().seq < 499 {
        commit(replicator.session().newest().seq);
        replicator.round().await.unwrap();
    }
    // Five hundred objects at 30 ms each, 16 at a time beside commits, take longer than the lease.
    faults.add(Rule::on_all().delayed(Duration::from_millis(30)));
    let mut other = lab.session().await;
    let waiting = tokio::spawn(async move {
        other.claim(&mut |_| Ok(())).await.unwrap();
    });
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while !ended.load(Ordering::Relaxed) {
        commit(replicator.session().newest().seq);
        let looked = Instant::now();
        replicator.round().await.unwrap();
        replicator.collect_some().await;
        longest = longest.max(looked.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(1_200), "{:?}: it was no long one", begun.elapsed());
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert!(!waiting.is_finished(), "the lease was lost");
    replicator.finish().await.unwrap();
    waiting.await.unwrap();
    assert!(count(&lab, "/log/").await < 400);
}

#[tokio::test]
async fn a_collection_that_was_planned_before_another_writer_came_is_void() {
    let lab = Lab::new();
    let a = lab.create("a.db", 50);
    let options = ReplicateOptions { renew: false, ..collecting(Duration::from_millis(1), 100) };
    let mut replicator =
        Replicator::begin(held(&lab).await, &lab.path("a.db"), options, unwatched()).await.unwrap();
    while replicator.session().newest().seq < 100 {
        a.execute("UPDATE t SET text = ?1 WHERE id = 7", [replicator.session().newest().seq.to_string()])
            .unwrap();
        replicator.round().await.unwrap();
    }
    // Plans, and knows the plan.
    replicator.collect_some().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    replicator.collect_some().await;
    let mut other = lab.session().await;
    other.unlock().await.unwrap();
    other.claim(&mut |_| Ok(())).await.unwrap();
    other.release().await.unwrap();
    a.execute("UPDATE t SET text = 'mine' WHERE id = 7", []).unwrap();
    while replicator.round().await.unwrap() == Round::Again {}
    let before = count(&lab, "/log/").await;
    for _ in 0..20 {
        replicator.collect_some().await;
    }
    assert_eq!(count(&lab, "/log/").await, before, "nothing went by the old plan");
    replicator.finish().await.unwrap();
    let gone = PullOptions { wanted: Wanted::Seq(5), ..PullOptions::default() };
    assert!(!matches!(lab.pull_with("b.db", gone).await, Err(Error::Absent { .. })), "and all is there");
}

/// What all objects of must be older than to go.
const HOUR: Duration = Duration::from_secs(3_600);

/// A database whose old versions leave less than half of each entry needed, by the clock of its store.
async fn with_little_of_each_entry() -> (Lab, Faults, Arc<ManualClock>, rusqlite::Connection) {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let (store, faults) =
        FaultyStore::new(MemoryStore::with_ambient(Ambient::repeatable(Arc::clone(&clock), 1)));
    let lab = Lab::over(Arc::new(store));
    let a = lab.create("a.db", 3_000);
    lab.push("a.db").await.unwrap();
    backup(&lab.remote, "first", &Wanted::Newest).await.unwrap();
    // Each leaves less than half of the one before it needed.
    for round in 0..4 {
        let text = round.to_string();
        a.execute("UPDATE t SET text = ?1 || text WHERE id BETWEEN ?2 AND ?2 + 1000", (text, 300 * round))
            .unwrap();
        lab.push("a.db").await.unwrap();
    }
    clock.advance(2 * HOUR);
    a.execute("UPDATE t SET text = 'later' WHERE id = 7", []).unwrap();
    lab.push("a.db").await.unwrap();
    (lab, faults, clock, a)
}

#[tokio::test]
async fn regression_a_head_behind_a_collection_that_was_cut_off_leads_to_no_old_places() {
    let of_an_hour = CollectOptions { retention: NOTHING, age_min: HOUR, dry_run: false };
    let (lab, faults, clock, a) = with_little_of_each_entry().await;
    faults.add(Rule::on(Operation::Put).at("/head").fails(Failure::Unavailable));
    assert!(lab.collect(of_an_hour).await.is_err());
    faults.mend();
    lab.session().await.unlock().await.unwrap();
    clock.advance(2 * HOUR);
    for round in 0..70 {
        // Without what is remembered beside the file, the head leads.
        std::fs::remove_file(lab.path("a.db.larder-map")).unwrap();
        a.execute("UPDATE t SET text = ?1 WHERE id = 7", [round]).unwrap();
        lab.push("a.db").await.unwrap();
    }
    // There is a map among these now; the newest version needs nothing of what was pushed before them.
    a.execute("UPDATE t SET text = 'anew'", []).unwrap();
    lab.push("a.db").await.unwrap();
    lab.collect(of_an_hour).await.unwrap();
    let verified = verify(&lab.remote, lab.folder.path(), &unwatched()).await.unwrap();
    assert_eq!(verified.problems, Vec::<String>::new());
    lab.pull("newest.db").await.unwrap();
    assert_eq!(lab.contents("newest.db"), lab.contents("a.db"));
}

#[tokio::test]
async fn regression_days_and_weeks_are_those_of_the_versions_and_a_floor_never_goes_down() {
    // An hour before midnight, UTC.
    let clock = ManualClock::at(Timestamp::from_millis(1_799_967_600_000));
    let ambient = Ambient::repeatable(Arc::clone(&clock), 1);
    let lab = Lab::with_ambient(Arc::new(MemoryStore::with_ambient(ambient.clone())), ambient);
    let a = lab.create("a.db", 300);
    // A release ends each day, as after a run; collected four times a day.
    let mut newest_of_days = Vec::new();
    for day in 0..20 {
        for part in 0..4 {
            clock.advance(6 * HOUR);
            let id = 1 + (day * 7 + part) % 300;
            a.execute("UPDATE t SET text = ?1 WHERE id = ?2", (format!("{day} {part}"), id)).unwrap();
            lab.push("a.db").await.unwrap();
            lab.collect(CollectOptions::default()).await.unwrap();
        }
        newest_of_days.push(lab.contents("a.db"));
    }
    let restored = |seq: u64| {
        let lab = &lab;
        async move {
            let wanted = PullOptions { wanted: Wanted::Seq(seq), force: true, may_go_back: true };
            lab.pull_with("r.db", wanted).await.ok().map(|_| lab.contents("r.db"))
        }
    };
    let kept = async || {
        let newest = lab.remote.newest(None, &mut Along::default()).await.unwrap().unwrap().seq;
        let mut kept = std::collections::HashSet::new();
        for seq in 1..=newest {
            kept.extend(restored(seq).await);
        }
        kept
    };
    let all = kept().await;
    for (day, contents) in newest_of_days.iter().enumerate().skip(13) {
        assert!(all.contains(contents), "day {day} of 20 is gone");
    }
    // Somebody who keeps more, from now on, loses nothing of it.
    backup(&lab.remote, "now", &Wanted::Newest).await.unwrap();
    let longer = Retention { keep: 7 * 24 * HOUR, ..Retention::default() };
    lab.collect(CollectOptions { retention: longer, ..CollectOptions::default() }).await.unwrap();
    assert!(kept().await == all, "what was kept before is not kept any more");
    let verified = verify(&lab.remote, lab.folder.path(), &unwatched()).await.unwrap();
    assert_eq!(verified.problems, Vec::<String>::new());
}

#[tokio::test]
async fn regression_a_look_that_fails_after_a_collection_leaves_no_old_places() {
    let (lab, faults, _, _) = with_little_of_each_entry().await;
    let mut standby = lab.session().await;
    let of_an_hour = CollectOptions { retention: NOTHING, age_min: HOUR, dry_run: false };
    assert!(lab.collect(of_an_hour).await.unwrap().rewritten_bytes > 0);
    // It sees that frames have moved, and not where to.
    faults.add(Rule::on(Operation::Open).at("/head").times(1).fails(Failure::Unavailable));
    assert!(standby.refresh().await.is_err());
    faults.mend();
    standby.refresh().await.unwrap();
    let objects = lab.objects().await;
    for (source, _) in standby.newest().sources() {
        let name = match source {
            Source::Log { seq, .. } => format!("/log/{seq:016x}"),
            Source::Pack(digest) => format!("/pack/{digest}"),
        };
        assert!(objects.iter().any(|(object, _)| object.ends_with(&name)), "{name} is gone");
    }
}

#[tokio::test]
async fn a_version_that_is_marked_while_it_is_about_to_go_stays() {
    let (lab, _, _, a) = with_little_of_each_entry().await;
    let marked = lab.remote.newest(None, &mut Along::default()).await.unwrap().unwrap().seq - 2;
    let collect = CollectWhile {
        options: CollectOptions { retention: NOTHING, age_min: HOUR, dry_run: false },
        every: Duration::ZERO,
        every_entries: u64::MAX,
    };
    let options = ReplicateOptions { renew: true, collect: Some(collect), ..ReplicateOptions::default() };
    let mut replicator =
        Replicator::begin(held(&lab).await, &lab.path("a.db"), options, unwatched()).await.unwrap();
    a.execute("UPDATE t SET text = 'due' WHERE id = 7", []).unwrap();
    assert_eq!(replicator.round().await.unwrap(), Round::Committed);
    // Plans, and knows the plan.
    replicator.collect_some().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    replicator.collect_some().await;
    backup(&lab.remote, "in time", &Wanted::Seq(marked)).await.unwrap();
    for _ in 0..50 {
        replicator.collect_some().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    replicator.finish().await.unwrap();
    let wanted = PullOptions { wanted: Wanted::Name("in time".to_owned()), ..PullOptions::default() };
    assert_eq!(lab.pull_with("marked.db", wanted).await.unwrap().seq, marked);
    let verified = verify(&lab.remote, lab.folder.path(), &unwatched()).await.unwrap();
    assert_eq!(verified.problems, Vec::<String>::new());
}
