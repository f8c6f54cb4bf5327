//! C12: AVIF within a budget. Nobody waits for it unless libaom makes it, and where it can't be made there is WebP.

use std::time::{Duration, Instant};

use larder_testkit::{fixtures, server::Server};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{ask, client, server};

const BOTH: &str = "image/avif,image/webp,*/*;q=0.8";

/// Stores a photo and answers the path of a recipe of it in whatever format suits.
async fn signed(client: &Client, larder: &Server, recipe: &str) -> String {
    let put =
        client.put(larder.url("/api/v1/buckets/media/objects/a.jpg")).body(fixtures::jpeg(1_600, 1_200));
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    let body = json!({ "bucket": "media", "key": "a.jpg", "recipe": recipe, "extension": "auto" });
    let answer = client.post(larder.url("/api/v1/sign")).json(&body).send().await.unwrap();
    let signed: Value = answer.json().await.unwrap();
    larder.url(signed["url"].as_str().unwrap_or_else(|| panic!("{signed}")))
}

/// The type of what is answered, and how long it may be kept.
async fn shown(client: &Client, url: &str) -> (String, String) {
    let answer = client.get(url).header("accept", BOTH).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("vary"), "Accept");
    (header("content-type"), header("cache-control"))
}

/// The jobs that make single variants.
async fn jobs(client: &Client, larder: &Server) -> Vec<Value> {
    let (_, jobs) = ask(client, Method::GET, &larder.url("/api/v1/jobs?kind=variants"), None).await;
    let jobs = jobs["items"].as_array().unwrap().clone();
    jobs.into_iter().filter(|job| job["args"]["recipes"].is_array()).collect()
}

async fn all_done(client: &Client, larder: &Server) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let jobs = jobs(client, larder).await;
        if jobs.iter().all(|job| job["state"] == "done") {
            return;
        }
        assert!(Instant::now() < deadline, "{jobs:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(feature = "libaom", ignore = "AVIF by libaom is waited for")]
async fn c12_webp_is_served_until_a_job_has_made_avif() {
    let (client, larder) = (client(), server().start());
    let url = signed(&client, &larder, "resize:inside:1200x1200,quality:60").await;
    let seconds = |control: &str| -> u64 {
        control.split("max-age=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap()
    };
    let (kind, control) = shown(&client, &url).await;
    assert!(kind == "image/webp" && seconds(&control) <= 60 && !control.contains("immutable"), "{control}");
    all_done(&client, &larder).await;
    let (kind, control) = shown(&client, &url).await;
    assert!(kind == "image/avif" && seconds(&control) > 60, "{kind}: {control}");
    assert_eq!(jobs(&client, &larder).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(feature = "libaom", ignore = "AVIF by libaom is waited for")]
async fn c12_where_avif_takes_too_much_memory_webp_stays() {
    // Enough for everything but the encoder of AVIF at this size.
    let (client, larder) = (client(), server().env("LARDER_LIMITS__DECODE_MEMORY", "64 MiB").start());
    let url = signed(&client, &larder, "resize:inside:1000x1000,quality:60").await;
    assert_eq!(shown(&client, &url).await.0, "image/webp");
    all_done(&client, &larder).await;
    for _ in 0..3 {
        let (kind, control) = shown(&client, &url).await;
        assert!(kind == "image/webp" && !control.contains("max-age=60"), "{control}");
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(jobs(&client, &larder).await.len(), 1, "what failed is not tried again");
}
