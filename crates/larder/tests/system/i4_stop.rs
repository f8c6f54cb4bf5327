//! I4: a stop lets running work end; work that was acknowledged is done by the next process.

use larder_testkit::fixtures;
use reqwest::{Method, StatusCode};
use tempfile::TempDir;

use crate::client::{ask, client, finished, larder, server, stdout_of, upload};

#[tokio::test(flavor = "multi_thread")]
async fn i4_what_the_api_role_accepts_a_worker_does_and_both_stop_gracefully() {
    let dir = TempDir::new().unwrap();
    let server = server().data_dir(dir.path()).arg("--role").arg("api").start();
    let client = client();
    let (status, accepted) = upload(&client, &server, "keeps", "a.jpg", fixtures::jpeg(800, 600)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let id = accepted["id"].as_str().unwrap().to_owned();
    let url = server.url(&format!("/api/v1/uploads/{id}?wait=1"));
    let (_, waiting) = ask(&client, Method::GET, &url, None).await;
    assert_ne!(waiting["status"], "completed", "nobody runs jobs yet");

    let mut worker = larder().args(["worker", "--data-dir"]).arg(dir.path()).spawn().unwrap();
    let done = finished(&client, &server, &id).await;
    assert_eq!(done["status"], "completed", "{done}");
    let told = std::process::Command::new("kill").arg(worker.id().to_string()).status().unwrap();
    assert!(told.success());
    assert_eq!(worker.wait().unwrap().code(), Some(0));
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_an_upload_outlives_the_process_that_accepted_it() {
    let dir = TempDir::new().unwrap();
    let first = server().data_dir(dir.path()).arg("--role").arg("api").start();
    let client = client();
    let (_, accepted) = upload(&client, &first, "keeps", "a.jpg", fixtures::jpeg(800, 600)).await;
    first.kill();
    let second = server().data_dir(dir.path()).start();
    let done = finished(&client, &second, accepted["id"].as_str().unwrap()).await;
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(done["variants"].as_object().unwrap().len(), 3);
    assert!(stdout_of(second.cli().arg("ls").arg("keeps")).contains("800x600"));
}
