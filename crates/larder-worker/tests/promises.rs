//! Promises that hold however writers, readers, rules and other programs meet.

mod common;

use std::time::Duration;

use common::{Home, incoming, photo};
use larder_assets::{
    BucketPolicy, DeleteOptions, JobQuery, Larder, SweepOptions, WriteCondition, variants::AtHand,
};
use larder_core::{BucketName, Code, JobId, ObjectKey, UploadId};
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

fn uploads() -> SweepOptions {
    serde_json::from_value(json!({ "targets": ["uploads"] })).unwrap()
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

/// Makes the job of an upload fail by a defect until it is given up.
async fn given_up(home: &Home, larder: &Larder, upload: UploadId) -> JobId {
    for _ in 0..4 {
        Worker::drain(larder).await.unwrap();
        home.clock().advance(Duration::from_secs(3_600));
    }
    let query = JobQuery { subject: Some(upload.to_string()), ..JobQuery::default() };
    let job = larder.jobs(&query).await.unwrap().items.remove(0);
    assert_eq!((job.state.as_str(), job.attempts), ("dead", 3), "{job:?}");
    let upload = larder.upload(upload).await.unwrap();
    let error = upload.error.unwrap();
    assert_eq!((upload.status.as_str(), error.code), ("failed", Code::Internal));
    assert!(error.remedy.contains("retry its job within 1d"), "{}", error.remedy);
    job.id
}

#[tokio::test]
async fn an_upload_that_fails_by_a_defect_keeps_its_bytes_until_a_retry_completes_it() {
    for moved in [false, true] {
        let home = Home::new().await;
        let (larder, faults) = home.faulty_larder().await;
        let upload = larder.accept(incoming("media"), stream_of(photo(40, 30)), None).await.unwrap().upload;
        let rename = Rule::on(Operation::Rename);
        faults.add(match moved {
            false => rename.fails(Failure::Defect),
            // The bytes lie at their place, and nobody learns of it.
            true => rename.times(1).fails_after_effect(Failure::Defect),
        });
        if moved {
            faults.add(Rule::on(Operation::Settle).fails(Failure::Defect));
        }
        let job = given_up(&home, &larder, upload.id).await;
        faults.mend();
        larder.sweep(&uploads()).await.unwrap();
        assert_eq!(home.staging().len(), 1, "no sweep takes bytes that may be retried");
        assert_eq!(home.files("media"), Vec::<String>::new(), "and nobody finds them where they must not be");
        drop(larder);
        let larder = home.larder().await;
        assert_eq!(home.staging().len(), 1, "nor does a start");

        larder.retry_job(job).await.unwrap();
        let open = larder.upload(upload.id).await.unwrap();
        assert_eq!((open.status.as_str(), open.error, open.finished_at), ("pending", None, None));
        Worker::drain(&larder).await.unwrap();
        let upload = larder.upload(upload.id).await.unwrap();
        assert_eq!(upload.status, "completed", "{:?}", upload.error);
        let asset = upload.asset.unwrap();
        let read = larder.read_original(&asset.bucket, &asset.key).await.unwrap();
        assert_eq!(read.size_bytes, photo(40, 30).len() as u64);
        assert!(home.staging().is_empty());
    }
}

#[tokio::test]
async fn the_bytes_of_a_failed_upload_are_kept_as_long_as_uploads_live() {
    let home = Home::new().await;
    let (larder, faults) = home.faulty_larder().await;
    let upload = larder.accept(incoming("media"), stream_of(photo(40, 30)), None).await.unwrap().upload;
    faults.add(Rule::on(Operation::Rename).fails(Failure::Defect));
    let job = given_up(&home, &larder, upload.id).await;
    faults.mend();
    home.clock().advance(Duration::from_secs(24 * 3_600));
    let refused = larder.retry_job(job).await.unwrap_err();
    assert_eq!((refused.code, refused.remedy.as_str()), (Code::Conflict, "send the file again"));
    // The sweep compares with the age of the file, which has the machine's clock.
    home.clock().advance(Duration::from_secs(365 * 86_400));
    assert_eq!(larder.sweep(&uploads()).await.unwrap().leftovers, 1);
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
async fn two_processes_that_want_a_variant_have_one_job_for_it() {
    let home = Home::new().await;
    let (one, two) = (home.larder().await, home.larder().await);
    put(&one, "media", "a.jpg", photo(400, 300)).await;
    Worker::drain(&one).await.unwrap();
    let (bucket, key): (BucketName, ObjectKey) = ("media".parse().unwrap(), "a.jpg".parse().unwrap());
    let recipe = "resize:inside:200x200,format:avif,quality:60".parse().unwrap();
    let other = "resize:inside:100x100,format:avif,quality:60".parse().unwrap();
    for larder in [&one, &two, &one] {
        assert_eq!(larder.variant_at_hand(&bucket, &key, &recipe, None).await.unwrap(), AtHand::Coming);
    }
    two.variant_at_hand(&bucket, &key, &other, None).await.unwrap();
    let queued = JobQuery { state: Some("queued".to_owned()), ..JobQuery::default() };
    let jobs = two.jobs(&queued).await.unwrap().items;
    assert_eq!(jobs.len(), 2, "{jobs:?}");

    // What is given up of one recipe is not of the other.
    let given_up = jobs.iter().find(|job| job.args.to_string().contains("100x100")).unwrap();
    two.cancel_job(given_up.id).await.unwrap();
    assert_eq!(one.variant_at_hand(&bucket, &key, &recipe, None).await.unwrap(), AtHand::Coming);
    assert_eq!(two.variant_at_hand(&bucket, &key, &other, None).await.unwrap(), AtHand::Failed);
    Worker::drain(&two).await.unwrap();
    assert_eq!(two.variant_at_hand(&bucket, &key, &recipe, None).await.unwrap(), AtHand::Ready);
    assert_eq!(two.variant_at_hand(&bucket, &key, &other, None).await.unwrap(), AtHand::Failed);
    assert!(two.jobs(&queued).await.unwrap().items.is_empty());
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
    let swept = larder.sweep(&uploads()).await.unwrap();
    assert_eq!((swept.leftovers, home.staging().len()), (0, 1));
    let upload = larder.accept_staged(incoming("media"), staged, None).await.unwrap().upload;
    Worker::drain(&larder).await.unwrap();
    assert_eq!(larder.upload(upload.id).await.unwrap().status, "completed");

    // Nobody's bytes of the same age go.
    std::fs::write(home.path(".larder/staging/nobodys"), b"x").unwrap();
    let swept = larder.sweep(&uploads()).await.unwrap();
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
