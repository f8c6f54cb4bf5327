//! What caches in front are to forget, what was asked for, and how much there was.

use std::time::Duration;

use larder_catalog::{RequestFigures, UsageDay};
use serde_json::{Value, json};

use crate::engine::{Engine, bucket, for_each_engine};

for_each_engine! {
    changes_of_one_thing_share_a_note_until_it_is_told,
    figures_of_requests_add_up_by_bucket_and_are_forgotten_by_the_hour,
    a_day_is_noted_once_and_the_later_count_stays,
}

async fn note(
    engine: &Engine,
    asset: Option<larder_core::AssetId>,
    reason: &'static str,
    traces: Vec<Value>,
) {
    engine
        .write(move |tx| {
            Box::pin(async move { tx.note_cdn_purge(&bucket("media"), asset, reason, traces).await })
        })
        .await
        .unwrap();
}

async fn changes_of_one_thing_share_a_note_until_it_is_told(engine: Engine) {
    let asset = engine.stored_asset("media", "a").await.id;
    note(&engine, Some(asset), "replaced", vec![json!(1), json!(2)]).await;
    let seen = engine.catalog.cdn_purge(&bucket("media"), Some(asset)).await.unwrap().unwrap();
    engine.advance(Duration::from_secs(1));
    note(&engine, None, "visibility", Vec::new()).await;
    engine.advance(Duration::from_secs(1));
    note(&engine, Some(asset), "deleted", vec![json!(2), json!(3)]).await;

    let notes = engine.catalog.cdn_purges(10).await.unwrap();
    let [whole, one] = notes.as_slice() else { panic!("{notes:?}") };
    assert_eq!((whole.asset_id, whole.reason.as_str(), whole.turn), (None, "visibility", 1));
    assert_eq!((one.asset_id, one.reason.as_str(), one.turn), (Some(asset), "deleted", 2));
    assert_eq!(one.traces, [json!(2), json!(3), json!(1)]);
    assert_eq!(one.noted_at, engine.now());

    let forgotten =
        engine.write(move |tx| Box::pin(async move { tx.forget_cdn_purge(&seen).await })).await.unwrap();
    assert!(!forgotten, "something was added since it was seen");
    for note in notes {
        assert!(
            engine.write(move |tx| Box::pin(async move { tx.forget_cdn_purge(&note).await })).await.unwrap()
        );
    }
    assert_eq!(engine.catalog.cdn_purges(10).await.unwrap(), []);

    let many: Vec<Value> = (0..1_500).map(Value::from).collect();
    note(&engine, None, "visibility", many).await;
    note(&engine, None, "visibility", vec![json!("latest")]).await;
    let note = engine.catalog.cdn_purges(1).await.unwrap().remove(0);
    assert_eq!((note.traces.len(), &note.traces[0]), (1_000, &json!("latest")));
}

fn figures(bucket: &str, requests: u64, times: &[(u64, u64)]) -> RequestFigures {
    RequestFigures {
        bucket: bucket.to_owned(),
        requests,
        refused: 1,
        failed: 2,
        bytes_out: 10 * requests,
        times: times.to_vec(),
    }
}

async fn figures_of_requests_add_up_by_bucket_and_are_forgotten_by_the_hour(engine: Engine) {
    let (catalog, began) = (&engine.catalog, engine.now());
    catalog.add_request_figures(vec![figures("media", 5, &[(100, 4), (500, 1)])]).await.unwrap();
    catalog
        .add_request_figures(vec![figures("media", 3, &[(100, 3)]), figures("keeps", 3, &[(500, 3)])])
        .await
        .unwrap();
    engine.advance(Duration::from_secs(3_600));
    catalog.add_request_figures(vec![figures("media", 4, &[(250, 4)])]).await.unwrap();
    let all = catalog.request_figures(began).await.unwrap();
    let [(keeps, _), (media, since)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((keeps.bucket.as_str(), keeps.requests), ("keeps", 3));
    assert_eq!((media.requests, media.refused, media.failed, media.bytes_out), (12, 3, 6, 120));
    assert_eq!(media.times, [(100, 7), (250, 4), (500, 1)]);
    assert_eq!(*since, began);
    catalog.forget_request_figures(engine.now()).await.unwrap();
    let all = catalog.request_figures(began).await.unwrap();
    assert_eq!(all, [(figures("media", 4, &[(250, 4)]), engine.now())]);
}

async fn a_day_is_noted_once_and_the_later_count_stays(engine: Engine) {
    let day = |objects| UsageDay {
        day_at: engine.now(),
        bucket: "media".to_owned(),
        store: "main".to_owned(),
        objects,
        bytes: 10 * objects,
        variants: 2,
        variant_bytes: 3,
    };
    for objects in [1, 4] {
        let noted = day(objects);
        engine.write(move |tx| Box::pin(async move { tx.note_usage_day(&noted).await })).await.unwrap();
    }
    assert_eq!(engine.catalog.usage_days(engine.now()).await.unwrap(), [day(4)]);
    let before = engine.now().plus(Duration::from_millis(1));
    assert!(engine.catalog.usage_days(before).await.unwrap().is_empty());
    let gone = engine.write(move |tx| Box::pin(async move { tx.forget_usage_days(before).await })).await;
    assert_eq!(gone.unwrap(), 1);
}
