//! D4: caches in front are told what was replaced and deleted, also when the process dies before it could.

use std::time::{Duration, Instant};

use larder_testkit::{
    fixtures,
    hook::{HookServer, Received},
    server::{Server, Starter},
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{ask, client, failure_of, json_of, larder, server, stdout_of};

/// Time for a purge to be sent, on a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

fn told_by(hook: &HookServer) -> Starter {
    server()
        .env("LARDER_BUCKETS__MEDIA__VISIBILITY", "public")
        .env("LARDER_CDN__PURGE", "generic")
        .env("LARDER_CDN__PURGE_URL", hook.url("/purge?site=1"))
        .env("LARDER_CDN__PURGE_TOKEN", "correct-horse")
        .env("LARDER_CDN__PURGE_SECRET", "battery-staple")
        .env("LARDER_IMPORT__ALLOW_NETWORKS", "127.0.0.0/8")
}

async fn put(client: &Client, server: &Server, key: &str, width: u32) -> Value {
    let url = server.url(&format!("/api/v1/buckets/media/objects/{key}"));
    let answer = client.put(url).body(fixtures::jpeg(width, 48)).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    crate::client::json(answer).await
}

/// The one purge that came.
fn only(came: &[Received]) -> Value {
    let [one] = came else { panic!("{came:?}") };
    assert_eq!(one.target, "POST /purge?site=1");
    assert_eq!(one.header("authorization"), "Bearer correct-horse");
    assert_eq!(one.header("x-larder-signature").len(), "sha256=".len() + 64);
    one.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_a_purge_outlives_a_kill_before_it_was_sent() {
    let (hook, client) = (HookServer::start().await, client());
    let home = tempfile::tempdir().unwrap();
    // This one runs no jobs, so that none was sent when it is killed.
    let api = told_by(&hook).data_dir(home.path()).arg("--role").arg("api").start();
    let asset = put(&client, &api, "a.jpg", 64).await;
    put(&client, &api, "a.jpg", 80).await;
    api.kill();
    assert!(hook.take().is_empty());

    let whole = told_by(&hook).data_dir(home.path()).start();
    let purge = only(&hook.next(TOLD_WITHIN).await);
    assert_eq!(purge["reason"], "replaced");
    assert_eq!(purge["tags"], json!([format!("a-{}", asset["id"].as_str().unwrap())]));
    let paths: Vec<&str> =
        purge["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    let former = &asset["sha256"].as_str().unwrap()[..16];
    for path in ["/m/media/a.jpg".to_owned(), format!("/m/media/a.jpg?v={former}")] {
        assert!(paths.contains(&path.as_str()), "{path}: {paths:?}");
    }
    let sent = r#"larder_cdn_purges_total{hook="generic",outcome="sent"} 1"#;
    let deadline = Instant::now() + TOLD_WITHIN;
    let metrics = loop {
        let metrics = client.get(whole.url("/metrics")).send().await.unwrap().text().await.unwrap();
        if metrics.contains(sent) {
            break metrics;
        }
        assert!(Instant::now() < deadline, "{metrics}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let text = format!("{}{metrics}", whole.log());
    assert!(!text.contains("correct-horse") && !text.contains("battery-staple"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_a_hook_that_is_away_is_asked_again_and_a_refusal_is_told_loudly() {
    let (hook, client) = (HookServer::start().await, client());
    let server = told_by(&hook).start();
    let asset = put(&client, &server, "a.jpg", 64).await;
    hook.answer_with(503);
    let url = server.url("/api/v1/buckets/media/objects/a.jpg");
    assert_eq!(client.delete(&url).send().await.unwrap().status(), StatusCode::OK);
    told(&hook, "deleted").await;
    hook.answer_with(200);
    told(&hook, "deleted").await;
    settled(&client, &server).await;
    hook.take();
    let restore = server.url(&format!("/api/v1/assets/{}/restore", asset["id"].as_str().unwrap()));
    assert!(client.post(restore).send().await.unwrap().status().is_success());
    told(&hook, "restored").await;
    settled(&client, &server).await;

    hook.answer_with(403);
    stdout_of(server.cli().args(["rm", "--yes", "media/a.jpg"]));
    told(&hook, "deleted").await;
    let deadline = Instant::now() + TOLD_WITHIN;
    loop {
        let (_, jobs) = ask(&client, Method::GET, &server.url("/api/v1/jobs?kind=purge_cdn"), None).await;
        if jobs["items"][0]["error"]["code"] == "purge_refused" {
            break;
        }
        assert!(Instant::now() < deadline, "{jobs}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    hook.answer_with(200);
    hook.take();
    told(&hook, "deleted").await;
    settled(&client, &server).await;
    assert!(hook.take().is_empty(), "what was taken is not told again");
}

/// Waits for purges, all of which have this reason.
async fn told(hook: &HookServer, reason: &str) {
    for one in hook.next(TOLD_WITHIN).await {
        assert_eq!(only(&[one])["reason"], reason);
    }
}

/// Waits until no purge is to be sent any more.
async fn settled(client: &Client, server: &Server) {
    let deadline = Instant::now() + TOLD_WITHIN;
    loop {
        let (_, jobs) = ask(client, Method::GET, &server.url("/api/v1/jobs?kind=purge_cdn"), None).await;
        if jobs["items"].as_array().unwrap().iter().all(|job| job["state"] == "done") {
            return;
        }
        assert!(Instant::now() < deadline, "{jobs}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_answers_name_their_tags_where_caches_may_keep_them() {
    let server = server()
        .env("LARDER_BUCKETS__MEDIA__VISIBILITY", "public")
        .env("LARDER_BUCKETS__KEEPS__PUBLIC_PRESETS", "[\"keep-small\"]")
        .start();
    let client = client();
    let asset = put(&client, &server, "a.jpg", 64).await;
    let tag = format!("a-{}", asset["id"].as_str().unwrap());
    let answer = client.get(server.url("/m/media/a.jpg")).send().await.unwrap();
    assert_eq!(answer.headers()["cache-tag"], format!("{tag},b-media"));
    assert_eq!(answer.headers()["surrogate-key"], format!("{tag} b-media"));
    let known = &answer.headers()["etag"];
    let same = client.get(server.url("/m/media/a.jpg")).header("if-none-match", known).send().await.unwrap();
    assert_eq!((same.status().as_u16(), &same.headers()["cache-tag"]), (304, &answer.headers()["cache-tag"]));

    let url = server.url("/api/v1/buckets/keeps/objects/b.jpg");
    client.put(&url).body(fixtures::jpeg(64, 48)).send().await.unwrap();
    let picture = client.get(server.url("/i/_/p:keep-small/keeps/b.jpg.jpg")).send().await.unwrap();
    assert!(picture.headers()["cache-tag"].to_str().unwrap().ends_with(",b-keeps"), "{picture:?}");
    let private = client.get(server.url("/m/keeps/b.jpg")).send().await.unwrap();
    assert_eq!(private.status(), 200);
    assert!(!private.headers().contains_key("cache-tag") && !private.headers().contains_key("surrogate-key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_fastly_gets_tags_and_cloudfront_paths() {
    let (hook, client) = (HookServer::start().await, client());
    for (kind, service) in [("fastly", "SU1Z0isxPaozGVKXdv0eY"), ("cloudfront", "EDFDVBD6EXAMPLE")] {
        let server = told_by(&hook)
            .env("LARDER_CDN__PURGE", kind)
            .env("LARDER_CDN__PURGE_URL", hook.url("/"))
            .env("LARDER_CDN__PURGE_SERVICE", service)
            .env("LARDER_STORE__BACKEND", "local")
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
            .start();
        let asset = put(&client, &server, "a.jpg", 64).await;
        client.delete(server.url("/api/v1/buckets/media/objects/a.jpg")).send().await.unwrap();
        let came = hook.next(TOLD_WITHIN).await;
        let [one] = came.as_slice() else { panic!("{came:?}") };
        let body = String::from_utf8_lossy(&one.body);
        if kind == "fastly" {
            assert_eq!(one.target, format!("POST /service/{service}/purge"));
            assert_eq!(one.header("surrogate-key"), format!("a-{}", asset["id"].as_str().unwrap()));
            assert_eq!((one.header("fastly-key"), &*body), ("correct-horse", ""));
        } else {
            assert_eq!(one.target, format!("POST /2020-05-31/distribution/{service}/invalidation"));
            assert!(body.contains("<Path>/m/media/a.jpg</Path>"), "{body}");
            let signed = one.header("authorization");
            assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signed}");
            assert!(signed.contains("/us-east-1/cloudfront/aws4_request"), "{signed}");
        }
    }
}

#[test]
fn d4_a_hook_that_lacks_something_is_no_start_and_the_doctor_tells_who_is_told() {
    let home = tempfile::tempdir().unwrap();
    let lacking = |kind: &str| {
        let mut command = larder();
        command.current_dir(home.path()).env("LARDER_CDN__PURGE", kind).args(["config", "--check"]);
        failure_of(&mut command)
    };
    for (kind, setting) in [
        ("generic", "cdn.purge_url"),
        ("fastly", "cdn.purge_service"),
        ("varnish", "generic, fastly, cloudfront"),
    ] {
        let (code, error) = lacking(kind);
        assert!(code == 2 && error.contains(setting), "{code}: {error}");
    }
    let mut doctor = larder();
    doctor
        .current_dir(home.path())
        .env("LARDER_CDN__PURGE", "generic")
        .env("LARDER_CDN__PURGE_URL", "https://hook.example/purge")
        .arg("doctor");
    let answer = json_of(&mut doctor);
    let text = answer.to_string();
    assert!(text.contains("purge hook") && text.contains("generic, hook.example"), "{text}");
}
