//! The layer on the disk: what survives, what it may take, and what happens when the disk fails.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use larder_store::{CacheOptions, MemoryStore, PutOptions, Store, StoreExt};

use crate::{Cached, KIB, bytes_of, on_disk, place};

/// The files of pages in a cache's folder.
pub fn page_files(folder: &Path) -> Vec<PathBuf> {
    let shards = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().len() == 2 && entry.file_type().unwrap().is_dir());
    shards.flat_map(|shard| fs::read_dir(shard.path()).unwrap()).map(|file| file.unwrap().path()).collect()
}

/// What all files of the folder take on the disk, in blocks of 4 KiB.
pub fn taken_bytes(folder: &Path) -> u64 {
    let lengths = page_files(folder).into_iter().filter_map(|file| Some(fs::metadata(file).ok()?.len()));
    lengths.map(|length| length.next_multiple_of(4 * KIB)).sum()
}

#[tokio::test]
async fn pages_on_the_disk_survive_the_process_and_belong_to_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let cached = Cached::new(on_disk(folder.path(), 400 * KIB));
    let stat = cached.put_behind("a", bytes_of(1, 5_000)).await;
    cached.read("a", &stat).await;
    cached.store.flushed().await;
    let behind = Arc::clone(&cached.behind);
    drop(cached);

    let again = Cached::over(Arc::clone(&behind), on_disk(folder.path(), 400 * KIB));
    again.store.flushed().await;
    again.faults.cut();
    assert_eq!(again.read("a", &stat).await, bytes_of(1, 5_000));
    drop(again);

    let options = CacheOptions { identity: "another".to_owned(), ..on_disk(folder.path(), 400 * KIB) };
    let other = Cached::over(behind, options);
    other.store.flushed().await;
    other.faults.cut();
    assert!(other.open("a", &stat).await.is_err(), "another store has other bytes");
}

#[tokio::test]
async fn the_files_stay_within_the_limit_also_when_it_is_lowered() {
    let folder = tempfile::tempdir().unwrap();
    let cached = Cached::new(on_disk(folder.path(), 200 * KIB));
    for number in 0..300 {
        let name = format!("{number}");
        let stat = cached.put_behind(&name, bytes_of(number, 1_000)).await;
        cached.read(&name, &stat).await;
        assert!(taken_bytes(folder.path()) <= 204 * KIB);
    }
    cached.store.flushed().await;
    let taken = taken_bytes(folder.path());
    assert!((150 * KIB..=200 * KIB).contains(&taken), "{taken}");
    drop(cached);
    let smaller = Cached::new(on_disk(folder.path(), 50 * KIB));
    smaller.store.flushed().await;
    assert!(taken_bytes(folder.path()) <= 50 * KIB);
}

#[tokio::test]
async fn removed_bytes_are_gone_from_the_disk_too() {
    let folder = tempfile::tempdir().unwrap();
    let cached = Cached::new(on_disk(folder.path(), 400 * KIB));
    let (a, b) = (cached.put_behind("a", bytes_of(1, 5_000)).await, cached.put_behind("b", "b").await);
    cached.read("a", &a).await;
    cached.read("b", &b).await;
    assert!(cached.store.remove(&place("a")).await.unwrap());
    cached.store.flushed().await;
    assert_eq!(page_files(folder.path()).len(), 1, "that of b");
}

#[tokio::test]
async fn torn_and_damaged_pages_are_fetched_anew_and_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let (behind, bytes) = (Arc::new(MemoryStore::new()), bytes_of(1, 5_000));
    let stat = behind.put_bytes(&place("a"), bytes.clone(), PutOptions::default()).await.unwrap();
    for damage in ["cut", "emptied", "changed", "swapped", "removed"] {
        let cached = Cached::over(Arc::clone(&behind), on_disk(folder.path(), 400 * KIB));
        cached.read("a", &stat).await;
        cached.store.flushed().await;
        let files = page_files(folder.path());
        assert_eq!(files.len(), 5, "before they are {damage}");
        for (number, file) in files.iter().enumerate() {
            let mut content = fs::read(file).unwrap();
            match damage {
                "cut" => content.truncate(content.len() / 2),
                "emptied" => content.clear(),
                "changed" => *content.last_mut().unwrap() ^= 1,
                "swapped" => content = fs::read(&files[(number + 1) % files.len()]).unwrap(),
                _ => {
                    fs::remove_file(file).unwrap();
                    continue;
                }
            }
            fs::write(file, content).unwrap();
        }
        // In the running process, and in the next one.
        assert_eq!(cached.read("a", &stat).await, bytes, "{damage}");
        drop(cached);
        let next = Cached::over(Arc::clone(&behind), on_disk(folder.path(), 400 * KIB));
        next.store.flushed().await;
        assert_eq!(next.read("a", &stat).await, bytes, "{damage}");
    }
}

#[tokio::test]
async fn files_of_others_in_the_folder_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("ab")).unwrap();
    let strangers = ["ab/notes.txt", "README"].map(|name| folder.path().join(name));
    for stranger in &strangers {
        fs::write(stranger, "x").unwrap();
    }
    let cached = Cached::new(on_disk(folder.path(), 4 * KIB));
    for number in 0..10 {
        let stat = cached.put_behind("a", bytes_of(number, 1_000)).await;
        cached.read("a", &stat).await;
    }
    cached.store.flushed().await;
    assert!(strangers.iter().all(|stranger| stranger.exists()));
}

#[tokio::test]
async fn a_second_process_on_the_folder_goes_without_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let first = Cached::new(on_disk(folder.path(), 400 * KIB));
    let second = Cached::new(on_disk(folder.path(), 400 * KIB));
    let stat = second.put_behind("a", "bytes").await;
    assert_eq!(second.read("a", &stat).await, "bytes");
    second.store.flushed().await;
    assert!(page_files(folder.path()).is_empty());
    let stat = first.put_behind("a", "bytes").await;
    first.read("a", &stat).await;
    first.store.flushed().await;
    assert_eq!(page_files(folder.path()).len(), 1);
}

#[tokio::test]
async fn a_disk_that_fails_turns_the_layer_off_and_no_read_fails() {
    let folder = tempfile::tempdir().unwrap();
    let cached = Cached::new(on_disk(folder.path(), 400 * KIB));
    let stat = cached.put_behind("a", "bytes").await;
    cached.read("a", &stat).await;
    cached.store.flushed().await;
    assert_eq!(page_files(folder.path()).len(), 1);
    // Nothing can be made where a folder was: as root too, whom no permission stops.
    let temporary = folder.path().join("tmp");
    fs::remove_dir(&temporary).unwrap();
    fs::write(&temporary, "").unwrap();
    for number in 0..5 {
        let name = format!("{number}");
        let stat = cached.put_behind(&name, bytes_of(number, 3_000)).await;
        assert_eq!(cached.read(&name, &stat).await, bytes_of(number, 3_000));
        assert_eq!(cached.read("a", &stat_of(&cached, "a").await).await, "bytes");
    }
    cached.store.flushed().await;
    assert_eq!(page_files(folder.path()).len(), 1, "nothing was written any more");
    let asked = cached.opens();
    cached.read("a", &stat).await;
    assert_eq!(cached.opens(), asked + 1, "the layer is off");
}

#[tokio::test]
async fn a_full_disk_turns_the_layer_off_and_gets_its_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let cached = Cached::new(on_disk(folder.path(), 400 * KIB));
    for number in 0..5 {
        let name = format!("{number}");
        let stat = cached.put_behind(&name, bytes_of(number, 1_000)).await;
        cached.read(&name, &stat).await;
    }
    cached.store.flushed().await;
    assert_eq!(page_files(folder.path()).len(), 5);
    std::os::unix::fs::symlink("/dev/full", folder.path().join("tmp/page")).unwrap();
    let stat = cached.put_behind("a", bytes_of(9, 3_000)).await;
    assert_eq!(cached.read("a", &stat).await, bytes_of(9, 3_000));
    cached.store.flushed().await;
    assert_eq!(page_files(folder.path()).len(), 0);
    assert_eq!(cached.read("a", &stat).await, bytes_of(9, 3_000));
}

async fn stat_of(cached: &Cached, text: &str) -> larder_store::Stat {
    cached.behind.stat(&place(text)).await.unwrap()
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_costs_the_layer_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let cached = Cached::new(on_disk(&file.join("cache"), 400 * KIB));
    let stat = cached.put_behind("a", "bytes").await;
    assert_eq!(cached.read("a", &stat).await, "bytes");
}
