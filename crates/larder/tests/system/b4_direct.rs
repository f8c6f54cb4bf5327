//! B4: files that clients put straight into the store, at an address that is good for one type and size; on a
//! disk Larder takes them at such an address.

use std::{path::Path, time::Duration};

use larder_assets::fail_point;
use larder_testkit::{fixtures, server::Server};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{ask, client, json, json_of, server},
    store::folder,
};

async fn post(client: &Client, url: &str, body: &Value) -> (StatusCode, Value) {
    let response = client.post(url).json(body).send().await.unwrap();
    (response.status(), json(response).await)
}

async fn begin(client: &Client, server: &Server, body: &Value) -> Value {
    let (status, begun) = post(client, &server.url("/api/v1/uploads/direct"), body).await;
    assert_eq!(status, StatusCode::CREATED, "{begun}");
    assert_eq!(begun["upload"]["stage"], "awaiting_bytes", "{begun}");
    begun
}

fn put(client: &Client, server: &Server, begun: &Value) -> RequestBuilder {
    let url = server.url(begun["url"].as_str().unwrap());
    let content_type = begun["headers"]["Content-Type"].as_str().unwrap();
    client.put(url).header("content-type", content_type)
}

async fn complete(client: &Client, server: &Server, begun: &Value) -> (StatusCode, Value) {
    let url = format!("{}?wait=60", server.url(begun["complete_url"].as_str().unwrap()));
    ask(client, Method::POST, &url, None).await
}

fn is_refused(response: &Response) -> bool {
    response.status().is_client_error()
}

/// Everything below Larder's folders for bytes that are no assets.
fn waiting(data_dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["incoming", "staging"] {
        let below = folder(data_dir).join(".larder").join(name);
        let entries = std::fs::read_dir(below).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| format!("{name}/{}", entry.file_name().display())));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_a_client_puts_the_bytes_itself_and_they_become_an_asset_once_they_are_completed() {
    let (server, client) = (server().start(), client());
    let photo = fixtures::unlike(1, 400, 300);
    let said = json!({
        "bucket": "keeps", "key": "a/direct.jpg", "filename": "holiday.jpg", "content_type": "image/jpeg",
        "size_bytes": photo.len(), "owner": "ann", "metadata": { "album": 7 }, "tags": ["sea"],
    });
    let begun = begin(&client, &server, &said).await;
    let status = server.url(&format!("/api/v1/uploads/{}", begun["upload"]["id"].as_str().unwrap()));
    let (early, problem) = complete(&client, &server, &begun).await;
    assert_eq!((early, &problem["code"]), (StatusCode::CONFLICT, &json!("conflict")), "{problem}");

    // The signature knows type and size, and nobody else's upload.
    let url = server.url(begun["url"].as_str().unwrap());
    let wrong =
        client.put(&url).header("content-type", "text/html").body(photo.clone()).send().await.unwrap();
    assert!(is_refused(&wrong), "another type: {}", wrong.status());
    let longer = [photo.as_slice(), b"x"].concat();
    let wrong = put(&client, &server, &begun).body(longer).send().await.unwrap();
    assert!(is_refused(&wrong), "another size: {}", wrong.status());
    let other = begin(&client, &server, &json!({ "content_type": "image/jpeg", "size_bytes": 5 })).await;
    let other = other["upload"]["id"].as_str().unwrap();
    let elsewhere = url.replace(begun["upload"]["id"].as_str().unwrap(), other);
    let wrong = client.put(elsewhere).header("content-type", "image/jpeg").body(photo.clone()).send();
    assert!(is_refused(&wrong.await.unwrap()), "another upload");
    let read = client.get(&url).send().await.unwrap();
    assert!(is_refused(&read), "an address for putting reads nothing: {}", read.status());
    assert_eq!(waiting(server.data_dir()), Vec::<String>::new(), "nothing of it is kept");

    let done = put(&client, &server, &begun).body(photo.clone()).send().await.unwrap();
    assert!(done.status().is_success(), "{}", done.text().await.unwrap());
    let (_, now) = ask(&client, Method::GET, &status, None).await;
    assert_eq!((&now["status"], &now["asset"]), (&json!("pending"), &Value::Null), "{now}");
    let place = server.url(&format!("/m/keeps/.larder/incoming/{}", begun["upload"]["id"].as_str().unwrap()));
    assert!(is_refused(&client.get(place).send().await.unwrap()), "bytes that wait are served to nobody");

    let (completed, upload) = complete(&client, &server, &begun).await;
    assert_eq!((completed, &upload["status"]), (StatusCode::CREATED, &json!("completed")), "{upload}");
    let asset = &upload["asset"];
    assert_eq!((&asset["key"], &asset["owner"]), (&json!("a/direct.jpg"), &json!("ann")), "{asset}");
    assert_eq!((&asset["metadata"]["album"], &asset["tags"]), (&json!(7), &json!(["sea"])), "{asset}");
    let served = client.get(server.url(asset["url"].as_str().unwrap())).send().await.unwrap();
    assert_eq!(served.bytes().await.unwrap(), photo);

    // The address is still good, and changes nothing any more.
    let late = fixtures::unlike(2, 400, 300);
    let url = server.url(begun["url"].as_str().unwrap());
    let late = late.iter().copied().chain(std::iter::repeat(0)).take(photo.len()).collect::<Vec<_>>();
    let _ = client.put(url).header("content-type", "image/jpeg").body(late).send().await.unwrap();
    let (again, same) = complete(&client, &server, &begun).await;
    assert_eq!((again, &same["asset"]["sha256"]), (StatusCode::CREATED, &asset["sha256"]), "{same}");
    let served = client.get(server.url(asset["url"].as_str().unwrap())).send().await.unwrap();
    assert_eq!(served.bytes().await.unwrap(), photo);
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_bytes_that_are_not_what_was_said_are_refused_and_removed() {
    let (server, client) = (server().start(), client());
    let page = b"<!doctype html><script>alert(1)</script>".to_vec();
    let said = json!({ "content_type": "image/jpeg", "size_bytes": page.len() });
    let begun = begin(&client, &server, &said).await;
    let done = put(&client, &server, &begun).body(page).send().await.unwrap();
    assert!(done.status().is_success(), "{}", done.text().await.unwrap());
    let (status, problem) = complete(&client, &server, &begun).await;
    assert!(status.is_client_error() && problem["code"] == "type_mismatch", "{status} {problem}");
    let id = begun["upload"]["id"].as_str().unwrap();
    let (_, upload) = ask(&client, Method::GET, &server.url(&format!("/api/v1/uploads/{id}")), None).await;
    assert_eq!((&upload["status"], &upload["error"]["code"]), (&json!("failed"), &json!("type_mismatch")));
    assert_eq!(waiting(server.data_dir()), Vec::<String>::new());

    // What can't be taken is said before a byte is sent.
    let at = server.url("/api/v1/uploads/direct");
    for (said, code) in [
        (json!({ "content_type": "image/jpeg", "size_bytes": 0 }), "empty_file"),
        (json!({ "content_type": "image/jpeg", "size_bytes": 1_u64 << 40 }), "file_too_large"),
        (json!({ "content_type": "jpeg", "size_bytes": 10 }), "invalid_request"),
        (json!({ "content_type": "text/html", "size_bytes": 10 }), "unsupported_type"),
        (
            json!({ "content_type": "image/jpeg", "size_bytes": 1, "expires_in_seconds": 0 }),
            "invalid_request",
        ),
        (json!({ "content_type": "image/jpeg", "size_bytes": 1, "bucket": "none" }), "bucket_not_found"),
    ] {
        let (status, problem) = post(&client, &at, &said).await;
        assert!(status.is_client_error() && problem["code"] == code, "{said}: {status} {problem}");
    }

    // An upload of another kind, and an address whose time is over.
    let plain = client.post(server.url("/api/v1/uploads?wait=60")).body(fixtures::unlike(3, 40, 30));
    let plain = json(plain.send().await.unwrap()).await;
    let at = server.url(&format!("/api/v1/uploads/{}/complete", plain["id"].as_str().unwrap()));
    assert_eq!(ask(&client, Method::POST, &at, None).await.0, StatusCode::CONFLICT);
    let short = json!({ "content_type": "image/jpeg", "size_bytes": 4, "expires_in_seconds": 1 });
    let begun = begin(&client, &server, &short).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let late = put(&client, &server, &begun).body(vec![1, 2, 3, 4]).send().await.unwrap();
    assert!(is_refused(&late), "{}", late.status());
    // Nothing takes an upload that waits for its client for one that its worker forgot.
    json_of(server.cli().args(["gc", "uploads"]));
    let id = begun["upload"]["id"].as_str().unwrap();
    let (_, upload) = ask(&client, Method::GET, &server.url(&format!("/api/v1/uploads/{id}")), None).await;
    assert_eq!(upload["status"], "pending", "{upload}");
}

/// Whoever has the address may go on putting while the upload is completed, twice at once: what is served is what
/// one of the checks has seen, and whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_what_is_put_and_completed_at_once_is_one_of_the_files_and_whole() {
    let (server, client) = (server().start(), client());
    let good = fixtures::unlike(5, 200, 150);
    let mut bad = b"<!doctype html><script>alert(1)</script>".to_vec();
    bad.resize(good.len(), b' ');
    for _ in 0..12 {
        let begun =
            begin(&client, &server, &json!({ "content_type": "image/jpeg", "size_bytes": good.len() })).await;
        let done = put(&client, &server, &begun).body(good.clone()).send().await.unwrap();
        assert!(done.status().is_success(), "{}", done.text().await.unwrap());
        let (one, _, two) = tokio::join!(
            complete(&client, &server, &begun),
            put(&client, &server, &begun).body(bad.clone()).send(),
            complete(&client, &server, &begun),
        );
        let id = begun["upload"]["id"].as_str().unwrap();
        let (_, upload) =
            ask(&client, Method::GET, &server.url(&format!("/api/v1/uploads/{id}?wait=60")), None).await;
        match upload["status"].as_str() {
            Some("completed") => {
                assert_eq!((one.0, two.0), (StatusCode::CREATED, StatusCode::CREATED), "{one:?} {two:?}");
                let url = server.url(upload["asset"]["url"].as_str().unwrap());
                assert_eq!(client.get(url).send().await.unwrap().bytes().await.unwrap(), good);
            }
            Some("failed") => assert_eq!(upload["error"]["code"], "type_mismatch", "{upload}"),
            _ => panic!("{upload}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_a_kill_while_an_upload_is_completed_loses_nothing_that_was_put() {
    let (data, client) = (TempDir::new().unwrap(), client());
    let photo = fixtures::unlike(4, 320, 200);
    for point in fail_point::OF_DIRECT {
        let doomed = server().data_dir(data.path()).env("LARDER_FAIL_POINT", *point).start();
        let said = json!({ "content_type": "image/jpeg", "size_bytes": photo.len() });
        let begun = begin(&client, &doomed, &said).await;
        let done = put(&client, &doomed, &begun).body(photo.clone()).send().await.unwrap();
        assert!(done.status().is_success(), "{}", done.text().await.unwrap());
        let url = doomed.url(begun["complete_url"].as_str().unwrap());
        assert!(client.post(url).send().await.is_err(), "{point} was reached");
        doomed.kill();

        let server = server().data_dir(data.path()).start();
        let (status, upload) = complete(&client, &server, &begun).await;
        assert_eq!(status, StatusCode::CREATED, "{point}: {upload}");
        let served = client.get(server.url(upload["asset"]["url"].as_str().unwrap())).send().await.unwrap();
        assert_eq!(served.bytes().await.unwrap(), photo, "{point}");
        assert_eq!(waiting(data.path()), Vec::<String>::new(), "{point}");
        assert_eq!(server.stop(), Some(0));
    }
}
