//! B10: in a bucket of the `hash` layout equal bytes lie on the disk once, under however many keys; they
//! are there for as long as one asset needs them, through kills, restarts and the loss of the catalogue.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use larder_testkit::{
    fixtures,
    server::{Server, Starter},
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{ask, client, finished, json, json_of, larder, lose_the_catalogue, server},
    store::{LEFTOVERS_GO_AT_START, folder},
};

struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// With a catalogue of its own: several sites of a test share a bucket.
    fn starter(&self) -> Starter {
        server().data_dir(self.data()).env("LARDER_CATALOG__REPLICATE", "off")
    }

    fn start(&self) -> Server {
        self.starter().start()
    }

    fn killed_at(&self, point: &str) -> Server {
        self.starter().env("LARDER_FAIL_POINT", point).start()
    }

    /// What lies in the bucket's folder, variants left out.
    fn originals(&self) -> Vec<PathBuf> {
        let all = files_below(&folder(&self.data()).join("once")).into_iter();
        all.filter(|path| !path.components().any(|part| part.as_os_str() == "_variants")).collect()
    }

    fn left_over(&self) -> Vec<PathBuf> {
        ["staging", "trash"]
            .iter()
            .flat_map(|within| files_below(&folder(&self.data()).join(".larder").join(within)))
            .collect()
    }
}

fn files_below(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found
}

async fn make_bucket(client: &Client, server: &Server) {
    let policy = json!({ "layout": "hash", "visibility": "public", "presets": ["keep-small"] });
    let made = client.put(server.url("/api/v1/buckets/once")).json(&policy).send().await.unwrap();
    let status = made.status();
    let made = json(made).await;
    assert!(status.is_success() && made["policy"]["layout"] == "hash", "{made}");
}

async fn put(client: &Client, server: &Server, key: &str, bytes: Vec<u8>) -> Value {
    let url = server.url(&format!("/api/v1/buckets/once/objects/{key}"));
    let answer = client.put(url).body(bytes).send().await.unwrap();
    let status = answer.status();
    let asset = json(answer).await;
    assert!(status.is_success(), "{key}: {status} {asset}");
    asset
}

/// Sends an upload; its id once it is acknowledged.
async fn try_upload(client: &Client, address: &str, key: &str, bytes: Vec<u8>) -> Option<String> {
    let url = format!("{address}/api/v1/uploads?bucket=once&key={key}");
    let answer = client.post(url).body(bytes).send().await.ok()?;
    if answer.status() != StatusCode::ACCEPTED {
        return None;
    }
    Some(json(answer).await["id"].as_str()?.to_owned())
}

async fn delete(client: &Client, server: &Server, key: &str, purge: bool) {
    let url = server.url(&format!("/api/v1/buckets/once/objects/{key}?purge={purge}"));
    let (status, answer) = ask(client, Method::DELETE, &url, None).await;
    assert_eq!(status, StatusCode::OK, "{key}: {answer}");
}

async fn read(client: &Client, server: &Server, key: &str) -> (StatusCode, Vec<u8>) {
    let answer = client.get(server.url(&format!("/m/once/{key}"))).send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap().to_vec())
}

async fn is_whole(client: &Client, server: &Server, key: &str, bytes: &[u8], what: &str) {
    let (status, found) = read(client, server, key).await;
    assert!(status == StatusCode::OK && found == bytes, "{what}: {key}: {status}, {} bytes", found.len());
}

async fn keys(client: &Client, server: &Server) -> Vec<String> {
    let url = server.url("/api/v1/buckets/once/objects?limit=1000");
    let (_, page) = ask(client, Method::GET, &url, None).await;
    page["items"].as_array().unwrap().iter().map(|asset| asset["key"].as_str().unwrap().to_owned()).collect()
}

async fn sweep(client: &Client, server: &Server) {
    let answer = client.post(server.url("/api/v1/gc/sweep")).json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

fn has_ended(server: &Server) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap_or_default();
        let is_zombie = stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'));
        if stat.is_empty() || is_zombie {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[tokio::test]
async fn b10_equal_bytes_under_three_keys_are_one_file_until_the_last_is_purged() {
    let (site, client) = (Site::new(), client());
    let photo = fixtures::unlike(1, 320, 200);
    let first = site.start();
    make_bucket(&client, &first).await;
    let mut ids = Vec::new();
    for key in ["a.jpg", "folder/b.jpg", "c.jpg"] {
        let upload = try_upload(&client, first.address(), key, photo.clone()).await.unwrap();
        let upload = finished(&client, &first, &upload).await;
        assert_eq!(
            (&upload["status"], &upload["asset"]["key"]),
            (&json!("completed"), &json!(key)),
            "{upload}"
        );
        ids.push(upload["asset"]["id"].clone());
    }
    ids.sort_by_key(Value::to_string);
    ids.dedup();
    assert_eq!(ids.len(), 3, "three assets");
    let files = site.originals();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(std::fs::read(&files[0]).unwrap(), photo);
    assert!(site.left_over().is_empty(), "{:?}", site.left_over());
    let (_, stats) = ask(&client, Method::GET, &first.url("/api/v1/stats"), None).await;
    assert!(
        stats.to_string().contains(&(3 * photo.len()).to_string()),
        "each asset's bytes are counted: {stats}"
    );

    delete(&client, &first, "a.jpg", true).await;
    delete(&client, &first, "folder/b.jpg", false).await;
    is_whole(&client, &first, "c.jpg", &photo, "two are deleted").await;
    assert_eq!(first.stop(), Some(0));
    let second = site.start();
    is_whole(&client, &second, "c.jpg", &photo, "after a restart").await;
    let scrubbed = json_of(larder().env("LARDER_DATA_DIR", site.data()).args(["scrub", "--full"]));
    assert_eq!(scrubbed["problems"], 0, "{scrubbed}");
    delete(&client, &second, "c.jpg", true).await;
    assert_eq!(site.originals().len(), 1, "one in the trash has them");
    let (_, trash) =
        ask(&client, Method::GET, &second.url("/api/v1/buckets/once/objects?deleted=true"), None).await;
    let id = trash["items"][0]["id"].as_str().unwrap().to_owned();
    let (status, _) =
        ask(&client, Method::DELETE, &second.url(&format!("/api/v1/assets/{id}?purge=true")), None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(site.originals(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn b10_a_copy_costs_no_bytes_and_outlives_its_source() {
    let (site, client) = (Site::new(), client());
    let server = site.start();
    make_bucket(&client, &server).await;
    let photo = fixtures::unlike(1, 320, 200);
    let source = put(&client, &server, "a.jpg", photo.clone()).await;
    let url = server.url(&format!("/api/v1/assets/{}/copy", source["id"].as_str().unwrap()));
    let copied = client.post(&url).json(&json!({ "key": "b.jpg" })).send().await.unwrap();
    assert_eq!(copied.status(), StatusCode::CREATED);
    delete(&client, &server, "a.jpg", true).await;
    is_whole(&client, &server, "b.jpg", &photo, "the source is purged").await;
    assert_eq!(site.originals().len(), 1);
    // With its variants.
    let variant = client.get(server.url("/i/_/p:keep-small/once/b.jpg.webp")).send().await.unwrap();
    assert!(matches!(variant.status(), StatusCode::OK | StatusCode::FORBIDDEN), "{}", variant.status());
}

#[tokio::test]
async fn b10_a_kill_at_every_step_of_an_upload_or_a_deletion_of_shared_bytes_loses_nothing() {
    let client = client();
    for point in ["intake.accepted", "ingest.decoded", "commit.intent", "commit.moved", "commit.recorded"] {
        for is_duplicate in [false, true] {
            let site = Site::new();
            let photo = fixtures::unlike(1, 160, 100);
            let what = format!("{point}, {}", if is_duplicate { "a duplicate" } else { "the first" });
            let first = site.start();
            make_bucket(&client, &first).await;
            if is_duplicate {
                put(&client, &first, "kept.jpg", photo.clone()).await;
            }
            first.stop();
            let doomed = site.killed_at(point);
            let id = try_upload(&client, doomed.address(), "new.jpg", photo.clone()).await;
            assert!(has_ended(&doomed), "{what} was not reached");
            doomed.kill();

            let after = site.start();
            if let Some(id) = id {
                let upload = finished(&client, &after, &id).await;
                assert_eq!(upload["status"], "completed", "{what}: {upload}");
                is_whole(&client, &after, "new.jpg", &photo, &what).await;
            }
            // Others come and go with the same bytes.
            put(&client, &after, "other.jpg", photo.clone()).await;
            delete(&client, &after, "other.jpg", true).await;
            let there = keys(&client, &after).await;
            for key in &there {
                is_whole(&client, &after, key, &photo, &what).await;
            }
            assert!(there.contains(&"kept.jpg".to_owned()) == is_duplicate, "{what}: {there:?}");
            sweep(&client, &after).await;
            let expected = usize::from(!there.is_empty());
            assert_eq!(site.originals().len(), expected, "{what}: {:?}", site.originals());
            for key in there {
                delete(&client, &after, &key, true).await;
            }
            assert_eq!(site.originals(), Vec::<PathBuf>::new(), "{what}");
            if LEFTOVERS_GO_AT_START {
                assert_eq!(site.left_over(), Vec::<PathBuf>::new(), "{what}");
            }
        }
    }
    for point in ["delete.trashed", "delete.recorded"] {
        for is_last in [false, true] {
            let site = Site::new();
            let photo = fixtures::unlike(1, 160, 100);
            let what = format!("{point}, {}", if is_last { "the last" } else { "one of two" });
            let first = site.start();
            make_bucket(&client, &first).await;
            put(&client, &first, "doomed.jpg", photo.clone()).await;
            if !is_last {
                put(&client, &first, "kept.jpg", photo.clone()).await;
            }
            first.stop();
            let doomed = site.killed_at(point);
            let url = doomed.url("/api/v1/buckets/once/objects/doomed.jpg?purge=true");
            let _ = client.delete(url).send().await;
            assert!(has_ended(&doomed), "{what} was not reached");
            doomed.kill();

            let after = site.start();
            for key in keys(&client, &after).await {
                is_whole(&client, &after, &key, &photo, &what).await;
            }
            assert_eq!(keys(&client, &after).await.contains(&"kept.jpg".to_owned()), !is_last, "{what}");
            let (status, _) = read(&client, &after, "doomed.jpg").await;
            assert!(matches!(status, StatusCode::OK | StatusCode::NOT_FOUND), "{what}: {status}");
            assert_eq!(site.originals().len(), 1, "{what}: the asset or its place in the trash has them");
        }
    }
}

#[tokio::test]
async fn b10_every_key_comes_back_when_the_catalogue_is_lost() {
    let (site, client) = (Site::new(), client());
    let photos = [fixtures::unlike(1, 160, 100), fixtures::unlike(2, 160, 100)];
    let first = site.start();
    make_bucket(&client, &first).await;
    for number in 0..6 {
        let asset = put(&client, &first, &format!("{number}.jpg"), photos[number % 2].clone()).await;
        assert_eq!(asset["key"], format!("{number}.jpg"));
    }
    delete(&client, &first, "4.jpg", false).await;
    // What is known of them is written to the store every two seconds, and at the end.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(first.stop(), Some(0));
    lose_the_catalogue(&site.data());
    let report = json_of(larder().env("LARDER_DATA_DIR", site.data()).args(["reindex", "--verify"]));
    assert_eq!(
        (&report["assets"], &report["deleted"], &report["differences"]),
        (&json!(5), &json!(1), &json!(0)),
        "{report}"
    );
    let second = site.start();
    assert_eq!(keys(&client, &second).await, ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "5.jpg"]);
    for number in [0, 1, 2, 3, 5] {
        is_whole(&client, &second, &format!("{number}.jpg"), &photos[number % 2], "rebuilt").await;
    }
    assert_eq!(site.originals().len(), 2);
    for number in [0, 2] {
        delete(&client, &second, &format!("{number}.jpg"), true).await;
    }
    let (_, trash) =
        ask(&client, Method::GET, &second.url("/api/v1/buckets/once/objects?deleted=true"), None).await;
    let url = second.url(&format!("/api/v1/assets/{}/restore", trash["items"][0]["id"].as_str().unwrap()));
    assert_eq!(ask(&client, Method::POST, &url, None).await.0, StatusCode::OK);
    is_whole(&client, &second, "4.jpg", &photos[0], "the last of its bytes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_bytes_that_are_uploaded_and_purged_all_the_time_are_never_lost() {
    let (site, client) = (Site::new(), client());
    let server = Arc::new(site.start());
    make_bucket(&client, &server).await;
    let photos = Arc::new([fixtures::unlike(1, 64, 48), fixtures::unlike(2, 64, 48)]);
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..4_usize)
        .map(|number| {
            let (client, server, photos, stop) =
                (client.clone(), server.clone(), photos.clone(), stop.clone());
            tokio::spawn(async move {
                let (key, mut round) = (format!("{number}.jpg"), 0);
                while !stop.load(Ordering::SeqCst) {
                    let photo = &photos[(number + round) % 2];
                    put(&client, &server, &key, photo.clone()).await;
                    is_whole(&client, &server, &key, photo, "just put").await;
                    if round % 3 > 0 {
                        delete(&client, &server, &key, true).await;
                    }
                    round += 1;
                }
                put(&client, &server, &key, photos[0].clone()).await;
                round
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(10)).await;
    stop.store(true, Ordering::SeqCst);
    let mut rounds = 0;
    for task in tasks {
        rounds += task.await.unwrap();
    }
    assert!(rounds > 4, "there was load: {rounds}");
    for key in keys(&client, &server).await {
        is_whole(&client, &server, &key, &photos[0], "at the end").await;
    }
    sweep(&client, &server).await;
    assert_eq!(site.originals().len(), 1, "{:?}", site.originals());
}
