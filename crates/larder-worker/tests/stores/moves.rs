//! Moves from store to store, each promise by itself.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder_assets::{
    DeleteOptions, MigrateEvent, MigrateOptions, ReindexOptions, ScrubOptions, Stores, Unfollowed,
    WriteCondition,
};
use larder_catalog::{Class, SpareCopy};
use larder_core::{BucketName, Code};
use larder_image::Recipe;
use larder_store::{PutOptions, Store, StoreExt, stream_of};
use larder_testkit::faulty_store::{FaultyStore, Operation, Rule};
use larder_worker::Worker;
use tokio::sync::Notify;

use crate::{
    Pair, clean_up,
    common::{Home, incoming, photo},
    files, key, migrate, options, put, read, sweep,
};

#[tokio::test]
async fn the_primary_is_switched_and_the_rest_moves_there_and_back() {
    for pair in [Pair::local().await, Pair::local_and_memory().await] {
        let before = pair.open("one").await;
        put(&before, "a.txt", "alpha").await;
        put(&before, "folder/b.txt", "beta").await;
        let gone = put(&before, "gone.txt", "gamma").await;
        before.delete(&files(), &key("gone.txt"), &DeleteOptions::default()).await.unwrap();
        // A picture with variants, and an upload that is acknowledged but not worked on.
        let mut picture = incoming("media");
        picture.key = Some(key("photo.jpg"));
        before.put(picture, WriteCondition::None, stream_of(photo(64, 48))).await.unwrap();
        Worker::drain(&before).await.unwrap();
        let pending =
            before.accept(incoming("media"), stream_of(photo(40, 30)), None).await.unwrap().upload.id;
        let recipe: Recipe = "resize:inside:20x20,format:webp,quality:80".parse().unwrap();
        let media: BucketName = "media".parse().unwrap();
        let shown = before.read_variant(&media, &key("photo.jpg"), &recipe, None).await.unwrap();
        drop(before);

        let after = pair.open("two").await;
        assert_eq!(read(&after, "a.txt").await.as_deref(), Some(&b"alpha"[..]), "it is read where it lies");
        put(&after, "new.txt", "delta").await;
        put(&after, "a.txt", "alpha, again").await;
        assert!(!pair.places("one").await.contains(&"files/a.txt".to_owned()), "its bytes went with it");
        Worker::drain(&after).await.unwrap();
        assert_eq!(after.upload(pending).await.unwrap().status, "completed", "it ends where it began");

        let told =
            after.migrate(&MigrateOptions { dry_run: true, ..options("one", "two") }, &|_| Ok(())).await;
        let told = told.unwrap();
        let report = migrate(&after, "one", "two").await;
        assert_eq!(report.done(), told.done(), "{report:?}");
        assert_eq!((report.originals.objects, report.deleted.objects), (3, 1), "{report:?}");
        assert_eq!(report.variants.objects, 5, "four of the first picture's presets, and one on demand");
        assert_eq!(report.remaining.objects, 0);
        assert_eq!(migrate(&after, "one", "two").await.done().objects, 0, "nothing is done twice");
        let again = after.read_variant(&media, &key("photo.jpg"), &recipe, None).await.unwrap();
        assert_eq!(again.etag, shown.etag, "variants went with their originals, they were not made again");

        // What was left stays until somebody asks, and only then.
        sweep(&after).await;
        assert!(pair.places("one").await.contains(&"files/folder/b.txt".to_owned()));
        let early = MigrateOptions { cleanup: true, grace: None, ..options("one", "two") };
        assert_eq!(after.migrate(&early, &|_| Ok(())).await.unwrap().done().objects, 0, "within the grace");
        let cleaned = clean_up(&after, "one", "two").await;
        assert_eq!((cleaned.done().objects, cleaned.failures), (report.done().objects, vec![]));
        assert_eq!(pair.places("one").await, Vec::<String>::new());
        after.restore(gone).await.unwrap();

        // And back, into a store that is not empty of what it once had.
        drop(after);
        let back = pair.open("one").await;
        let report = migrate(&back, "two", "one").await;
        assert!(report.originals.objects >= 6, "{report:?}");
        for (name, bytes) in
            [("a.txt", "alpha, again"), ("folder/b.txt", "beta"), ("new.txt", "delta"), ("gone.txt", "gamma")]
        {
            assert_eq!(read(&back, name).await.as_deref(), Some(bytes.as_bytes()), "{name}");
        }
        clean_up(&back, "two", "one").await;
        assert_eq!(pair.places("two").await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_was_left_is_taken_up_again_and_what_is_replaced_or_deleted_is_left_nowhere() {
    let pair = Pair::local().await;
    let larder = pair.open("two").await;
    for name in ["stays", "replaced", "deleted"] {
        put(&larder, name, name).await;
    }
    migrate(&larder, "two", "one").await;
    assert_eq!(pair.places("two").await.len(), 3, "copies");
    put(&larder, "replaced", "other bytes").await;
    larder.delete(&files(), &key("deleted"), &DeleteOptions::default()).await.unwrap();
    assert_eq!(pair.places("two").await, ["files/replaced", "files/stays"], "the first in its new version");
    let report = migrate(&larder, "one", "two").await;
    assert_eq!((report.originals.objects, report.deleted.objects, report.adopted), (1, 1, 1), "{report:?}");
    assert_eq!(read(&larder, "stays").await.as_deref(), Some(&b"stays"[..]));
    assert_eq!(read(&larder, "replaced").await.as_deref(), Some(&b"other bytes"[..]));
    clean_up(&larder, "one", "two").await;
    assert_eq!(pair.places("one").await, Vec::<String>::new());
    assert_eq!(pair.places("two").await.len(), 3);
}

#[tokio::test]
async fn a_file_of_somebody_else_is_never_overwritten_and_the_others_move() {
    let pair = Pair::local().await;
    let larder = pair.open("one").await;
    for name in ["mine", "theirs", "same"] {
        put(&larder, name, name).await;
    }
    let theirs = |bytes: &'static [u8]| (bytes, PutOptions::default());
    for (name, (bytes, put)) in [("files/theirs", theirs(b"of somebody")), ("files/same", theirs(b"same"))] {
        pair.two.put_bytes(&name.parse().unwrap(), bytes, put).await.unwrap();
    }
    let report = larder.migrate(&options("one", "two"), &|_| Ok(())).await.unwrap();
    assert_eq!((report.originals.objects, report.adopted, report.failed()), (2, 1, 1), "{report:?}");
    assert_eq!(report.failures[0].code, Code::Conflict);
    assert!(report.failures[0].first[0].name.ends_with("theirs"), "{report:?}");
    assert_eq!(report.remaining.objects, 1);
    assert_eq!(report.incomplete().unwrap().code, Code::MigrationIncomplete);
    let opened = pair.two.open(&"files/theirs".parse().unwrap(), Default::default()).await.unwrap();
    assert_eq!(opened.body.read_all(100).await.unwrap(), &b"of somebody"[..]);
    assert_eq!(read(&larder, "theirs").await.as_deref(), Some(&b"theirs"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_somebody_holds_keeps_nothing_but_itself_waiting() {
    let pair = Pair::local().await;
    let larder = pair.open("one").await;
    for number in 0..40 {
        put(&larder, &number.to_string(), number.to_string()).await;
    }
    let until = pair.home.ambient().now().plus(Duration::from_secs(30));
    let held = larder.catalog().commit(Class::Durable, move |tx| {
        Box::pin(async move { tx.take_place(&files(), &key("7"), "somebody", until).await })
    });
    let fence = held.await.unwrap().fence();
    let (done, others_are_done) = (AtomicUsize::new(0), Notify::new());
    let watch = |event: &MigrateEvent| {
        if let MigrateEvent::Done { name, .. } = event
            && done.fetch_add(1, Ordering::SeqCst) + 1 == 39
        {
            assert_ne!(name, "files/7");
            others_are_done.notify_one();
        }
        Ok(())
    };
    let options = options("one", "two");
    let moving = larder.migrate(&options, &watch);
    let giving_back = async {
        others_are_done.notified().await;
        assert_eq!(read(&larder, "7").await.as_deref(), Some(&b"7"[..]));
        let seven = larder.catalog().asset_at(&files(), &key("7")).await.unwrap().unwrap();
        assert_eq!(seven.store, "one", "while somebody holds its key, its record stays");
        let released = larder
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.release_place(&fence).await }));
        released.await.unwrap();
    };
    let (report, ()) = tokio::join!(moving, giving_back);
    let report = report.unwrap();
    assert_eq!((report.originals.objects, report.skipped, report.failed()), (40, 0, 0), "{report:?}");
    assert_eq!(pair.places("two").await.len(), 40);
    for number in 0..40 {
        let name = number.to_string();
        assert_eq!(read(&larder, &name).await.as_deref(), Some(name.as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_object_costs_one_request_once_the_store_was_seen_to_answer_right() {
    let (pair, faults) = Pair::with_faults_in_two().await;
    let larder = pair.open("one").await;
    for number in 0..100 {
        put(&larder, &number.to_string(), number.to_string()).await;
    }
    put(&larder, "large", vec![7; 1 << 20]).await;
    let before = faults.log().len();
    migrate(&larder, "one", "two").await;
    let (put, looked) = (faults.count(Operation::Put), faults.count(Operation::Stat));
    assert_eq!(put, 101);
    // Those that are under way at first are looked at, and large ones always.
    assert!((2..=17).contains(&looked), "{looked}");
    let others: Vec<_> = faults
        .log()
        .into_iter()
        .skip(before)
        .filter(|(asked, _)| !matches!(asked, Operation::Put | Operation::Stat))
        .collect();
    assert_eq!(others, [], "and nothing else was asked");
}

#[tokio::test]
async fn a_copy_that_is_not_what_was_sent_is_named_by_no_record() {
    let rules: [fn() -> Rule; 2] = [
        || Rule::on(Operation::Put).at("files/cut").truncates_after_bytes(2),
        || Rule::on(Operation::Put).at("files/cut").times(1).answers_a_wrong_fingerprint(),
    ];
    for rule in rules {
        let (pair, faults) = Pair::with_faults_in_two().await;
        let larder = pair.open("one").await;
        put(&larder, "cut", "whole").await;
        faults.add(rule());
        let report = larder.migrate(&options("one", "two"), &|_| Ok(())).await.unwrap();
        assert_eq!((report.originals.objects, report.failed()), (0, 1), "{report:?}");
        let asset = larder.catalog().asset_at(&files(), &key("cut")).await.unwrap().unwrap();
        assert_eq!(asset.store, "one");
        assert_eq!(read(&larder, "cut").await.as_deref(), Some(&b"whole"[..]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regression_a_place_that_another_copy_blocks_while_a_writer_clears_it() {
    let home = Home::new().await;
    let (one, faults) = FaultyStore::new(home.store());
    let two: Arc<dyn Store> = Arc::new(home.store_in("second"));
    let pair = Pair { one: Arc::new(one), two, home, layout: Cell::default() };
    let larder = pair.open("two").await;
    put(&larder, "a/b", "before").await;
    let asset = larder.catalog().asset_at(&files(), &key("a/b")).await.unwrap().unwrap();
    // A move back was cut off when this copy had landed.
    let copy = SpareCopy { store: "one".into(), fingerprint: String::new(), ..SpareCopy::left_by(&asset) };
    let noted = larder
        .catalog()
        .commit(Class::Durable, move |tx| Box::pin(async move { tx.note_coming(&copy).await }));
    assert!(noted.await.unwrap());
    let at = "files/a/b".parse().unwrap();
    pair.one.put_bytes(&at, &b"before"[..], PutOptions::default()).await.unwrap();

    let rename = Rule::on(Operation::Rename).at("files/a/b").skip(1).times(1);
    faults.add(rename.delayed(Duration::from_millis(500)));
    let writer = pair.open("one").await;
    let blocking = async {
        while pair.one.find(&at).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        pair.one.put_bytes(&"files/a".parse().unwrap(), &b"a"[..], PutOptions::default()).await.unwrap();
    };
    tokio::join!(put(&writer, "a/b", "after"), blocking);
    assert_eq!(read(&writer, "a/b").await.as_deref(), Some(&b"after"[..]));
    let asset = writer.catalog().asset_at(&files(), &key("a/b")).await.unwrap().unwrap();
    assert_ne!(asset.place, "files/a/b", "it lies at its escaped place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regression_a_move_back_to_copies_that_are_being_removed_names_none_of_them() {
    let (pair, faults) = Pair::with_faults_in_two().await;
    let larder = pair.open("two").await;
    let mut picture = incoming("media");
    picture.key = Some(key("photo.jpg"));
    let picture = larder.put(picture, WriteCondition::None, stream_of(photo(64, 48))).await.unwrap().asset.id;
    Worker::drain(&larder).await.unwrap();
    let variants = larder.catalog().variants(picture).await.unwrap();
    migrate(&larder, "two", "one").await;

    for variant in &variants {
        faults.add(Rule::on(Operation::Remove).at(variant.place.clone()).delayed(Duration::from_millis(500)));
    }
    let moving_back = async {
        while faults.count(Operation::Remove) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        larder.migrate(&options("one", "two"), &|_| Ok(())).await.unwrap()
    };
    tokio::join!(clean_up(&larder, "two", "one"), moving_back);
    for variant in larder.catalog().variants(picture).await.unwrap() {
        let at = variant.place.parse().unwrap();
        let found = pair.store(&variant.store).find(&at).await.unwrap();
        assert!(found.is_some(), "{} names bytes in {} that are gone", variant.place, variant.store);
    }
}

#[tokio::test]
async fn damaged_bytes_stay_where_they_are_and_are_told() {
    let pair = Pair::local().await;
    let larder = pair.open("one").await;
    put(&larder, "a", "whole").await;
    put(&larder, "b", "fine").await;
    // Bytes that rot keep size and time: the fingerprint does not tell.
    let file = pair.home.path("files/a");
    let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
    let handle = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&handle, b"W", 0).unwrap();
    handle.set_modified(modified).unwrap();
    let report = larder.migrate(&options("one", "two"), &|_| Ok(())).await.unwrap();
    assert_eq!((report.originals.objects, report.failed()), (1, 1), "{report:?}");
    assert_eq!(report.failures[0].code, Code::StoredBytesCorrupt);
    assert_eq!(pair.places("two").await, ["files/b"], "nothing of damaged bytes is left");
}

#[tokio::test]
async fn a_copy_is_not_removed_unless_the_other_one_is_there() {
    let pair = Pair::local().await;
    let larder = pair.open("two").await;
    let before = pair.open("one").await;
    put(&before, "lost", "once").await;
    put(&before, "kept", "twice").await;
    migrate(&larder, "one", "two").await;
    pair.two.remove(&"files/lost".parse().unwrap()).await.unwrap();
    let report = clean_up(&larder, "one", "two").await;
    assert_eq!((report.originals.objects, report.failed()), (1, 1), "{report:?}");
    assert_eq!(report.failures[0].code, Code::StoredBytesCorrupt);
    assert_eq!(pair.places("one").await, ["files/lost"], "the only copy that there is");
}

#[tokio::test]
async fn keys_that_block_each_other_on_a_disk_come_back_from_a_store_without_folders() {
    let pair = Pair::local_and_memory().await;
    let larder = pair.open("two").await;
    put(&larder, "a", "file").await;
    put(&larder, "a/b", "below").await;
    put(&larder, "a/b/c", "deeper").await;
    let report = migrate(&larder, "two", "one").await;
    assert_eq!(report.originals.objects, 3);
    for (name, bytes) in [("a", "file"), ("a/b", "below"), ("a/b/c", "deeper")] {
        assert_eq!(read(&larder, name).await.as_deref(), Some(bytes.as_bytes()), "{name}");
    }
    clean_up(&larder, "two", "one").await;
    assert_eq!(pair.places("two").await, Vec::<String>::new());
    sweep(&larder).await;
    pair.home.clock().advance(Duration::from_secs(7_200));
    sweep(&larder).await;
    assert_eq!(pair.places("one").await.len(), 3, "no note of a blocked place is left");
}

#[tokio::test]
async fn what_lies_in_a_store_that_is_not_there_says_so() {
    let pair = Pair::local().await;
    put(&pair.open("two").await, "a", "far away").await;
    let alone = pair.home.larder_over(Stores::new("one", pair.one.clone())).await;
    let fault = alone.read_original(&files(), &key("a")).await.unwrap().at_hand().unwrap_err();
    assert_eq!(fault.code, Code::BackendUnavailable);
    assert!(fault.detail.contains("\"two\""), "{fault}");
    let fault = alone.migrate(&options("two", "one"), &|_| Ok(())).await.unwrap_err();
    assert_eq!(fault.code, Code::InvalidRequest);
}

#[tokio::test]
async fn every_store_is_scrubbed_and_what_a_move_left_is_no_orphan() {
    let pair = Pair::local().await;
    let before = pair.open("one").await;
    put(&before, "a.txt", "alpha").await;
    put(&before, "b.txt", "beta").await;
    let mut some = options("one", "two");
    some.prefix = Some("a".to_owned());
    before.migrate(&some, &|_| Ok(())).await.unwrap();
    assert!(pair.places("one").await.contains(&"files/a.txt".to_owned()), "the copy is left");

    let all = ScrubOptions { sample: 1.0, adopt: true, repair: true, ..ScrubOptions::default() };
    let report = before.scrub(&all, &Unfollowed).await.unwrap();
    assert_eq!((report.assets, report.hashed, report.problems), (2, 2, 0), "{report:?}");

    // Each asset is looked for where its record says.
    pair.two.remove(&"files/a.txt".parse().unwrap()).await.unwrap();
    let report = before.scrub(&all, &Unfollowed).await.unwrap();
    assert_eq!(report.problems, 1, "{report:?}");
    drop(before);

    // Of what lies in a store that is not there, nothing can be said.
    let alone = pair.home.larder_over(Stores::new("one", pair.one.clone())).await;
    let report = alone.scrub(&all, &Unfollowed).await.unwrap();
    assert_eq!((report.assets, report.problems), (1, 0), "{report:?}");
}

#[tokio::test]
async fn records_of_what_moved_are_written_again_and_a_lost_catalogue_finds_both_stores() {
    let pair = Pair::local().await;
    let before = pair.open("one").await;
    put(&before, "a.txt", "alpha").await;
    put(&before, "b.txt", "beta").await;
    let gone = put(&before, "gone.txt", "gamma").await;
    before.delete(&files(), &key("gone.txt"), &DeleteOptions::default()).await.unwrap();
    before.record_meta().await.unwrap();
    let mut some = options("one", "two");
    some.prefix = Some("a".to_owned());
    before.migrate(&some, &|_| Ok(())).await.unwrap();
    some.prefix = Some("gone".to_owned());
    before.migrate(&some, &|_| Ok(())).await.unwrap();
    assert_eq!(before.record_meta().await.unwrap().records, 2, "both changed");
    clean_up(&before, "one", "two").await;
    drop(before);

    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm", "state.db", "state.db-wal", "state.db-shm"]
    {
        let _ = std::fs::remove_file(pair.home.path("..").join(name));
    }
    let after = pair.open("one").await;
    let rebuild = ReindexOptions { verify: true, merge: true, dry_run: false };
    let report = after.reindex(rebuild, &Unfollowed).await.unwrap();
    assert_eq!(report.differences, 0, "{report:?}");
    assert_eq!(read(&after, "a.txt").await.as_deref(), Some(&b"alpha"[..]));
    assert_eq!(read(&after, "b.txt").await.as_deref(), Some(&b"beta"[..]));
    after.restore(gone).await.unwrap();
    assert_eq!(read(&after, "gone.txt").await.as_deref(), Some(&b"gamma"[..]));
    let moved = after.catalog().asset_at(&files(), &key("a.txt")).await.unwrap().unwrap();
    assert_eq!(moved.store, "two");
    let usage = after.catalog().bucket_usage().await.unwrap();
    let counted: Vec<_> =
        usage.iter().map(|usage| (usage.store.as_str(), usage.assets, usage.deleted_assets)).collect();
    assert_eq!(counted, [("one", 1, 0), ("two", 2, 0)]);
}

#[tokio::test]
async fn a_move_is_a_job_that_can_be_watched() {
    let pair = Pair::local().await;
    let larder = pair.open("one").await;
    for number in 0..20 {
        put(&larder, &format!("{number:02}"), format!("bytes {number}")).await;
    }
    let job = larder.start_migration(options("one", "two")).await.unwrap();
    Worker::drain(&larder).await.unwrap();
    let job = larder.job(job).await.unwrap();
    assert_eq!((job.state.as_str(), job.progress_percentage), ("done", 100), "{job:?}");
    assert_eq!(pair.places("two").await.len(), 20);

    pair.one.put_bytes(&"files/00".parse().unwrap(), "of another", PutOptions::default()).await.unwrap();
    let job = larder.start_migration(options("two", "one")).await.unwrap();
    Worker::drain(&larder).await.unwrap();
    let job = larder.job(job).await.unwrap();
    assert_eq!(job.state, "dead");
    assert_eq!(job.error.unwrap().code, Code::MigrationIncomplete);
}

#[tokio::test]
async fn a_rate_holds_over_all_copies() {
    let pair = Pair::local().await;
    let larder = pair.open("one").await;
    for number in 0..8 {
        put(&larder, &number.to_string(), vec![number; 25_000]).await;
    }
    let began = std::time::Instant::now();
    let options = MigrateOptions { rate_bytes: Some(200_000), ..options("one", "two") };
    larder.migrate(&options, &|_| Ok(())).await.unwrap();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(800), "200,000 bytes at 200,000 a second took {took:?}");
}
