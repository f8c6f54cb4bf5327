//! I4: a bounded backlog refuses what comes too much, and drops nothing that it took.

use larder_testkit::fixtures;
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{client, finished, json, larder, server, upload};

#[tokio::test(flavor = "multi_thread")]
async fn i4_beyond_its_backlog_a_bucket_answers_429_and_goes_on_when_the_work_is_done() {
    let dir = TempDir::new().unwrap();
    let server = server().data_dir(dir.path()).arg("--role").arg("api").start();
    let client = client();
    let policy = json!({ "backlog_max": 3, "presets": ["keep-small"] });
    let put = client.put(server.url("/api/v1/buckets/narrow")).json(&policy).send().await.unwrap();
    assert!(put.status().is_success());
    let mut taken = Vec::new();
    for seed in 0..3 {
        let (status, accepted) =
            upload(&client, &server, "narrow", "a.jpg", fixtures::unlike(seed, 64, 64)).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
        taken.push(accepted["id"].as_str().unwrap().to_owned());
    }
    let too_much = || fixtures::unlike(9, 64, 64);
    let url = server.url("/api/v1/uploads?bucket=narrow");
    let refused = client.post(url).body(too_much()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(json(refused).await["code"], "backlog_full");
    let put = client.put(server.url("/api/v1/buckets/narrow/objects/x.jpg")).body(too_much());
    assert_eq!(put.send().await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
    let (status, _) = upload(&client, &server, "keeps", "a.jpg", too_much()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "another bucket has room");

    let mut worker = larder().args(["worker", "--data-dir"]).arg(dir.path()).spawn().unwrap();
    for id in &taken {
        let done = finished(&client, &server, id).await;
        assert_eq!(done["status"], "completed", "{done}");
    }
    let (status, accepted) = upload(&client, &server, "narrow", "a.jpg", too_much()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    worker.kill().unwrap();
    worker.wait().unwrap();
}
