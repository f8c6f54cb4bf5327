//! Replays the saved files of every fuzz target of this crate. `UPDATE_CORPUS=1` writes the seeds anew.

mod support;

use std::path::PathBuf;

use larder_dbsync::{Wanted, backup, fuzzing};
use larder_store::StoreExt;
use support::{Lab, add_rows};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"))
}

#[tokio::test]
async fn every_saved_file_keeps_its_targets_promises() {
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        write_seeds().await;
    }
    for name in fuzzing::targets() {
        let mut count = 0;
        for entry in std::fs::read_dir(folder().join(name)).unwrap() {
            fuzzing::run(name, &std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "target {name} has no saved file");
        assert!(
            folder().join("../targets").join(name).with_extension("rs").exists(),
            "fuzz/targets/{name}.rs is missing"
        );
    }
}

async fn write_seeds() {
    let lab = Lab::new();
    let a = lab.open("a.db");
    a.execute_batch("PRAGMA page_size = 512; CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT);").unwrap();
    lab.push("a.db").await.unwrap();
    add_rows(&a, 3);
    lab.push("a.db").await.unwrap();
    backup(&lab.remote, "first", &Wanted::Newest).await.unwrap();
    lab.collect(larder_dbsync::CollectOptions::default()).await.unwrap();
    let write = |target: &str, name: &str, bytes: &[u8]| {
        std::fs::create_dir_all(folder().join(target)).unwrap();
        std::fs::write(folder().join(target).join(name), bytes).unwrap();
    };
    for (name, _) in lab.objects().await {
        let bytes = lab.remote.store().read_all(&name.parse().unwrap(), 1 << 20).await.unwrap();
        let short = name.rsplit('/').next().unwrap();
        match &name["org-data/99/".len()..] {
            object if object.starts_with("log/") => {
                let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
                write("db_entry", short, &bytes[..length]);
                if bytes.len() > length {
                    // Three pages of 512 bytes or so.
                    write("db_frame", short, &[&[0, 1], &bytes[length..]].concat());
                }
            }
            object if object.starts_with("map/") => write("db_map", short, &bytes),
            object if object.starts_with("keep/") || object == "head" => write("db_note", short, &bytes),
            _ => {}
        }
    }
    a.execute_batch("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0; DELETE FROM t;").unwrap();
    add_rows(&a, 1);
    write("db_wal", "two-commits", &std::fs::read(lab.path("a.db-wal")).unwrap());
}
