//! Writers of one key take turns.

use std::time::Duration;

use larder_catalog::{PlaceWrite, Result};
use serde_json::json;

use crate::engine::{Engine, bucket, for_each_engine, key};

const LEASE: Duration = Duration::from_secs(30);

for_each_engine! {
    one_writer_holds_a_key_at_a_time,
    an_overdue_writer_loses_its_fence_and_its_intent_is_handed_on,
    a_fence_rises_even_after_its_row_was_forgotten,
    idle_rows_are_forgotten_in_portions_and_held_ones_never,
    of_many_writers_at_once_one_wins,
}

async fn take(engine: &Engine, holder: &'static str) -> Result<PlaceWrite> {
    let until = engine.now().plus(LEASE);
    engine
        .write(move |tx| {
            Box::pin(async move { tx.take_place(&bucket("media"), &key("a"), holder, until).await })
        })
        .await
}

async fn one_writer_holds_a_key_at_a_time(engine: Engine) {
    let first = take(&engine, "w1").await.unwrap();
    assert!(take(&engine, "w2").await.unwrap_err().is_precondition());
    let fence = first.fence();
    engine
        .write(move |tx| {
            Box::pin(async move {
                tx.confirm_place(&fence).await?;
                tx.release_place(&fence).await
            })
        })
        .await
        .unwrap();
    let second = take(&engine, "w2").await.unwrap();
    assert!(second.fence > first.fence);
    assert_eq!(second.holder.as_deref(), Some("w2"));
}

async fn an_overdue_writer_loses_its_fence_and_its_intent_is_handed_on(engine: Engine) {
    let first = take(&engine, "w1").await.unwrap();
    let fence = first.fence();
    engine
        .write(move |tx| Box::pin(async move { tx.set_place_intent(&fence, &json!({"sha256": "x"})).await }))
        .await
        .unwrap();
    assert!(engine.catalog.interrupted_place_writes(engine.now(), 10).await.unwrap().is_empty());
    engine.advance(LEASE);
    let interrupted = engine.catalog.interrupted_place_writes(engine.now(), 10).await.unwrap();
    assert_eq!(interrupted.len(), 1);
    let second = take(&engine, "w2").await.unwrap();
    assert_eq!(second.intent, Some(json!({"sha256": "x"})));
    for refused in [0, 1, 2] {
        let fence = first.fence();
        let until = engine.now().plus(LEASE);
        let late = engine
            .write(move |tx| {
                Box::pin(async move {
                    match refused {
                        0 => tx.confirm_place(&fence).await,
                        1 => tx.release_place(&fence).await,
                        _ => tx.extend_place(&fence, until).await,
                    }
                })
            })
            .await;
        assert!(late.unwrap_err().is_precondition());
    }
}

async fn a_fence_rises_even_after_its_row_was_forgotten(engine: Engine) {
    let first = take(&engine, "w1").await.unwrap();
    let fence = first.fence();
    engine.write(move |tx| Box::pin(async move { tx.release_place(&fence).await })).await.unwrap();
    engine.advance(Duration::from_secs(86_400));
    let before = engine.now();
    let forgotten = engine
        .write(move |tx| Box::pin(async move { tx.forget_idle_places(before, 10).await }))
        .await
        .unwrap();
    assert_eq!(forgotten, 1);
    assert!(take(&engine, "w2").await.unwrap().fence > first.fence);
}

async fn idle_rows_are_forgotten_in_portions_and_held_ones_never(engine: Engine) {
    let until = engine.now().plus(LEASE);
    for number in 0..5 {
        let name = key(&format!("k{number}"));
        let row = engine
            .write(move |tx| {
                Box::pin(async move { tx.take_place(&bucket("media"), &name, "w", until).await })
            })
            .await
            .unwrap();
        let fence = row.fence();
        match number {
            0 => {}
            1 => {
                let intent = json!({});
                let interrupted = engine.write(move |tx| {
                    Box::pin(async move {
                        tx.set_place_intent(&fence, &intent).await?;
                        tx.release_holder(&fence).await
                    })
                });
                interrupted.await.unwrap();
            }
            _ => {
                engine.write(move |tx| Box::pin(async move { tx.release_place(&fence).await })).await.unwrap()
            }
        }
    }
    engine.advance(Duration::from_secs(3_600));
    let before = engine.now();
    for expected in [2, 1, 0] {
        let forget = engine.write(move |tx| Box::pin(async move { tx.forget_idle_places(before, 2).await }));
        assert_eq!(forget.await.unwrap(), expected);
    }
}

async fn of_many_writers_at_once_one_wins(engine: Engine) {
    let other = engine.other_process().await;
    let until = engine.now().plus(LEASE);
    let tries = (0..12).map(|number| {
        let catalog = if number % 2 == 0 { engine.catalog.clone() } else { other.clone() };
        async move {
            catalog
                .commit(larder_catalog::Class::Durable, move |tx| {
                    Box::pin(async move {
                        tx.take_place(&bucket("media"), &key("a"), &format!("w{number}"), until).await
                    })
                })
                .await
                .is_ok()
        }
    });
    let won = futures::future::join_all(tries).await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
}
