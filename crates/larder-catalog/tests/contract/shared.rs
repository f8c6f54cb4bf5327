//! Several assets whose bytes lie at one place.

use larder_catalog::{AssetChange, AssetRecord, AssetStatus, CopyState, SpareCopy};
use larder_core::ObjectKey;
use serde_json::json;

use crate::engine::{Engine, bucket, for_each_engine, key};

for_each_engine! {
    a_place_is_named_by_whoever_has_bytes_there,
    bytes_that_were_put_anew_are_known_to_all_that_share_them,
    a_note_of_bytes_that_another_asset_left_is_not_forgotten,
    writes_are_found_by_the_digest_of_their_bytes,
    a_turn_of_content_is_no_key,
}

const PLACE: &str = "media/_hash/ab/ab/abab.jpg";

async fn sharing(engine: &Engine, name: &str) -> AssetRecord {
    let asset = AssetRecord { place: PLACE.into(), ..engine.asset("media", name) };
    let copy = asset.clone();
    engine.write(move |tx| Box::pin(async move { tx.insert_asset(&copy).await })).await.unwrap();
    asset
}

async fn a_place_is_named_by_whoever_has_bytes_there(engine: Engine) {
    let (one, two) = (sharing(&engine, "a").await, sharing(&engine, "b").await);
    let catalog = &engine.catalog;
    let other = catalog.asset_at_place("main", PLACE, Some(one.id)).await.unwrap();
    assert_eq!(other.map(|asset| asset.id), Some(two.id));
    assert_eq!(catalog.asset_at_place("other", PLACE, None).await.unwrap(), None);

    // In the trash of this layout the bytes stay; in that of the other their place is free.
    let (stays, leaves) = (one.id, two.id);
    engine
        .write(move |tx| {
            Box::pin(async move {
                tx.mark_asset_deleted(stays, 1, Some(PLACE)).await?;
                tx.mark_asset_deleted(leaves, 1, Some(".larder/trash/1")).await
            })
        })
        .await
        .unwrap();
    let named = catalog.asset_at_place("main", PLACE, None).await.unwrap();
    assert_eq!(named.map(|asset| asset.id), Some(stays));
    assert_eq!(catalog.asset_at_place("main", PLACE, Some(stays)).await.unwrap(), None);
    engine.write(move |tx| Box::pin(async move { tx.purge_asset(stays).await })).await.unwrap();
    assert_eq!(catalog.asset_at_place("main", PLACE, None).await.unwrap(), None);
}

async fn bytes_that_were_put_anew_are_known_to_all_that_share_them(engine: Engine) {
    let (one, two) = (sharing(&engine, "a").await, sharing(&engine, "b").await);
    let (sha256, catalog) = (one.sha256.clone(), &engine.catalog);
    let known = catalog.asset_with_bytes_at("main", PLACE, &sha256, &one.fingerprint).await.unwrap();
    assert!(known.is_some());
    assert!(catalog.asset_with_bytes_at("main", PLACE, &sha256, "other").await.unwrap().is_none());
    assert!(catalog.asset_with_others_at("main", PLACE, &sha256).await.unwrap().is_none());
    assert!(catalog.asset_with_others_at("main", PLACE, &"cd".repeat(32)).await.unwrap().is_some());
    for id in [one.id, two.id] {
        let failed = AssetChange { status: Some(AssetStatus::Failed), ..AssetChange::default() };
        engine
            .write(move |tx| Box::pin(async move { tx.change_asset(id, None, failed).await }))
            .await
            .unwrap();
    }
    let damaged = catalog.asset_with_bytes_at("main", PLACE, &sha256, &one.fingerprint).await.unwrap();
    assert_eq!(damaged, None);
    for (limit, expected) in [(1, 1), (10, 1), (10, 0)] {
        let sha256 = sha256.clone();
        let corrected = engine
            .write(move |tx| {
                Box::pin(async move { tx.bytes_lie_at(("main", PLACE), &sha256, "new", limit).await })
            })
            .await;
        assert_eq!(corrected.unwrap(), expected);
    }
    for id in [one.id, two.id] {
        let now = catalog.asset(id).await.unwrap().unwrap();
        assert_eq!((now.fingerprint.as_str(), now.status, now.version), ("new", AssetStatus::Ready, 1));
    }
}

async fn a_note_of_bytes_that_another_asset_left_is_not_forgotten(engine: Engine) {
    let (one, two) = (sharing(&engine, "a").await, sharing(&engine, "b").await);
    let (first, second) = (SpareCopy::left_by(&one), SpareCopy::left_by(&two));
    let stale = first.clone();
    engine
        .write(move |tx| {
            Box::pin(async move {
                tx.note_spare(&first, CopyState::Void).await?;
                tx.note_spare(&second, CopyState::Void).await
            })
        })
        .await
        .unwrap();
    let stale = SpareCopy { state: CopyState::Void, ..stale };
    let forgotten = engine.write(move |tx| Box::pin(async move { tx.forget_copy(&stale).await })).await;
    assert!(!forgotten.unwrap(), "the note is about the second by now");
    let noted = engine.catalog.spare_copies_of(two.id).await.unwrap();
    assert_eq!(noted.len(), 1);
    let copy = noted[0].clone();
    assert!(engine.write(move |tx| Box::pin(async move { tx.forget_copy(&copy).await })).await.unwrap());
}

async fn take(engine: &Engine, name: ObjectKey) -> larder_catalog::PlaceWrite {
    let until = engine.now().plus(std::time::Duration::from_secs(30));
    engine
        .write(move |tx| Box::pin(async move { tx.take_place(&bucket("media"), &name, "w", until).await }))
        .await
        .unwrap()
}

async fn writes_are_found_by_the_digest_of_their_bytes(engine: Engine) {
    let digest = "ab".repeat(32);
    for (name, sha256) in [("a", digest.clone()), ("b", "cd".repeat(32))] {
        let fence = take(&engine, key(name)).await.fence();
        let intent = json!({ "write": { "bytes": { "sha256": sha256 } } });
        engine
            .write(move |tx| Box::pin(async move { tx.set_place_intent(&fence, &intent).await }))
            .await
            .unwrap();
    }
    take(&engine, key("c")).await;
    let about = engine.catalog.place_writes_about(&bucket("media"), &digest).await.unwrap();
    assert_eq!(about.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(engine.catalog.place_writes_about(&bucket("other"), &digest).await.unwrap().is_empty());
}

async fn a_turn_of_content_is_no_key(engine: Engine) {
    let name = ObjectKey::own("content/ab").unwrap();
    let row = take(&engine, name.clone()).await;
    assert_eq!(row.key, name);
    assert_eq!(engine.catalog.place_write(&bucket("media"), &name).await.unwrap(), Some(row));
}
