//! C2: originals that tell where they were taken are served, stripped or refused, as the bucket says.

use larder_testkit::{fixtures, server::Server};
use reqwest::{Client, StatusCode};
use serde_json::json;

use crate::client::{client, finished, server, stdout_of, upload};

/// A public bucket with this rule, and the address of an original in it.
async fn original(client: &Client, server: &Server, rule: &str, photo: &[u8]) -> (String, serde_json::Value) {
    let bucket = format!("{rule}-gps");
    let policy = json!({ "visibility": "public", "gps": rule, "presets": ["keep-small"] });
    let url = server.url(&format!("/api/v1/buckets/{bucket}"));
    assert!(client.put(url).json(&policy).send().await.unwrap().status().is_success());
    let (_, accepted) = upload(client, server, &bucket, "a.jpg", photo.to_vec()).await;
    let done = finished(client, server, accepted["id"].as_str().unwrap()).await;
    assert_eq!(done["status"], "completed", "{done}");
    (format!("/m/{bucket}/{}", done["asset"]["key"].as_str().unwrap()), done)
}

fn tells_place(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|window| window == b"Exif\0\0")
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_the_gps_rule_of_a_bucket_holds_for_originals_and_no_variant_tells_a_place() {
    // Reached as through a proxy: a stranger, who is not the administrator of this machine.
    let (server, client) = (server().start(), client());
    let as_stranger = |path: &str| client.get(server.url(path)).header("x-forwarded-for", "203.0.113.9");
    let photo = fixtures::with_gps(&fixtures::jpeg(320, 240));
    assert!(tells_place(&photo));

    let (served, done) = original(&client, &server, "serve", &photo).await;
    let bytes = as_stranger(&served).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes, photo, "an original stays byte for byte what it was");
    let variant = done["variants"]["keep-small"]["url"].as_str().unwrap();
    let variant = client.get(server.url(variant)).send().await.unwrap().bytes().await.unwrap();
    assert!(variant.starts_with(&[0xFF, 0xD8]) && !tells_place(&variant));

    let (stripped, _) = original(&client, &server, "strip", &photo).await;
    let response = as_stranger(&stripped).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    let length = response.content_length();
    let bytes = response.bytes().await.unwrap();
    assert!(!tells_place(&bytes) && bytes.starts_with(&[0xFF, 0xD8]) && bytes.ends_with(&[0xFF, 0xD9]));
    assert_eq!(length, Some(bytes.len() as u64));
    let again = as_stranger(&stripped).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);

    let copy = server.data_dir().join("copy.jpg");
    let key = stripped.strip_prefix("/m/").unwrap();
    stdout_of(server.cli().args(["get", key, "--output"]).arg(&copy));
    assert_eq!(std::fs::read(&copy).unwrap(), bytes, "a copy is no damaged original");

    let (refused, _) = original(&client, &server, "refuse", &photo).await;
    assert_eq!(as_stranger(&refused).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let (plain, _) = original(&client, &server, "refuse", &fixtures::unlike(7, 320, 240)).await;
    assert_eq!(as_stranger(&plain).send().await.unwrap().status(), StatusCode::OK, "it tells no place");
}
