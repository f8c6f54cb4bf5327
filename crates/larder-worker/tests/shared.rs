//! B10, the `hash` layout: equal bytes of a bucket lie in the store once, under however many keys, and are
//! there for as long as one of them needs them.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{Home, incoming, photo};
use larder_assets::{
    AssetView, BucketPolicy, CopyTarget, DeleteOptions, Larder, Layout, ScrubOptions, SweepOptions,
    Unfollowed, WriteCondition, policy::GpsPolicy, scrub::Problem,
};
use larder_core::{BucketName, Code, ObjectKey};
use larder_store::{Store, stream_of};
use larder_testkit::faulty_store::{Failure, FaultyStore, Operation, Rule};
use larder_worker::Worker;
use serde_json::json;

fn shared() -> BucketName {
    "shared".parse().unwrap()
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn policy(layout: Layout) -> BucketPolicy {
    BucketPolicy { layout, accept: vec!["*/*".to_owned()], ..BucketPolicy::default() }
}

async fn with_bucket(larder: Larder) -> Larder {
    larder.put_bucket(&shared(), policy(Layout::Hash)).await.unwrap();
    larder
}

async fn try_put(larder: &Larder, at: &str, bytes: &[u8]) -> Result<AssetView, larder_core::Fault> {
    let mut file = incoming("shared");
    file.key = Some(key(at));
    file.metadata.insert("of".to_owned(), json!(at));
    let put = larder.put(file, WriteCondition::None, stream_of(bytes.to_vec())).await;
    put.map(|outcome| outcome.asset)
}

async fn put(larder: &Larder, at: &str, bytes: &[u8]) -> AssetView {
    try_put(larder, at, bytes).await.unwrap()
}

async fn read(larder: &Larder, at: &str) -> Result<Vec<u8>, Code> {
    let readable = larder.read_original(&shared(), &key(at)).await.map_err(|fault| fault.code)?;
    Ok(readable.open(None).await.unwrap().read_all(1 << 30).await.unwrap().to_vec())
}

async fn delete(larder: &Larder, at: &str, purge: bool) {
    larder.delete(&shared(), &key(at), &DeleteOptions { purge, if_match: None }).await.unwrap();
}

/// Files of the bucket, variants left out.
fn originals(home: &Home) -> Vec<String> {
    let files = home.files("shared").into_iter();
    files.filter(|path| !path.contains("/_variants/")).collect()
}

async fn copy(larder: &Larder, of: &AssetView, at: &str, replace: bool) -> Result<AssetView, Code> {
    let to = CopyTarget { bucket: None, key: key(at), replace, untouched: false, credential: None };
    larder.copy_asset(of.id, to).await.map(|outcome| outcome.asset).map_err(|fault| fault.code)
}

#[tokio::test]
async fn equal_bytes_lie_there_once_until_the_last_asset_is_purged() {
    let home = Home::new().await;
    let larder = with_bucket(home.larder().await).await;
    let one = put(&larder, "a.txt", b"the same").await;
    put(&larder, "b/b.txt", b"the same").await;
    put(&larder, "c.txt", b"the same").await;
    put(&larder, "other.txt", b"another").await;
    let sha256 = &one.sha256;
    let at = format!("shared/_hash/{}/{}/{sha256}.txt", &sha256[..2], &sha256[2..4]);
    assert_eq!(std::fs::read(home.path(&at)).unwrap(), b"the same");
    assert_eq!(originals(&home).len(), 2, "{:?}", originals(&home));
    assert!(home.staging().is_empty(), "{:?}", home.staging());
    assert_eq!(
        larder.asset_at(&shared(), &key("b/b.txt")).await.unwrap().metadata,
        json!({ "of": "b/b.txt" })
    );

    delete(&larder, "a.txt", true).await;
    delete(&larder, "b/b.txt", false).await;
    assert_eq!(read(&larder, "c.txt").await.unwrap(), b"the same");
    assert_eq!(read(&larder, "a.txt").await, Err(Code::AssetNotFound));
    delete(&larder, "c.txt", true).await;
    assert!(home.path(&at).exists(), "one in the trash still has them");
    let restored = larder.assets(&larder_assets::AssetQuery { deleted: true, ..Default::default() }).await;
    larder.restore(restored.unwrap().items[0].id).await.unwrap();
    assert_eq!(read(&larder, "b/b.txt").await.unwrap(), b"the same");
    delete(&larder, "b/b.txt", false).await;
    home.clock().advance(Duration::from_secs(8 * 86_400));
    larder.sweep(&SweepOptions { targets: Vec::new(), dry_run: false }).await.unwrap();
    assert!(!home.path(&at).exists(), "nobody has them any more");
    assert_eq!(originals(&home).len(), 1);
}

#[tokio::test]
async fn a_replacement_leaves_the_others_what_they_have() {
    let home = Home::new().await;
    let larder = with_bucket(home.larder().await).await;
    put(&larder, "a", b"first").await;
    put(&larder, "b", b"first").await;
    let replaced = put(&larder, "a", b"second").await;
    assert_eq!(replaced.version, 2);
    assert_eq!(read(&larder, "a").await.unwrap(), b"second");
    assert_eq!(read(&larder, "b").await.unwrap(), b"first");
    assert_eq!(originals(&home).len(), 2);
    put(&larder, "b", b"second").await;
    assert_eq!(originals(&home).len(), 1, "the last to have the first bytes left them");
    put(&larder, "b", b"second").await;
    assert_eq!(
        (read(&larder, "a").await.unwrap(), read(&larder, "b").await.unwrap()),
        (b"second".to_vec(), b"second".to_vec())
    );
}

#[tokio::test]
async fn another_layout_is_about_later_writes_only() {
    let home = Home::new().await;
    let larder = with_bucket(home.larder().await).await;
    larder.put_bucket(&shared(), policy(Layout::Path)).await.unwrap();
    put(&larder, "a.txt", b"alpha").await;
    put(&larder, "b.txt", b"beta").await;
    larder.put_bucket(&shared(), policy(Layout::Hash)).await.unwrap();
    put(&larder, "c.txt", b"alpha").await;
    assert!(home.path("shared/a.txt").exists() && home.path("shared/b.txt").exists());
    let replaced = put(&larder, "b.txt", b"alpha").await;
    assert!(!home.path("shared/b.txt").exists(), "a replacement leaves nothing where it lay");
    assert_eq!(originals(&home).len(), 2);
    larder.put_bucket(&shared(), policy(Layout::Path)).await.unwrap();
    put(&larder, "c.txt", b"gamma").await;
    assert_eq!(std::fs::read(home.path("shared/c.txt")).unwrap(), b"gamma", "back at its key");
    assert_eq!(read(&larder, "b.txt").await.unwrap(), b"alpha");
    // A key that looks like the place of content can't get in its way.
    let hostile =
        format!("_hash/{}/{}/{}.txt", &replaced.sha256[..2], &replaced.sha256[2..4], replaced.sha256);
    put(&larder, &hostile, b"not these").await;
    assert_eq!(read(&larder, "b.txt").await.unwrap(), b"alpha");
    delete(&larder, &hostile, true).await;
    assert_eq!(read(&larder, "b.txt").await.unwrap(), b"alpha");
    delete(&larder, "b.txt", true).await;
    assert_eq!(originals(&home).len(), 2, "{:?}", originals(&home));
}

#[tokio::test]
async fn a_copy_touches_no_byte_and_has_all_that_is_known() {
    let home = Home::new().await;
    let (larder, faults) = home.faulty_larder().await;
    let larder = with_bucket(larder).await;
    let source = put(&larder, "a.jpg", &photo(64, 48)).await;
    let before =
        [Operation::Put, Operation::Copy, Operation::Rename, Operation::Open].map(|of| faults.count(of));
    let copied = copy(&larder, &source, "b.jpg", false).await.unwrap();
    let after =
        [Operation::Put, Operation::Copy, Operation::Rename, Operation::Open].map(|of| faults.count(of));
    assert_eq!(before, after, "no byte was read or written");
    assert_eq!((copied.width, copied.height, &copied.sha256), (Some(64), Some(48), &source.sha256));
    assert_eq!((copied.placeholder.is_some(), &copied.metadata), (true, &source.metadata));
    assert_eq!(copy(&larder, &source, "b.jpg", false).await, Err(Code::Conflict));
    assert_eq!(copy(&larder, &source, "b.png", false).await.unwrap_err(), Code::TypeMismatch);
    put(&larder, "c.txt", b"replaced").await;
    assert_eq!(copy(&larder, &source, "d.jpg", true).await.unwrap().version, 1);
    delete(&larder, "a.jpg", true).await;
    assert_eq!(read(&larder, "b.jpg").await.unwrap(), photo(64, 48));
    assert_eq!(originals(&home).len(), 2);
    let strict = BucketPolicy {
        gps: GpsPolicy::Refuse,
        accept: vec!["text/plain".to_owned()],
        ..policy(Layout::Hash)
    };
    larder.put_bucket(&shared(), strict).await.unwrap();
    let refused = copy(&larder, &copied, "e.jpg", false).await;
    assert_eq!(refused.unwrap_err(), Code::UnsupportedType, "the bucket's present rules hold");
}

/// Files of variants.
fn variants(home: &Home) -> Vec<String> {
    home.files("shared/_variants")
}

async fn read_variant(larder: &Larder, at: &str) -> Result<Vec<u8>, Code> {
    let recipe = larder.recipe_of_preset("artwork-small").await.unwrap();
    let readable = larder.read_variant(&shared(), &key(at), &recipe, Some("artwork-small")).await;
    let readable = readable.map_err(|fault| fault.code)?;
    Ok(readable.open(None).await.unwrap().read_all(1 << 30).await.unwrap().to_vec())
}

#[tokio::test]
async fn duplicates_share_their_variants_and_the_last_takes_them_away() {
    let home = Home::new().await;
    let (larder, faults) = home.faulty_larder().await;
    let larder = with_bucket(larder).await;
    let rule = BucketPolicy { presets: vec!["artwork".to_owned()], ..policy(Layout::Hash) };
    larder.put_bucket(&shared(), rule).await.unwrap();
    let one = put(&larder, "a.jpg", &photo(240, 160)).await;
    Worker::drain(&larder).await.unwrap();
    assert_eq!(variants(&home).len(), 4, "{:?}", variants(&home));
    let put_before = faults.count(Operation::Put);
    let two = copy(&larder, &one, "b.jpg", false).await.unwrap();
    Worker::drain(&larder).await.unwrap();
    assert_eq!(faults.count(Operation::Put), put_before, "nothing was made or stored");
    let made = larder.variants(two.id).await.unwrap();
    assert_eq!(made.iter().filter(|variant| variant.status == "ready").count(), 4);
    assert_eq!(variants(&home).len(), 4);

    delete(&larder, "a.jpg", true).await;
    let before = read_variant(&larder, "b.jpg").await.unwrap();
    assert!(before.starts_with(b"RIFF"));
    // Another process reads them from the store.
    let other = home.larder().await;
    assert_eq!(read_variant(&other, "b.jpg").await.unwrap(), before);
    delete(&larder, "b.jpg", true).await;
    assert_eq!(home.files("shared"), Vec::<String>::new());
}

#[tokio::test]
async fn a_damaged_variant_is_taken_up_by_nobody() {
    let home = Home::new().await;
    let larder = with_bucket(home.larder().await).await;
    for name in ["a.jpg", "b.jpg"] {
        put(&larder, name, &photo(600, 400)).await;
        read_variant(&larder, name).await.unwrap();
    }
    let files = variants(&home);
    assert_eq!(files.len(), 1, "{files:?}");
    let whole = std::fs::read(&files[0]).unwrap();
    std::fs::write(&files[0], b"rotten").unwrap();
    // A process that remembers nothing.
    let other = home.larder().await;
    for name in ["a.jpg", "b.jpg"] {
        let _ = read_variant(&other, name).await;
        assert_eq!(read_variant(&other, name).await.unwrap(), whole, "{name}");
    }
    assert_eq!(std::fs::read(&files[0]).unwrap(), whole);
}

#[tokio::test]
async fn damaged_bytes_are_never_shared_and_whole_ones_mend_all_that_have_them() {
    let home = Home::new().await;
    let larder = with_bucket(home.larder().await).await;
    put(&larder, "a.txt", b"precious").await;
    put(&larder, "b.txt", b"precious").await;
    let at = originals(&home).remove(0);
    std::fs::write(&at, b"rotten!!").unwrap();
    let scrub = ScrubOptions { repair: true, sample: 1.0, ..ScrubOptions::default() };
    let report = larder.scrub(&scrub, &Unfollowed).await.unwrap();
    assert_eq!(report.findings.iter().filter(|found| found.problem == Problem::OriginalDamaged).count(), 2);
    assert_eq!(read(&larder, "b.txt").await, Err(Code::StoredBytesCorrupt));
    put(&larder, "c.txt", b"precious").await;
    // Readers know records for a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for name in ["a.txt", "b.txt", "c.txt"] {
        assert_eq!(read(&larder, name).await.as_deref(), Ok(&b"precious"[..]), "{name}");
    }
    assert_eq!(larder.asset_at(&shared(), &key("a.txt")).await.unwrap().status, "ready");

    std::fs::remove_file(&at).unwrap();
    let report = larder.scrub(&scrub, &Unfollowed).await.unwrap();
    assert_eq!(report.findings.iter().filter(|found| found.problem == Problem::OriginalMissing).count(), 3);
    assert_eq!(larder.asset_at(&shared(), &key("b.txt")).await.unwrap().status, "failed");
    put(&larder, "b.txt", b"precious").await;
    assert_eq!(larder.asset_at(&shared(), &key("a.txt")).await.unwrap().status, "ready");
    let clean = larder.scrub(&scrub, &Unfollowed).await.unwrap();
    assert_eq!(clean.remaining(true), 0, "{clean:?}");
}

#[tokio::test]
async fn a_scrub_takes_no_bytes_that_only_the_trash_has() {
    let home = Home::new().await;
    let larder = with_bucket(home.larder().await).await;
    let rule: BucketPolicy =
        serde_json::from_value(json!({ "accept": ["*/*"], "layout": "hash", "orphan_grace": "0s" })).unwrap();
    larder.put_bucket(&shared(), rule).await.unwrap();
    let id = put(&larder, "a.txt", b"deleted").await.id;
    put(&larder, "b.txt", b"orphaned").await;
    delete(&larder, "a.txt", false).await;
    let orphan = home.path("shared/_hash/ab/cd").join(format!("abcd{}.txt", "0".repeat(60)));
    std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, b"of nobody").unwrap();
    let scrub = ScrubOptions { repair: true, ..ScrubOptions::default() };
    for _ in 0..2 {
        larder.scrub(&scrub, &Unfollowed).await.unwrap();
        home.clock().advance(Duration::from_secs(60));
    }
    assert!(!orphan.exists());
    larder.restore(id).await.unwrap();
    assert_eq!(read(&larder, "a.txt").await.unwrap(), b"deleted");
}

#[tokio::test]
async fn an_upload_that_was_cut_off_between_its_move_and_its_record_keeps_its_bytes() {
    let home = Home::new().await;
    let (store, faults) = FaultyStore::new(home.store());
    let larder = with_bucket(home.larder_over(Arc::new(store) as Arc<dyn Store>).await).await;
    faults.add(Rule::on(Operation::Rename).times(1).fails_after_effect(Failure::Unavailable));
    let accepted =
        larder.accept(incoming("shared"), stream_of(b"acknowledged".to_vec()), None).await.unwrap();
    Worker::drain(&larder).await.unwrap();
    faults.mend();
    // Before anybody mends that, others come and go with the same bytes.
    put(&larder, "other.txt", b"acknowledged").await;
    delete(&larder, "other.txt", true).await;
    for _ in 0..20 {
        home.clock().advance(Duration::from_secs(60));
        Worker::drain(&larder).await.unwrap();
    }
    let upload = larder.upload(accepted.upload.id).await.unwrap();
    assert_eq!(upload.status, "completed", "{:?}", upload.error);
    let asset = upload.asset.unwrap();
    assert_eq!(read(&larder, asset.key.as_str()).await.unwrap(), b"acknowledged");
    assert_eq!(originals(&home).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn bytes_that_come_and_go_under_many_keys_at_once_are_never_lost() {
    let home = Home::new().await;
    let larder = with_bucket(home.larder().await).await;
    // Another process on the same folder and catalogue.
    let second = home.larder().await;
    let contents: [&[u8]; 2] = [b"one content", b"another content"];
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..6_usize)
        .map(|number| {
            let larder = if number % 2 == 0 { larder.clone() } else { second.clone() };
            let (stop, done) = (stop.clone(), done.clone());
            tokio::spawn(async move {
                let mut round = number;
                while !stop.load(Ordering::SeqCst) {
                    let (at, bytes) = (format!("{number}.txt"), contents[round % 2]);
                    put(&larder, &at, bytes).await;
                    assert_eq!(read(&larder, &at).await.as_deref(), Ok(bytes), "{at}, round {round}");
                    match round % 3 {
                        0 => delete(&larder, &at, true).await,
                        1 => {
                            let asset = larder.asset_at(&shared(), &key(&at)).await.unwrap();
                            delete(&larder, &at, false).await;
                            larder.restore(asset.id).await.unwrap();
                            assert_eq!(read(&larder, &at).await.as_deref(), Ok(bytes), "{at}, restored");
                        }
                        _ => {}
                    }
                    round += 1;
                    done.fetch_add(1, Ordering::SeqCst);
                }
                // What is there at the end is read once more.
                put(&larder, &format!("{number}.txt"), contents[number % 2]).await;
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(8)).await;
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    assert!(done.load(Ordering::SeqCst) > 4, "there was something to lose: {done:?}");
    for number in 0..6 {
        assert_eq!(read(&larder, &format!("{number}.txt")).await.as_deref(), Ok(contents[number % 2]));
    }
    larder.sweep(&SweepOptions { targets: Vec::new(), dry_run: false }).await.unwrap();
    assert_eq!(originals(&home).len(), 2, "{:?}", originals(&home));
    for number in 0..6 {
        delete(&larder, &format!("{number}.txt"), true).await;
    }
    assert_eq!(originals(&home), Vec::<String>::new());
    assert!(home.staging().is_empty());
}
