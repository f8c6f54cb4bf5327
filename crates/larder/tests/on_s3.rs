//! The built binary over an S3 bucket: what holds on a local disk holds here, and an outage of the store loses
//! nothing.

mod support;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use larder_assets::fail_point;
use larder_testkit::{
    fixtures,
    s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, moto, s3s_fs::S3sFs},
    server::{Server, Starter},
};
use serde_json::Value;
use support::{Home, client, get, upload};

/// How long the store is away in the test of an outage.
const OUTAGE: Duration = Duration::from_secs(30);

/// A server over a bucket, by the environment that django-storages and boto read.
fn starter(home: &Home, endpoint: &str, bucket: &str) -> Starter {
    Starter::new(env!("CARGO_BIN_EXE_larder"))
        .data_dir(home.path())
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .env("AWS_STORAGE_BUCKET_NAME", bucket)
        .env("AWS_S3_ENDPOINT_URL", endpoint)
}

/// A bucket on the server whose objects are files.
struct OnFiles {
    home: Home,
    store: S3sFs,
    bucket: PathBuf,
}

impl OnFiles {
    fn new() -> Self {
        let store = S3sFs::start();
        let bucket = store.bucket("larder");
        Self { home: Home::new(), store, bucket }
    }

    fn starter(&self) -> Starter {
        starter(&self.home, &self.store.endpoint(), "larder")
    }
}

async fn delete(address: &str, upload: &Value, purge: bool) {
    let id = upload["asset"]["id"].as_str().expect("an id");
    let url = format!("{address}/api/v1/assets/{id}?purge={purge}");
    let response = client().delete(url).send().await.expect("an answer");
    assert!(response.status().is_success(), "{}", response.status());
}

/// Uploads, reads, ranges, replaces, deletes, restores and starts anew.
async fn lives(start: impl Fn() -> Server) {
    let server = start();
    let address = server.address().to_owned();
    let mut uploads = Vec::new();
    for seed in 0..6 {
        let id = upload(&address, fixtures::unlike(seed, 900, 600)).await.expect("an upload");
        uploads.push(support::completed(&address, &id).await);
    }
    for upload in &uploads {
        support::every_picture_is_there(&address, upload, "fresh").await;
    }
    let url = server.url(uploads[0]["asset"]["url"].as_str().expect("a URL"));
    let whole = client().get(&url).send().await.unwrap().bytes().await.unwrap();
    let part = client().get(&url).header("range", "bytes=10-99").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), whole[10..100]);

    delete(&address, &uploads[1], false).await;
    let gone = server.url(uploads[1]["asset"]["url"].as_str().expect("a URL"));
    assert_eq!(client().get(&gone).send().await.unwrap().status(), 404);
    let id = uploads[1]["asset"]["id"].as_str().expect("an id");
    let restored = client().post(format!("{address}/api/v1/assets/{id}/restore")).send().await.unwrap();
    assert!(restored.status().is_success(), "{}", restored.text().await.unwrap());
    assert_eq!(client().get(&gone).send().await.unwrap().status(), 200);
    delete(&address, &uploads[2], true).await;

    // A key that continues another one, and one that is replaced.
    let put = |key: &str, seed| {
        let url = format!("{address}/api/v1/buckets/media/objects/{key}");
        let body = fixtures::unlike(seed, 300, 200);
        async move {
            let response =
                client().put(url).header("content-type", "image/jpeg").body(body).send().await.unwrap();
            assert!(response.status().is_success(), "{}", response.text().await.unwrap());
        }
    };
    put("same.jpg", 20).await;
    put("same.jpg", 21).await;
    let read = client().get(format!("{address}/m/media/same.jpg")).send().await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), fixtures::unlike(21, 300, 200));
    // Variants of replaced bytes stay until they are collected; with the asset they go at once.
    let gone =
        client().delete(format!("{address}/api/v1/buckets/media/objects/same.jpg?purge=true")).send().await;
    assert!(gone.unwrap().status().is_success());
    support::settled(&address).await;
    assert_eq!(server.stop(), Some(0));

    let again = start();
    for upload in [&uploads[0], &uploads[3], &uploads[5]] {
        support::every_picture_is_there(again.address(), upload, "after a restart").await;
    }
    let health = get(&format!("{}/readyz", again.address())).await;
    assert_eq!(health["status"], "ok", "{health}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_everything_works_on_a_bucket_as_on_a_disk() {
    let on = OnFiles::new();
    lives(|| on.starter().start()).await;
    let server = on.starter().start();
    support::settled(server.address()).await;
    support::holds_what_is_listed(&on.bucket, server.address(), "the bucket").await;
    assert_eq!(support::files(&on.bucket.join(".larder/staging")), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_everything_works_on_a_server_of_another_kind() {
    let options = moto::bucket();
    let home = Home::new();
    let endpoint = options.endpoint.as_ref().expect("an endpoint").to_string();
    lives(|| starter(&home, &endpoint, &options.bucket).start()).await;
}

/// Public bytes are fetched at the CDN before the bucket, private ones through Larder.
#[tokio::test(flavor = "multi_thread")]
async fn a6_public_pictures_have_the_addresses_of_the_cdn() {
    let on = OnFiles::new();
    let server = on.starter().env("CDN_BASE_URL", "https://cdn.example.com/x").start();
    let address = server.address();
    let id = upload(address, fixtures::unlike(1, 400, 300)).await.expect("an upload");
    let private = support::completed(address, &id).await;
    assert!(private["asset"]["url"].as_str().unwrap().starts_with("/m/media/"), "{private}");
    let policy = serde_json::json!({ "visibility": "public", "presets": ["artwork-small"],
        "public_presets": ["artwork-small"] });
    let url = format!("{address}/api/v1/buckets/open");
    let made = client().put(url).json(&policy).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
    let url = format!("{address}/api/v1/buckets/open/objects/a%20b.jpg");
    let body = fixtures::unlike(2, 400, 300);
    let put = client().put(url).header("content-type", "image/jpeg").body(body).send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());
    support::settled(address).await;
    let listed = get(&format!("{address}/api/v1/buckets/open/objects")).await;
    let asset = &listed["items"][0];
    let expected = "https://cdn.example.com/x/open/a%20b.jpg?v=";
    assert!(asset["url"].as_str().unwrap().starts_with(expected), "{asset}");
    let id = asset["id"].as_str().unwrap();
    let variants = get(&format!("{address}/api/v1/assets/{id}/variants")).await;
    let variant = &variants["items"][0];
    let expected = "https://cdn.example.com/x/open/_variants/a%20b.jpg/";
    assert!(variant["url"].as_str().unwrap().starts_with(expected), "{variant}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_every_fail_point_loses_nothing_that_was_acknowledged_on_a_bucket() {
    for point in fail_point::ALL {
        let on = OnFiles::new();
        let first = on.starter().start();
        let kept = upload(first.address(), fixtures::unlike(1, 320, 200)).await.expect("an upload");
        support::completed(first.address(), &kept).await;
        let deleted = upload(first.address(), fixtures::unlike(2, 320, 200)).await.expect("an upload");
        let deleted = support::completed(first.address(), &deleted).await;
        first.stop();

        let doomed = on.starter().env("LARDER_FAIL_POINT", *point).start();
        let mut acknowledged = vec![kept];
        let is_deletion = point.starts_with("delete.");
        if is_deletion {
            let id = deleted["asset"]["id"].as_str().unwrap();
            let _ = client().delete(format!("{}/api/v1/assets/{id}", doomed.address())).send().await;
        } else if let Ok(id) = upload(doomed.address(), fixtures::unlike(3, 800, 600)).await {
            acknowledged.push(id);
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while client().get(format!("{}/healthz", doomed.address())).send().await.is_ok() {
            assert!(Instant::now() < deadline, "{point} was not reached");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        doomed.kill();

        let after = on.starter().start();
        for id in &acknowledged {
            let upload = support::completed(after.address(), id).await;
            support::every_picture_is_there(after.address(), &upload, &format!("after {point}")).await;
        }
        if is_deletion {
            support::is_whole_or_gone(after.address(), &deleted, point).await;
        }
        support::settled(after.address()).await;
        support::holds_what_is_listed(&on.bucket, after.address(), point).await;
        after.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_what_lies_in_a_bucket_is_read_there_until_it_is_moved_to_the_disk() {
    let mut on = OnFiles::new();
    let first = on.starter().start();
    let id = upload(first.address(), fixtures::unlike(1, 320, 200)).await.expect("an upload");
    let kept = support::completed(first.address(), &id).await;
    support::settled(first.address()).await;
    let path = kept["asset"]["url"].as_str().expect("a URL").to_owned();
    assert_eq!(first.stop(), Some(0));

    // Only the switch is set; all names of the bucket stay as they were.
    let on_disk =
        |on: &OnFiles| on.starter().env("USE_LOCAL_STORAGE", "true").env("LARDER_STORE__S3__RETRIES", "0");
    on.store.stop();
    let server = on_disk(&on).start();
    assert_eq!(client().get(server.url(&path)).send().await.unwrap().status(), 503);
    let fresh = upload(server.address(), fixtures::unlike(2, 320, 200)).await.expect("an upload");
    let fresh = support::completed(server.address(), &fresh).await;
    assert_eq!(server.stop(), Some(0));

    on.store.restart();
    let server = on_disk(&on).start();
    support::every_picture_is_there(server.address(), &kept, "where it lies").await;
    let moved = server.cli().args(["migrate", "--from", "s3", "--to", "local"]).output().unwrap();
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    assert_eq!(server.stop(), Some(0));

    on.store.stop();
    let server = on_disk(&on).start();
    for upload in [&kept, &fresh] {
        support::every_picture_is_there(server.address(), upload, "on the disk").await;
    }
}

/// What clients saw while the store was away.
#[derive(Default)]
struct Seen {
    acknowledged: Mutex<Vec<(String, u64)>>,
    refused: AtomicU64,
    others: Mutex<Vec<String>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_an_outage_of_the_store_loses_nothing_and_doubles_nothing() {
    let mut on = OnFiles::new();
    let server = on.starter().start();
    let address = server.address().to_owned();
    let warm = upload(&address, fixtures::unlike(1, 400, 300)).await.expect("an upload");
    let warm = support::completed(&address, &warm).await;
    let cold = upload(&address, fixtures::unlike(2, 1_600, 1_200)).await.expect("an upload");
    let cold = support::completed(&address, &cold).await;
    support::every_picture_is_there(&address, &warm, "before the outage").await;

    let seen = Arc::new(Seen::default());
    let stop = Arc::new(AtomicBool::new(false));
    let seeds = Arc::new(AtomicU64::new(100));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (address, seen, stop, seeds) = (address.clone(), seen.clone(), stop.clone(), seeds.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let seed = seeds.fetch_add(1, Ordering::SeqCst);
                    match upload(&address, fixtures::unlike(seed, 200, 150)).await {
                        Ok(id) => seen.acknowledged.lock().unwrap().push((id, seed)),
                        Err(error) if error.starts_with("503") => {
                            // The catalogue lies there, too: so much learns who waits for it at that moment.
                            let is_told = ["Backend unavailable", "the catalogue's store does not answer"];
                            assert!(is_told.iter().any(|told| error.contains(told)), "{error}");
                            seen.refused.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => seen.others.lock().unwrap().push(error),
                    }
                    tokio::time::sleep(Duration::from_millis(150)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    on.store.stop();
    let begun = Instant::now();
    let mut cached = 0;
    while begun.elapsed() < OUTAGE {
        let variants =
            warm["variants"].as_object().expect("variants").values().map(|variant| &variant["url"]);
        for url in variants.chain([&warm["asset"]["url"]]) {
            let response = client().get(server.url(url.as_str().unwrap())).send().await.unwrap();
            assert_eq!(response.status(), 200, "what is cached is served: {url}");
            cached += 1;
        }
        let refused = client().get(server.url(cold["asset"]["url"].as_str().unwrap())).send().await.unwrap();
        if refused.status() != 200 {
            assert_eq!(refused.status(), 503);
            assert!(refused.headers().contains_key("retry-after"));
            assert_eq!(refused.headers()["content-type"], "application/problem+json");
            let problem: Value = refused.json().await.unwrap();
            assert_eq!(problem["title"], "Backend unavailable", "{problem}");
        }
        let record = format!("{address}/api/v1/assets/{}", cold["asset"]["id"].as_str().unwrap());
        assert_eq!(client().get(record).send().await.unwrap().status(), 200, "metadata is served");
        let ready = client().get(format!("{address}/readyz")).send().await.unwrap();
        assert_eq!(ready.status(), 200, "the catalogue is there");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let ready = get(&format!("{address}/readyz")).await;
    assert_eq!(ready["status"], "degraded", "{ready}");
    on.store.restart();
    let recovered = Instant::now();
    while get(&format!("{address}/readyz")).await["status"] != "ok" {
        assert!(recovered.elapsed() < Duration::from_secs(60), "it recovers without a restart");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert!(cached > 20);
    assert!(seen.refused.load(Ordering::SeqCst) > 0, "uploads were refused while the store was away");
    assert_eq!(*seen.others.lock().unwrap(), Vec::<String>::new());

    let acknowledged = seen.acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    let mut digests = BTreeMap::new();
    for (id, seed) in &acknowledged {
        let upload = support::completed(&address, id).await;
        assert_eq!(
            upload["asset"]["sha256"],
            support::digest(&fixtures::unlike(*seed, 200, 150)),
            "{upload}"
        );
        support::every_picture_is_there(&address, &upload, "after the outage").await;
        let key = upload["asset"]["key"].as_str().expect("a key").to_owned();
        assert!(digests.insert(upload["asset"]["sha256"].to_string(), key).is_none(), "doubled: {upload}");
    }
    support::every_picture_is_there(&address, &cold, "after the outage").await;
    support::settled(&address).await;
    support::holds_what_is_listed(&on.bucket, &address, "after the outage").await;
    let ready = get(&format!("{address}/readyz")).await;
    assert_eq!(ready["status"], "ok", "it recovers without a restart: {ready}");
}
