//! D2: a bucket that is opened or closed is so at once, for everything that lies in it, and caches forget
//! what they kept of it.

use std::time::Duration;

use larder_testkit::{
    fixtures,
    hook::HookServer,
    s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, s3s_fs::S3sFs},
    server::{Server, Starter},
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::client::{client, json_of, server, stdout_of};

const KEY: &str = "an-administrator-of-tests";

/// Time for a purge to be sent, on a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// How old what a process remembers of a bucket may be.
const REMEMBERED_FOR: Duration = Duration::from_millis(1_100);

fn told_by(hook: &HookServer) -> Starter {
    server()
        .env("LARDER_ADMIN_KEY", KEY)
        .env("LARDER_CDN__PURGE", "generic")
        .env("LARDER_CDN__PURGE_URL", hook.url("/purge"))
        .env("LARDER_IMPORT__ALLOW_NETWORKS", "127.0.0.0/8")
}

async fn put(client: &Client, server: &Server, key: &str) -> Value {
    let url = server.url(&format!("/api/v1/buckets/media/objects/{key}"));
    let answer = client.put(url).bearer_auth(KEY).body(fixtures::jpeg(64, 48)).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    crate::client::json(answer).await
}

async fn url_of(client: &Client, server: &Server, asset: &Value) -> String {
    let url = server.url(&format!("/api/v1/assets/{}", asset["id"].as_str().unwrap()));
    let answer = client.get(url).bearer_auth(KEY).send().await.unwrap();
    crate::client::json(answer).await["url"].as_str().unwrap().to_owned()
}

async fn status(client: &Client, server: &Server, url: &str) -> StatusCode {
    client.get(server.url(url)).send().await.unwrap().status()
}

fn set(server: &Server, visibility: &str) {
    let mut command = server.cli();
    command.env("LARDER_KEY", KEY).args(["bucket", "set", "media", &format!("visibility={visibility}")]);
    stdout_of(&mut command);
}

/// What the hook is told of a bucket that was opened or closed.
async fn told(hook: &HookServer) -> Value {
    let came = hook.next(TOLD_WITHIN).await;
    let [one] = came.as_slice() else { panic!("{came:?}") };
    let purge = one.json();
    assert_eq!((&purge["reason"], &purge["tags"]), (&json!("visibility"), &json!(["b-media"])), "{purge}");
    purge
}

#[tokio::test(flavor = "multi_thread")]
async fn d2_a_bucket_is_closed_and_opened_at_once_for_what_lies_in_it() {
    let (hook, client) = (HookServer::start().await, client());
    let home = tempfile::tempdir().unwrap();
    let server = told_by(&hook).data_dir(home.path()).start();
    let asset = put(&client, &server, "a.jpg").await;
    let plain = "/m/media/a.jpg";
    assert_eq!(
        status(&client, &server, plain).await,
        StatusCode::UNAUTHORIZED,
        "private unless it is opened"
    );

    set(&server, "public");
    assert_eq!(status(&client, &server, plain).await, StatusCode::OK);
    let open = url_of(&client, &server, &asset).await;
    assert!(open.starts_with("/m/media/a.jpg?v="), "{open}");
    let purge = told(&hook).await;
    assert!(purge["paths"].as_array().unwrap().contains(&json!("/m/media/*")), "{purge}");

    // Another process opens it, and this one notices within the second.
    let beside = json_of(server.cli_beside().env("LARDER_KEY", KEY).args([
        "bucket",
        "set",
        "media",
        "visibility=private",
    ]));
    assert_eq!(beside["policy"]["visibility"], "private");
    tokio::time::sleep(REMEMBERED_FOR).await;
    assert_eq!(status(&client, &server, plain).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&client, &server, &open).await, StatusCode::UNAUTHORIZED, "its version opens nothing");
    let signed = url_of(&client, &server, &asset).await;
    assert!(signed.contains("sig="), "{signed}");
    assert_eq!(status(&client, &server, &signed).await, StatusCode::OK);

    set(&server, "public");
    assert_eq!(status(&client, &server, plain).await, StatusCode::OK, "and back");
    // The command beside the server was told of no hook.
    told(&hook).await;
    server.stop();

    // By the configuration: at the next start.
    let server =
        told_by(&hook).data_dir(home.path()).env("LARDER_BUCKETS__MEDIA__VISIBILITY", "private").start();
    assert_eq!(status(&client, &server, plain).await, StatusCode::UNAUTHORIZED);
    told(&hook).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d2_of_a_private_bucket_no_address_of_the_store_is_handed_out() {
    let (hook, client, store) = (HookServer::start().await, client(), S3sFs::start());
    store.bucket("photos");
    let on_s3 = |hook: &HookServer| {
        told_by(hook)
            .env("LARDER_STORE__BACKEND", "minio")
            .env("MINIO_ENDPOINT", store.endpoint())
            .env("MINIO_ACCESS_KEY", ACCESS_KEY_ID)
            .env("MINIO_SECRET_KEY", SECRET_ACCESS_KEY)
            .env("MINIO_BUCKET_NAME", "photos")
            .env("CDN_BASE_URL", "https://cdn.example")
    };
    let home = tempfile::tempdir().unwrap();
    let server = on_s3(&hook).data_dir(home.path()).env("S3_PUBLIC_BUCKET", "true").start();
    let asset = put(&client, &server, "a.jpg").await;
    let open = asset["url"].as_str().unwrap();
    assert!(open.starts_with("https://cdn.example/media/a.jpg?v="), "{open}");
    assert_eq!(status(&client, &server, "/m/media/a.jpg").await, StatusCode::OK);
    server.stop();
    hook.take();

    let server = on_s3(&hook).data_dir(home.path()).env("S3_PUBLIC_BUCKET", "false").start();
    let signed = url_of(&client, &server, &asset).await;
    assert!(signed.starts_with("/m/media/a.jpg?") && signed.contains("sig="), "{signed}");
    assert_eq!(status(&client, &server, "/m/media/a.jpg").await, StatusCode::UNAUTHORIZED);
    let purges = hook.next(TOLD_WITHIN).await;
    let purge = purges[0].json();
    let urls = purge["urls"].as_array().unwrap();
    assert!(urls.contains(&json!("https://cdn.example/media/*")), "{purge}");
    let log = server.log();
    assert!(log.contains("cdn.example") && log.contains("private"), "it warns of the way past Larder: {log}");
}
