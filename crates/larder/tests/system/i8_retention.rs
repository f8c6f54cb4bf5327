//! I8: what a bucket's rules or an asset's own expiry name is deleted, told beforehand, and can be
//! brought back; nothing else goes.

use std::time::Duration;

use larder_core::Ambient;
use larder_testkit::{fixtures, server::Server};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    client::{ask, client, json_of, server},
    store::{folder, plant},
};

async fn put(client: &Client, server: &Server, place: &str, bytes: Vec<u8>) -> Value {
    let (bucket, key) = place.split_once('/').unwrap();
    let url = server.url(&format!("/api/v1/buckets/{bucket}/objects/{key}"));
    let response = client.put(url).body(bytes).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    crate::client::json(response).await
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_files_of_others_are_set_aside_kept_and_served_as_what_they_are() {
    let (server, client) = (server().start(), client());
    let folder = folder(server.data_dir());
    plant(server.data_dir(), "media/a.jpg", "of another program").await;
    let asset = put(&client, &server, "media/a.jpg", fixtures::unlike(1, 40, 30)).await;
    let aside = folder.join(".larder/trash").join(format!("unrecorded-{}", asset["id"].as_str().unwrap()));
    assert_eq!(std::fs::read(&aside).unwrap(), b"of another program");
    assert!(server.log().contains("a.jpg"), "{}", server.log());
    json_of(server.cli().args(["gc"]));
    assert!(aside.exists(), "never removed");

    let url = server.url("/api/v1/buckets/media/objects/a.jpg");
    // Before it is read for the first time: small files are remembered.
    plant(server.data_dir(), "media/a.jpg", "<script>changed</script>").await;
    let changed = client.get(&url).send().await.unwrap();
    assert_eq!(changed.headers()["content-type"], "application/octet-stream");
    assert!(changed.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert_ne!(changed.headers()["etag"], asset["etag"].as_str().unwrap());
    assert_eq!(changed.text().await.unwrap(), "<script>changed</script>");
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_rules_are_told_by_a_dry_run_then_carried_out_and_undone() {
    let (server, client) = (server().start(), client());
    let policy = json!({ "retention": [{ "prefix": "tmp/", "older_than": "1s" }], "presets": [] });
    let made = client.put(server.url("/api/v1/buckets/rules")).json(&policy).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
    let old = put(&client, &server, "rules/tmp/old.jpg", fixtures::unlike(1, 40, 30)).await;
    put(&client, &server, "rules/tmpx/kept.jpg", fixtures::unlike(2, 40, 30)).await;
    put(&client, &server, "media/tmp/kept.jpg", fixtures::unlike(3, 40, 30)).await;
    let expiring = put(&client, &server, "media/short.jpg", fixtures::unlike(4, 40, 30)).await;
    let in_a_second = Ambient::system().now().plus(Duration::from_secs(1));
    let patch = client
        .patch(server.url(&format!("/api/v1/assets/{}", expiring["id"].as_str().unwrap())))
        .json(&json!({ "expires_at": in_a_second.to_string() }));
    assert_eq!(patch.send().await.unwrap().status(), StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(2_100)).await;

    let bytes = old["size_bytes"].as_u64().unwrap() + expiring["size_bytes"].as_u64().unwrap();
    let told = json_of(server.cli().args(["gc", "retention", "--dry-run"]));
    assert_eq!((&told["assets"], &told["asset_bytes"]), (&json!(2), &json!(bytes)), "{told}");
    let there = server.url("/api/v1/buckets/rules/objects/tmp/old.jpg");
    assert_eq!(ask(&client, Method::GET, &there, None).await.0, StatusCode::OK, "nothing was deleted yet");

    let done = json_of(server.cli().args(["gc", "retention"]));
    assert_eq!((&done["assets"], &done["asset_bytes"]), (&json!(2), &json!(bytes)), "{done}");
    for gone in ["rules/objects/tmp/old.jpg", "media/objects/short.jpg"] {
        let url = server.url(&format!("/api/v1/buckets/{gone}"));
        assert_eq!(ask(&client, Method::GET, &url, None).await.0, StatusCode::NOT_FOUND, "{gone}");
    }
    for kept in ["rules/objects/tmpx/kept.jpg", "media/objects/tmp/kept.jpg"] {
        let url = server.url(&format!("/api/v1/buckets/{kept}"));
        assert_eq!(ask(&client, Method::GET, &url, None).await.0, StatusCode::OK, "{kept}");
    }
    let undo = server.url(&format!("/api/v1/assets/{}/restore", old["id"].as_str().unwrap()));
    let (status, back) = ask(&client, Method::POST, &undo, None).await;
    assert_eq!(status, StatusCode::OK, "{back}");
    assert_eq!(ask(&client, Method::GET, &there, None).await.0, StatusCode::OK, "brought back");
    let nothing = json_of(server.cli().args(["gc", "uploads", "--dry-run"]));
    assert_eq!((&nothing["uploads"], &nothing["leftovers"]), (&json!(0), &json!(0)), "{nothing}");
}
