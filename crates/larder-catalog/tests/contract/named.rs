//! Buckets, presets, keys and schedules.

use std::time::Duration;

use larder_catalog::{KeyRecord, NewJob, ScheduleRecord};
use larder_core::KeyId;
use serde_json::json;

use crate::engine::{Engine, bucket, for_each_engine};

for_each_engine! {
    a_bucket_is_upserted_and_keeps_its_creation,
    names_missing_from_the_file_are_detached_and_kept,
    presets_follow_the_same_rules,
    keys_that_ended_are_not_active_and_count_as_configured,
    a_schedule_keeps_its_next_firing_over_a_restart,
    a_firing_is_claimed_once,
}

async fn a_bucket_is_upserted_and_keeps_its_creation(engine: Engine) {
    let created = engine.now();
    engine
        .write(|tx| Box::pin(async { tx.upsert_bucket(&bucket("media"), &json!({"a": 1}), true).await }))
        .await
        .unwrap();
    engine.advance(Duration::from_secs(1));
    engine
        .write(|tx| Box::pin(async { tx.upsert_bucket(&bucket("media"), &json!({"a": 2}), false).await }))
        .await
        .unwrap();
    let stored = engine.catalog.bucket(&bucket("media")).await.unwrap().unwrap();
    assert_eq!((stored.created_at, stored.updated_at), (created, engine.now()));
    assert_eq!((stored.policy, stored.managed_by_file), (json!({"a": 2}), false));
    assert!(engine.write(|tx| Box::pin(async { tx.remove_bucket(&bucket("media")).await })).await.unwrap());
    assert!(!engine.write(|tx| Box::pin(async { tx.remove_bucket(&bucket("media")).await })).await.unwrap());
}

async fn names_missing_from_the_file_are_detached_and_kept(engine: Engine) {
    let detached = engine
        .write(|tx| {
            Box::pin(async {
                for name in ["media", "artwork", "keeps"] {
                    tx.upsert_bucket(&bucket(name), &json!({}), true).await?;
                }
                tx.upsert_bucket(&bucket("made-by-hand"), &json!({}), false).await?;
                tx.detach_buckets_missing_from_file(&[bucket("media"), bucket("keeps")]).await
            })
        })
        .await
        .unwrap();
    assert_eq!(detached, 1);
    let managed: Vec<_> = engine
        .catalog
        .buckets()
        .await
        .unwrap()
        .into_iter()
        .map(|bucket| (bucket.name.as_str().to_owned(), bucket.managed_by_file))
        .collect();
    let expected = [("artwork", false), ("keeps", true), ("made-by-hand", false), ("media", true)]
        .map(|(n, m)| (n.to_owned(), m));
    assert_eq!(managed, expected);
    let all =
        engine.write(|tx| Box::pin(async { tx.detach_buckets_missing_from_file(&[]).await })).await.unwrap();
    assert_eq!(all, 2);
}

async fn presets_follow_the_same_rules(engine: Engine) {
    let detached = engine
        .write(|tx| {
            Box::pin(async {
                tx.upsert_preset("keep-small", "resize:100", true).await?;
                tx.upsert_preset("keep-large", "resize:900", true).await?;
                tx.upsert_preset("keep-small", "resize:120", true).await?;
                tx.detach_presets_missing_from_file(&["keep-small".to_owned()]).await
            })
        })
        .await
        .unwrap();
    assert_eq!(detached, 1);
    let stored = engine.catalog.preset("keep-small").await.unwrap().unwrap();
    assert_eq!((stored.recipe.as_str(), stored.managed_by_file), ("resize:120", true));
    assert_eq!(engine.catalog.presets().await.unwrap().len(), 2);
    assert!(engine.write(|tx| Box::pin(async { tx.remove_preset("keep-large").await })).await.unwrap());
}

fn api_key(engine: &Engine, name: &str) -> KeyRecord {
    KeyRecord {
        id: KeyId::new(&engine.ambient),
        name: name.into(),
        secret_sha256: "00".repeat(32),
        scope: json!({"buckets": ["media"]}),
        created_at: engine.now(),
        expires_at: None,
        revoked_at: None,
        rotated_to: None,
    }
}

async fn keys_that_ended_are_not_active_and_count_as_configured(engine: Engine) {
    assert_eq!(engine.catalog.keys_ever().await.unwrap(), 0);
    let (old, new) = (api_key(&engine, "old"), api_key(&engine, "new"));
    let expiry = engine.now().plus(Duration::from_secs(60));
    let copies = (old.clone(), new.clone());
    engine
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_key(&copies.0).await?;
                tx.insert_key(&copies.1).await?;
                tx.rotate_key(copies.0.id, copies.1.id, expiry).await
            })
        })
        .await
        .unwrap();
    assert_eq!(engine.catalog.keys_ever().await.unwrap(), 2);
    let again = (old.id, new.id);
    let again =
        engine.write(move |tx| Box::pin(async move { tx.rotate_key(again.0, again.1, expiry).await })).await;
    assert!(again.unwrap_err().is_precondition());
    let rotated = engine.catalog.key(old.id).await.unwrap().unwrap();
    assert_eq!((rotated.rotated_to, rotated.expires_at), (Some(new.id), Some(expiry)));
    engine.advance(Duration::from_secs(60));
    assert!(!rotated.is_active(engine.now()));
    let id = new.id;
    engine.write(move |tx| Box::pin(async move { tx.revoke_key(id).await })).await.unwrap();
    assert_eq!(engine.catalog.keys_ever().await.unwrap(), 2);
    let twice = engine.write(move |tx| Box::pin(async move { tx.revoke_key(id).await })).await;
    assert!(twice.unwrap_err().is_precondition());
    let unknown = KeyId::new(&engine.ambient);
    let absent = engine.write(move |tx| Box::pin(async move { tx.revoke_key(unknown).await })).await;
    assert!(absent.unwrap_err().is_not_found());
    assert_eq!(engine.catalog.keys().await.unwrap().len(), 2);
}

fn nightly(engine: &Engine) -> ScheduleRecord {
    ScheduleRecord {
        name: "scrub".into(),
        cron: "0 3 * * *".into(),
        kind: "scrub".into(),
        args: json!({}),
        next_at: engine.now().plus(Duration::from_secs(60)),
        last_at: None,
        enabled: true,
    }
}

async fn a_schedule_keeps_its_next_firing_over_a_restart(engine: Engine) {
    let schedule = nightly(&engine);
    let copy = schedule.clone();
    engine.write(move |tx| Box::pin(async move { tx.upsert_schedule(&copy).await })).await.unwrap();
    let mut again = schedule.clone();
    again.next_at = engine.now().plus(Duration::from_secs(9_999));
    again.kind = "scrub-2".into();
    let copy = again.clone();
    engine.write(move |tx| Box::pin(async move { tx.upsert_schedule(&copy).await })).await.unwrap();
    let stored = engine.catalog.schedule("scrub").await.unwrap().unwrap();
    assert_eq!((stored.next_at, stored.kind.as_str()), (schedule.next_at, "scrub-2"));
    again.cron = "0 4 * * *".into();
    let copy = again.clone();
    engine.write(move |tx| Box::pin(async move { tx.upsert_schedule(&copy).await })).await.unwrap();
    assert_eq!(engine.catalog.schedule("scrub").await.unwrap().unwrap().next_at, again.next_at);
}

async fn a_firing_is_claimed_once(engine: Engine) {
    let schedule = nightly(&engine);
    let copy = schedule.clone();
    engine.write(move |tx| Box::pin(async move { tx.upsert_schedule(&copy).await })).await.unwrap();
    assert!(engine.catalog.due_schedules(engine.now(), 10).await.unwrap().is_empty());
    engine.advance(Duration::from_secs(60));
    let due = engine.catalog.due_schedules(engine.now(), 10).await.unwrap();
    assert_eq!(due, [schedule]);
    let next = engine.now().plus(Duration::from_secs(86_400));
    let other = engine.other_process().await;
    let mut fired = 0;
    let tries = (0..6).map(|number| {
        let catalog = if number % 2 == 0 { engine.catalog.clone() } else { other.clone() };
        let schedule = due[0].clone();
        async move {
            catalog
                .commit(larder_catalog::Class::Durable, move |tx| {
                    Box::pin(async move {
                        let won = tx.claim_firing(&schedule, next).await?;
                        if won {
                            tx.enqueue(NewJob::new(schedule.kind.clone(), "maintenance")).await?;
                        }
                        Ok(won)
                    })
                })
                .await
        }
    });
    for won in futures::future::join_all(tries).await {
        fired += u32::from(won.unwrap());
    }
    assert_eq!(fired, 1);
    assert_eq!(engine.catalog.queue_counts().await.unwrap()[0].jobs, 1);
    assert_eq!(engine.catalog.schedule("scrub").await.unwrap().unwrap().last_at, Some(engine.now()));
}
