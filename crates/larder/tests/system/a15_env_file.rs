//! A15: credentials in an environment file are replaced while the server runs.

use std::{path::Path, time::Duration};

use larder_testkit::{
    fixtures,
    s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, s3s_fs::S3sFs},
};
use reqwest::{Client, StatusCode};

use crate::client::{client, failure_of, json_of, larder, server};

fn write(file: &Path, secret: &str) {
    // File systems keep times of change in steps of some milliseconds.
    std::thread::sleep(Duration::from_millis(50));
    std::fs::write(
        file,
        format!(
            "# of the bucket\nAWS_ACCESS_KEY_ID={ACCESS_KEY_ID}\nexport AWS_SECRET_ACCESS_KEY='{secret}'\n"
        ),
    )
    .unwrap();
}

async fn put(client: &Client, url: &str) -> StatusCode {
    client.put(url).body(fixtures::unlike(1, 40, 30)).send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_a_key_that_changes_in_the_environment_file_is_used_without_a_restart() {
    let store = S3sFs::start();
    store.bucket("larder");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("production.env");
    write(&file, SECRET_ACCESS_KEY);
    let environment = [
        ("AWS_STORAGE_BUCKET_NAME", "larder".to_owned()),
        ("AWS_S3_ENDPOINT_URL", store.endpoint()),
        ("LARDER_ENV_FILE", file.display().to_string()),
    ];
    let start = environment.iter().fold(server(), |starter, (name, value)| starter.env(*name, value));
    let (server, client) = (start.start(), client());
    let url = |name: &str| server.url(&format!("/api/v1/buckets/media/objects/{name}.jpg"));
    assert_eq!(put(&client, &url("before")).await, StatusCode::CREATED);

    write(&file, "no longer this one");
    let refused = put(&client, &url("meanwhile")).await;
    assert!(refused.is_server_error(), "the store refuses the key: {refused}");
    write(&file, SECRET_ACCESS_KEY);
    assert_eq!(put(&client, &url("after")).await, StatusCode::CREATED);

    // What the process has wins, and what can't be read is said, without the line.
    let shown =
        json_of(larder().envs(environment.clone()).env("AWS_STORAGE_BUCKET_NAME", "other").arg("config"));
    assert!(
        shown.to_string().contains("\"other\"") && !shown.to_string().contains(SECRET_ACCESS_KEY),
        "{shown}"
    );
    std::fs::write(&file, "AWS_ACCESS_KEY_ID=x\nhalf of a secret\n").unwrap();
    let (code, error) = failure_of(larder().args(["config", "--env-file"]).arg(&file));
    assert!(code != 0 && error.contains("line 2") && !error.contains("half"), "{error}");
}
