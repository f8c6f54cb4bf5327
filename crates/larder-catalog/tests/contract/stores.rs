//! Records say in which store their bytes lie, and what no record names is listed.

use std::time::Duration;

use larder_catalog::{
    CopyState, MetaKind, SpareCopy, StoreFilter, VariantIdentity, VariantRecord, VariantResult,
};

use crate::engine::{Engine, bucket, for_each_engine, key};

for_each_engine! {
    a_record_moves_only_as_it_was_seen,
    a_store_is_listed_by_place_and_page,
    what_was_left_at_a_place_stays_noted_until_it_is_taken_up_or_gone,
    what_was_left_is_void_once_it_is_a_copy_of_nothing,
    what_is_counted_is_what_adding_up_the_records_gives,
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

pub async fn ready_variant(engine: &Engine, asset: &larder_catalog::AssetRecord) -> VariantRecord {
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
    assert_eq!(
        engine.catalog.variants_in_store(&below, None, 10).await.unwrap(),
        std::slice::from_ref(&variant)
    );
    assert!(engine.catalog.variants_in_store(&below, Some(&variant), 10).await.unwrap().is_empty());
    let (assets, variants) = engine.catalog.store_usage(&below).await.unwrap();
    assert_eq!((assets.objects, assets.bytes, variants.objects, variants.bytes), (2, 10, 1, 3));

    let marks = async || engine.catalog.meta_changes(1_000).await.unwrap();
    // Marks are random numbers: new ones may stand anywhere among the others.
    let before = marks().await;
    let (asset_id, variant_id) = (asset.id, variant.id);
    let moved = engine
        .write(move |tx| {
            Box::pin(async move {
                let asset = tx.move_asset(&asset, "s3", &asset.place, "e").await?;
                Ok((asset, tx.move_variant(&variant, "s3", &variant.place, "e").await?))
            })
        })
        .await;
    assert_eq!(moved.unwrap(), (true, true));
    let new = marks().await.into_iter().filter(|change| !before.contains(change));
    let marked: Vec<(MetaKind, String)> = new.map(|change| (change.kind, change.id)).collect();
    let expected = [(MetaKind::Asset, asset_id.to_string()), (MetaKind::Variant, variant_id.to_string())];
    let as_expected = marked.len() == 2 && expected.iter().all(|one| marked.contains(one));
    assert!(as_expected, "the records in the store follow: {marked:?}");
    assert!(engine.catalog.has_in_store("s3").await.unwrap());
    assert!(!engine.catalog.has_in_store("tape").await.unwrap());
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
    assert_eq!(overdue, std::slice::from_ref(&coming));
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

/// Objects and bytes by bucket, store and whether they are deleted, from the records themselves.
pub async fn added_up(engine: &Engine) -> Vec<(String, String, u64, u64, u64, u64)> {
    let mut sums = std::collections::BTreeMap::<(String, String), [u64; 4]>::new();
    for store in ["main", "s3"] {
        let filter = StoreFilter { store: store.into(), ..StoreFilter::default() };
        for asset in engine.catalog.assets_in_store(&filter, None, 1_000).await.unwrap() {
            let of = sums.entry((asset.bucket.to_string(), asset.store.clone())).or_default();
            let at = if asset.deleted_at.is_some() { 2 } else { 0 };
            of[at] += 1;
            of[at + 1] += asset.size_bytes;
        }
    }
    sums.into_iter().map(|((bucket, store), [a, b, c, d])| (bucket, store, a, b, c, d)).collect()
}

/// The same as it is counted while records change.
pub async fn counted(engine: &Engine) -> Vec<(String, String, u64, u64, u64, u64)> {
    let usage = engine.catalog.bucket_usage().await.unwrap();
    usage
        .into_iter()
        .map(|u| (u.bucket, u.store, u.assets, u.bytes, u.deleted_assets, u.deleted_bytes))
        .collect()
}

async fn what_is_counted_is_what_adding_up_the_records_gives(engine: Engine) {
    let agree = async |what: &str| {
        assert_eq!(counted(&engine).await, added_up(&engine).await, "{what}");
    };
    let (a, b) = (engine.stored_asset("media", "a").await, engine.stored_asset("keeps", "b").await);
    engine.stored_asset("media", "c").await;
    agree("inserted").await;
    let twice = a.clone();
    let refused = engine.write(move |tx| {
        Box::pin(async move {
            tx.insert_asset(&larder_catalog::AssetRecord { key: key("d"), id: twice.id, ..twice.clone() })
                .await
        })
    });
    assert!(refused.await.is_err());
    agree("a refusal counts nothing").await;

    let mut larger = a.clone();
    larger.size_bytes = 1_234;
    larger.content_type = "image/png".into();
    engine.write(move |tx| Box::pin(async move { tx.replace_asset(&larger, 1).await })).await.unwrap();
    agree("replaced").await;
    let types = engine.catalog.type_usage(&bucket("media"), "main").await.unwrap();
    let types: Vec<_> = types.iter().map(|of| (of.content_type.as_str(), of.assets, of.bytes)).collect();
    assert_eq!(types, [("image/png", 1, 1_234), ("image/jpeg", 1, 5)]);

    let (id, version) = (a.id, 2);
    engine
        .write(move |tx| Box::pin(async move { tx.mark_asset_deleted(id, version, Some("t")).await }))
        .await
        .unwrap();
    agree("deleted").await;
    let deleted = engine.catalog.asset(id).await.unwrap().unwrap();
    engine
        .write(move |tx| Box::pin(async move { tx.move_asset(&deleted, "s3", "t", "e").await }))
        .await
        .unwrap();
    engine
        .write(move |tx| Box::pin(async move { tx.move_asset(&b, "s3", "keeps/b", "e").await }))
        .await
        .unwrap();
    agree("moved").await;
    engine
        .write(move |tx| Box::pin(async move { tx.restore_asset(id, "media/a", "e").await }))
        .await
        .unwrap();
    agree("restored").await;
    engine
        .write(move |tx| {
            Box::pin(async move {
                tx.mark_asset_deleted(id, version, None).await?;
                tx.purge_asset(id).await
            })
        })
        .await
        .unwrap();
    agree("purged").await;

    // Many at a time, of which each counts.
    let other = engine.other_process().await;
    let puts = (0..40).map(|number| {
        let catalog = if number % 2 == 0 { engine.catalog.clone() } else { other.clone() };
        let asset = engine.asset("media", &format!("many/{number}"));
        async move {
            let put = catalog.commit(larder_catalog::Class::Durable, move |tx| {
                Box::pin(async move { tx.insert_asset(&asset).await })
            });
            put.await.unwrap();
        }
    });
    futures::future::join_all(puts).await;
    agree("at a time").await;
}
