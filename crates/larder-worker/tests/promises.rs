//! Promises that hold however writers, readers, rules and other programs meet.

mod common;

use std::time::Duration;

use common::{Home, incoming, photo};
use larder_assets::{BucketPolicy, DeleteOptions, Larder, SweepOptions, WriteCondition};
use larder_core::{BucketName, Code, ObjectKey};
use larder_store::stream_of;
use larder_testkit::faulty_store::{Failure, Operation, Rule};
use larder_worker::Worker;
use serde_json::json;

async fn bucket(larder: &Larder, name: &str, policy: serde_json::Value) -> BucketName {
    let name: BucketName = name.parse().unwrap();
    let policy: BucketPolicy = serde_json::from_value(policy).unwrap();
    larder.put_bucket(&name, policy).await.unwrap();
    name
}

async fn put(larder: &Larder, bucket: &str, key: &str, bytes: Vec<u8>) {
    let mut file = incoming(bucket);
    file.key = Some(key.parse().unwrap());
    larder.put(file, WriteCondition::None, stream_of(bytes)).await.unwrap();
}

fn retention(dry_run: bool) -> SweepOptions {
    serde_json::from_value(json!({ "targets": ["retention"], "dry_run": dry_run })).unwrap()
}

#[tokio::test]
async fn a_write_whose_upload_was_given_up_is_taken_back_and_stops_no_start() {
    let home = Home::new().await;
    let (larder, faults) = home.faulty_larder().await;
    let upload = larder.accept(incoming("media"), stream_of(photo(40, 30)), None).await.unwrap().upload;
    // The bytes move, but nobody learns of it.
    faults.add(Rule::on(Operation::Rename).times(1).fails_after_effect(Failure::Unavailable));
    Worker::drain(&larder).await.unwrap();
    let jobs = larder.catalog().active_jobs_about(&upload.id.to_string()).await.unwrap();
    larder.cancel_job(jobs[0].id).await.unwrap();
    assert_eq!(larder.upload(upload.id).await.unwrap().status, "failed");
    assert_eq!(home.files("media").len(), 1, "the bytes lie at their place without a record");
    drop(larder);

    let again = home.larder().await;
    assert_eq!(
        home.files("media"),
        Vec::<String>::new(),
        "whoever sent them was told that they are not there"
    );
    assert!(again.assets(&Default::default()).await.unwrap().items.is_empty());
    assert!(home.staging().is_empty());
}

#[tokio::test]
async fn no_variant_is_made_of_bytes_that_its_record_does_not_name() {
    let home = Home::new().await;
    let larder = home.larder().await;
    put(&larder, "media", "a.jpg", photo(400, 300)).await;
    // Another program writes there.
    std::fs::write(home.path("media/a.jpg"), photo(200, 100)).unwrap();
    let (bucket, key): (BucketName, ObjectKey) = ("media".parse().unwrap(), "a.jpg".parse().unwrap());
    let recipe = "resize:inside:64x64,format:png".parse().unwrap();
    let refused = larder.read_variant(&bucket, &key, &recipe, None).await;
    assert_eq!(refused.unwrap_err().code, Code::Conflict);
}

#[tokio::test]
async fn retention_counts_from_the_last_write_and_a_dry_run_counts_everything() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let rules =
        json!({ "accept": ["*/*"], "presets": [], "retention": [{ "prefix": "", "older_than": "100s" }] });
    bucket(&larder, "rules", rules).await;
    // More than are looked at in one go.
    for number in 0..501 {
        put(&larder, "rules", &format!("{number:03}.txt"), b"a plain text".to_vec()).await;
    }
    home.clock().advance(Duration::from_secs(60));
    put(&larder, "rules", "000.txt", b"another plain text".to_vec()).await;
    home.clock().advance(Duration::from_secs(60));
    let told = larder.sweep(&retention(true)).await.unwrap();
    assert_eq!((told.assets, told.asset_bytes), (500, 500 * 12), "the replaced one is 60 s old");
    let done = larder.sweep(&retention(false)).await.unwrap();
    assert_eq!((done.assets, done.asset_bytes), (told.assets, told.asset_bytes));
    let left = larder.assets(&Default::default()).await.unwrap().items;
    assert_eq!(left.iter().map(|asset| asset.key.as_str()).collect::<Vec<_>>(), ["000.txt"]);
}

#[tokio::test]
async fn what_a_running_request_staged_is_no_leftover_however_long_it_takes() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let staged = larder.stage(&incoming("media"), stream_of(photo(40, 30))).await.unwrap();
    home.clock().advance(Duration::from_secs(1_000 * 86_400));
    let swept =
        larder.sweep(&serde_json::from_value(json!({ "targets": ["uploads"] })).unwrap()).await.unwrap();
    assert_eq!((swept.leftovers, home.staging().len()), (0, 1));
    let upload = larder.accept_staged(incoming("media"), staged, None).await.unwrap().upload;
    Worker::drain(&larder).await.unwrap();
    assert_eq!(larder.upload(upload.id).await.unwrap().status, "completed");

    // Nobody's bytes of the same age go.
    std::fs::write(home.path(".larder/staging/nobodys"), b"x").unwrap();
    let swept =
        larder.sweep(&serde_json::from_value(json!({ "targets": ["uploads"] })).unwrap()).await.unwrap();
    assert_eq!((swept.leftovers, home.staging().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_purge_and_a_restoration_at_once_one_happens_and_it_is_whole() {
    for _ in 0..8 {
        let home = Home::new().await;
        let larder = home.larder().await;
        put(&larder, "media", "a.jpg", photo(40, 30)).await;
        Worker::drain(&larder).await.unwrap();
        let (bucket, key): (BucketName, ObjectKey) = ("media".parse().unwrap(), "a.jpg".parse().unwrap());
        let id = larder.delete(&bucket, &key, &DeleteOptions::default()).await.unwrap().id;
        let purge = DeleteOptions { purge: true, ..DeleteOptions::default() };
        let (purged, restored) = tokio::join!(
            tokio::spawn({
                let larder = larder.clone();
                async move { larder.delete_asset(id, &purge).await }
            }),
            tokio::spawn({
                let larder = larder.clone();
                async move { larder.restore(id).await }
            })
        );
        let _ = purged.unwrap();
        match restored.unwrap() {
            Ok(_) if larder.read_original(&bucket, &key).await.is_ok() => {}
            // Restored first, and then purged as the living asset that it was again; or purged first.
            outcome => {
                assert_eq!(larder.read_original(&bucket, &key).await.unwrap_err().code, Code::AssetNotFound);
                assert!(!home.path("media/a.jpg").exists(), "{outcome:?}");
            }
        }
    }
}
