//! What the local store promises beyond every store: files as any tool sees them, several processes on
//! one folder, and what happens around crashes.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::join_all, stream};
use larder_core::Ambient;
use larder_store::{
    Body, Condition, Error, ListOptions, LocalStore, OpenOptions, Place, PutOptions, RenameOptions, Store,
    StoreExt, UnfinishedOptions,
};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &Path) -> LocalStore {
    LocalStore::open(folder, Ambient::system()).unwrap()
}

fn place(text: &str) -> Place {
    text.parse().unwrap()
}

async fn put(store: &LocalStore, text: &str, bytes: &str) {
    store.put_bytes(&place(text), bytes.to_owned(), PutOptions::default()).await.unwrap();
}

#[tokio::test]
async fn the_place_is_the_path_and_the_file_holds_just_the_bytes() {
    let folder = folder();
    let store = open(&folder.path().join("made/when/absent"));
    put(&store, "media/keep/42/beach day.jpg", "bytes").await;
    let path = folder.path().join("made/when/absent/media/keep/42/beach day.jpg");
    assert_eq!(fs::read_to_string(&path).unwrap(), "bytes");
    assert_eq!(
        store.local_path(&place("media/keep/42/beach day.jpg")).unwrap(),
        path.canonicalize().unwrap()
    );
}

#[tokio::test]
async fn a_file_put_there_by_another_tool_is_served() {
    let folder = folder();
    let store = open(folder.path());
    fs::create_dir(folder.path().join("media")).unwrap();
    fs::write(folder.path().join("media/a.txt"), "by hand").unwrap();
    let opened = store.open(&place("media/a.txt"), OpenOptions::default()).await.unwrap();
    assert!(matches!(opened.body, Body::File(_)));
    assert_eq!(opened.body.read_all(100).await.unwrap(), "by hand");
}

#[tokio::test]
async fn the_fingerprint_names_inode_time_and_size_and_survives_a_rename() {
    let folder = folder();
    let store = open(folder.path());
    put(&store, "a", "12345").await;
    let stat = store.stat(&place("a")).await.unwrap();
    let metadata = fs::metadata(folder.path().join("a")).unwrap();
    let expected =
        format!("{:x}-{:x}-5", metadata.ino(), metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec());
    assert_eq!(stat.fingerprint.as_str(), expected);
    let renamed = store.rename(&place("a"), &place("b/c"), RenameOptions::default()).await.unwrap();
    assert_eq!(renamed, stat);
    assert_eq!(store.stat(&place("b/c")).await.unwrap(), stat);
}

#[tokio::test]
async fn two_stores_on_one_folder_race_and_one_wins() {
    let folder = folder();
    let stores = [open(folder.path()), open(folder.path())].map(Arc::new);
    for round in 0..10 {
        let target = place(&format!("new-{round}/a"));
        let tasks = (0..8).map(|index| {
            let (store, target) = (Arc::clone(&stores[index % 2]), target.clone());
            tokio::spawn(async move {
                let options = PutOptions { condition: Condition::IfAbsent, ..PutOptions::default() };
                store.put_bytes(&target, "x", options).await.is_ok()
            })
        });
        let won = join_all(tasks).await.into_iter().filter(|joined| *joined.as_ref().unwrap()).count();
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn symbolic_links_are_refused_and_not_listed() {
    let (folder, outside) = (folder(), folder());
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let store = open(folder.path());
    symlink(outside.path(), folder.path().join("folder")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("file")).unwrap();
    for text in ["file", "folder/secret"] {
        let opened = store.open(&place(text), OpenOptions::default()).await;
        assert!(matches!(opened, Err(Error::Denied { .. })), "{opened:?}");
        assert!(matches!(store.stat(&place(text)).await, Err(Error::Denied { .. })));
    }
    let written = store.put_bytes(&place("folder/new"), "x", PutOptions::default()).await;
    assert!(matches!(written, Err(Error::Denied { .. })), "{written:?}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert!(store.list(ListOptions::default()).await.unwrap().entries.is_empty());
    assert!(store.list(ListOptions::under("folder/")).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn what_is_no_regular_file_does_not_exist_and_nothing_waits_for_it() {
    let folder = folder();
    let store = open(folder.path());
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = place("pipe");
    let opened = store.open(&pipe, OpenOptions::default());
    let opened = tokio::time::timeout(Duration::from_secs(5), opened).await.unwrap();
    assert!(matches!(opened, Err(Error::NotFound { .. })), "{opened:?}");
    assert!(!store.remove(&place("pipe")).await.unwrap());
    assert!(store.list(ListOptions::default()).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn names_that_are_no_places_are_left_out_of_listings() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let folder = folder();
    let store = open(folder.path());
    for name in [&b"\xff\xfe"[..], b"new\nline", b"plain"] {
        fs::write(folder.path().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let page = store.list(ListOptions::default()).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    assert_eq!(page.entries[0].place, place("plain"));
}

#[tokio::test]
async fn the_stores_own_folder_is_no_place() {
    let folder = folder();
    let store = open(folder.path());
    let own = place(".larder/local/tmp/x");
    let put = store.put_bytes(&own, "x", PutOptions::default()).await;
    assert!(matches!(put, Err(Error::Invalid { .. })), "{put:?}");
    put_and_rename_into(&store, &own).await;
    assert!(store.list(ListOptions::under(".larder/")).await.unwrap().entries.is_empty());
}

async fn put_and_rename_into(store: &LocalStore, own: &Place) {
    put(store, ".larder/staging/x", "x").await;
    let renamed = store.rename(&place(".larder/staging/x"), own, RenameOptions::default()).await;
    assert!(matches!(renamed, Err(Error::Invalid { .. })), "{renamed:?}");
    assert!(store.remove(&place(".larder/staging/x")).await.unwrap());
}

#[tokio::test]
async fn opening_and_sweeping_remove_what_a_killed_process_left_and_spare_the_living() {
    let folder = folder();
    let store = open(folder.path());
    let temporary = folder.path().join(".larder/local/tmp");
    // A killed process leaves a file that nobody locks.
    fs::write(temporary.join("left-by-the-dead"), "half").unwrap();
    let begin = stream::iter((0..40).map(|_| Ok(vec![1; 65_536].into())));
    let body = begin.chain(stream::once(async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok("end".into())
    }));
    let living =
        tokio::spawn(async move { store.put(&place("a"), body.boxed(), PutOptions::default()).await });
    tokio::time::sleep(Duration::from_millis(250)).await;
    let second = open(folder.path());
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    fs::write(temporary.join("left-by-another"), "half").unwrap();
    let begun_before = larder_core::Timestamp::from_millis(0);
    for (dry_run, stay) in [(true, 2), (false, 1)] {
        let options = UnfinishedOptions { begun_before, dry_run };
        assert_eq!(second.remove_unfinished(options).await.unwrap(), 1);
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), stay);
    }
    living.await.unwrap().unwrap();
    assert_eq!(second.stat(&place("a")).await.unwrap().size_bytes, 40 * 65_536 + 3);
}

#[tokio::test]
async fn empty_folders_that_a_crash_left_block_nothing() {
    let folder = folder();
    let store = open(folder.path());
    fs::create_dir_all(folder.path().join("a/b/c")).unwrap();
    put(&store, "a", "file").await;
    assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "file");
}

#[tokio::test]
async fn folders_that_become_empty_are_removed() {
    let folder = folder();
    let store = open(folder.path());
    put(&store, "media/a/b/c", "x").await;
    put(&store, "media/d", "x").await;
    store.remove(&place("media/a/b/c")).await.unwrap();
    assert!(!folder.path().join("media/a").exists());
    store.rename(&place("media/d"), &place("e"), RenameOptions::default()).await.unwrap();
    assert!(!folder.path().join("media").exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_an_error_at_the_start() {
    let folder = folder();
    fs::write(folder.path().join("file"), "x").unwrap();
    assert!(LocalStore::open(folder.path().join("file"), Ambient::system()).is_err());
    assert!(LocalStore::open(folder.path().join("file/below"), Ambient::system()).is_err());
}

#[tokio::test]
async fn a_staged_upload_costs_one_sync_of_its_file_and_one_of_the_folder() {
    let folder = folder();
    let store = open(folder.path());
    let (files, folders) = (store.file_syncs_total(), store.folder_syncs_total());
    put(&store, ".larder/staging/one", "x").await;
    assert_eq!((store.file_syncs_total() - files, store.folder_syncs_total() - folders), (1, 1));
}

/// At whatever step it is dropped, and above all at its last: while its folder is synced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_staged_upload_that_is_dropped_leaves_nothing() {
    let folder = folder();
    let store = open(folder.path());
    let mut kept = Vec::new();
    for round in 0..300_u64 {
        let name = format!("{round}");
        let place = place(&format!(".larder/staging/{name}"));
        let put = store.put_bytes(&place, vec![0; 4_096], PutOptions::default());
        if tokio::time::timeout(Duration::from_micros(round * 20), put).await.is_ok() {
            kept.push(name);
        }
    }
    kept.sort();
    let mut left = Vec::new();
    for _ in 0..500 {
        let entries = fs::read_dir(folder.path().join(".larder/staging")).unwrap();
        left = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        if left == kept {
            return;
        }
        // What was dropped in the middle of a step is removed when that step ends.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(left, kept);
}

#[tokio::test]
async fn a_promotion_syncs_where_the_file_came_to_and_where_it_left() {
    let folder = folder();
    let store = open(folder.path());
    put(&store, "media/neighbour", "x").await;
    put(&store, ".larder/staging/one", "x").await;
    let (files, folders) = (store.file_syncs_total(), store.folder_syncs_total());
    let synced = || (store.file_syncs_total() - files, store.folder_syncs_total() - folders);
    let (staged, target) = (place(".larder/staging/one"), place("media/one"));
    store.rename(&staged, &target, RenameOptions::default()).await.unwrap();
    assert_eq!(synced(), (0, 2), "media and staging");
    store.rename(&target, &place("media/two"), RenameOptions::default()).await.unwrap();
    assert_eq!(synced(), (0, 3), "media once");
}

#[tokio::test]
async fn what_a_killed_process_moved_is_synced_before_it_is_relied_on() {
    let folder = folder();
    let store = open(folder.path());
    put(&store, "media/neighbour", "x").await;
    put(&store, ".larder/staging/one", "x").await;
    // Another process renames and dies before it syncs.
    fs::create_dir(folder.path().join("media/new")).unwrap();
    fs::rename(folder.path().join(".larder/staging/one"), folder.path().join("media/new/one")).unwrap();
    let before = store.folder_syncs_total();
    assert_eq!(store.settle(&place("media/new/one")).await.unwrap().unwrap().size_bytes, 1);
    assert_eq!(store.folder_syncs_total() - before, 2, "the new folder and media");
    assert_eq!(store.settle(&place(".larder/staging/one")).await.unwrap(), None);
    assert_eq!(store.folder_syncs_total() - before, 3, "and where it left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_uploads_share_the_syncs_of_their_folder() {
    let folder = folder();
    let store = Arc::new(open(folder.path()));
    let before = store.folder_syncs_total();
    let uploads = (0..64).map(|index| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { put(&store, &format!(".larder/staging/{index}"), "x").await })
    });
    join_all(uploads).await.into_iter().for_each(|joined| joined.unwrap());
    let syncs = store.folder_syncs_total() - before;
    assert!(syncs < 64, "{syncs} syncs for 64 uploads");
}

#[tokio::test]
async fn a_put_into_a_new_tree_syncs_every_folder_of_it_once() {
    let folder = folder();
    let store = open(folder.path());
    let before = store.folder_syncs_total();
    put(&store, "a/b/c/one", "x").await;
    assert_eq!(store.folder_syncs_total() - before, 4, "c, b, a and the root");
    put(&store, "a/b/c/two", "x").await;
    assert_eq!(store.folder_syncs_total() - before, 5, "c alone");
}

#[tokio::test]
async fn names_that_are_no_places_are_told_once_over_all_pages() {
    use std::os::unix::ffi::OsStrExt;

    let folder = folder();
    let store = open(folder.path());
    for name in ["media/a", "media/c", "media/d/e"] {
        put(&store, name, "x").await;
    }
    let media = folder.path().join("media");
    fs::write(media.join("b\nb"), "x").unwrap();
    fs::write(media.join(std::ffi::OsStr::from_bytes(b"d/\xff")), "x").unwrap();
    fs::create_dir(media.join("z\x7f")).unwrap();
    fs::write(media.join("z\x7f/below"), "x").unwrap();
    for limit in 1..5 {
        let mut options = ListOptions { limit, ..ListOptions::under("media/") };
        let (mut places, mut told) = (Vec::new(), Vec::new());
        loop {
            let page = store.list(options.clone()).await.unwrap();
            places.extend(page.entries.iter().map(|entry| entry.place.to_string()));
            told.extend(page.unnameable);
            match page.next {
                Some(next) => options.after = Some(next),
                None => break,
            }
        }
        assert_eq!(places, ["media/a", "media/c", "media/d/e"], "limit {limit}");
        assert_eq!(told, ["media/b\\nb", "media/d/\\xff", "media/z\\x7f"], "limit {limit}");
    }
}
