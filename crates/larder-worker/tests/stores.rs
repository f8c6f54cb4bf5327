//! Several stores side by side: bytes are read where they lie, move while they are used, and are never
//! lost or mixed up, whatever is cut off.

mod common;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use common::{Home, incoming, photo};
use larder_assets::{
    BucketPolicy, CopyTarget, DeleteOptions, Larder, Layout, MigrateEvent, MigrateOptions, MigrateReport,
    ReindexOptions, ScrubOptions, Stores, SweepOptions, Unfollowed, WriteCondition,
};
use larder_catalog::{Class, SpareCopy};
use larder_core::{AssetId, BucketName, Code, Fault, ObjectKey, text::Span};
use larder_image::Recipe;
use larder_store::{ListOptions, MemoryStore, PutOptions, Store, StoreExt, stream_of};
use larder_testkit::faulty_store::{Faults, FaultyStore, Operation, Rule};
use larder_worker::Worker;
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::Notify;

/// Two stores and what is opened over them.
struct Pair {
    home: Home,
    one: Arc<dyn Store>,
    two: Arc<dyn Store>,
    /// Of the bucket `files`.
    layout: Cell<Layout>,
}

impl Pair {
    async fn local() -> Self {
        let home = Home::new().await;
        Self {
            one: Arc::new(home.store()),
            two: Arc::new(home.store_in("second")),
            home,
            layout: Cell::default(),
        }
    }

    /// New bytes lie at their digest.
    fn sharing(self) -> Self {
        self.layout.set(Layout::Hash);
        self
    }

    async fn with_faults_in_two() -> (Self, Faults) {
        let home = Home::new().await;
        let (two, faults) = FaultyStore::new(home.store_in("second"));
        (Self { one: Arc::new(home.store()), two: Arc::new(two), home, layout: Cell::default() }, faults)
    }

    async fn local_and_memory() -> Self {
        let home = Home::new().await;
        let two = Arc::new(MemoryStore::with_ambient(home.ambient()));
        Self { one: Arc::new(home.store()), two, home, layout: Cell::default() }
    }

    /// A process whose new bytes go to this store.
    async fn open(&self, primary: &str) -> Larder {
        let stores = match primary {
            "one" => Stores::new("one", self.one.clone()).with("two", self.two.clone()),
            _ => Stores::new("two", self.two.clone()).with("one", self.one.clone()),
        };
        let larder = self.home.larder_over(stores).await;
        let policy: BucketPolicy =
            serde_json::from_value(json!({ "accept": ["*/*"], "presets": [], "layout": self.layout.get() }))
                .unwrap();
        larder.put_bucket(&files(), policy).await.unwrap();
        larder
    }

    /// Where the records of a store say that bytes lie, each place once.
    async fn recorded(&self, larder: &Larder, name: &str) -> Vec<String> {
        let assets = larder.catalog().assets_by_id(None, 1_000).await.unwrap();
        let places: BTreeSet<String> = assets
            .into_iter()
            .filter(|asset| asset.store == name)
            .map(|asset| asset.trash_place.unwrap_or(asset.place))
            .collect();
        places.into_iter().collect()
    }

    fn store(&self, name: &str) -> &Arc<dyn Store> {
        if name == "one" { &self.one } else { &self.two }
    }

    /// After a process was cut off, the turns that it held run out.
    fn killed(&self, was_cut: bool) {
        if was_cut {
            self.home.clock().advance(Duration::from_secs(31));
        }
    }

    /// Everything that lies in a store, Larder's own folder included, but for locks.
    async fn places(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        for prefix in ["", ".larder/trash/", ".larder/staging/"] {
            let options = ListOptions { prefix: prefix.to_owned(), limit: 1_000, ..ListOptions::default() };
            let listing = self.store(name).list(options).await.unwrap();
            // A copy that comes while a writer takes its place may be set aside as a stranger's file.
            let ours = listing.entries.iter().map(|entry| entry.place.to_string());
            found.extend(ours.filter(|place| !place.contains("/trash/unrecorded-")));
        }
        found
    }
}

fn files() -> BucketName {
    "files".parse().unwrap()
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn options(from: &str, to: &str) -> MigrateOptions {
    serde_json::from_value(json!({ "from": from, "to": to })).unwrap()
}

async fn migrate(larder: &Larder, from: &str, to: &str) -> MigrateReport {
    let report = larder.migrate(&options(from, to), &|_| Ok(())).await.unwrap();
    assert_eq!(report.failures, [], "{report:?}");
    report
}

async fn clean_up(larder: &Larder, from: &str, to: &str) -> MigrateReport {
    let options = MigrateOptions {
        cleanup: true,
        grace: Some(Span(Duration::ZERO)),
        verify: true,
        ..options(from, to)
    };
    larder.migrate(&options, &|_| Ok(())).await.unwrap()
}

async fn put(larder: &Larder, name: &str, bytes: impl Into<Vec<u8>>) -> AssetId {
    let (mut file, bytes) = (incoming("files"), bytes.into());
    file.key = Some(key(name));
    let put = || larder.put(file.clone(), WriteCondition::None, stream_of(bytes.clone()));
    persistently(put).await.unwrap().asset.id
}

async fn read(larder: &Larder, name: &str) -> Option<Vec<u8>> {
    match larder.read_original(&files(), &key(name)).await {
        Ok(readable) => {
            let size_bytes = readable.size_bytes;
            let bytes = readable.open(None).await.unwrap().read_all(1 << 30).await.unwrap();
            assert_eq!(bytes.len() as u64, size_bytes);
            Some(bytes.to_vec())
        }
        Err(fault) if fault.code == Code::AssetNotFound => None,
        Err(fault) => panic!("{name}: {fault:?}"),
    }
}

async fn sweep(larder: &Larder) {
    let options: SweepOptions = serde_json::from_value(json!({ "targets": ["uploads", "trash"] })).unwrap();
    larder.sweep(&options).await.unwrap();
}

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

/// Lets `work` go on for so many turns, then drops it where it stands, as a kill would.
async fn cut<T>(work: impl Future<Output = T>, turns: usize) -> Option<T> {
    let mut work = pin!(work);
    let mut left = turns;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    /// A copy of one key under another.
    Copy(u8, u8),
    Delete(u8),
    /// For good.
    Purge(u8),
    Restore(u8),
    Read(u8),
    /// The other store becomes the primary.
    Switch,
    /// New bytes lie by the other layout.
    Relayout,
    /// Moves everything this way while the steps behind it happen; cut off after so many turns.
    Migrate {
        to_two: bool,
        beside: Vec<Step>,
        turns: Option<usize>,
    },
    CleanUp {
        of_one: bool,
        turns: Option<usize>,
    },
    Sweep,
}

fn simple_step() -> impl Strategy<Value = Step> {
    let key = 0..6_u8;
    prop_oneof![
        3 => (key.clone(), any::<u8>()).prop_map(|(key, bytes)| Step::Put(key, bytes)),
        // Equal bytes under several keys.
        3 => (key.clone(), 0..3_u8).prop_map(|(key, bytes)| Step::Put(key, bytes)),
        1 => (key.clone(), key.clone()).prop_map(|(from, to)| Step::Copy(from, to)),
        2 => key.clone().prop_map(Step::Delete),
        1 => key.clone().prop_map(Step::Purge),
        1 => key.clone().prop_map(Step::Restore),
        3 => key.prop_map(Step::Read),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let turns = prop_oneof![Just(None), (0..60_usize).prop_map(Some)];
    prop_oneof![
        6 => simple_step(),
        1 => Just(Step::Switch),
        1 => Just(Step::Relayout),
        3 => (any::<bool>(), prop::collection::vec(simple_step(), 0..5), turns.clone())
            .prop_map(|(to_two, beside, turns)| Step::Migrate { to_two, beside, turns }),
        2 => (any::<bool>(), turns).prop_map(|(of_one, turns)| Step::CleanUp { of_one, turns }),
        1 => Just(Step::Sweep),
    ]
}

/// A mover that is killed lets time pass, in which the turn of a writer beside it runs out too. It is told so,
/// and repeats.
async fn persistently<T, F: Future<Output = Result<T, Fault>>>(work: impl Fn() -> F) -> Result<T, Fault> {
    loop {
        match work().await {
            Err(fault) if fault.detail.ends_with("was taken by another writer") => {}
            outcome => return outcome,
        }
    }
}

/// What there has to be: the bytes under each key, and what is in the trash, the last deleted last.
#[derive(Default)]
struct Model {
    present: BTreeMap<u8, Vec<u8>>,
    trash: Vec<(AssetId, u8, Vec<u8>)>,
}

/// Two keys of six block each other on a disk, which escapes one of them.
fn name(key: u8) -> String {
    ["a", "a/b", "b", "c/d", "c//d", "e"][usize::from(key)].to_owned()
}

impl Model {
    async fn simple(&mut self, larder: &Larder, step: &Step) {
        match *step {
            Step::Put(key, number) => {
                let bytes = vec![number; 1 + usize::from(number) * 300];
                put(larder, &name(key), bytes.clone()).await;
                self.present.insert(key, bytes);
            }
            Step::Copy(from, to) => {
                let Some(bytes) = self.present.get(&from).cloned() else { return };
                let source = larder.asset_at(&files(), &name(from).parse().unwrap()).await.unwrap();
                let target = CopyTarget {
                    bucket: None,
                    key: name(to).parse().unwrap(),
                    replace: true,
                    untouched: false,
                    credential: None,
                };
                persistently(|| larder.copy_asset(source.id, target.clone())).await.unwrap();
                self.present.insert(to, bytes);
            }
            Step::Purge(key) => {
                let options = DeleteOptions { purge: true, if_match: None };
                let (files, at) = (files(), name(key).parse().unwrap());
                let outcome = persistently(|| larder.delete(&files, &at, &options)).await;
                assert_eq!(outcome.is_ok(), self.present.remove(&key).is_some());
            }
            Step::Delete(key) => {
                let (files, at, how) = (files(), name(key).parse().unwrap(), DeleteOptions::default());
                let outcome = persistently(|| larder.delete(&files, &at, &how)).await;
                match self.present.remove(&key) {
                    Some(bytes) => self.trash.push((outcome.unwrap().id, key, bytes)),
                    None => assert_eq!(outcome.unwrap_err().code, Code::AssetNotFound),
                }
            }
            Step::Restore(key) => {
                let Some(index) = self.trash.iter().rposition(|(_, of, _)| *of == key) else { return };
                let id = self.trash[index].0;
                let outcome = persistently(|| larder.restore(id)).await;
                match self.present.contains_key(&key) {
                    true => assert_eq!(outcome.unwrap_err().code, Code::Conflict),
                    false => {
                        outcome.unwrap();
                        let (_, key, bytes) = self.trash.remove(index);
                        self.present.insert(key, bytes);
                    }
                }
            }
            Step::Read(key) => {
                assert_eq!(read(larder, &name(key)).await.as_ref(), self.present.get(&key), "{}", name(key));
            }
            _ => unreachable!("a step of its own"),
        }
    }

    async fn check(&self, larder: &Larder) {
        for key in 0..6 {
            assert_eq!(read(larder, &name(key)).await.as_ref(), self.present.get(&key), "{}", name(key));
        }
    }
}

async fn run(pair: &Pair, steps: Vec<Step>) {
    let (mut primary, mut model) = ("one", Model::default());
    let mut larder = pair.open(primary).await;
    for step in &steps {
        match step {
            Step::Switch => {
                primary = if primary == "one" { "two" } else { "one" };
                larder = pair.open(primary).await;
            }
            Step::Relayout => {
                pair.layout.set(if pair.layout.get() == Layout::Path { Layout::Hash } else { Layout::Path });
                larder = pair.open(primary).await;
            }
            Step::Migrate { to_two, beside, turns } => {
                let (from, to) = if *to_two { ("one", "two") } else { ("two", "one") };
                let options = MigrateOptions { concurrency: Some(3), ..options(from, to) };
                // A process of its own.
                let mover = pair.open(primary).await;
                let moving = async {
                    let moved = mover.migrate(&options, &|_| Ok(()));
                    match turns {
                        None => assert_eq!(moved.await.unwrap().failures, []),
                        Some(turns) => pair.killed(cut(moved, *turns).await.is_none()),
                    }
                };
                let beside = async {
                    for step in beside {
                        model.simple(&larder, step).await;
                    }
                };
                tokio::join!(moving, beside);
            }
            Step::CleanUp { of_one, turns } => {
                let (from, to) = if *of_one { ("one", "two") } else { ("two", "one") };
                let cleaned = clean_up(&larder, from, to);
                match turns {
                    None => assert_eq!(cleaned.await.failures, []),
                    Some(turns) => pair.killed(cut(cleaned, *turns).await.is_none()),
                }
            }
            Step::Sweep => sweep(&larder).await,
            simple => model.simple(&larder, simple).await,
        }
    }
    model.check(&larder).await;
    // Everything can be brought together, and nothing is left behind.
    pair.home.clock().advance(Duration::from_secs(7_200));
    migrate(&larder, "one", "two").await;
    clean_up(&larder, "one", "two").await;
    clean_up(&larder, "two", "one").await;
    sweep(&larder).await;
    assert_eq!(pair.places("one").await, Vec::<String>::new());
    let larder = pair.open("two").await;
    model.check(&larder).await;
    let (mut lies, recorded) = (pair.places("two").await, pair.recorded(&larder, "two").await);
    lies.sort();
    assert_eq!(lies, recorded, "nothing lies there but what records name");
    while let Some((id, key, bytes)) = model.trash.pop() {
        if model.present.contains_key(&key) {
            larder
                .delete(&files(), &name(key).parse().unwrap(), &DeleteOptions { purge: true, if_match: None })
                .await
                .unwrap();
        }
        larder.restore(id).await.unwrap();
        model.present.insert(key, bytes);
        model.check(&larder).await;
    }
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 24,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn with_runtime(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn random_steps_over_two_folders_lose_and_mix_nothing(steps in prop::collection::vec(step(), 1..30)) {
        with_runtime(async { run(&Pair::local().await, steps).await });
    }

    #[test]
    fn random_steps_over_shared_bytes_lose_and_mix_nothing(steps in prop::collection::vec(step(), 1..30)) {
        with_runtime(async { run(&Pair::local().await.sharing(), steps).await });
    }

    #[test]
    fn random_steps_over_a_folder_and_memory_lose_and_mix_nothing(steps in prop::collection::vec(step(), 1..30)) {
        with_runtime(async { run(&Pair::local_and_memory().await, steps).await });
    }
}
