//! Uploads and idempotency keys.

use std::time::Duration;

use larder_catalog::{
    Begun, IdempotencyAnswer, IdempotencyState, NewIdempotency, UploadChange, UploadFilter, UploadStatus,
};
use larder_core::{AssetId, Code, Fault, KeyId};
use serde_json::json;

use crate::engine::{Engine, bucket, for_each_engine, key};

for_each_engine! {
    an_upload_reads_back_as_it_was,
    an_upload_moves_only_from_the_statuses_that_were_named,
    a_failed_upload_is_opened_again_only_while_it_has_its_bytes,
    uploads_list_newest_first_and_page_without_gaps,
    clean_up_finds_abandoned_and_ended_uploads,
    an_idempotency_key_runs_once_and_replays_its_answer,
    an_idempotency_key_is_free_again_after_its_time,
    an_answer_commits_with_its_upload_or_not_at_all,
}

async fn an_upload_reads_back_as_it_was(engine: Engine) {
    let mut upload = engine.upload("media");
    upload.key = Some(key("a/b"));
    upload.error = Some(Fault::new(Code::FileTooLarge, "too large").remedy("smaller"));
    upload.asset_id = Some(AssetId::new(&engine.ambient));
    upload.credential = Some(KeyId::new(&engine.ambient));
    upload.tags = vec!["x".into()];
    upload.size_bytes = Some(u64::from(u32::MAX) * 3);
    let copy = upload.clone();
    engine.write(move |tx| Box::pin(async move { tx.insert_upload(&copy).await })).await.unwrap();
    assert_eq!(engine.catalog.upload(upload.id).await.unwrap(), Some(upload));
}

async fn a_failed_upload_is_opened_again_only_while_it_has_its_bytes(engine: Engine) {
    let stored = engine.stored_upload("media").await;
    let id = stored.id;
    let until = engine.now().plus(Duration::from_secs(60));
    let reopen = || engine.write(move |tx| Box::pin(async move { tx.reopen_upload(id, until).await }));
    assert!(reopen().await.unwrap_err().is_precondition(), "it has not failed");
    let fail = |staging_place| {
        let change = UploadChange {
            status: Some(UploadStatus::Failed),
            error: Some(Fault::internal("a defect")),
            staging_place,
            ..UploadChange::default()
        };
        engine.write(move |tx| {
            Box::pin(async move { tx.change_upload(id, &[UploadStatus::Pending], change).await })
        })
    };
    fail(None).await.unwrap();
    reopen().await.unwrap();
    let open = engine.catalog.upload(id).await.unwrap().unwrap();
    assert_eq!((open.status, open.error, open.finished_at), (UploadStatus::Pending, None, None));
    assert_eq!((open.expires_at, open.staging_place), (until, stored.staging_place));
    fail(Some(None)).await.unwrap();
    assert!(reopen().await.unwrap_err().is_precondition(), "its bytes are gone");
}

async fn an_upload_moves_only_from_the_statuses_that_were_named(engine: Engine) {
    let id = engine.stored_upload("media").await.id;
    let asset = AssetId::new(&engine.ambient);
    let done = UploadChange {
        status: Some(UploadStatus::Completed),
        asset: Some((asset, 3)),
        staging_place: Some(None),
        digests: Some(("aa".into(), "bb".into(), 7)),
        progress_percentage: Some(100),
        ..UploadChange::default()
    };
    let change = done.clone();
    let early = engine
        .write(move |tx| {
            Box::pin(async move { tx.change_upload(id, &[UploadStatus::Processing], change).await })
        })
        .await;
    assert!(early.unwrap_err().is_precondition());
    let change = done.clone();
    let upload = engine
        .write(move |tx| {
            Box::pin(async move { tx.change_upload(id, &[UploadStatus::Pending], change).await })
        })
        .await
        .unwrap();
    assert_eq!((upload.asset_id, upload.asset_version, upload.staging_place), (Some(asset), Some(3), None));
    assert_eq!((upload.finished_at, upload.size_bytes), (Some(engine.now()), Some(7)));
    assert_eq!(upload.original_filename.as_deref(), Some("x.png"));
    let again = engine
        .write(move |tx| Box::pin(async move { tx.change_upload(id, &[UploadStatus::Pending], done).await }))
        .await;
    assert!(again.unwrap_err().is_precondition());
}

async fn uploads_list_newest_first_and_page_without_gaps(engine: Engine) {
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(engine.stored_upload(if number == 3 { "artwork" } else { "media" }).await.id);
        if number % 2 == 0 {
            engine.advance(Duration::from_millis(1));
        }
    }
    let mut filter = UploadFilter { limit: 2, ..UploadFilter::default() };
    let mut listed = Vec::new();
    loop {
        let page = engine.catalog.uploads(&filter).await.unwrap();
        listed.extend(page.items.into_iter().map(|upload| upload.id));
        match page.next {
            Some(next) => filter.after = Some(next),
            None => break,
        }
    }
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    ids.sort_unstable();
    assert_eq!(sorted, ids);
    let artwork = UploadFilter { bucket: Some(bucket("artwork")), limit: 9, ..UploadFilter::default() };
    assert_eq!(engine.catalog.uploads(&artwork).await.unwrap().items.len(), 1);
}

async fn clean_up_finds_abandoned_and_ended_uploads(engine: Engine) {
    let abandoned = engine.stored_upload("media").await.id;
    let failed = engine.stored_upload("media").await.id;
    let change = UploadChange { status: Some(UploadStatus::Failed), ..UploadChange::default() };
    engine
        .write(move |tx| {
            Box::pin(async move { tx.change_upload(failed, &[UploadStatus::Pending], change).await })
        })
        .await
        .unwrap();
    assert!(engine.catalog.abandoned_uploads(engine.now(), None, 10).await.unwrap().is_empty());
    engine.advance(Duration::from_secs(86_400));
    let due = engine.catalog.abandoned_uploads(engine.now(), None, 10).await.unwrap();
    assert_eq!(due.iter().map(|upload| upload.id).collect::<Vec<_>>(), [abandoned]);
    let leftovers = engine.catalog.uploads_with_leftovers(engine.now(), 10).await.unwrap();
    assert_eq!(leftovers.iter().map(|upload| upload.id).collect::<Vec<_>>(), [failed]);
    let ended = engine.catalog.uploads_ended_before(engine.now(), 10).await.unwrap();
    assert_eq!(ended.iter().map(|upload| upload.id).collect::<Vec<_>>(), [failed]);
    assert!(
        !engine.write(move |tx| Box::pin(async move { tx.remove_upload(abandoned).await })).await.unwrap()
    );
    assert!(engine.write(move |tx| Box::pin(async move { tx.remove_upload(failed).await })).await.unwrap());
}

fn request(engine: &Engine) -> NewIdempotency {
    NewIdempotency {
        scope: "key-1 POST /api/v1/uploads".into(),
        key: "k".into(),
        body_digest: "d1".into(),
        expires_at: engine.now().plus(Duration::from_secs(86_400)),
        running_until: engine.now().plus(Duration::from_secs(60)),
    }
}

async fn begin(engine: &Engine, new: NewIdempotency) -> Begun {
    engine.write(move |tx| Box::pin(async move { tx.begin_idempotency(&new).await })).await.unwrap()
}

fn answer() -> IdempotencyAnswer {
    IdempotencyAnswer {
        status: 202,
        headers: json!({"location": "/x"}),
        body: json!({"id": 1}),
        upload_id: None,
    }
}

async fn an_idempotency_key_runs_once_and_replays_its_answer(engine: Engine) {
    assert_eq!(begin(&engine, request(&engine)).await, Begun::First);
    let Begun::Existing(running) = begin(&engine, request(&engine)).await else { panic!("it ran twice") };
    assert_eq!((running.state, running.answer), (IdempotencyState::Running, None));
    let new = request(&engine);
    engine
        .write(move |tx| {
            Box::pin(async move { tx.finish_idempotency(&new.scope, &new.key, "d1", &answer()).await })
        })
        .await
        .unwrap();
    let Begun::Existing(done) = begin(&engine, request(&engine)).await else { panic!("it ran twice") };
    assert_eq!((done.state, done.answer), (IdempotencyState::Done, Some(answer())));
    assert_eq!(done.body_digest, "d1");
    // An answer outlives the time after which a silent request counts as dead.
    engine.advance(Duration::from_secs(120));
    assert!(matches!(begin(&engine, request(&engine)).await, Begun::Existing(_)));
}

async fn an_idempotency_key_is_free_again_after_its_time(engine: Engine) {
    assert_eq!(begin(&engine, request(&engine)).await, Begun::First);
    engine.advance(Duration::from_secs(60));
    assert_eq!(begin(&engine, request(&engine)).await, Begun::First);
    let new = request(&engine);
    engine
        .write(move |tx| Box::pin(async move { tx.drop_idempotency(&new.scope, &new.key, "d1").await }))
        .await
        .unwrap();
    assert_eq!(begin(&engine, request(&engine)).await, Begun::First);
    engine.advance(Duration::from_secs(60));
    assert_eq!(engine.write(|tx| Box::pin(tx.expire_idempotency(10))).await.unwrap(), 1);
}

async fn an_answer_commits_with_its_upload_or_not_at_all(engine: Engine) {
    begin(&engine, request(&engine)).await;
    let new = request(&engine);
    let upload = engine.upload("media");
    let id = upload.id;
    let refused = engine
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_upload(&upload).await?;
                tx.finish_idempotency(&new.scope, &new.key, "another body", &answer()).await
            })
        })
        .await;
    assert!(refused.unwrap_err().is_precondition());
    assert_eq!(engine.catalog.upload(id).await.unwrap(), None);
}
