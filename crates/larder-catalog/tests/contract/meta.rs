//! What is written to the store beside the bytes: marks, numbers, and records put back as they were.

use std::time::Duration;

use larder_catalog::{AssetChange, MetaKind, MetaLog};
use serde_json::json;

use crate::engine::{Engine, bucket, for_each_engine};

for_each_engine! {
    every_change_of_a_record_leaves_a_mark_until_it_is_forgotten,
    one_writer_holds_the_log_at_a_time_and_numbers_rise,
    a_record_that_is_put_back_is_the_same,
    a_checkpoint_is_kept_until_it_is_forgotten,
    checkpoints_are_listed_by_the_beginning_of_their_names,
    an_orphan_is_known_since_its_bytes_were_first_seen,
}

async fn take(engine: &Engine, holder: &'static str) -> Option<MetaLog> {
    let until = engine.now().plus(Duration::from_secs(60));
    engine.write(move |tx| Box::pin(async move { tx.take_meta_log(holder, until).await })).await.unwrap()
}

async fn every_change_of_a_record_leaves_a_mark_until_it_is_forgotten(engine: Engine) {
    let asset = engine.stored_asset("media", "a").await;
    let seen = engine.catalog.meta_changes(100).await.unwrap();
    let of_asset = |changes: &[larder_catalog::MetaChange]| {
        changes.iter().filter(|c| c.kind == MetaKind::Asset && c.id == asset.id.to_string()).count()
    };
    assert_eq!(of_asset(&seen), 1);
    let (id, change) = (asset.id, AssetChange { owner: Some(Some("u".into())), ..AssetChange::default() });
    engine.write(move |tx| Box::pin(async move { tx.change_asset(id, None, change).await })).await.unwrap();
    assert_eq!(of_asset(&engine.catalog.meta_changes(100).await.unwrap()), 2);
    let marks: Vec<i64> = seen.iter().map(|change| change.mark).collect();
    engine.write(move |tx| Box::pin(async move { tx.forget_meta_changes(&marks).await })).await.unwrap();
    let left = engine.catalog.meta_changes(100).await.unwrap();
    assert_eq!(of_asset(&left), 1, "what changed since it was looked at stays marked");
    engine
        .write(|tx| Box::pin(async { tx.upsert_bucket(&bucket("b-1"), &json!({}), false).await }))
        .await
        .unwrap();
    let left = engine.catalog.meta_changes(100).await.unwrap();
    assert!(left.iter().any(|change| change.kind == MetaKind::Bucket && change.id == "b-1"));
}

async fn one_writer_holds_the_log_at_a_time_and_numbers_rise(engine: Engine) {
    let first = take(&engine, "w1").await.unwrap();
    assert_eq!(take(&engine, "w2").await, None);
    let again = take(&engine, "w1").await.unwrap();
    assert_eq!((again.catalogue.clone(), again.seq), (first.catalogue.clone(), first.seq + 1));
    engine.write(|tx| Box::pin(async { tx.release_meta_log("w1").await })).await.unwrap();
    let other = take(&engine, "w2").await.unwrap();
    assert_eq!((other.catalogue, other.seq), (first.catalogue, first.seq + 2));
    engine.advance(Duration::from_secs(61));
    engine.write(|tx| Box::pin(async { tx.raise_meta_seq(100).await })).await.unwrap();
    assert_eq!(take(&engine, "w3").await.unwrap().seq, 101, "an overdue holder is passed over");
}

async fn a_record_that_is_put_back_is_the_same(engine: Engine) {
    let asset = engine.stored_asset("media", "a").await;
    let (id, version) = (asset.id, asset.version);
    let deleted = engine
        .write(move |tx| {
            Box::pin(async move {
                let deleted = tx.mark_asset_deleted(id, version, Some(".larder/trash/x")).await?;
                tx.purge_asset(id).await?;
                Ok(deleted)
            })
        })
        .await
        .unwrap();
    for expected in [true, false] {
        let record = deleted.clone();
        let put_back =
            engine.write(move |tx| Box::pin(async move { tx.rebuild_asset(&record, false).await })).await;
        assert_eq!(put_back.unwrap(), expected);
    }
    assert_eq!(engine.catalog.asset(id).await.unwrap().unwrap(), deleted);
    let all = engine.catalog.assets_by_id(None, 10).await.unwrap();
    assert_eq!(all, [deleted]);
    assert!(engine.catalog.assets_by_id(Some(id), 10).await.unwrap().is_empty());
}

async fn a_checkpoint_is_kept_until_it_is_forgotten(engine: Engine) {
    for value in [json!({"at": 1}), json!({"at": 2})] {
        let kept = value.clone();
        engine
            .write(move |tx| Box::pin(async move { tx.set_checkpoint("scrub", &kept).await }))
            .await
            .unwrap();
        assert_eq!(engine.catalog.checkpoint("scrub").await.unwrap(), Some(value));
    }
    engine.write(|tx| Box::pin(async { tx.forget_checkpoint("scrub").await })).await.unwrap();
    assert_eq!(engine.catalog.checkpoint("scrub").await.unwrap(), None);
}

async fn checkpoints_are_listed_by_the_beginning_of_their_names(engine: Engine) {
    for name in ["a:2", "a:1", "a", "b:1", "a;1"] {
        engine
            .write(move |tx| Box::pin(async move { tx.set_checkpoint(name, &json!({ "of": name })).await }))
            .await
            .unwrap();
    }
    let listed = engine.catalog.checkpoints_under("a:", 10).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|kept| (kept.name.as_str(), kept.value["of"].as_str())).collect();
    assert_eq!(listed, [("a:1", Some("a:1")), ("a:2", Some("a:2"))]);
    assert_eq!(engine.catalog.checkpoints_under("a:", 1).await.unwrap()[0].name, "a:1");
}

async fn an_orphan_is_known_since_its_bytes_were_first_seen(engine: Engine) {
    let note = async |fingerprint: &'static str| {
        engine
            .write(move |tx| Box::pin(async move { tx.note_orphan("main", "media/x", fingerprint).await }))
            .await
            .unwrap()
    };
    let first = note("f1").await;
    engine.advance(Duration::from_secs(10));
    assert_eq!(note("f1").await, first);
    assert_eq!(note("f2").await, engine.now(), "other bytes are another orphan");
    engine.write(|tx| Box::pin(async { tx.forget_orphan("main", "media/x").await })).await.unwrap();
    assert_eq!(engine.catalog.orphan("main", "media/x").await.unwrap(), None);
}
