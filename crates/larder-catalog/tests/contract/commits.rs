//! The one commit function: atomic, grouped, announced.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use larder_catalog::{Change, Class, CommitBarrier, Error, NewJob, Result};
use larder_core::{Code, Fault};
use serde_json::json;

use crate::engine::{Engine, bucket, for_each_engine};

for_each_engine! {
    a_refusal_rolls_back_all_of_its_transaction_and_reaches_the_caller,
    a_failing_and_a_panicking_operation_leave_their_neighbours_alone,
    code_that_ignores_a_failed_statement_does_not_commit,
    changes_are_told_after_the_commit_and_never_of_what_was_rolled_back,
    a_barrier_holds_back_the_answer_of_durable_commits_only,
    a_failed_barrier_is_reported,
    workers_are_woken_by_a_committed_job,
    a_caller_that_goes_away_leaves_the_catalogue_usable,
    the_catalogue_answers_a_ping,
}

async fn a_refusal_rolls_back_all_of_its_transaction_and_reaches_the_caller(engine: Engine) {
    let fault = Fault::new(Code::BacklogFull, "too much waits").remedy("wait");
    let told = fault.clone();
    let upload = engine.upload("media");
    let id = upload.id;
    let refused: Result<()> = engine
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_upload(&upload).await?;
                tx.enqueue(NewJob::new("ingest", "ingest")).await?;
                Err(told)?
            })
        })
        .await;
    assert_eq!(Fault::from(refused.unwrap_err()), fault);
    assert_eq!(engine.catalog.upload(id).await.unwrap(), None);
    assert!(engine.catalog.queue_counts().await.unwrap().is_empty());
}

async fn a_failing_and_a_panicking_operation_leave_their_neighbours_alone(engine: Engine) {
    let before = engine.catalog.commit_counters(Class::Durable);
    let operations = (0..30_u32).map(|number| {
        let mut upload = engine.upload("media");
        upload.bytes_received = u64::from(number);
        let catalog = engine.catalog.clone();
        async move {
            catalog
                .commit(Class::Durable, move |tx| {
                    Box::pin(async move {
                        tx.insert_upload(&upload).await?;
                        match number % 3 {
                            0 => Ok(upload.id),
                            1 => Err(Error::from(Fault::new(Code::Conflict, "no"))),
                            _ => panic!("a panic of operation {number}"),
                        }
                    })
                })
                .await
        }
    });
    let outcomes = futures::future::join_all(operations).await;
    for (number, outcome) in outcomes.iter().enumerate() {
        match (number % 3, outcome) {
            (0, Ok(id)) => assert!(engine.catalog.upload(*id).await.unwrap().is_some()),
            (1, Err(Error::Refused(_))) => {}
            (2, Err(Error::Internal { what, .. })) => assert!(what.contains("panic"), "{what}"),
            other => panic!("{other:?}"),
        }
    }
    let all = larder_catalog::UploadFilter { limit: 100, ..Default::default() };
    assert_eq!(engine.catalog.uploads(&all).await.unwrap().items.len(), 10);
    let after = engine.catalog.commit_counters(Class::Durable);
    assert_eq!(after.operations - before.operations, 10);
}

async fn code_that_ignores_a_failed_statement_does_not_commit(engine: Engine) {
    // The bucket's name column is gone behind our back, so the statement fails in the database.
    engine.tamper("ALTER TABLE presets RENAME COLUMN recipe TO gone").await;
    let ignored = engine
        .write(|tx| {
            Box::pin(async move {
                tx.upsert_bucket(&bucket("media"), &json!({}), false).await?;
                let _ = tx.upsert_preset("p", "resize:1", false).await;
                Ok(())
            })
        })
        .await;
    assert!(matches!(ignored, Err(Error::Internal { .. })), "{ignored:?}");
    assert_eq!(engine.catalog.bucket(&bucket("media")).await.unwrap(), None);
    engine
        .write(|tx| Box::pin(async { tx.upsert_bucket(&bucket("media"), &json!({}), false).await }))
        .await
        .expect("the next transaction is not affected");
}

async fn changes_are_told_after_the_commit_and_never_of_what_was_rolled_back(engine: Engine) {
    let mut changes = engine.catalog.subscribe();
    let rolled_back = engine.upload("media");
    let failed: Result<()> = engine
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_upload(&rolled_back).await?;
                Err(Fault::internal("no"))?
            })
        })
        .await;
    assert!(failed.is_err());
    let upload = engine.stored_upload("media").await;
    let told = tokio::time::timeout(Duration::from_secs(5), changes.recv()).await.unwrap().unwrap();
    assert_eq!(told, Change::Upload(upload.id));
    assert!(engine.catalog.upload(upload.id).await.unwrap().is_some());
    assert!(changes.try_recv().is_err());
}

struct Gate {
    open: tokio::sync::Semaphore,
    asked: AtomicU64,
}

impl CommitBarrier for Gate {
    fn passed(&self) -> BoxFuture<'_, Result<()>> {
        async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.open.acquire().await.expect("the gate is not closed").forget();
            Ok(())
        }
        .boxed()
    }
}

async fn a_barrier_holds_back_the_answer_of_durable_commits_only(engine: Engine) {
    let gate = Arc::new(Gate { open: tokio::sync::Semaphore::new(0), asked: AtomicU64::new(0) });
    engine.catalog.install_barrier(gate.clone());
    let upload = engine.upload("media");
    let id = upload.id;
    let catalog = engine.catalog.clone();
    let waiting = tokio::spawn(async move {
        catalog
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.insert_upload(&upload).await }))
            .await
    });
    // Ephemeral writes pass while the durable one waits.
    engine.catalog.report_upload_progress(id, 1, None).await.unwrap();
    while gate.asked.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!waiting.is_finished());
    gate.open.add_permits(1);
    waiting.await.unwrap().unwrap();
}

struct Torn;

impl CommitBarrier for Torn {
    fn passed(&self) -> BoxFuture<'_, Result<()>> {
        std::future::ready(Err(Error::Unavailable {
            what: "the replica does not answer".into(),
            cause: None,
        }))
        .boxed()
    }
}

async fn a_failed_barrier_is_reported(engine: Engine) {
    engine.catalog.install_barrier(Arc::new(Torn));
    let upload = engine.upload("media");
    let outcome = engine.write(move |tx| Box::pin(async move { tx.insert_upload(&upload).await })).await;
    assert!(matches!(outcome, Err(Error::Unavailable { .. })));
}

async fn workers_are_woken_by_a_committed_job(engine: Engine) {
    let mut here = engine.catalog.job_signal();
    engine.write(|tx| Box::pin(tx.enqueue(NewJob::new("scrub", "maintenance")))).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), here.wait()).await.expect("a wake-up in this process");
    let nothing = tokio::time::timeout(Duration::from_millis(50), here.wait()).await;
    assert!(nothing.is_err(), "one job, one wake-up");
}

async fn a_caller_that_goes_away_leaves_the_catalogue_usable(engine: Engine) {
    for _ in 0..20 {
        let upload = engine.upload("media");
        let gone = engine.write(move |tx| {
            Box::pin(async move {
                tx.insert_upload(&upload).await?;
                tokio::time::sleep(Duration::from_millis(2)).await;
                tx.upload(upload.id).await
            })
        });
        let _ = tokio::time::timeout(Duration::from_millis(1), gone).await;
    }
    let upload = engine.stored_upload("media").await;
    assert!(engine.catalog.upload(upload.id).await.unwrap().is_some());
}

async fn the_catalogue_answers_a_ping(engine: Engine) {
    engine.catalog.ping().await.unwrap();
    engine.catalog.close().await;
    assert!(matches!(engine.catalog.ping().await, Err(Error::Unavailable { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_that_wait_together_share_commits_on_sqlite() {
    let engine = Engine::sqlite().await;
    let before = engine.catalog.commit_counters(Class::Durable);
    let uploads = (0..64).map(|_| engine.stored_upload("media"));
    futures::future::join_all(uploads).await;
    let after = engine.catalog.commit_counters(Class::Durable);
    let (commits, operations) = (after.commits - before.commits, after.operations - before.operations);
    assert_eq!(operations, 64);
    assert!(commits <= 16, "{commits} commits for {operations} operations");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_wakes_workers_of_other_processes_on_postgresql() {
    let engine = Engine::postgres().await;
    let other = engine.other_process().await;
    // The listener connects in the background; until it does, polling covers it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut there = other.job_signal();
    engine.write(|tx| Box::pin(tx.enqueue(NewJob::new("scrub", "maintenance")))).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), there.wait()).await.expect("a wake-up in another process");
}
