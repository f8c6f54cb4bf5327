//! A catalogue is lost, and is as it was.

use larder_core::Code;
use larder_testkit::fixtures;
use serde_json::{Map, json};

use super::{DifferenceKind, ReindexOptions};
use crate::{
    AssetPatch, BucketPolicy, DeleteOptions, Larder, Unfollowed,
    home::{Home, bucket, holdings, key, put, read, read_preset, work},
};

const PLAIN: ReindexOptions = ReindexOptions { merge: false, verify: false, dry_run: false };

/// Numbers that repeat with their seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One random thing that users, operators and schedules do.
async fn step(larder: &Larder, dice: &mut Dice) {
    let at = format!("k{}/ü {}.txt", dice.below(3), dice.below(4));
    let present = larder.asset_at(&bucket("files"), &key(&at)).await.ok();
    match dice.below(14) {
        0..=4 => {
            let text = format!("text number {}", dice.below(1_000));
            put(larder, "files", &at, text.as_bytes()).await;
        }
        5 | 6 => {
            if let Some(asset) = present {
                let metadata = Map::from_iter([("n".to_owned(), json!(dice.below(100)))]);
                let patch = AssetPatch {
                    metadata: Some(metadata),
                    owner: Some((dice.below(2) == 0).then(|| "somebody".to_owned())),
                    ..AssetPatch::default()
                };
                larder.update_asset(asset.id, patch).await.unwrap();
            }
        }
        7 | 8 => {
            if let Some(asset) = present {
                let purge = dice.below(3) == 0;
                let options = DeleteOptions { purge, if_match: None };
                larder.delete_asset(asset.id, &options).await.unwrap();
            }
        }
        9 => {
            let trash = larder.catalog().assets_by_id(None, 1_000).await.unwrap();
            if let Some(asset) = trash.iter().find(|asset| asset.deleted_at.is_some()) {
                // Its key may be another's by now.
                let _ = larder.restore(asset.id).await;
            }
        }
        10 => {
            let policy = BucketPolicy { backlog_max: dice.below(100), ..BucketPolicy::default() };
            larder.put_bucket(&bucket(&format!("b-{}", dice.below(2))), policy).await.unwrap();
        }
        11 => {
            let recipe = format!("resize:inside:{}x20,format:png", dice.below(100) + 1);
            larder.put_preset(&format!("p{}", dice.below(2)), &recipe).await.unwrap();
        }
        12 => drop(larder.record_meta().await.unwrap()),
        _ => drop(larder.compact_meta_beyond(dice.below(2) * (1 << 40), None).await.unwrap()),
    }
}

#[tokio::test]
async fn a_rebuilt_catalogue_equals_the_lost_one_whatever_was_done() {
    for seed in 0..12 {
        let home = if seed % 2 == 0 { Home::local() } else { Home::memory() };
        let larder = home.larder().await;
        let mut dice = Dice(seed);
        for _ in 0..60 {
            step(&larder, &mut dice).await;
        }
        larder.record_meta().await.unwrap();
        let lost = holdings(&larder).await;
        home.lose_catalogue();
        let rebuilt = home.larder().await;
        let report = rebuilt.reindex(PLAIN, &Unfollowed).await.unwrap();
        assert_eq!(holdings(&rebuilt).await, lost, "seed {seed}: {report:?}");
        assert_eq!((report.differences, report.by_path.adopted), (0, 0), "seed {seed}: {report:?}");
        for asset in lost.assets.iter().filter(|asset| asset.deleted_at.is_none()) {
            let bytes = read(&rebuilt, "files", asset.key.as_str()).await.unwrap();
            assert_eq!(bytes.len() as u64, asset.size_bytes, "seed {seed}");
        }
        // It can be lost again.
        put(&rebuilt, "files", "one more", b"one more").await;
        rebuilt.record_meta().await.unwrap();
        let lost = holdings(&rebuilt).await;
        home.lose_catalogue();
        let again = home.larder().await;
        again.reindex(ReindexOptions { verify: true, ..PLAIN }, &Unfollowed).await.unwrap();
        assert_eq!(holdings(&again).await, lost, "seed {seed}");
    }
}

#[tokio::test]
async fn pictures_come_back_with_their_variants_and_the_trash() {
    let home = Home::local();
    let larder = home.larder().await;
    put(&larder, "media", "a.jpg", &fixtures::unlike(1, 400, 300)).await;
    let gone = put(&larder, "media", "b.jpg", &fixtures::unlike(2, 400, 300)).await;
    work(&larder).await;
    let small = read_preset(&larder, "media", "a.jpg", "keep-small").await;
    larder.delete_asset(gone.id, &DeleteOptions::default()).await.unwrap();
    larder.record_meta().await.unwrap();
    let lost = holdings(&larder).await;
    assert_eq!(lost.variants.len(), 1);
    home.lose_catalogue();
    let rebuilt = home.larder().await;
    let dry = ReindexOptions { dry_run: true, ..PLAIN };
    let told = rebuilt.reindex(dry, &Unfollowed).await.unwrap();
    assert!(rebuilt.catalog().assets_by_id(None, 1).await.unwrap().is_empty(), "nothing was stored");
    let report = rebuilt.reindex(PLAIN, &Unfollowed).await.unwrap();
    assert_eq!((report.assets, report.deleted, report.variants), (1, 1, 1), "{report:?}");
    assert_eq!((told.assets, told.deleted, told.variants, told.by_path.adopted), (1, 1, 1, 0), "{told:?}");
    assert_eq!(holdings(&rebuilt).await, lost);
    assert_eq!(read_preset(&rebuilt, "media", "a.jpg", "keep-small").await, small);
    rebuilt.restore(gone.id).await.unwrap();
    assert_eq!(read(&rebuilt, "media", "b.jpg").await.unwrap(), fixtures::unlike(2, 400, 300));
}

#[tokio::test]
async fn a_new_catalogue_writes_nothing_over_the_records_of_a_lost_one() {
    let home = Home::local();
    let larder = home.larder().await;
    let strict = BucketPolicy { backlog_max: 7, accept: vec!["*/*".to_owned()], ..BucketPolicy::default() };
    larder.put_bucket(&bucket("files"), strict).await.unwrap();
    put(&larder, "files", "old", b"old").await;
    larder.record_meta().await.unwrap();
    home.lose_catalogue();
    // Nobody noticed, and went on.
    let fresh = home.larder().await;
    let new = put(&fresh, "files", "new", b"new").await;
    let before = home.places(".larder/meta/").await;
    assert!(fresh.record_meta().await.unwrap().is_foreign);
    fresh.compact_meta_beyond(0, None).await.unwrap();
    assert_eq!(home.places(".larder/meta/").await, before);
    let refused = fresh.reindex(PLAIN, &Unfollowed).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.remedy.contains("--merge"));
    let merge = ReindexOptions { merge: true, ..PLAIN };
    let report = fresh.reindex(merge, &Unfollowed).await.unwrap();
    assert_eq!(report.assets, 1, "{report:?}");
    assert_eq!(read(&fresh, "files", "old").await.unwrap(), b"old");
    assert_eq!(fresh.asset(new.id).await.unwrap().id, new.id);
    assert_eq!(fresh.bucket(&bucket("files")).await.unwrap().policy.backlog_max, 7, "as it was");
    // From now on it is the one that writes, and a second run finds all there.
    assert!(!fresh.record_meta().await.unwrap().is_foreign);
    let again = fresh.reindex(merge, &Unfollowed).await.unwrap();
    assert_eq!((again.assets, again.present, again.by_path.adopted), (0, 2, 0), "{again:?}");
    home.lose_catalogue();
    let rebuilt = home.larder().await;
    rebuilt.reindex(PLAIN, &Unfollowed).await.unwrap();
    assert_eq!(holdings(&rebuilt).await.assets, holdings(&fresh).await.assets);
}

#[tokio::test]
async fn a_damaged_file_of_records_is_told_and_its_assets_come_by_their_paths() {
    let home = Home::local();
    let larder = home.larder().await;
    put(&larder, "files", "a/one", b"one").await;
    larder.record_meta().await.unwrap();
    put(&larder, "files", "a/two", b"two").await;
    larder.record_meta().await.unwrap();
    let last = home.places(".larder/meta/log/").await.pop().unwrap();
    let torn = home.read(&last).await;
    home.write(&last, &torn[..torn.len() - 7]).await;
    home.lose_catalogue();
    let rebuilt = home.larder().await;
    let report = rebuilt.reindex(PLAIN, &Unfollowed).await.unwrap();
    assert_eq!(report.unreadable.len(), 1);
    assert!(
        report.unreadable[0].place == last && report.unreadable[0].why.contains("checksum"),
        "{report:?}"
    );
    assert_eq!((report.assets, report.by_path.adopted), (1, 1), "{report:?}");
    assert_eq!(
        rebuilt.asset_at(&bucket("files"), &key("a/one")).await.unwrap().owner.unwrap(),
        "owner of a/one"
    );
    let two = rebuilt.asset_at(&bucket("files"), &key("a/two")).await.unwrap();
    assert_eq!((two.owner, two.size_bytes, two.content_type.as_str()), (None, 3, "text/plain"));
}

#[tokio::test]
async fn a_store_without_any_records_is_adopted_by_its_paths_with_the_variants_of_presets() {
    let home = Home::local();
    let larder = home.larder().await;
    let photo = fixtures::unlike(3, 400, 300);
    put(&larder, "media", "trip/a.jpg", &photo).await;
    work(&larder).await;
    let small = read_preset(&larder, "media", "trip/a.jpg", "keep-small").await;
    assert!(home.places(".larder/meta/").await.is_empty(), "it ended before it wrote any");
    home.lose_catalogue();
    let rebuilt = home.larder().await;
    let report = rebuilt.reindex(PLAIN, &Unfollowed).await.unwrap();
    assert_eq!((report.by_path.adopted, report.by_path.variants), (1, 1), "{report:?}");
    assert_eq!(read(&rebuilt, "media", "trip/a.jpg").await.unwrap(), photo);
    let asset = rebuilt.asset_at(&bucket("media"), &key("trip/a.jpg")).await.unwrap();
    let variants = rebuilt.variants(asset.id).await.unwrap();
    assert_eq!((variants.len(), variants[0].status.as_str()), (1, "ready"));
    assert_eq!(read_preset(&rebuilt, "media", "trip/a.jpg", "keep-small").await, small);
}

#[tokio::test]
async fn what_happened_after_the_last_record_is_found_by_the_bytes() {
    let home = Home::local();
    let larder = home.larder().await;
    let mut ids = Vec::new();
    for name in ["deleted", "restored", "replaced", "lost", "damaged", "purged"] {
        ids.push(put(&larder, "files", name, format!("{name} as it came").as_bytes()).await.id);
    }
    let plain = DeleteOptions::default();
    larder.delete_asset(ids[1], &plain).await.unwrap();
    larder.delete_asset(ids[5], &plain).await.unwrap();
    larder.record_meta().await.unwrap();
    // None of this was written before the power went.
    larder.delete_asset(ids[0], &plain).await.unwrap();
    larder.restore(ids[1]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    put(&larder, "files", "replaced", b"other bytes").await;
    home.remove("files/lost").await;
    let damaged = home.root().join("files/damaged");
    let modified = std::fs::metadata(&damaged).unwrap().modified().unwrap();
    std::fs::write(&damaged, "x").unwrap();
    std::fs::File::open(&damaged).unwrap().set_modified(modified).unwrap();
    larder.delete_asset(ids[5], &DeleteOptions { purge: true, if_match: None }).await.unwrap();

    home.lose_catalogue();
    let rebuilt = home.larder().await;
    let report = rebuilt.reindex(PLAIN, &Unfollowed).await.unwrap();
    let kind = |name: &str| report.findings.iter().find(|found| found.key == name).map(|found| found.kind);
    assert_eq!(kind("deleted"), Some(DifferenceKind::Deleted), "{report:?}");
    assert_eq!(kind("restored"), Some(DifferenceKind::Restored));
    assert_eq!(kind("replaced"), Some(DifferenceKind::Newer));
    assert_eq!(kind("lost"), Some(DifferenceKind::Missing));
    assert_eq!(kind("damaged"), Some(DifferenceKind::Damaged));
    assert_eq!(kind("purged"), None);
    assert_eq!((report.differences, report.by_path.adopted), (5, 0));
    assert_eq!(read(&rebuilt, "files", "restored").await.unwrap(), b"restored as it came");
    assert_eq!(read(&rebuilt, "files", "replaced").await.unwrap(), b"other bytes");
    let replaced = rebuilt.asset_at(&bucket("files"), &key("replaced")).await.unwrap();
    assert_eq!((replaced.id, replaced.version), (ids[2], 2));
    for name in ["lost", "damaged"] {
        assert_eq!(read(&rebuilt, "files", name).await, Err(Code::StoredBytesCorrupt), "{name}");
    }
    rebuilt.restore(ids[0]).await.unwrap();
    assert_eq!(read(&rebuilt, "files", "deleted").await.unwrap(), b"deleted as it came");
    // What it made of them is what the next rebuilding makes.
    let held = holdings(&rebuilt).await;
    rebuilt.record_meta().await.unwrap();
    home.lose_catalogue();
    let again = home.larder().await;
    again.reindex(PLAIN, &Unfollowed).await.unwrap();
    let ids =
        |held: &crate::home::Holdings| held.assets.iter().map(|a| (a.id, a.version)).collect::<Vec<_>>();
    assert_eq!(ids(&holdings(&again).await), ids(&held));
}

#[tokio::test]
async fn a_catalogue_from_a_copy_writes_behind_what_lies_in_the_store() {
    let home = Home::local();
    let larder = home.larder().await;
    put(&larder, "files", "before", b"before").await;
    larder.record_meta().await.unwrap();
    // Nothing writes: database and log are a whole.
    let saved = home.catalogue_copy();
    for name in ["later", "later still"] {
        put(&larder, "files", name, name.as_bytes()).await;
        larder.record_meta().await.unwrap();
    }
    home.lose_catalogue();
    home.bring_catalogue_back(&saved);
    let old = home.larder().await;
    put(&old, "files", "after the copy", b"after").await;
    let recorded = old.record_meta().await.unwrap();
    assert!(recorded.records > 0 && !recorded.is_foreign, "{recorded:?}");
    home.lose_catalogue();
    let rebuilt = home.larder().await;
    rebuilt.reindex(PLAIN, &Unfollowed).await.unwrap();
    for name in ["before", "later", "later still", "after the copy"] {
        assert!(read(&rebuilt, "files", name).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn records_stay_few_and_small_however_often_something_changes() {
    let home = Home::memory();
    let larder = home.larder().await;
    let asset = put(&larder, "files", "a", b"a").await;
    for number in 0..70 {
        let patch = AssetPatch { owner: Some(Some(format!("u{number}"))), ..AssetPatch::default() };
        larder.update_asset(asset.id, patch).await.unwrap();
        larder.record_meta().await.unwrap();
    }
    assert_eq!(home.places(".larder/meta/log/").await.len(), 70);
    let compacted = larder.compact_meta(None).await.unwrap();
    assert_eq!((compacted.merged, compacted.is_rebased), (70, false));
    assert_eq!(home.places(".larder/meta/log/").await.len(), 1);
    assert_eq!(larder.record_meta().await.unwrap().batches, 0, "nothing changed since");
    assert!(larder.compact_meta_beyond(0, None).await.unwrap().is_rebased);
    assert!(home.places(".larder/meta/log/").await.is_empty());
    assert_eq!(home.places(".larder/meta/base/").await.len(), 2, "one part and its end");
    let lost = holdings(&larder).await;
    home.lose_catalogue();
    let rebuilt = home.larder().await;
    rebuilt.reindex(PLAIN, &Unfollowed).await.unwrap();
    assert_eq!(holdings(&rebuilt).await, lost);
}
