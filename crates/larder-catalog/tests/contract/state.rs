//! What may be lost.

use std::time::Duration;

use larder_catalog::{Class, Error, NewJob, WorkerRecord};

use crate::engine::{Engine, for_each_engine};

for_each_engine! {
    the_newest_progress_of_an_upload_is_told,
    workers_are_listed_while_they_are_heard_of,
    old_state_is_forgotten,
    durable_tables_are_out_of_reach_of_ephemeral_transactions,
}

async fn the_newest_progress_of_an_upload_is_told(engine: Engine) {
    let upload = engine.stored_upload("media").await;
    assert_eq!(engine.catalog.upload_progress(upload.id).await.unwrap(), None);
    engine.catalog.report_upload_progress(upload.id, 5, Some(10)).await.unwrap();
    engine.catalog.report_upload_progress(upload.id, 8, Some(10)).await.unwrap();
    let progress = engine.catalog.upload_progress(upload.id).await.unwrap().unwrap();
    assert_eq!((progress.bytes_received, progress.bytes_total), (8, Some(10)));
}

async fn workers_are_listed_while_they_are_heard_of(engine: Engine) {
    let worker = WorkerRecord {
        id: "host-1-1".into(),
        host: "host".into(),
        pid: 42,
        queues: vec!["variants".into(), "ingest".into()],
        started_at: engine.now(),
        seen_at: engine.now(),
    };
    engine.catalog.report_worker(&worker).await.unwrap();
    assert_eq!(engine.catalog.workers(engine.now()).await.unwrap(), std::slice::from_ref(&worker));
    engine.advance(Duration::from_secs(60));
    assert!(engine.catalog.workers(engine.now()).await.unwrap().is_empty());
    engine.catalog.report_worker(&worker).await.unwrap();
    assert_eq!(engine.catalog.workers(engine.now()).await.unwrap()[0].started_at, worker.started_at);
    engine.catalog.remove_worker(&worker.id).await.unwrap();
    assert!(engine.catalog.workers(worker.started_at).await.unwrap().is_empty());
}

async fn old_state_is_forgotten(engine: Engine) {
    let upload = engine.stored_upload("media").await;
    engine.catalog.report_upload_progress(upload.id, 5, None).await.unwrap();
    assert_eq!(engine.catalog.forget_state_before(engine.now()).await.unwrap(), 0);
    engine.advance(Duration::from_secs(1));
    assert_eq!(engine.catalog.forget_state_before(engine.now()).await.unwrap(), 1);
    assert_eq!(engine.catalog.upload_progress(upload.id).await.unwrap(), None);
}

async fn durable_tables_are_out_of_reach_of_ephemeral_transactions(engine: Engine) {
    let refused = engine
        .catalog
        .commit(Class::Ephemeral, |tx| Box::pin(tx.enqueue(NewJob::new("scrub", "maintenance"))))
        .await;
    assert!(matches!(refused, Err(Error::Internal { .. })), "{refused:?}");
    assert!(engine.catalog.queue_counts().await.unwrap().is_empty());
}
