//! A server whose catalogue lives in the bucket: killed, its disk wiped, and nothing that it acknowledged is missing.

use std::{path::Path, process::Output, time::Duration};

use larder_testkit::{
    fixtures,
    s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, moto, proxy, s3s_fs::S3sFs},
    server::{Server, Starter},
};
use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::lab::{larder, said};

/// How often it is killed; more by `LARDER_KILLS`.
fn kills() -> u32 {
    std::env::var("LARDER_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(5)
}

/// What a process is told of the bucket.
fn environment(store: &S3sFs) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY.to_owned()),
        ("AWS_STORAGE_BUCKET_NAME", "catalogue".to_owned()),
        ("AWS_S3_ENDPOINT_URL", store.endpoint()),
        ("LARDER_SECRET", "a secret that is long enough".to_owned()),
        ("LARDER_CATALOG__LEASE", "2s".to_owned()),
    ]
}

/// A server as it is by default.
fn starter(store: &S3sFs, data: &Path) -> Starter {
    let starter = Starter::new(env!("CARGO_BIN_EXE_larder")).data_dir(data);
    environment(store).into_iter().fold(starter, |starter, (name, value)| starter.env(name, value))
}

/// A command on a data directory, without a server.
fn command(store: &S3sFs, data: &Path, arguments: &[&str]) -> Output {
    let mut command = larder();
    command.arg("--data-dir").arg(data).args(arguments).envs(environment(store));
    command.output().unwrap()
}

fn client() -> Client {
    // Of several tests in one process the first one installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new()
}

async fn put(client: &Client, server: &Server, key: &str, picture: u64) -> Option<StatusCode> {
    let url = server.url(&format!("/api/v1/buckets/media/objects/{key}"));
    let body = fixtures::unlike(picture, 40, 30);
    client
        .put(url)
        .body(body)
        .timeout(Duration::from_secs(20))
        .send()
        .await
        .ok()
        .map(|answer| answer.status())
}

/// Looks again and again.
async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    for _ in 0..300 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it did not come to hold");
}

/// As [`put`], of a client of its own.
async fn put_status(server: &Server, key: &str, picture: u64) -> Option<StatusCode> {
    put(&client(), server, key, picture).await
}

async fn is_there(client: &Client, server: &Server, key: &str) -> bool {
    let found = client.get(server.url(&format!("/m/media/{key}"))).send().await.unwrap();
    found.status() == StatusCode::OK && !found.bytes().await.unwrap().is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_what_was_acknowledged_survives_the_kill_of_a_server_and_the_loss_of_its_disk() {
    let store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    let client = client();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..kills() {
        let data = folder.path().join(round.to_string());
        let server = starter(&store, &data).start();
        for key in &acknowledged {
            assert!(is_there(&client, &server, key).await, "round {round}: {key}");
        }
        // Under load, cut off at some moment.
        let mut putting = tokio::task::JoinSet::new();
        for picture in 0..6 {
            let (client, key) = (client.clone(), format!("{round}-{picture}.jpg"));
            let url = server.url(&format!("/api/v1/buckets/media/objects/{key}"));
            putting.spawn(async move {
                let body = fixtures::unlike(u64::from(round * 10 + picture), 40, 30);
                let answer = client.put(url).body(body).send().await;
                answer.ok().filter(|answer| answer.status() == StatusCode::CREATED).map(|_| key)
            });
        }
        tokio::time::sleep(Duration::from_millis(u64::from(150 + round * 97 % 400))).await;
        server.kill();
        while let Some(ended) = putting.join_next().await {
            acknowledged.extend(ended.unwrap());
        }
        std::fs::remove_dir_all(&data).unwrap();
    }
    let server = starter(&store, &folder.path().join("last")).start();
    for key in &acknowledged {
        assert!(is_there(&client, &server, key).await, "{key}");
    }
    let listed: Value = client
        .get(server.url("/api/v1/buckets/media/objects?limit=1000"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let listed: Vec<&str> =
        listed["items"].as_array().unwrap().iter().filter_map(|item| item["key"].as_str()).collect();
    assert!(acknowledged.iter().all(|key| listed.contains(&key.as_str())), "{acknowledged:?} {listed:?}");
    assert!(!acknowledged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_second_server_stands_by_and_goes_on_where_the_first_stopped() {
    let store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    let client = client();
    let first = starter(&store, &folder.path().join("first"));
    let first = first.env("LARDER_CATALOG__REPLICATE", "interval").start();
    assert_eq!(put(&client, &first, "a.jpg", 1).await, Some(StatusCode::CREATED));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let second = starter(&store, &folder.path().join("second")).arg(format!("--listen=127.0.0.1:{port}"));
    let starting = std::thread::spawn(move || second.start());
    let at_second = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let status = |path: &str| {
        let request = client.get(at_second(path)).timeout(Duration::from_secs(20)).send();
        async move { request.await.ok().map(|answer| answer.status()) }
    };

    // It answers reads with what the first one has written.
    until(|| async { status("/m/media/a.jpg").await == Some(StatusCode::OK) }).await;
    assert_eq!(put(&client, &first, "b.jpg", 2).await, Some(StatusCode::CREATED));
    until(|| async { status("/m/media/b.jpg").await == Some(StatusCode::OK) }).await;
    let ready = client.get(at_second("/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.json::<Value>().await.unwrap()["status"], "standby");
    // And takes nothing.
    let refused = client.put(at_second("/api/v1/buckets/media/objects/c.jpg"));
    let refused = refused.body(fixtures::unlike(3, 40, 30)).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["code"], "catalog_unavailable", "{refused}");
    assert!(!starting.is_finished(), "it waits for as long as the first one lives");

    first.stop();
    let second = tokio::task::spawn_blocking(move || starting.join().unwrap()).await.unwrap();
    for key in ["a.jpg", "b.jpg"] {
        assert!(is_there(&client, &second, key).await, "{key}");
    }
    assert_eq!(put(&client, &second, "c.jpg", 3).await, Some(StatusCode::CREATED));
    // A command beside it goes through the server, so that what it does is in the bucket, too.
    let listed = second.cli_beside().args(["ls", "media", "--json"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("c.jpg"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_while_the_store_is_away_nothing_is_acknowledged_and_afterwards_it_goes_on() {
    let mut store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    let client = client();
    let server = starter(&store, &folder.path().join("first")).start();
    assert_eq!(put(&client, &server, "a.jpg", 1).await, Some(StatusCode::CREATED));
    store.stop();
    // A write that needs nothing but the catalogue.
    let preset = client
        .put(server.url("/api/v1/presets/tiny"))
        .json(&serde_json::json!({ "recipe": "resize:inside:20x20,format:webp" }));
    let refused = preset.timeout(Duration::from_secs(90)).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text().await.unwrap());
    assert_ne!(put(&client, &server, "b.jpg", 2).await, Some(StatusCode::CREATED));
    store.restart();
    let mut is_back = false;
    for _ in 0..120 {
        is_back = put(&client, &server, "c.jpg", 3).await == Some(StatusCode::CREATED);
        if is_back {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(is_back);
    server.kill();
    let server = starter(&store, &folder.path().join("second")).start();
    for key in ["a.jpg", "c.jpg"] {
        assert!(is_there(&client, &server, key).await, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_in_a_bucket_that_ignores_conditions_the_catalogue_is_not_replicated_and_that_is_told() {
    let options = moto::bucket();
    let endpoint = options.endpoint.unwrap();
    let heedless = proxy::Proxy::start(&endpoint, proxy::Manner::IgnoresConditions).await;
    let environment = [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY.to_owned()),
        ("AWS_STORAGE_BUCKET_NAME", options.bucket),
        ("AWS_ENDPOINT_URL_S3", heedless.endpoint().as_str().trim_end_matches('/').to_owned()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let starter = Starter::new(env!("CARGO_BIN_EXE_larder")).data_dir(folder.path());
    let starter = environment.iter().fold(starter, |starter, (name, value)| starter.env(*name, value));
    let server = starter.start();
    assert!(server.log().contains("is not replicated"), "{}", server.log());
    assert_eq!(put_status(&server, "a.jpg", 1).await, Some(StatusCode::CREATED));
    server.stop();
    let mut asked_for = larder();
    asked_for.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path()).envs(environment);
    let refused = tokio::task::spawn_blocking(move || {
        asked_for.env("LARDER_CATALOG__REPLICATE", "commit").output().unwrap()
    });
    let refused = refused.await.unwrap();
    assert!(!refused.status.success() && said(&refused).contains("If-None-Match"), "{}", said(&refused));
}

#[test]
fn g7_a_catalogue_is_replicated_to_a_bucket_only() {
    let folder = tempfile::tempdir().unwrap();
    let refused = larder()
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .env("LARDER_CATALOG__REPLICATE", "commit")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("catalog.replicate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_command_without_a_server_works_on_the_catalogue_in_the_bucket() {
    let store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let nothing = command(&store, &first, &["ls", "media"]);
    assert_eq!(nothing.status.code(), Some(2), "{}", said(&nothing));
    assert!(said(&nothing).contains("there is no Larder in"), "{}", said(&nothing));
    let picture = folder.path().join("a.jpg");
    std::fs::write(&picture, fixtures::unlike(1, 40, 30)).unwrap();
    let put = command(&store, &first, &["put", picture.to_str().unwrap(), "--bucket", "media"]);
    assert_eq!(put.status.code(), Some(0), "{}", said(&put));
    std::fs::remove_dir_all(&first).unwrap();

    // Another machine, and a look for faults begins no other catalogue there.
    let looked = command(&store, &second, &["doctor"]);
    assert!(String::from_utf8_lossy(&looked.stdout).contains("not on this machine"), "{looked:?}");
    assert!(!second.join("catalog.db").exists());
    let migrated = command(&store, &second, &["catalog", "migrate"]);
    assert_eq!(migrated.status.code(), Some(2), "{}", said(&migrated));
    let listed = command(&store, &second, &["ls", "media", "--json"]);
    assert_eq!(listed.status.code(), Some(0), "{}", said(&listed));
    assert!(String::from_utf8_lossy(&listed.stdout).contains("a.jpg"), "{listed:?}");

    // While a server elsewhere holds it, no command of this machine touches it.
    let server = starter(&store, &first).start();
    let refused = command(&store, &second, &["ls", "media"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("holds the catalogue") && said(&refused).contains("--server"));
    assert_eq!(put_status(&server, "b.jpg", 2).await, Some(StatusCode::CREATED));
    // One that died elsewhere is waited for as long as its lease is, and no longer.
    server.kill();
    let listed = command(&store, &second, &["ls", "media", "--json"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("b.jpg"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_second_server_of_a_data_directory_waits_for_the_end_of_the_first() {
    let store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    let first = starter(&store, folder.path()).start();
    assert_eq!(put_status(&first, "a.jpg", 1).await, Some(StatusCode::CREATED));
    let second = starter(&store, folder.path());
    let starting = std::thread::spawn(move || second.start());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!starting.is_finished());
    first.stop();
    let second = tokio::task::spawn_blocking(move || starting.join().unwrap()).await.unwrap();
    assert!(is_there(&client(), &second, "a.jpg").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_command_goes_through_the_server_that_replicates_also_beside_another_one() {
    let store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    // As when a server with a bucket takes over from one with a disk: both run for a while.
    let local = Starter::new(env!("CARGO_BIN_EXE_larder")).data_dir(folder.path()).start();
    let server = starter(&store, folder.path()).start();
    assert_eq!(put_status(&server, "a.jpg", 1).await, Some(StatusCode::CREATED));
    let listed = command(&store, folder.path(), &["ls", "media", "--json"]);
    assert_eq!(listed.status.code(), Some(0), "{}", said(&listed));
    assert!(String::from_utf8_lossy(&listed.stdout).contains("a.jpg"), "{listed:?}");
    // What the other one commits is in the bucket soon, too.
    assert_eq!(put_status(&local, "b.jpg", 2).await, Some(StatusCode::CREATED));
    local.stop();
    server.stop();
    let listed = command(&store, &folder.path().join("another"), &["ls", "media", "--json"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("b.jpg"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_commands_beside_each_other_take_turns() {
    let store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let names: Vec<String> = (0..4).map(|number| format!("{number}.jpg")).collect();
    std::thread::scope(|scope| {
        for (number, name) in names.iter().enumerate() {
            let (store, data, picture) = (&store, &data, folder.path().join(name));
            scope.spawn(move || {
                std::fs::write(&picture, fixtures::unlike(number as u64, 40, 30)).unwrap();
                let put = command(store, data, &["put", picture.to_str().unwrap(), "--bucket", "media"]);
                assert_eq!(put.status.code(), Some(0), "{}", said(&put));
            });
        }
    });
    let listed = command(&store, &folder.path().join("another"), &["ls", "media", "--json"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(names.iter().all(|name| listed.contains(name)), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_server_that_was_killed_does_not_wait_for_itself() {
    let store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    let start = || starter(&store, folder.path()).env("LARDER_CATALOG__LEASE", "5m").start();
    for key in ["a.jpg", "b.jpg"] {
        let server = start();
        assert_eq!(put_status(&server, key, 1).await, Some(StatusCode::CREATED));
        server.kill();
    }
    // It would be longer than the start of a server may take.
    start().stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_worker_waits_for_the_server_that_brings_the_catalogue() {
    let store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    let mut worker = larder()
        .args(["worker", "--data-dir"])
        .arg(folder.path())
        .envs(environment(&store))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!folder.path().join("catalog.db").exists());
    let server = starter(&store, folder.path()).arg("--role=api").start();
    let upload = client()
        .post(server.url("/api/v1/uploads?wait=30"))
        .body(fixtures::unlike(3, 400, 300))
        .header("content-type", "image/jpeg")
        .send()
        .await
        .unwrap();
    let upload: Value = upload.json().await.unwrap();
    assert_eq!(upload["status"], "completed", "{upload}");
    worker.kill().unwrap();
    worker.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_server_that_was_taken_over_stands_by_and_takes_over_again() {
    let store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    let client = client();
    let link = proxy::Proxy::start(&store.endpoint().parse().unwrap(), proxy::Manner::Honest).await;
    let endpoint = link.endpoint().to_string().trim_end_matches('/').to_owned();
    let data = folder.path().join("first");
    let first = starter(&store, &data).env("AWS_S3_ENDPOINT_URL", endpoint).start();
    assert_eq!(put(&client, &first, "a.jpg", 1).await, Some(StatusCode::CREATED));
    let readiness = || async {
        let ready = client.get(first.url("/readyz")).timeout(Duration::from_secs(5)).send().await.ok()?;
        ready.json::<Value>().await.ok()?["status"].as_str().map(str::to_owned)
    };
    assert_eq!(readiness().await.as_deref(), Some("ok"));

    // The first one loses the store, and has a commit that nobody else knows.
    link.set(proxy::Manner::Answers(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ));
    let preset = client
        .put(first.url("/api/v1/presets/tiny"))
        .json(&serde_json::json!({ "recipe": "resize:inside:20x20,format:webp" }));
    let refused = preset.timeout(Duration::from_secs(90)).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    // The second one takes the catalogue over.
    let second = tokio::task::spawn_blocking({
        let second = starter(&store, &folder.path().join("second"));
        move || second.start()
    });
    let second = second.await.unwrap();
    assert_eq!(put(&client, &second, "b.jpg", 2).await, Some(StatusCode::CREATED));

    // As soon as the first one learns of it, it stands by, and has what the second one has.
    link.set(proxy::Manner::Honest);
    until(|| async { readiness().await.as_deref() == Some("standby") }).await;
    until(|| async { is_there(&client, &first, "b.jpg").await }).await;
    assert_ne!(put(&client, &first, "c.jpg", 3).await, Some(StatusCode::CREATED));
    assert_eq!(put(&client, &second, "d.jpg", 4).await, Some(StatusCode::CREATED));
    until(|| async { is_there(&client, &first, "d.jpg").await }).await;
    // What it alone had is kept for people.
    let aside: Vec<_> = std::fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("catalog.db-aside-"))
        .collect();
    assert!(aside.len() == 1 && aside[0].join("catalog.db").exists(), "{aside:?}");
    assert!(first.log().contains("catalog.db-aside-"), "{}", first.log());

    // And takes over again.
    second.stop();
    until(|| async { readiness().await.as_deref() == Some("ok") }).await;
    assert_eq!(put(&client, &first, "e.jpg", 5).await, Some(StatusCode::CREATED));
    for key in ["a.jpg", "b.jpg", "d.jpg", "e.jpg"] {
        assert!(is_there(&client, &first, key).await, "{key}");
    }
    let presets: Value = client.get(first.url("/api/v1/presets")).send().await.unwrap().json().await.unwrap();
    assert!(!presets.to_string().contains("tiny"), "{presets}");
    first.stop();
    let listed = command(&store, &folder.path().join("third"), &["ls", "media", "--json"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(["a.jpg", "b.jpg", "d.jpg", "e.jpg"].iter().all(|key| listed.contains(key)), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_worker_ends_its_jobs_with_its_server_and_waits_for_the_next() {
    let store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    let server = starter(&store, folder.path()).arg("--role=api").start();
    let log = folder.path().join("worker.log");
    let mut worker = larder()
        .args(["worker", "--data-dir"])
        .arg(folder.path())
        .envs(environment(&store))
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let upload = |server: &Server, picture: u64| {
        let request = client()
            .post(server.url("/api/v1/uploads?wait=30"))
            .body(fixtures::unlike(picture, 400, 300))
            .header("content-type", "image/jpeg")
            .send();
        async move { request.await.unwrap().json::<Value>().await.unwrap() }
    };
    assert_eq!(upload(&server, 3).await["status"], "completed");
    server.stop();
    until(|| async { std::fs::read_to_string(&log).unwrap().contains("let the catalogue go") }).await;
    // Another machine goes on, and gives the catalogue back.
    let elsewhere = starter(&store, &folder.path().join("elsewhere")).start();
    assert_eq!(upload(&elsewhere, 4).await["status"], "completed");
    elsewhere.stop();
    let server = starter(&store, folder.path()).arg("--role=api").start();
    assert_eq!(upload(&server, 5).await["status"], "completed");
    assert!(worker.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(&log).unwrap());
    worker.kill().unwrap();
    worker.wait().unwrap();
}
