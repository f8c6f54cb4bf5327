//! From a file to its variants, through the real catalogue and a real folder, jobs run by hand.

mod common;

use std::time::Duration;

use common::{Home, incoming, photo};
use larder_assets::{BucketPolicy, DeleteOptions, Larder, Secrets, Settings, SweepOptions, WriteCondition};
use larder_catalog::{Class, JobFilter, JobRecord, JobState, NewJob};
use larder_core::Code;
use larder_store::stream_of;
use larder_testkit::faulty_store::{Failure, Operation, Rule};
use larder_worker::{Worker, WorkerOptions};

#[tokio::test]
async fn b1_an_uploaded_photo_becomes_an_asset_with_its_variants() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let accepted = larder.accept(incoming("media"), stream_of(photo(1200, 800)), None).await.unwrap();
    assert_eq!(accepted.upload.status, "pending");
    Worker::drain(&larder).await.unwrap();
    let upload = larder.upload(accepted.upload.id).await.unwrap();
    assert_eq!(upload.status, "completed", "{:?}", upload.error);
    assert_eq!(upload.progress_percentage, 100);
    let asset = upload.asset.unwrap();
    assert_eq!((asset.width, asset.height), (Some(1200), Some(800)));
    assert_eq!(asset.status, "ready");
    assert!(asset.placeholder.is_some());
    let sizes: Vec<_> = upload
        .variants
        .values()
        .map(|variant| (variant.preset.clone().unwrap(), variant.width, variant.height))
        .collect();
    assert_eq!(
        sizes,
        [
            ("artwork-large".to_owned(), Some(1200), Some(800)),
            ("artwork-medium".to_owned(), Some(1080), Some(720)),
            ("artwork-small".to_owned(), Some(540), Some(360)),
            ("artwork-thumbnail".to_owned(), Some(254), Some(169)),
        ]
    );
    let original = larder.read_original(&asset.bucket, &asset.key).await.unwrap();
    assert_eq!(original.size_bytes, photo(1200, 800).len() as u64);
    assert_eq!(original.etag, asset.etag);
    let recipe = larder.recipe_of_preset("artwork-small").await.unwrap();
    let variant =
        larder.read_variant(&asset.bucket, &asset.key, &recipe, Some("artwork-small")).await.unwrap();
    assert_eq!(variant.content_type, "image/webp");
    assert!(home.staging().is_empty(), "{:?}", home.staging());
}

#[tokio::test]
async fn b8_a_truncated_photo_fails_with_the_reason_and_leaves_nothing() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let whole = photo(640, 480);
    let cut = whole[..whole.len() / 2].to_vec();
    let accepted = larder.accept(incoming("media"), stream_of(cut), None).await.unwrap();
    Worker::drain(&larder).await.unwrap();
    let upload = larder.upload(accepted.upload.id).await.unwrap();
    assert_eq!(upload.status, "failed");
    assert_eq!(upload.error.unwrap().code, Code::UndecodableImage);
    assert!(home.staging().is_empty());
    assert_eq!(larder.assets(&Default::default()).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn b3_putting_twice_replaces_and_old_variants_go_stale() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let mut first = incoming("media");
    first.key = Some("a/photo.jpg".parse().unwrap());
    let created = larder.put(first.clone(), WriteCondition::None, stream_of(photo(400, 300))).await.unwrap();
    assert!(created.created);
    Worker::drain(&larder).await.unwrap();
    let replaced = larder.put(first.clone(), WriteCondition::None, stream_of(photo(300, 200))).await.unwrap();
    assert!(!replaced.created);
    assert_eq!(replaced.asset.id, created.asset.id);
    assert_eq!(replaced.asset.version, 2);
    Worker::drain(&larder).await.unwrap();
    let variants = larder.variants(created.asset.id).await.unwrap();
    assert!(
        variants.iter().all(|variant| variant.width.unwrap() <= 300),
        "only those of the present bytes are shown"
    );
    let refused = larder.put(first.clone(), WriteCondition::IfAbsent, stream_of(photo(10, 10))).await;
    assert_eq!(refused.unwrap_err().code, Code::PreconditionFailed);
    let stale = WriteCondition::IfMatch(vec![created.asset.etag.clone()]);
    assert_eq!(
        larder.put(first, stale, stream_of(photo(10, 10))).await.unwrap_err().code,
        Code::PreconditionFailed
    );
}

#[tokio::test]
async fn i8_a_deleted_asset_is_gone_at_once_and_can_be_restored_until_it_is_purged() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let mut file = incoming("media");
    file.key = Some("a.jpg".parse().unwrap());
    let asset = larder.put(file, WriteCondition::None, stream_of(photo(400, 300))).await.unwrap().asset;
    Worker::drain(&larder).await.unwrap();
    larder.delete(&asset.bucket, &asset.key, &DeleteOptions::default()).await.unwrap();
    assert_eq!(larder.read_original(&asset.bucket, &asset.key).await.unwrap_err().code, Code::AssetNotFound);
    assert!(!home.path("media/a.jpg").exists(), "a direct URL finds nothing");
    let again = larder.delete(&asset.bucket, &asset.key, &DeleteOptions::default()).await;
    assert_eq!(again.unwrap_err().code, Code::AssetNotFound, "deleting nothing does not say deleted");
    larder.restore(asset.id).await.unwrap();
    Worker::drain(&larder).await.unwrap();
    assert_eq!(larder.read_original(&asset.bucket, &asset.key).await.unwrap().etag, asset.etag);
    assert_eq!(larder.variants(asset.id).await.unwrap().len(), 4);
    larder.delete(&asset.bucket, &asset.key, &DeleteOptions::default()).await.unwrap();
    home.clock().advance(Duration::from_secs(8 * 86_400));
    let everything = SweepOptions { targets: Vec::new(), dry_run: true };
    assert_eq!(larder.sweep(&everything).await.unwrap().purged, 1);
    larder.sweep(&SweepOptions { dry_run: false, ..everything }).await.unwrap();
    assert!(larder.restore(asset.id).await.is_err());
    assert_eq!(home.files("media"), Vec::<String>::new());
}

#[tokio::test]
async fn b10_the_same_idempotency_key_replays_and_another_body_is_refused() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let key = larder_assets::Idempotency { scope: "local POST /uploads".to_owned(), key: "k1".to_owned() };
    let first = larder.accept(incoming("media"), stream_of(photo(40, 30)), Some(&key)).await.unwrap();
    let again = larder.accept(incoming("media"), stream_of(photo(40, 30)), Some(&key)).await.unwrap();
    assert!(again.replayed && !first.replayed);
    assert_eq!(again.upload.id, first.upload.id);
    let other = larder.accept(incoming("media"), stream_of(photo(41, 30)), Some(&key)).await;
    assert_eq!(other.unwrap_err().code, Code::IdempotencyKeyReused);
    Worker::drain(&larder).await.unwrap();
    assert!(home.staging().is_empty(), "{:?}", home.staging());
    assert_eq!(larder.assets(&Default::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn b10_a_bucket_that_deduplicates_keeps_equal_bytes_once() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let policy =
        BucketPolicy { deduplicate: true, presets: vec!["keep".to_owned()], ..BucketPolicy::default() };
    larder.put_bucket(&"once".parse().unwrap(), policy).await.unwrap();
    let one = larder.accept(incoming("once"), stream_of(photo(40, 30)), None).await.unwrap();
    let two = larder.accept(incoming("once"), stream_of(photo(40, 30)), None).await.unwrap();
    Worker::drain(&larder).await.unwrap();
    let (one, two) =
        (larder.upload(one.upload.id).await.unwrap(), larder.upload(two.upload.id).await.unwrap());
    assert_eq!((one.status.as_str(), two.status.as_str()), ("completed", "completed"));
    assert_eq!(one.asset.unwrap().id, two.asset.unwrap().id);
    assert!(home.staging().is_empty());
}

#[tokio::test]
async fn c5_a_changed_preset_is_backfilled_and_an_unknown_variant_is_made_on_demand() {
    let home = Home::new().await;
    let larder = home.larder().await;
    let policy = BucketPolicy { presets: vec!["hero".to_owned()], ..BucketPolicy::default() };
    larder.put_preset("hero", "resize:inside:100x100").await.unwrap();
    larder.put_bucket(&"pages".parse().unwrap(), policy).await.unwrap();
    let upload = larder.accept(incoming("pages"), stream_of(photo(400, 300)), None).await.unwrap().upload;
    Worker::drain(&larder).await.unwrap();
    let asset = larder.upload(upload.id).await.unwrap().asset.unwrap();
    assert!(larder.put_preset("hero", "resize:inside:50x50").await.unwrap().backfill.is_some());
    Worker::drain(&larder).await.unwrap();
    let mut widths: Vec<_> =
        larder.variants(asset.id).await.unwrap().iter().map(|variant| variant.width).collect();
    widths.sort();
    assert_eq!(widths, [Some(50), Some(100)], "the old one stays readable until it is collected");
    let recipe = "resize:cover:64x64,format:png".parse().unwrap();
    let (one, two) = tokio::join!(
        larder.read_variant(&asset.bucket, &asset.key, &recipe, None),
        larder.read_variant(&asset.bucket, &asset.key, &recipe, None),
    );
    assert_eq!(one.unwrap().etag, two.unwrap().etag);
    assert_eq!(larder.variants(asset.id).await.unwrap().len(), 3);
}

#[tokio::test]
async fn b15_the_same_file_name_twice_gives_two_assets() {
    let home = Home::new().await;
    let larder = home.larder().await;
    for _ in 0..2 {
        let mut file = incoming("media");
        file.file_name = Some("IMG_0001.jpg".to_owned());
        larder.accept(file, stream_of(photo(40, 30)), None).await.unwrap();
    }
    Worker::drain(&larder).await.unwrap();
    let assets = larder.assets(&Default::default()).await.unwrap().items;
    assert_eq!(assets.len(), 2);
    assert!(assets.iter().all(|asset| asset.original_filename.as_deref() == Some("IMG_0001.jpg")));
}

#[tokio::test]
async fn a4_awkward_keys_and_keys_that_block_each_other_live_side_by_side() {
    let home = Home::new().await;
    let larder = home.larder().await;
    for key in ["a", "a/b", "a//b", "x/", "ü/日本.jpg", "_keys/a"] {
        let mut file = incoming("media");
        file.key = Some(key.parse().unwrap());
        larder
            .put(file, WriteCondition::IfAbsent, stream_of(photo(20, 10)))
            .await
            .unwrap_or_else(|fault| panic!("{key}: {fault}"));
    }
    Worker::drain(&larder).await.unwrap();
    for key in ["a", "a/b", "a//b", "x/", "ü/日本.jpg", "_keys/a"] {
        let (bucket, key) = ("media".parse().unwrap(), key.parse().unwrap());
        larder.read_original(&bucket, &key).await.unwrap_or_else(|fault| panic!("{key}: {fault}"));
        let recipe = larder.recipe_of_preset("artwork-thumbnail").await.unwrap();
        larder
            .read_variant(&bucket, &key, &recipe, None)
            .await
            .unwrap_or_else(|fault| panic!("{key}: {fault}"));
    }
}

/// The job that waits for its time, after the clock moved there.
async fn next_try(home: &Home, larder: &Larder) -> JobRecord {
    let queued = JobFilter { state: Some(JobState::Queued), limit: 1, ..JobFilter::default() };
    let job = larder.catalog().jobs(&queued).await.unwrap().items.remove(0);
    home.clock().advance(job.run_at.since(larder.ambient().now()));
    job
}

#[tokio::test]
async fn a_job_comes_back_less_and_less_often_while_the_store_is_away() {
    const TRIES: i64 = 16;
    let home = Home::new().await;
    let (larder, faults) = home.faulty_larder().await;
    let upload = larder.accept(incoming("media"), stream_of(photo(40, 30)), None).await.unwrap().upload;
    faults.cut();
    let began = larder.ambient().now();
    loop {
        Worker::drain(&larder).await.unwrap();
        let before = larder.ambient().now();
        let job = next_try(&home, &larder).await;
        assert_eq!(job.attempts, 0, "a store that is away costs no attempt");
        assert!(job.run_at.since(before) <= Duration::from_secs(60), "and none waits longer than this");
        if job.lease >= TRIES {
            break;
        }
    }
    let waited = larder.ambient().now().since(began);
    assert!(waited > Duration::from_secs(90), "{TRIES} tries within {waited:?}");
    faults.mend();
    Worker::drain(&larder).await.unwrap();
    assert_eq!(larder.upload(upload.id).await.unwrap().status, "completed");
}

#[tokio::test]
async fn an_import_from_a_server_that_fails_ends_with_its_last_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for served in 0_usize.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let _ = stream.read(&mut [0; 4_096]).await;
            let answer =
                format!("HTTP/1.1 50{} No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", served % 4);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let home = Home::new().await;
    let larder = home.importing_larder().await;
    let url = format!("http://{address}/x.jpg").parse().unwrap();
    let id = larder.import(incoming("media"), url, None).await.unwrap().upload.id;
    for tries in 1..100 {
        Worker::drain(&larder).await.unwrap();
        let upload = larder.upload(id).await.unwrap();
        if upload.status == "failed" {
            let error = upload.error.unwrap();
            assert_eq!(error.code, Code::ImportFailed);
            assert!(error.detail.contains("50"), "{error}");
            assert!(tries > 1, "a hiccup is forgiven");
            server.abort();
            return;
        }
        next_try(&home, &larder).await;
    }
    panic!("the import never ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_places_are_all_taken_still_keeps_house() {
    let home = Home::new().await;
    let (larder, faults) = home.faulty_larder().await;
    larder.accept(incoming("media"), stream_of(photo(40, 30)), None).await.unwrap();
    // The file can be opened in half a minute: until then its job holds the only place.
    faults.add(Rule::on(Operation::Open).delayed(Duration::from_secs(30)));
    let options = WorkerOptions { concurrency: 1, ..WorkerOptions::default() };
    let worker = Worker::start(larder.clone(), options).await.unwrap();
    while faults.count(Operation::Open) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    home.clock().advance(Duration::from_secs(3_600));
    let later = larder.ambient().now();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while larder.catalog().workers(later).await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the worker was not heard of again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    worker.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn one_sweep_forgets_all_that_is_old_enough() {
    const JOBS: usize = 1_100;
    let home = Home::new().await;
    let larder = home.larder().await;
    let ended = larder.catalog().commit(Class::Durable, |tx| {
        Box::pin(async move {
            for _ in 0..JOBS {
                let id = tx.enqueue(NewJob::new("collect", "maintenance")).await?.id;
                tx.cancel_job(id).await?;
            }
            Ok(())
        })
    });
    ended.await.unwrap();
    home.clock().advance(Settings::new(Secrets::new(*b"0123456789abcdef").unwrap()).history);
    home.clock().advance(Duration::from_secs(1));
    let report = larder.sweep(&SweepOptions { targets: Vec::new(), dry_run: false }).await.unwrap();
    assert_eq!(report.history, JOBS as u64);
    assert!(larder.catalog().queue_counts().await.unwrap().is_empty());
}

#[tokio::test]
async fn recovery_makes_a_move_durable_before_it_records_it() {
    let home = Home::new().await;
    let (larder, faults) = home.faulty_larder().await;
    let mut file = incoming("media");
    file.key = Some("a.jpg".parse().unwrap());
    // As if the process had died between the move and its sync.
    faults.add(Rule::on(Operation::Rename).times(1).fails_after_effect(Failure::Unavailable));
    larder.put(file, WriteCondition::None, stream_of(photo(40, 30))).await.unwrap_err();
    home.clock().advance(Duration::from_secs(60));
    assert_eq!(larder.recover().await.unwrap().writes, 1);
    assert!(faults.log().contains(&(Operation::Settle, "media/a.jpg".to_owned())), "{:?}", faults.log());
    larder.read_original(&"media".parse().unwrap(), &"a.jpg".parse().unwrap()).await.unwrap();
}
