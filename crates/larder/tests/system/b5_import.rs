//! B5: a file by its address, fetched from a real server, and what the guard keeps out.

use std::time::{Duration, Instant};

use larder_testkit::fixtures;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
};

use crate::{
    client::{ask, client, files_of, finished, json, server},
    store::folder,
};

async fn import(
    client: &Client,
    at: &str,
    url: &str,
    bucket: &str,
    idempotency: Option<&str>,
) -> (StatusCode, Value) {
    let mut request = client.post(at).json(&json!({ "url": url, "bucket": bucket }));
    if let Some(key) = idempotency {
        request = request.header("idempotency-key", key);
    }
    let response = request.send().await.unwrap();
    (response.status(), json(response).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_a_remote_file_is_imported_once_and_only_from_where_it_may() {
    let client = client();
    // A site of its own, wherever it keeps its bytes.
    let origin = server().env("LARDER_STORE__S3__PREFIX", "origin").start();
    let photo = fixtures::jpeg(800, 600);
    let put = client.put(origin.url("/api/v1/buckets/media/objects/far.jpg")).body(photo.clone());
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    let far = origin.url("/api/v1/buckets/media/objects/far.jpg");

    let larder = server().env("LARDER_IMPORT__ALLOW_NETWORKS", "127.0.0.0/8").start();
    let door = larder.url("/api/v1/uploads/import?wait=30");
    let (status, upload) = import(&client, &door, &far, "keeps", Some("once")).await;
    assert_eq!((status, &upload["status"]), (StatusCode::CREATED, &json!("completed")), "{upload}");
    let asset = &upload["asset"];
    assert_eq!((&asset["width"], &asset["height"]), (&json!(800), &json!(600)));
    assert_eq!(asset["original_filename"], "far.jpg");
    assert_eq!(upload["variants"].as_object().unwrap().len(), 3, "{upload}");
    let original = client.get(larder.url(asset["url"].as_str().unwrap())).send().await.unwrap();
    assert_eq!(original.bytes().await.unwrap(), photo);

    let (_, again) = import(&client, &door, &far, "keeps", Some("once")).await;
    assert_eq!(again["id"], upload["id"], "the same key and address is the same import");
    let (status, problem) = import(&client, &door, &origin.url("/other.jpg"), "keeps", Some("once")).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("idempotency_key_reused")));

    let missing = larder.url("/api/v1/uploads/import");
    let (status, gone) = import(&client, &missing, &origin.url("/m/media/none.jpg"), "keeps", None).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{gone}");
    let gone = finished(&client, &larder, gone["id"].as_str().unwrap()).await;
    assert_eq!((&gone["status"], &gone["error"]["code"]), (&json!("failed"), &json!("import_failed")));

    // Without the network opened, the same address is refused, by name too.
    // Not one that waits for the other's catalogue, where they share a bucket.
    let closed = server().env("LARDER_CATALOG__REPLICATE", "off").start();
    for url in [far.clone(), far.replace("127.0.0.1", "localhost")] {
        let door = closed.url("/api/v1/uploads/import?wait=30");
        let (status, problem) = import(&client, &door, &url, "keeps", None).await;
        assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("address_refused")), "{url}: {problem}");
    }
}

/// A server that sends the beginning of a photo, and then so little that it never ends.
struct Endless {
    url: String,
    /// The beginning is sent.
    began: oneshot::Receiver<()>,
    /// Nobody takes any more.
    left: JoinHandle<()>,
}

async fn endless() -> Endless {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/slow.jpg", listener.local_addr().unwrap());
    let (begun, began) = oneshot::channel();
    let left = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4_096]).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\ncontent-length: 9000000\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&fixtures::jpeg(640, 480)).await;
        let _ = begun.send(());
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    Endless { url, began, left }
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_a_running_import_can_be_cancelled_and_leaves_nothing() {
    let client = client();
    let origin = endless().await;
    let larder = server().env("LARDER_IMPORT__ALLOW_NETWORKS", "127.0.0.0/8").start();
    let door = larder.url("/api/v1/uploads/import");
    let (status, upload) = import(&client, &door, &origin.url, "media", None).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{upload}");
    tokio::time::timeout(Duration::from_secs(30), origin.began).await.expect("it is fetched").unwrap();
    let (_, jobs) = ask(&client, Method::GET, &larder.url("/api/v1/jobs?kind=import"), None).await;
    let job = jobs["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(jobs["items"][0]["state"], "running", "{jobs}");

    let cancelled = Instant::now();
    let cancel = larder.url(&format!("/api/v1/jobs/{job}/cancel"));
    let (status, answer) = ask(&client, Method::POST, &cancel, None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let upload = finished(&client, &larder, upload["id"].as_str().unwrap()).await;
    // It hears of it with its next heartbeat, which comes every five seconds.
    assert!(cancelled.elapsed() < Duration::from_secs(15), "{:?}", cancelled.elapsed());
    assert_eq!((&upload["status"], &upload["error"]["code"]), (&json!("failed"), &json!("cancelled")));
    let (_, job) = ask(&client, Method::GET, &larder.url(&format!("/api/v1/jobs/{job}")), None).await;
    assert_eq!(job["state"], "cancelled", "{job}");
    tokio::time::timeout(Duration::from_secs(5), origin.left).await.expect("nothing is fetched").unwrap();
    for within in [".larder/staging", ".larder/local/tmp"] {
        let folder = folder(larder.data_dir()).join(within);
        assert!(!folder.is_dir() || files_of(&folder).is_empty(), "{}", folder.display());
    }
}
