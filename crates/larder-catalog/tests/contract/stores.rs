//! Records say in which store their bytes lie, and what no record names is listed.

use std::time::Duration;

use larder_catalog::{CopyState, SpareCopy, StoreFilter, VariantIdentity, VariantRecord, VariantResult};

use crate::engine::{Engine, bucket, for_each_engine, key};

for_each_engine! {
    a_record_moves_only_as_it_was_seen,
    a_store_is_listed_by_place_and_page,
    what_was_left_at_a_place_stays_noted_until_it_is_taken_up_or_gone,
    what_was_left_is_void_once_it_is_a_copy_of_nothing,
}

async fn a_record_moves_only_as_it_was_seen(engine: Engine) {
    let asset = engine.stored_asset("media", "a").await;
    let (seen, copy) = (asset.clone(), asset.clone());
    let moved = engine
        .write(move |tx| Box::pin(async move { tx.move_asset(&seen, "s3", "media/a", "etag").await }))
        .await;
    assert!(moved.unwrap());
    let now = engine.catalog.asset(asset.id).await.unwrap().unwrap();
    assert_eq!((now.store.as_str(), now.fingerprint.as_str()), ("s3", "etag"));
    assert_eq!((now.version, now.updated_at), (asset.version, asset.updated_at), "nothing of it changed");
    let again = engine
        .write(move |tx| Box::pin(async move { tx.move_asset(&copy, "tape", "media/a", "9").await }))
        .await;
    assert!(!again.unwrap(), "it lies elsewhere by now");

    let (id, version) = (now.id, now.version);
    engine
        .write(move |tx| {
            Box::pin(async move { tx.mark_asset_deleted(id, version, Some(".larder/trash/1")).await })
        })
        .await
        .unwrap();
    let alive = engine
        .write(move |tx| Box::pin(async move { tx.move_asset(&now, "main", "media/a", "1").await }))
        .await;
    assert!(!alive.unwrap(), "it was deleted since");
    let deleted = engine.catalog.asset(id).await.unwrap().unwrap();
    let moved = engine
        .write(move |tx| {
            Box::pin(async move { tx.move_asset(&deleted, "main", ".larder/trash/1", "2").await })
        })
        .await;
    assert!(moved.unwrap());
    let deleted = engine.catalog.asset(id).await.unwrap().unwrap();
    assert_eq!((deleted.store.as_str(), deleted.place.as_str()), ("main", "media/a"));
    assert_eq!(deleted.trash_place.as_deref(), Some(".larder/trash/1"));
}

async fn ready_variant(engine: &Engine, asset: &larder_catalog::AssetRecord) -> VariantRecord {
    let identity = VariantIdentity {
        asset_id: asset.id,
        source_sha256: asset.sha256.clone(),
        recipe_digest: "r1".into(),
    };
    let result = VariantResult::Ready {
        store: "main".into(),
        place: format!("media/_variants/{}/r1.webp", asset.key),
        fingerprint: "7".into(),
        size_bytes: 3,
        sha256: "ef".repeat(32),
        content_type: "image/webp".into(),
        width_px: 8,
        height_px: 8,
        frames: 1,
        encoder: "test".into(),
    };
    engine
        .write(move |tx| {
            Box::pin(async move {
                let (variant, _) = tx.want_variant(&identity, "resize:8", None).await?;
                tx.finish_variant(variant.id, result).await?;
                Ok(tx.variant(variant.id).await?.expect("it was just stored"))
            })
        })
        .await
        .unwrap()
}

async fn a_store_is_listed_by_place_and_page(engine: Engine) {
    for name in ["b", "a/1", "a/2", "c"] {
        engine.stored_asset("media", name).await;
    }
    engine.stored_asset("keeps", "a/1").await;
    let mut elsewhere = engine.asset("media", "d");
    elsewhere.store = "s3".into();
    engine.write(move |tx| Box::pin(async move { tx.insert_asset(&elsewhere).await })).await.unwrap();
    let asset = engine.catalog.asset_at(&bucket("media"), &key("a/1")).await.unwrap().unwrap();
    let variant = ready_variant(&engine, &asset).await;

    let main = StoreFilter { store: "main".into(), ..StoreFilter::default() };
    let (mut seen, mut last) = (Vec::new(), None);
    loop {
        let page = engine.catalog.assets_in_store(&main, last.as_ref(), 2).await.unwrap();
        seen.extend(page.iter().map(|asset| asset.place.clone()));
        last = page.into_iter().last();
        if last.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["keeps/a/1", "media/a/1", "media/a/2", "media/b", "media/c"]);
    let below = StoreFilter { bucket: Some(bucket("media")), prefix: Some("a/".into()), ..main.clone() };
    let found = engine.catalog.assets_in_store(&below, None, 10).await.unwrap();
    assert_eq!(found.iter().map(|asset| asset.key.as_str()).collect::<Vec<_>>(), ["a/1", "a/2"]);
    assert_eq!(engine.catalog.variants_in_store(&below, None, 10).await.unwrap(), [variant.clone()]);
    assert!(engine.catalog.variants_in_store(&below, Some(&variant), 10).await.unwrap().is_empty());
    let (assets, variants) = engine.catalog.store_usage(&below).await.unwrap();
    assert_eq!((assets.objects, assets.bytes, variants.objects, variants.bytes), (2, 10, 1, 3));

    let moved = engine
        .write(move |tx| Box::pin(async move { tx.move_variant(&variant, "s3", &variant.place, "e").await }))
        .await;
    assert!(moved.unwrap());
    assert!(engine.catalog.variants_in_store(&main, None, 10).await.unwrap().is_empty());
}

async fn what_was_left_at_a_place_stays_noted_until_it_is_taken_up_or_gone(engine: Engine) {
    let asset = engine.stored_asset("media", "a").await;
    let left = SpareCopy::left_by(&asset);
    let coming = SpareCopy { fingerprint: String::new(), ..left.clone() };
    let other = SpareCopy { sha256: "cd".repeat(32), ..coming.clone() };
    let noted = (left.clone(), coming, other.clone());
    let outcome = engine.write(move |tx| {
        Box::pin(async move {
            tx.note_spare(&noted.0, CopyState::Left).await?;
            Ok((tx.note_coming(&noted.1).await?, tx.note_coming(&noted.2).await?))
        })
    });
    assert_eq!(outcome.await.unwrap(), (false, false));
    let still = engine.catalog.spare_copy("main", "media/a").await.unwrap().unwrap();
    assert_eq!(
        (still.state, &still.sha256, &still.fingerprint),
        (CopyState::Left, &left.sha256, &left.fingerprint)
    );
    let outcome = engine.write(move |tx| {
        Box::pin(async move {
            assert!(tx.forget_copy(&still).await?);
            Ok((tx.note_coming(&other).await?, tx.note_coming(&other).await?))
        })
    });
    assert_eq!(outcome.await.unwrap(), (true, true), "twice on its way is on its way");
    let coming = engine.catalog.spare_copy("main", "media/a").await.unwrap().unwrap();
    engine.advance(Duration::from_secs(10));
    let overdue = engine.catalog.overdue_copies(engine.now(), None, 10).await.unwrap();
    assert_eq!(overdue, [coming.clone()]);
    assert!(engine.catalog.overdue_copies(engine.now(), Some(&coming), 10).await.unwrap().is_empty());

    let taken = engine
        .write(move |tx| {
            Box::pin(async move {
                let other = tx.take_up_copy("main", "media/a", &"ab".repeat(32)).await?;
                Ok((other, tx.take_up_copy("main", "media/a", &"cd".repeat(32)).await?))
            })
        })
        .await;
    assert_eq!(taken.unwrap(), (false, true), "only as it is noted");
}

async fn what_was_left_is_void_once_it_is_a_copy_of_nothing(engine: Engine) {
    let asset = engine.stored_asset("media", "a").await;
    let variant = ready_variant(&engine, &asset).await;
    let copies =
        [SpareCopy::left_by(&asset), SpareCopy::left_by_variant(&variant, &asset.bucket, &asset.key)];
    let id = asset.id;
    engine
        .write(move |tx| {
            Box::pin(async move {
                for copy in &copies {
                    tx.note_spare(copy, CopyState::Left).await?;
                }
                tx.void_copies_of_asset(id).await
            })
        })
        .await
        .unwrap();
    let void = engine.catalog.void_copies(None, 10).await.unwrap();
    assert_eq!(void.iter().map(|copy| copy.place.as_str()).collect::<Vec<_>>(), ["media/a"]);
    let (gone, of) = (void[0].clone(), variant.id);
    let outcome = engine
        .write(move |tx| {
            Box::pin(async move {
                let otherwise = SpareCopy { state: CopyState::Left, ..gone.clone() };
                let counts = (tx.forget_copy(&otherwise).await?, tx.forget_copy(&gone).await?);
                Ok((counts, tx.void_copies_of_variant(id, of).await?))
            })
        })
        .await;
    assert_eq!(outcome.unwrap(), ((false, true), 1));
    assert_eq!(engine.catalog.spare_copies_of(id).await.unwrap()[0].variant_id, Some(variant.id));
    let listed = engine.catalog.spare_copies_in("main", None, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(engine.catalog.spare_copies_in("main", Some(&listed[0].place), 10).await.unwrap().is_empty());
}
