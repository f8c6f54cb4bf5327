//! A server whose catalogue lives in the bucket: killed, its disk wiped, and nothing that it acknowledged is missing.

use std::{path::Path, time::Duration};

use larder_testkit::{
    fixtures,
    s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, s3s_fs::S3sFs},
    server::{Server, Starter},
};
use reqwest::{Client, StatusCode};
use serde_json::Value;

/// How often it is killed; more by `LARDER_KILLS`.
fn kills() -> u32 {
    std::env::var("LARDER_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(5)
}

fn starter(store: &S3sFs, data: &Path, mode: &str) -> Starter {
    Starter::new(env!("CARGO_BIN_EXE_larder"))
        .data_dir(data)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .env("AWS_STORAGE_BUCKET_NAME", "catalogue")
        .env("AWS_S3_ENDPOINT_URL", store.endpoint())
        .env("LARDER_SECRET", "a secret that is long enough")
        .env("LARDER_CATALOG__REPLICATE", mode)
        .env("LARDER_CATALOG__LEASE", "2s")
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
        let server = starter(&store, &data, "commit").start();
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
    let server = starter(&store, &folder.path().join("last"), "commit").start();
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
    let first = starter(&store, &folder.path().join("first"), "interval").start();
    assert_eq!(put(&client, &first, "a.jpg", 1).await, Some(StatusCode::CREATED));
    let (second, data) =
        (starter(&store, &folder.path().join("second"), "commit"), folder.path().join("first"));
    let standing_by = std::thread::spawn(move || second.start());
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!standing_by.is_finished(), "it waits for as long as the first one lives");
    assert!(is_there(&client, &first, "a.jpg").await);
    first.stop();
    let second = tokio::task::spawn_blocking(move || standing_by.join().unwrap()).await.unwrap();
    assert!(is_there(&client, &second, "a.jpg").await);
    assert_eq!(put(&client, &second, "b.jpg", 2).await, Some(StatusCode::CREATED));
    assert!(data.join("catalog.db").exists());
    // A command beside it goes through the server, so that what it does is in the bucket, too.
    let listed = second.cli_beside().args(["ls", "media", "--json"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("b.jpg"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_while_the_store_is_away_nothing_is_acknowledged_and_afterwards_it_goes_on() {
    let mut store = S3sFs::start();
    store.bucket("catalogue");
    let folder = tempfile::tempdir().unwrap();
    let client = client();
    let server = starter(&store, &folder.path().join("first"), "commit").start();
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
    let server = starter(&store, &folder.path().join("second"), "commit").start();
    for key in ["a.jpg", "c.jpg"] {
        assert!(is_there(&client, &server, key).await, "{key}");
    }
}

#[test]
fn g7_a_catalogue_is_replicated_to_a_bucket_only() {
    let folder = tempfile::tempdir().unwrap();
    let refused = crate::lab::larder()
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .env("LARDER_CATALOG__REPLICATE", "commit")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(crate::lab::said(&refused).contains("catalog.replicate"));
}
