//! What callers who go away, answers that get lost and stores that fail in the middle leave: an upload
//! that is whole, or none.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::{Home, incoming, photo};
use futures::future::BoxFuture;
use larder_assets::{BucketPolicy, Idempotency, Larder, WriteCondition};
use larder_catalog::CommitBarrier;
use larder_core::Code;
use larder_store::stream_of;
use larder_testkit::faulty_store::{Failure, Operation, Rule};
use larder_worker::Worker;
use tokio::sync::{Notify, Semaphore};

fn repeatable() -> Idempotency {
    Idempotency { scope: "local POST /uploads".to_owned(), key: "k1".to_owned() }
}

/// Holds back the answers of commits that have happened already.
struct Gate {
    came: Notify,
    open: Semaphore,
}

impl CommitBarrier for Gate {
    fn passed(&self) -> BoxFuture<'_, larder_catalog::Result<()>> {
        Box::pin(async {
            self.came.notify_one();
            drop(self.open.acquire().await.expect("never closed"));
            Ok(())
        })
    }
}

/// Loses the answer of a commit that has happened, while it is told to.
struct LosesAnswers(AtomicBool);

impl CommitBarrier for LosesAnswers {
    fn passed(&self) -> BoxFuture<'_, larder_catalog::Result<()>> {
        let lost = self.0.load(Ordering::SeqCst);
        Box::pin(async move {
            match lost {
                true => Err(larder_catalog::Error::Unavailable { what: "no answer".to_owned(), cause: None }),
                false => Ok(()),
            }
        })
    }
}

/// The first request's upload is the one that a repeat is given, and it becomes an asset.
async fn repeat_is_whole(home: &Home, larder: &Larder) {
    let again =
        larder.accept(incoming("media"), stream_of(photo(40, 30)), Some(&repeatable())).await.unwrap();
    assert!(again.replayed, "the first request had taken effect");
    Worker::drain(larder).await.unwrap();
    let upload = larder.upload(again.upload.id).await.unwrap();
    assert_eq!(upload.status, "completed", "{:?}", upload.error);
    assert!(home.staging().is_empty(), "{:?}", home.staging());
    assert_eq!(larder.assets(&Default::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn b10_a_client_that_goes_away_in_the_commit_finds_its_upload_whole_when_it_repeats() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let gate = Arc::new(Gate { came: Notify::new(), open: Semaphore::new(0) });
    larder.catalog().install_barrier(gate.clone());
    let request = tokio::spawn({
        let larder = larder.clone();
        async move {
            larder.accept(incoming("media"), stream_of(photo(40, 30)), Some(&repeatable())).await.map(drop)
        }
    });
    gate.came.notified().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    gate.open.add_permits(1_000);
    repeat_is_whole(&home, &larder).await;
}

#[tokio::test]
async fn b10_an_upload_whose_answer_is_lost_is_whole_when_it_is_repeated() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let barrier = Arc::new(LosesAnswers(AtomicBool::new(true)));
    larder.catalog().install_barrier(barrier.clone());
    let lost = larder.accept(incoming("media"), stream_of(photo(40, 30)), Some(&repeatable())).await;
    assert_eq!(lost.unwrap_err().kind(), larder_core::FaultKind::Unavailable);
    barrier.0.store(false, Ordering::SeqCst);
    repeat_is_whole(&home, &larder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_equal_bytes_that_are_processed_at_the_same_moment_become_one_asset() {
    let home = Home::new().await;
    // Long enough between the look for an equal asset and the record for both to look.
    let (larder, faults) = home.faulty_larder().await;
    faults.add(Rule::on(Operation::Rename).delayed(Duration::from_millis(300)));
    let policy = BucketPolicy { deduplicate: true, ..BucketPolicy::default() };
    larder.put_bucket(&"once".parse().unwrap(), policy).await.unwrap();
    let one = larder.accept(incoming("once"), stream_of(photo(40, 30)), None).await.unwrap().upload;
    let two = larder.accept(incoming("once"), stream_of(photo(40, 30)), None).await.unwrap().upload;
    let workers = [larder.clone(), larder.clone()]
        .map(|larder| tokio::spawn(async move { Worker::drain(&larder).await.unwrap() }));
    for worker in workers {
        worker.await.unwrap();
    }
    let (one, two) = (larder.upload(one.id).await.unwrap(), larder.upload(two.id).await.unwrap());
    assert_eq!((one.status.as_str(), two.status.as_str()), ("completed", "completed"));
    assert_eq!(one.asset.unwrap().id, two.asset.unwrap().id);
    assert_eq!(larder.assets(&Default::default()).await.unwrap().items.len(), 1);
    assert!(home.staging().is_empty());
}

#[tokio::test]
async fn a7_a_store_that_fails_in_the_middle_of_a_commit_loses_and_doubles_nothing() {
    let failing = [
        Rule::on(Operation::Rename).times(1).fails(Failure::Unavailable),
        Rule::on(Operation::Rename).times(1).fails_after_effect(Failure::Unavailable),
    ];
    for rule in failing {
        let home = Home::new().await;
        let (larder, faults) = home.faulty_larder().await;
        let upload = larder.accept(incoming("media"), stream_of(photo(400, 300)), None).await.unwrap().upload;
        faults.add(rule.clone());
        for _ in 0..3 {
            Worker::drain(&larder).await.unwrap();
            home.clock().advance(Duration::from_secs(120));
        }
        let upload = larder.upload(upload.id).await.unwrap();
        assert_eq!(upload.status, "completed", "{rule:?}: {:?}", upload.error);
        let asset = upload.asset.unwrap();
        let stored = larder.read_original(&asset.bucket, &asset.key).await.unwrap();
        assert_eq!(stored.size_bytes, photo(400, 300).len() as u64);
        assert_eq!(larder.variants(asset.id).await.unwrap().len(), 4);
        assert_eq!(larder.assets(&Default::default()).await.unwrap().items.len(), 1);
        assert!(home.staging().is_empty(), "{rule:?}: {:?}", home.staging());
    }
}

#[tokio::test]
async fn a7_a_put_that_fails_in_its_commit_is_settled_by_the_next_writer_of_the_key() {
    for after_effect in [false, true] {
        let home = Home::new().await;
        let (larder, faults) = home.faulty_larder().await;
        let mut file = incoming("media");
        file.key = Some("a.jpg".parse().unwrap());
        let rule = Rule::on(Operation::Rename).times(1);
        faults.add(match after_effect {
            true => rule.fails_after_effect(Failure::Unavailable),
            false => rule.fails(Failure::Unavailable),
        });
        let failed = larder.put(file.clone(), WriteCondition::None, stream_of(photo(400, 300))).await;
        assert_eq!(failed.unwrap_err().code, Code::BackendUnavailable);
        let again = larder.put(file, WriteCondition::None, stream_of(photo(200, 100))).await.unwrap();
        // What the first put had moved was its own asset, which the second replaced.
        assert_eq!((again.created, again.asset.version), (!after_effect, 1 + i64::from(after_effect)));
        let stored = larder.read_original(&again.asset.bucket, &again.asset.key).await.unwrap();
        assert_eq!(stored.size_bytes, photo(200, 100).len() as u64);
        Worker::drain(&larder).await.unwrap();
        assert!(home.staging().is_empty(), "{:?}", home.staging());
        assert_eq!(home.files("media").iter().filter(|path| !path.contains("/_variants/")).count(), 1);
    }
}
