//! Assets: keys, versions, deletion, lists.

use std::time::Duration;

use larder_catalog::{AssetChange, AssetFilter, AssetStatus, Error};
use serde_json::json;

use crate::engine::{Engine, bucket, for_each_engine, key};

for_each_engine! {
    a_stored_asset_reads_back_as_it_was,
    two_assets_never_share_a_key,
    a_replacement_of_another_version_is_refused,
    a_replacement_raises_the_version_and_keeps_the_id,
    a_change_leaves_the_other_fields_alone,
    a_deleted_asset_frees_its_key_and_comes_back_only_if_that_is_free,
    purging_forgets_deleted_assets_only,
    lists_are_in_bytewise_order_and_page_without_gaps,
    a_level_lists_its_keys_and_common_prefixes_and_pages_without_gaps,
    a_level_with_a_hundred_thousand_keys_below_is_listed_at_once,
    filters_of_a_list_hold_together,
    a_prefix_lists_its_keys_and_no_neighbour,
    rules_find_the_assets_they_are_about,
    usage_counts_present_and_deleted_bytes_apart,
}

async fn a_stored_asset_reads_back_as_it_was(engine: Engine) {
    let asset = engine.stored_asset("media", "keep/42/Strand ☀ %_\\.jpg").await;
    assert_eq!(engine.catalog.asset(asset.id).await.unwrap(), Some(asset.clone()));
    let by_key = engine.catalog.asset_at(&asset.bucket, &asset.key).await.unwrap();
    assert_eq!(by_key, Some(asset.clone()));
    let by_sha256 = engine.catalog.asset_with_sha256(&asset.bucket, &asset.sha256).await.unwrap();
    assert_eq!(by_sha256, Some(asset.clone()));
    assert_eq!(engine.catalog.asset_at_place("main", &asset.place, None).await.unwrap(), Some(asset));
}

async fn two_assets_never_share_a_key(engine: Engine) {
    engine.stored_asset("media", "a").await;
    let second = engine.asset("media", "a");
    let refused = engine.write(move |tx| Box::pin(async move { tx.insert_asset(&second).await })).await;
    assert!(matches!(refused, Err(Error::Precondition { .. })), "{refused:?}");
    engine.stored_asset("media", "A").await;
    engine.stored_asset("artwork", "a").await;
}

async fn a_replacement_of_another_version_is_refused(engine: Engine) {
    let asset = engine.stored_asset("media", "a").await;
    let again = asset.clone();
    let refused = engine.write(move |tx| Box::pin(async move { tx.replace_asset(&again, 2).await })).await;
    assert!(matches!(refused, Err(Error::Precondition { .. })));
    assert_eq!(engine.catalog.asset(asset.id).await.unwrap(), Some(asset));
}

async fn a_replacement_raises_the_version_and_keeps_the_id(engine: Engine) {
    let asset = engine.stored_asset("media", "a").await;
    let mut next = asset.clone();
    next.sha256 = "ef".repeat(32);
    next.size_bytes = 9;
    next.width_px = None;
    let copy = next.clone();
    let version =
        engine.write(move |tx| Box::pin(async move { tx.replace_asset(&copy, 1).await })).await.unwrap();
    assert_eq!(version, 2);
    next.version = 2;
    assert_eq!(engine.catalog.asset(asset.id).await.unwrap(), Some(next));
}

async fn a_change_leaves_the_other_fields_alone(engine: Engine) {
    let asset = engine.stored_asset("media", "a").await;
    engine.advance(Duration::from_secs(1));
    let change = AssetChange {
        status: Some(AssetStatus::Ready),
        owner: Some(None),
        dimensions: Some((10, 20, 3)),
        tags: Some(vec!["new".into()]),
        ..AssetChange::default()
    };
    let changed = engine
        .write(move |tx| Box::pin(async move { tx.change_asset(asset.id, Some(1), change).await }))
        .await;
    let mut expected = asset.clone();
    expected.status = AssetStatus::Ready;
    expected.owner = None;
    (expected.width_px, expected.height_px, expected.frames) = (Some(10), Some(20), Some(3));
    expected.tags = vec!["new".into()];
    expected.updated_at = engine.now();
    assert_eq!(changed.unwrap(), expected);

    let stale = engine
        .write(move |tx| {
            Box::pin(async move { tx.change_asset(asset.id, Some(7), AssetChange::default()).await })
        })
        .await;
    assert!(stale.unwrap_err().is_precondition());
    let absent = engine.asset("media", "b").id;
    let absent = engine
        .write(move |tx| Box::pin(async move { tx.change_asset(absent, None, AssetChange::default()).await }))
        .await;
    assert!(absent.unwrap_err().is_not_found());
}

async fn a_deleted_asset_frees_its_key_and_comes_back_only_if_that_is_free(engine: Engine) {
    let asset = engine.stored_asset("media", "a").await;
    let id = asset.id;
    let deleted = engine
        .write(move |tx| Box::pin(async move { tx.mark_asset_deleted(id, 1, Some(".larder/trash/1")).await }))
        .await
        .unwrap();
    assert_eq!(deleted.trash_place.as_deref(), Some(".larder/trash/1"));
    assert_eq!(engine.catalog.asset_at(&asset.bucket, &asset.key).await.unwrap(), None);
    assert_eq!(engine.catalog.asset(id).await.unwrap(), Some(deleted));
    let twice =
        engine.write(move |tx| Box::pin(async move { tx.mark_asset_deleted(id, 1, None).await })).await;
    assert!(twice.unwrap_err().is_precondition());

    let other = engine.stored_asset("media", "a").await.id;
    let taken =
        engine.write(move |tx| Box::pin(async move { tx.restore_asset(id, "media/a", "f").await })).await;
    assert!(taken.unwrap_err().is_precondition());
    engine
        .write(move |tx| Box::pin(async move { tx.mark_asset_deleted(other, 1, None).await }))
        .await
        .unwrap();
    let restored = engine
        .write(move |tx| Box::pin(async move { tx.restore_asset(id, "media/a", "f").await }))
        .await
        .unwrap();
    assert_eq!((restored.deleted_at, restored.trash_place, restored.fingerprint), (None, None, "f".into()));
}

async fn purging_forgets_deleted_assets_only(engine: Engine) {
    let id = engine.stored_asset("media", "a").await.id;
    assert!(!engine.write(move |tx| Box::pin(async move { tx.purge_asset(id).await })).await.unwrap());
    engine.write(move |tx| Box::pin(async move { tx.mark_asset_deleted(id, 1, None).await })).await.unwrap();
    assert!(engine.write(move |tx| Box::pin(async move { tx.purge_asset(id).await })).await.unwrap());
    assert_eq!(engine.catalog.asset(id).await.unwrap(), None);
}

async fn lists_are_in_bytewise_order_and_page_without_gaps(engine: Engine) {
    // An order by language would put "a" before "B" and ignore the dash.
    let mut keys = ["B", "a", "a-b", "a/b", "ab", "b", "Ä", "ä", "\u{FFFD}", "\u{1F600}"].map(str::to_owned);
    for key in &keys {
        engine.stored_asset("media", key).await;
    }
    keys.sort_unstable();
    let mut filter = AssetFilter { bucket: Some(bucket("media")), limit: 3, ..AssetFilter::default() };
    let mut listed = Vec::new();
    loop {
        let page = engine.catalog.assets(&filter).await.unwrap();
        listed.extend(page.items.into_iter().map(|asset| asset.key.as_str().to_owned()));
        match page.next {
            Some(next) => filter.after = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, keys);

    let after = AssetFilter { after_key: Some("a0".into()), after: None, limit: 1, ..filter };
    assert_eq!(engine.catalog.assets(&after).await.unwrap().items[0].key.as_str(), "ab");
}

/// All pages of a level: keys and common prefixes in the order in which they came, merged.
async fn level(engine: &Engine, prefix: &str, limit: u32, deleted: bool) -> Vec<String> {
    let prefix = Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty());
    let mut filter =
        AssetFilter { bucket: Some(bucket("media")), prefix, limit, deleted, ..AssetFilter::default() };
    let mut listed = Vec::new();
    loop {
        let page = engine.catalog.assets_of_level(&filter, '/').await.unwrap();
        let mut names = page.prefixes;
        names.extend(page.items.into_iter().map(|asset| asset.key.as_str().to_owned()));
        assert!(names.len() <= limit as usize, "{names:?}");
        names.sort_unstable();
        listed.extend(names);
        match page.next {
            Some(next) => filter.after = Some(next),
            None => return listed,
        }
    }
}

async fn a_level_lists_its_keys_and_common_prefixes_and_pages_without_gaps(engine: Engine) {
    let keys =
        ["B", "a", "a-b", "a/", "a/b", "a/b/c", "a/b/d", "a//e", "a0", "b/1", "b/2", "Ä/1", "\u{1F600}/x/y"];
    for key in keys {
        engine.stored_asset("media", key).await;
        engine.stored_asset("artwork", key).await;
    }
    for limit in [1, 2, 3, 5, 100] {
        let root = level(&engine, "", limit, false).await;
        assert_eq!(root, ["B", "a", "a-b", "a/", "a0", "b/", "Ä/", "\u{1F600}/"], "{limit}");
        let below = level(&engine, "a/", limit, false).await;
        assert_eq!(below, ["a/", "a//", "a/b", "a/b/"], "{limit}");
        assert_eq!(level(&engine, "a", limit, false).await, ["a", "a-b", "a/", "a0"], "{limit}");
        assert_eq!(level(&engine, "a/b/c", limit, false).await, ["a/b/c"], "{limit}");
        assert_eq!(level(&engine, "c", limit, false).await, [""; 0], "{limit}");
    }
    // Deleted assets share keys.
    for _ in 0..3 {
        let id = engine.stored_asset("media", "z").await.id;
        engine
            .write(move |tx| Box::pin(async move { tx.mark_asset_deleted(id, 1, None).await }))
            .await
            .unwrap();
    }
    assert_eq!(level(&engine, "", 2, true).await, ["z"; 3]);

    let filter = AssetFilter { after_key: Some("a/b".into()), limit: 1, ..AssetFilter::default() };
    assert!(matches!(engine.catalog.assets_of_level(&filter, '/').await, Err(Error::Invalid { .. })));
    let filter = AssetFilter { bucket: Some(bucket("media")), ..filter };
    let page = engine.catalog.assets_of_level(&filter, '/').await.unwrap();
    assert_eq!((page.prefixes, page.items), (vec!["a/".to_owned()], vec![]));
    // The cursor behind a common prefix leads on in a list without levels too.
    let filter = AssetFilter { after: page.next, after_key: None, ..filter };
    assert_eq!(engine.catalog.assets(&filter).await.unwrap().items[0].key.as_str(), "a0");
}

async fn a_level_with_a_hundred_thousand_keys_below_is_listed_at_once(engine: Engine) {
    engine.stored_asset("media", "a").await;
    engine.stored_asset("media", "z").await;
    engine
        .tamper(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
            INSERT INTO assets (id, bucket, key, version, status, store, place, fingerprint, size_bytes, sha256, md5,
                content_type, metadata, tags, has_gps, created_at, written_at, updated_at)
            SELECT '0195f1e0-0000-7000-8000-' || CAST(100000000000 + i AS TEXT), bucket,
                'd' || CAST(i % 4 AS TEXT) || '/' || CAST(i AS TEXT), version, status, store, place, fingerprint,
                size_bytes, sha256, md5, content_type, metadata, tags, has_gps, created_at, written_at, updated_at
            FROM n, assets WHERE key = 'a'",
        )
        .await;
    let began = std::time::Instant::now();
    assert_eq!(level(&engine, "", 1, false).await, ["a", "d0/", "d1/", "d2/", "d3/", "z"]);
    // Walked through, these pages would read the keys below several times: seconds.
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

async fn filters_of_a_list_hold_together(engine: Engine) {
    let one = engine.stored_asset("media", "one").await;
    let mut two = engine.asset("media", "two");
    two.owner = None;
    two.tags = vec!["holi_day".into(), "x\"y".into()];
    two.status = AssetStatus::Ready;
    let copy = two.clone();
    engine.write(move |tx| Box::pin(async move { tx.insert_asset(&copy).await })).await.unwrap();
    let all = AssetFilter { limit: 10, ..AssetFilter::default() };
    for (filter, expected) in [
        (AssetFilter { tag: Some("holiday".into()), ..all.clone() }, vec![one.id]),
        (AssetFilter { tag: Some("holi_day".into()), ..all.clone() }, vec![two.id]),
        (AssetFilter { tag: Some("100%".into()), ..all.clone() }, vec![one.id]),
        (AssetFilter { tag: Some("x\"y".into()), ..all.clone() }, vec![two.id]),
        (AssetFilter { tag: Some("holi".into()), ..all.clone() }, vec![]),
        (AssetFilter { owner: Some("user-1".into()), ..all.clone() }, vec![one.id]),
        (AssetFilter { status: Some(AssetStatus::Ready), ..all.clone() }, vec![two.id]),
        (AssetFilter { deleted: true, ..all.clone() }, vec![]),
        (AssetFilter { bucket: Some(bucket("artwork")), ..all.clone() }, vec![]),
        (all.clone(), vec![one.id, two.id]),
    ] {
        let found: Vec<_> =
            engine.catalog.assets(&filter).await.unwrap().items.into_iter().map(|asset| asset.id).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let foreign = AssetFilter { after: Some("?".into()), ..all };
    assert!(matches!(engine.catalog.assets(&foreign).await, Err(Error::Invalid { .. })));
}

async fn a_prefix_lists_its_keys_and_no_neighbour(engine: Engine) {
    for key in ["a/1", "a/2", "a0", "A/3", "b", "a%/4", "a"] {
        engine.stored_asset("media", key).await;
    }
    for (prefix, expected) in
        [("a/", vec!["a/1", "a/2"]), ("a%", vec!["a%/4"]), ("A", vec!["A/3"]), ("c", vec![])]
    {
        let filter = AssetFilter { prefix: Some(prefix.into()), limit: 10, ..AssetFilter::default() };
        let found: Vec<String> = engine
            .catalog
            .assets(&filter)
            .await
            .unwrap()
            .items
            .iter()
            .map(|asset| asset.key.as_str().to_owned())
            .collect();
        assert_eq!(found, expected, "{prefix}");
    }
}

async fn rules_find_the_assets_they_are_about(engine: Engine) {
    let old = engine.stored_asset("media", "tmp/old").await.id;
    engine.advance(Duration::from_secs(60));
    let middle = engine.now();
    let young = engine.stored_asset("media", "tmp/young").await.id;
    let expiry = middle.plus(Duration::from_secs(5));
    let change = AssetChange { expires_at: Some(Some(expiry)), ..AssetChange::default() };
    engine
        .write(move |tx| Box::pin(async move { tx.change_asset(young, None, change).await }))
        .await
        .unwrap();

    let ids = |assets: Vec<larder_catalog::AssetRecord>| {
        assets.into_iter().map(|asset| asset.id).collect::<Vec<_>>()
    };
    let media = bucket("media");
    assert_eq!(ids(engine.catalog.assets_older_than(&media, "tmp/", middle, None, 10).await.unwrap()), [old]);
    assert_eq!(ids(engine.catalog.assets_older_than(&media, "", middle, None, 10).await.unwrap()), [old]);
    assert!(engine.catalog.assets_older_than(&media, "other/", middle, None, 10).await.unwrap().is_empty());
    assert!(engine.catalog.expired_assets(middle, None, 10).await.unwrap().is_empty());
    assert_eq!(ids(engine.catalog.expired_assets(expiry, None, 10).await.unwrap()), [young]);

    engine.write(move |tx| Box::pin(async move { tx.mark_asset_deleted(old, 1, None).await })).await.unwrap();
    assert!(engine.catalog.trash_due(&media, middle, None, 10).await.unwrap().is_empty());
    assert_eq!(ids(engine.catalog.trash_due(&media, expiry, None, 10).await.unwrap()), [old]);
}

async fn usage_counts_present_and_deleted_bytes_apart(engine: Engine) {
    engine.stored_asset("media", "a").await;
    engine.stored_asset("media", "b").await;
    let gone = engine.stored_asset("media", "c").await.id;
    engine
        .write(move |tx| Box::pin(async move { tx.mark_asset_deleted(gone, 1, None).await }))
        .await
        .unwrap();
    let usage = engine.catalog.bucket_usage().await.unwrap();
    assert_eq!(usage.len(), 1);
    assert_eq!(
        (usage[0].assets, usage[0].bytes, usage[0].deleted_assets, usage[0].deleted_bytes),
        (2, 10, 1, 5)
    );
    let types = engine.catalog.type_usage(&bucket("media"), "main").await.unwrap();
    assert_eq!((types[0].content_type.as_str(), types[0].assets, types[0].bytes), ("image/jpeg", 2, 10));
    assert_eq!(
        engine.catalog.asset_at(&bucket("media"), &key("a")).await.unwrap().unwrap().metadata,
        json!({"a": [1, "zwei", null]})
    );
}
