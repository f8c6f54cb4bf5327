//! A process that is killed while it fills the cache.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use larder_store::{MemoryStore, PutOptions, Stat, StoreExt};

use crate::{
    Cached, KIB, bytes_of,
    disk::{page_files, taken_bytes},
    on_disk, place,
};

/// Tells a process of this test that it is the one to be killed, and in which folder.
const FOLDER: &str = "LARDER_TEST_CACHE_FOLDER";

const LIMIT_BYTES: u64 = 400 * KIB;
/// A few more than fit.
const OBJECTS: u64 = 60;

/// The same objects with the same fingerprints in every process: a memory store counts its puts.
async fn objects() -> (Arc<MemoryStore>, Vec<(String, Bytes, Stat)>) {
    let store = Arc::new(MemoryStore::new());
    let mut objects = Vec::new();
    for number in 0..OBJECTS {
        let (name, bytes) = (number.to_string(), bytes_of(number, 500 + 97 * (number as usize % 30)));
        let stat = store.put_bytes(&place(&name), bytes.clone(), PutOptions::default()).await.unwrap();
        objects.push((name, bytes, stat));
    }
    (store, objects)
}

async fn fill(folder: &Path) -> ! {
    let (store, objects) = objects().await;
    let cached = Cached::over(store, on_disk(folder, LIMIT_BYTES));
    loop {
        for (name, bytes, stat) in &objects {
            assert_eq!(cached.read(name, stat).await, *bytes);
        }
    }
}

#[tokio::test]
async fn a_cache_whose_process_was_killed_opens_again_with_whole_pages_within_its_limit() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        fill(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let own = "crash::a_cache_whose_process_was_killed_opens_again_with_whole_pages_within_its_limit";
    let mut hits = 0;
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([own, "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = std::time::Instant::now();
        while !folder.path().join("lock").exists() || page_files(folder.path()).len() < 10 {
            assert!(began.elapsed() < Duration::from_secs(60), "the child fills nothing");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50 + 23 * round)).await;
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(taken_bytes(folder.path()) <= LIMIT_BYTES + 4 * KIB);

        let (store, objects) = objects().await;
        let cached = Cached::over(store, on_disk(folder.path(), LIMIT_BYTES));
        cached.store.flushed().await;
        assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
        for (name, bytes, stat) in &objects {
            let asked = cached.opens();
            assert_eq!(cached.read(name, stat).await, *bytes, "{name} in round {round}");
            hits += usize::from(cached.opens() == asked);
        }
    }
    assert!(hits > 0, "what was kept is of use");
}
