//! Many records move by one transaction, and none that is not as it was seen.

use std::time::Duration;

use larder_catalog::{
    AssetRecord, BatchMove, CopyState, MetaKind, MovingRecord, SpareCopy, Tx, VariantRecord,
};
use serde_json::json;
use tokio::sync::oneshot;

use crate::{
    engine::{Engine, bucket, for_each_engine, key},
    stores::{added_up, counted, ready_variant},
};

const LEASE: Duration = Duration::from_secs(30);

for_each_engine! {
    all_of_a_batch_are_switched_and_everything_that_goes_with_it_is_written,
    what_is_not_as_usual_is_left_out_and_hinders_nobody,
    those_in_each_others_way_are_all_left_as_they_were,
    a_turn_that_is_being_taken_leaves_the_record_out,
    a_turn_that_comes_during_a_batch_waits_for_its_end,
    notes_of_many_copies_are_as_if_they_came_one_by_one,
}

fn of_asset(asset: &AssetRecord) -> BatchMove {
    BatchMove {
        left: SpareCopy::left_by(asset),
        place: asset.place.clone(),
        fingerprint: format!("etag of {}", asset.key),
        record: MovingRecord::Asset(Box::new(asset.clone())),
    }
}

fn of_variant(variant: &VariantRecord, asset: &AssetRecord) -> BatchMove {
    BatchMove {
        left: SpareCopy::left_by_variant(variant, &asset.bucket, &asset.key),
        place: variant.place.clone(),
        fingerprint: "etag of a variant".into(),
        record: MovingRecord::Variant(Box::new(variant.clone())),
    }
}

fn coming(of: &BatchMove) -> SpareCopy {
    SpareCopy { store: "s3".into(), place: of.place.clone(), fingerprint: String::new(), ..of.left.clone() }
}

async fn note(engine: &Engine, moves: &[BatchMove]) {
    let copies: Vec<SpareCopy> = moves.iter().map(coming).collect();
    let noted = engine.write(move |tx| Box::pin(async move { tx.note_all_coming(&copies).await })).await;
    assert_eq!(noted.unwrap(), vec![true; moves.len()]);
}

async fn move_all(engine: &Engine, moves: &[BatchMove]) -> larder_catalog::Result<Vec<bool>> {
    let moves = moves.to_vec();
    engine.write(move |tx| Box::pin(async move { tx.move_batch("s3", &moves).await })).await
}

async fn store_of(engine: &Engine, asset: &AssetRecord) -> String {
    engine.catalog.asset(asset.id).await.unwrap().unwrap().store
}

async fn take(tx: &mut Tx, name: &str, engine_now: larder_core::Timestamp) -> larder_catalog::Fence {
    let until = engine_now.plus(LEASE);
    tx.take_place(&bucket("media"), &key(name), "w", until).await.unwrap().fence()
}

async fn all_of_a_batch_are_switched_and_everything_that_goes_with_it_is_written(engine: Engine) {
    let (mut assets, mut moves) = (Vec::new(), Vec::new());
    for number in 0..40 {
        let bucket = if number % 2 == 0 { "media" } else { "keeps" };
        let asset = engine.stored_asset(bucket, &format!("ä \"{number}\\{{")).await;
        moves.push(of_asset(&asset));
        assets.push(asset);
    }
    let variant = ready_variant(&engine, &assets[0]).await;
    moves.push(of_variant(&variant, &assets[0]));
    note(&engine, &moves).await;
    let before = engine.catalog.meta_changes(1_000).await.unwrap();

    assert_eq!(move_all(&engine, &moves).await.unwrap(), vec![true; 41]);
    for asset in &assets {
        let now = engine.catalog.asset(asset.id).await.unwrap().unwrap();
        let expected = AssetRecord {
            store: "s3".into(),
            fingerprint: format!("etag of {}", asset.key),
            ..asset.clone()
        };
        assert_eq!(now, expected, "nothing else of it changed");
        let row = engine.catalog.place_write(&asset.bucket, &asset.key).await.unwrap();
        assert!(row.is_none_or(|row| row.holder.is_none() && row.intent.is_none()), "the key is free");
    }
    let now = engine.catalog.variant(variant.id).await.unwrap().unwrap();
    let fingerprint = "etag of a variant".to_owned();
    assert_eq!(now, VariantRecord { store: "s3".into(), fingerprint, ..variant.clone() });

    assert!(engine.catalog.spare_copies_in("s3", None, 100).await.unwrap().is_empty(), "all are taken up");
    let left = engine.catalog.spare_copies_in("main", None, 100).await.unwrap();
    let mut expected: Vec<SpareCopy> =
        moves.iter().map(|one| SpareCopy { noted_at: engine.now(), ..one.left.clone() }).collect();
    expected.sort_by(|a, b| a.place.cmp(&b.place));
    assert_eq!(left, expected);

    let new = engine.catalog.meta_changes(1_000).await.unwrap();
    let mut marked: Vec<(MetaKind, String)> = new
        .into_iter()
        .filter(|change| !before.contains(change))
        .map(|change| (change.kind, change.id))
        .collect();
    let mut expected: Vec<(MetaKind, String)> =
        assets.iter().map(|asset| (MetaKind::Asset, asset.id.to_string())).collect();
    expected.push((MetaKind::Variant, variant.id.to_string()));
    marked.sort();
    expected.sort();
    assert_eq!(marked, expected, "the records in the store follow");
    assert_eq!(counted(&engine).await, added_up(&engine).await);
}

async fn what_is_not_as_usual_is_left_out_and_hinders_nobody(engine: Engine) {
    let names = [
        "free",
        "held",
        "overdue",
        "intent",
        "changed",
        "deleted",
        "gone",
        "void",
        "unnoted",
        "other bytes",
        "left before",
        "released",
    ];
    let mut moves = Vec::new();
    let mut assets = std::collections::BTreeMap::new();
    for name in names {
        let asset = engine.stored_asset("media", name).await;
        moves.push(of_asset(&asset));
        assets.insert(name, asset);
    }
    note(&engine, &moves).await;
    let (now, of) = (engine.now(), assets.clone());
    // A turn that runs out, one that was given back, and what was left where a copy goes.
    engine
        .write(move |tx| {
            Box::pin(async move {
                take(tx, "overdue", now).await;
                let released = take(tx, "released", now).await;
                tx.release_place(&released).await?;
                let left = SpareCopy { store: "s3".into(), ..SpareCopy::left_by(&of["left before"]) };
                tx.note_spare(&left, CopyState::Left).await
            })
        })
        .await
        .unwrap();
    engine.advance(LEASE + LEASE);
    let (now, of) = (engine.now(), assets.clone());
    engine
        .write(move |tx| {
            Box::pin(async move {
                take(tx, "held", now).await;
                let fence = take(tx, "intent", now).await;
                tx.set_place_intent(&fence, &json!({})).await?;
                tx.release_holder(&fence).await?;
                let changed = AssetRecord { sha256: "ef".repeat(32), ..of["changed"].clone() };
                tx.replace_asset(&changed, 1).await?;
                tx.mark_asset_deleted(of["deleted"].id, 1, Some(".larder/trash/1")).await?;
                tx.mark_asset_deleted(of["gone"].id, 1, None).await?;
                tx.purge_asset(of["gone"].id).await?;
                let note = |name: &str| SpareCopy {
                    store: "s3".into(),
                    state: CopyState::Coming,
                    fingerprint: String::new(),
                    ..SpareCopy::left_by(&of[name])
                };
                assert!(tx.void_copy(&note("void")).await?);
                assert!(tx.forget_copy(&note("unnoted")).await?);
                assert!(tx.forget_copy(&note("other bytes")).await?);
                let other = SpareCopy { sha256: "cd".repeat(32), ..note("other bytes") };
                assert!(tx.note_coming(&other).await?);
                Ok(())
            })
        })
        .await
        .unwrap();
    let before = engine.catalog.spare_copies_in("s3", None, 100).await.unwrap();

    let moved = move_all(&engine, &moves).await.unwrap();
    let switched: Vec<&str> =
        names.iter().zip(&moved).filter(|(_, moved)| **moved).map(|(name, _)| *name).collect();
    assert_eq!(switched, ["free", "left before", "released"]);
    for (name, asset) in &assets {
        match engine.catalog.asset(asset.id).await.unwrap() {
            Some(now) => assert_eq!(now.store == "s3", switched.contains(name), "{name}"),
            None => assert_eq!(*name, "gone"),
        }
    }
    let of_switched = |copy: &&SpareCopy| switched.contains(&copy.key.as_str());
    let expected: Vec<SpareCopy> = before.iter().filter(|copy| !of_switched(copy)).cloned().collect();
    assert_eq!(engine.catalog.spare_copies_in("s3", None, 100).await.unwrap(), expected);
    let left = engine.catalog.spare_copies_in("main", None, 100).await.unwrap();
    assert_eq!(left.iter().map(|copy| copy.key.as_str()).collect::<Vec<_>>(), switched);
    for name in ["held", "intent", "overdue"] {
        let row = engine.catalog.place_write(&bucket("media"), &key(name)).await.unwrap().unwrap();
        assert_eq!((row.holder.is_some(), row.intent.is_some()), (name != "intent", name == "intent"));
    }
    assert_eq!(counted(&engine).await, added_up(&engine).await);
}

async fn those_in_each_others_way_are_all_left_as_they_were(engine: Engine) {
    let (a, b) = (engine.stored_asset("media", "a").await, engine.stored_asset("media", "b").await);
    let c = engine.stored_asset("media", "c").await;
    // Their bytes are the same, and so is the place that both found their copy at.
    let moves = [of_asset(&a), BatchMove { place: a.place.clone(), ..of_asset(&b) }, of_asset(&c)];
    note(&engine, &[of_asset(&a), of_asset(&c)]).await;
    let before = engine.catalog.spare_copies_in("s3", None, 100).await.unwrap();
    assert!(move_all(&engine, &moves).await.unwrap_err().is_precondition());
    for asset in [&a, &b, &c] {
        assert_eq!(store_of(&engine, asset).await, "main");
    }
    assert_eq!(engine.catalog.spare_copies_in("s3", None, 100).await.unwrap(), before);
    assert!(engine.catalog.spare_copies_in("main", None, 100).await.unwrap().is_empty());
    assert_eq!(counted(&engine).await, added_up(&engine).await);
}

/// Runs a transaction of another process and holds it open, from when it has done its work until it is told to
/// go on.
async fn held_open<T, F>(engine: &Engine, work: F) -> (oneshot::Sender<()>, tokio::task::JoinHandle<T>)
where
    F: for<'t> FnOnce(&'t mut Tx) -> futures::future::BoxFuture<'t, T> + Send + 'static,
    T: Send + 'static,
{
    let (go_on, told) = oneshot::channel();
    let (done, is_done) = oneshot::channel();
    let other = engine.other_process().await;
    let task = tokio::spawn(async move {
        let outcome = other.commit(larder_catalog::Class::Durable, move |tx| {
            Box::pin(async move {
                let value = work(tx).await;
                done.send(()).unwrap();
                told.await.unwrap();
                Ok(value)
            })
        });
        outcome.await.unwrap()
    });
    is_done.await.unwrap();
    (go_on, task)
}

async fn a_turn_that_is_being_taken_leaves_the_record_out(engine: Engine) {
    let (new, known) =
        (engine.stored_asset("media", "new").await, engine.stored_asset("media", "known").await);
    let moves = [of_asset(&new), of_asset(&known)];
    note(&engine, &moves).await;
    let now = engine.now();
    let once = engine.write(move |tx| {
        Box::pin(async move {
            let fence = take(tx, "known", now).await;
            tx.release_place(&fence).await
        })
    });
    once.await.unwrap();
    let (go_on, taken) = held_open(&engine, move |tx| {
        Box::pin(async move {
            take(tx, "new", now).await;
            take(tx, "known", now).await;
        })
    })
    .await;
    let batch = move_all(&engine, &moves);
    let late = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        go_on.send(()).unwrap();
    };
    let (moved, ()) = tokio::join!(batch, late);
    taken.await.unwrap();
    assert_eq!(moved.unwrap(), [false, false]);
    assert_eq!(store_of(&engine, &new).await, "main");
}

async fn a_turn_that_comes_during_a_batch_waits_for_its_end(engine: Engine) {
    for name in ["new", "known"] {
        let asset = engine.stored_asset("media", name).await;
        let moves = vec![of_asset(&asset)];
        note(&engine, &moves).await;
        let now = engine.now();
        if name == "known" {
            let once = engine.write(move |tx| {
                Box::pin(async move {
                    let fence = take(tx, "known", now).await;
                    tx.release_place(&fence).await
                })
            });
            once.await.unwrap();
        }
        let (go_on, batch) =
            held_open(&engine, move |tx| Box::pin(async move { tx.move_batch("s3", &moves).await.unwrap() }))
                .await;
        let taking = engine.write(move |tx| Box::pin(async move { Ok(take(tx, name, now).await) }));
        let mut taking = std::pin::pin!(taking);
        let early = tokio::time::timeout(Duration::from_millis(200), &mut taking).await;
        assert!(early.is_err(), "the batch has not ended");
        go_on.send(()).unwrap();
        taking.await.unwrap();
        assert_eq!(store_of(&engine, &asset).await, "s3", "who has the turn sees the record as it is");
        assert_eq!(batch.await.unwrap(), [true]);
    }
}

async fn notes_of_many_copies_are_as_if_they_came_one_by_one(engine: Engine) {
    let assets = [
        engine.stored_asset("media", "a").await,
        engine.stored_asset("media", "b").await,
        engine.stored_asset("media", "c").await,
        engine.stored_asset("media", "d").await,
    ];
    let at = |asset: &AssetRecord, place: &str| SpareCopy { place: place.into(), ..coming(&of_asset(asset)) };
    // Two that share their bytes, another one that is in their way, and what was left.
    let other = SpareCopy { sha256: "ef".repeat(32), ..at(&assets[2], "shared") };
    let copies = vec![at(&assets[0], "shared"), at(&assets[1], "shared"), other, at(&assets[3], "d")];
    let left = SpareCopy { store: "s3".into(), place: "d".into(), ..SpareCopy::left_by(&assets[3]) };
    let outcome = engine.write(move |tx| {
        Box::pin(async move {
            tx.note_spare(&left, CopyState::Left).await?;
            assert!(tx.note_all_coming(&[]).await?.is_empty());
            tx.note_all_coming(&copies).await
        })
    });
    assert_eq!(outcome.await.unwrap(), [true, true, false, false]);
    let noted = engine.catalog.spare_copies_in("s3", None, 10).await.unwrap();
    let noted: Vec<_> = noted.iter().map(|copy| (copy.place.as_str(), copy.state, copy.asset_id)).collect();
    assert_eq!(noted, [("d", CopyState::Left, assets[3].id), ("shared", CopyState::Coming, assets[1].id)]);
}
