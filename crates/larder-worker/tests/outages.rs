//! What becomes of uploads while the store goes wrong in one way or another, and when it is mended.

mod common;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use common::{Home, incoming, photo};
use larder_assets::{DeleteOptions, Idempotency, Larder, SweepOptions, WriteCondition};
use larder_catalog::{JobFilter, JobRecord, JobState};
use larder_core::{Code, Fault, FaultKind, UploadId};
use larder_store::{ListOptions, MemoryStore, Store, stream_of};
use larder_testkit::{
    copying_store::CopyingStore,
    faulty_store::{Failure, Faults, FaultyStore, Operation, Rule},
};
use larder_worker::Worker;

const WIDTH: u32 = 400;

/// One way in which a store goes wrong.
struct Trouble {
    name: &'static str,
    rules: Vec<Rule>,
    /// What works in spite of it.
    works: bool,
}

fn trouble(name: &'static str, rules: impl Into<Vec<Rule>>) -> Trouble {
    Trouble { name, rules: rules.into(), works: false }
}

/// Every kind of fault, on everything or where it is the most dangerous.
fn troubles() -> Vec<Trouble> {
    let (put, open, rename) = (Operation::Put, Operation::Open, Operation::Rename);
    let away = Failure::Unavailable;
    let once = |operation| Rule::on(operation).times(1);
    vec![
        trouble("unavailable", [Rule::on_all().fails(away)]),
        trouble(
            "429 or 503 with Retry-After",
            [Rule::on_all().fails(Failure::Busy(Duration::from_millis(300)))],
        ),
        Trouble { works: true, ..trouble("latency", [Rule::on_all().delayed(Duration::from_millis(20))]) },
        trouble("everything hangs", [Rule::on_all().hangs()]),
        trouble("a put hangs in its body", [Rule::on(put).hangs_after_bytes(100)]),
        trouble("a body hangs on its way out", [Rule::on(open).hangs_after_bytes(100)]),
        trouble("a move hangs when it is done", [Rule::on(rename).hangs_after_effect()]),
        trouble("a put is reset in its body", [Rule::on(put).fails_after_bytes(100, away)]),
        trouble("a body is reset on its way out", [Rule::on(open).fails_after_bytes(100, away)]),
        trouble("a body ends early", [Rule::on(open).truncates_after_bytes(100)]),
        trouble("a put keeps a part", [Rule::on(put).truncates_after_bytes(100)]),
        trouble("the answer of a put is lost", [Rule::on(put).fails_after_effect(away)]),
        trouble("the answer of a move is lost", [Rule::on(rename).fails_after_effect(away)]),
        trouble("everything is done and no answer comes", [Rule::on_all().fails_after_effect(away)]),
        trouble(
            "wrong fingerprints in some answers",
            [put, Operation::Stat, open, rename]
                .map(|operation| once(operation).answers_a_wrong_fingerprint()),
        ),
    ]
}

fn repeatable(key: &str) -> Idempotency {
    Idempotency { scope: "local POST /uploads".to_owned(), key: key.to_owned() }
}

/// A client that repeats its request until it is taken, but not for ever.
async fn send(larder: &Larder, key: &str, tries: usize) -> Result<UploadId, Fault> {
    let mut last = Err(Fault::internal("never tried"));
    for _ in 0..tries {
        last = larder
            .accept(incoming("media"), stream_of(photo(WIDTH, 300)), Some(&repeatable(key)))
            .await
            .map(|accepted| accepted.upload.id);
        let Err(fault) = &last else { break };
        tokio::time::sleep(fault.retry_after.unwrap_or(Duration::from_millis(20))).await;
    }
    last
}

async fn jobs(larder: &Larder) -> Vec<JobRecord> {
    let all = JobFilter { limit: 100, ..JobFilter::default() };
    larder.catalog().jobs(&all).await.unwrap().items
}

/// Works for as long as something waits.
async fn work_it_off(home: &Home, larder: &Larder) {
    for _ in 0..30 {
        Worker::drain(larder).await.unwrap();
        let open = |job: &JobRecord| matches!(job.state, JobState::Queued | JobState::Running);
        if !jobs(larder).await.iter().any(open) {
            return;
        }
        home.clock().advance(Duration::from_secs(400));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    panic!("jobs never end: {:?}", jobs(larder).await);
}

/// Drives uploads through the trouble and out of it again.
async fn ride_out(trouble: &Trouble) {
    let name = trouble.name;
    let home = Home::new().await;
    let (larder, faults) = home.guarded_larder().await;
    let mut taken = BTreeSet::from([send(&larder, "before", 1).await.unwrap()]);
    for rule in &trouble.rules {
        faults.add(rule.clone());
    }
    match send(&larder, "meanwhile", 3).await {
        Ok(id) => drop(taken.insert(id)),
        Err(fault) => {
            assert!(!trouble.works, "{name}: {fault}");
            assert_eq!(fault.kind(), FaultKind::Unavailable, "{name}: {fault:?}");
        }
    }
    for _ in 0..4 {
        Worker::drain(&larder).await.unwrap();
        home.clock().advance(Duration::from_secs(400));
    }
    for job in jobs(&larder).await {
        assert_ne!(job.state, JobState::Dead, "{name}: {job:?}");
        if !name.starts_with("wrong") {
            assert!(job.attempts <= 1, "{name}: an attempt was used up: {job:?}");
        }
    }
    for id in &taken {
        let upload = larder.upload(*id).await.unwrap();
        assert_ne!(upload.status, "failed", "{name}: {:?}", upload.error);
    }

    faults.mend();
    taken.insert(send(&larder, "meanwhile", 3).await.unwrap_or_else(|fault| panic!("{name}: {fault:?}")));
    work_it_off(&home, &larder).await;
    assert_eq!(taken.len(), 2, "{name}: a repeated request is one upload");
    nothing_is_lost_or_doubled(name, &home, &larder, &taken).await;
}

async fn nothing_is_lost_or_doubled(name: &str, home: &Home, larder: &Larder, taken: &BTreeSet<UploadId>) {
    let sent = photo(WIDTH, 300);
    for id in taken {
        let upload = larder.upload(*id).await.unwrap();
        assert_eq!(upload.status, "completed", "{name}: {:?}", upload.error);
        let asset = upload.asset.unwrap();
        let read = larder.read_untouched(&asset.bucket, &asset.key).await.unwrap();
        let read = read.into_body().await.unwrap().read_all(1 << 20).await.unwrap();
        assert!(read == sent, "{name}: {} bytes are not those that were sent", read.len());
        let variants = larder.variants(asset.id).await.unwrap();
        assert_eq!(variants.len(), 4, "{name}");
        for preset in ["artwork-large", "artwork-thumbnail"] {
            let recipe = larder.recipe_of_preset(preset).await.unwrap();
            let variant =
                larder.read_variant(&asset.bucket, &asset.key, &recipe, Some(preset)).await.unwrap();
            let (size_bytes, body) = (variant.size_bytes, variant.into_body().await.unwrap());
            let bytes = body.read_all(1 << 20).await.unwrap();
            assert_eq!(bytes.len() as u64, size_bytes, "{name}");
            is_a_whole_webp(name, &bytes);
        }
    }
    assert_eq!(larder.assets(&Default::default()).await.unwrap().items.len(), taken.len(), "{name}");
    let stored = home.files("media");
    let originals = stored.iter().filter(|path| !path.contains("/_variants/")).count();
    assert_eq!((originals, stored.len()), (taken.len(), 5 * taken.len()), "{name}: {stored:#?}");
    // Requests that were refused may have left bytes, which nobody was promised.
    home.clock().advance(Duration::from_secs(365 * 86_400));
    let targets = SweepOptions { targets: Vec::new(), dry_run: false };
    larder.sweep(&targets).await.unwrap();
    assert_eq!(home.staging(), Vec::<String>::new(), "{name}");
    assert_eq!(home.files(".larder/trash"), Vec::<String>::new(), "{name}");
}

/// A WebP is whole: its header says how long it is (RFC 9649, section 2.4).
fn is_a_whole_webp(name: &str, bytes: &[u8]) {
    assert_eq!(&bytes[..4], b"RIFF", "{name}");
    let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize + 8;
    assert_eq!(bytes.len(), length, "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_no_kind_of_trouble_loses_or_doubles_what_was_acknowledged() {
    for trouble in troubles() {
        ride_out(&trouble).await;
    }
}

async fn waiting_job(larder: &Larder) -> JobRecord {
    let queued = JobFilter { state: Some(JobState::Queued), limit: 1, ..JobFilter::default() };
    larder.catalog().jobs(&queued).await.unwrap().items.remove(0)
}

#[tokio::test]
async fn a7_a_job_is_not_tried_again_before_the_store_wants_to_be_asked() {
    let home = Home::new().await;
    let (larder, faults) = home.faulty_larder().await;
    send(&larder, "one", 1).await.unwrap();
    faults.add(Rule::on(Operation::Stat).times(1).fails(Failure::Busy(Duration::from_secs(100))));
    Worker::drain(&larder).await.unwrap();
    let job = waiting_job(&larder).await;
    let wait = job.run_at.since(larder.ambient().now());
    assert!((100..=125).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(job.attempts, 0);
    home.clock().advance(wait);
    work_it_off(&home, &larder).await;
    assert_eq!(larder.assets(&Default::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a13_what_needs_an_operator_says_so_is_asked_once_and_goes_on_when_it_is_mended() {
    for (failure, code, word) in [
        (Failure::Denied, Code::BackendDenied, "permission"),
        (Failure::Full, Code::StorageFull, "larder gc"),
    ] {
        let home = Home::new().await;
        let (larder, faults) = home.guarded_larder().await;
        let id = send(&larder, "before", 1).await.unwrap();
        faults.add(Rule::on_all().fails(failure));
        let asked = faults.count(Operation::Put);
        let refused = larder.put(incoming("media"), WriteCondition::None, stream_of(photo(40, 30))).await;
        let refused = refused.unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (code, None));
        assert!(refused.remedy.contains(word), "{}", refused.remedy);
        assert_eq!(faults.count(Operation::Put), asked + 1, "it is not retried");

        for _ in 0..6 {
            Worker::drain(&larder).await.unwrap();
            let job = waiting_job(&larder).await;
            let wait = job.run_at.since(larder.ambient().now());
            assert_eq!((wait, job.attempts), (Duration::from_secs(60), 0));
            let error = job.error.unwrap();
            assert_eq!((error.code, error.remedy.contains(word)), (code, true), "{error:?}");
            home.clock().advance(wait);
        }
        larder.check_store().unwrap();
        faults.mend();
        work_it_off(&home, &larder).await;
        assert_eq!(larder.upload(id).await.unwrap().status, "completed");
    }
}

#[tokio::test]
async fn a7_a_process_starts_while_the_store_is_away_and_finishes_what_lay_there() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let id = send(&larder, "before", 1).await.unwrap();
    drop(larder);
    let (larder, faults) = home.guarded_larder().await;
    faults.cut();
    larder.recover().await.unwrap();
    Worker::drain(&larder).await.unwrap();
    faults.mend();
    home.clock().advance(Duration::from_secs(400));
    tokio::time::sleep(Duration::from_millis(110)).await;
    work_it_off(&home, &larder).await;
    assert_eq!(larder.upload(id).await.unwrap().status, "completed");
}

/// Everything in a store but what Larder keeps for itself.
async fn places(store: &dyn Store, prefix: &str) -> Vec<String> {
    let page = store.list(ListOptions::under(prefix)).await.unwrap();
    page.entries.iter().map(|entry| entry.place.to_string()).collect()
}

/// A store whose moves are copies and removals, and what fails inside and around it.
async fn larder_on_copies(home: &Home) -> (Larder, Faults, Faults) {
    let (inner, inside) = FaultyStore::new(MemoryStore::new());
    let (store, around) = FaultyStore::new(CopyingStore(inner));
    (home.larder_over(Arc::new(store)).await, inside, around)
}

#[tokio::test]
async fn a7_a_move_made_of_copy_and_removal_loses_and_doubles_nothing_wherever_it_ends() {
    for ends_after_copy in [true, false] {
        let home = Home::new().await;
        let (larder, inside, around) = larder_on_copies(&home).await;
        let id = send(&larder, "one", 1).await.unwrap();
        match ends_after_copy {
            true => inside.add(Rule::on(Operation::Remove).times(1).fails(Failure::Unavailable)),
            false => {
                around.add(Rule::on(Operation::Rename).times(1).fails_after_effect(Failure::Unavailable))
            }
        }
        work_it_off(&home, &larder).await;
        let upload = larder.upload(id).await.unwrap();
        assert_eq!(upload.status, "completed", "{ends_after_copy}: {:?}", upload.error);
        let asset = upload.asset.unwrap();
        let read = larder.read_original(&asset.bucket, &asset.key).await.unwrap();
        assert_eq!((read.size_bytes, &read.etag), (photo(WIDTH, 300).len() as u64, &asset.etag));
        let stored = places(&**larder.stores().primary(), "media/").await;
        assert_eq!(stored.iter().filter(|place| !place.contains("_variants")).count(), 1, "{stored:?}");
        assert_eq!(places(&**larder.stores().primary(), ".larder/").await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a7_a_deletion_that_was_cut_off_after_its_copy_leaves_nothing_at_its_place() {
    let home = Home::new().await;
    let (larder, inside, _) = larder_on_copies(&home).await;
    send(&larder, "one", 1).await.unwrap();
    work_it_off(&home, &larder).await;
    let asset = larder.assets(&Default::default()).await.unwrap().items.remove(0);
    // Neither the removal nor the look at what became of it comes through.
    inside.add(Rule::on(Operation::Remove).times(1).fails(Failure::Unavailable));
    inside.add(Rule::on(Operation::Stat).times(1).fails(Failure::Unavailable));
    let cut_off = larder.delete(&asset.bucket, &asset.key, &DeleteOptions::default()).await;
    assert_eq!(cut_off.unwrap_err().code, Code::BackendUnavailable);
    home.clock().advance(Duration::from_secs(60));
    larder.recover().await.unwrap();
    assert_eq!(larder.read_original(&asset.bucket, &asset.key).await.unwrap_err().code, Code::AssetNotFound);
    assert_eq!(
        places(&**larder.stores().primary(), "media/").await,
        Vec::<String>::new(),
        "a direct URL finds nothing"
    );
    larder.restore(asset.id).await.unwrap();
    larder.read_original(&asset.bucket, &asset.key).await.unwrap();
}
