//! B5: a file by its address, fetched from a real server, and what the guard keeps out.

use larder_testkit::fixtures;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::client::{client, finished, json, server};

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
    let origin = server().start();
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
    let closed = server().start();
    for url in [far.clone(), far.replace("127.0.0.1", "localhost")] {
        let door = closed.url("/api/v1/uploads/import?wait=30");
        let (status, problem) = import(&client, &door, &url, "keeps", None).await;
        assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("address_refused")), "{url}: {problem}");
    }
}
