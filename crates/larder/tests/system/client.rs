//! What the tests of this program ask a server.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use larder_testkit::server::{Server, Starter, command, printed};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;

use crate::store;

/// Time for one upload with all of its variants, on a busy machine.
pub const UPLOAD_WITHIN: Duration = Duration::from_secs(120);

/// The binary that the tests drive.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_larder"))
}

/// A server that is about to be started, over the store of these tests.
pub fn server() -> Starter {
    store::environment()
        .into_iter()
        .fold(Starter::new(binary()), |starter, (name, value)| starter.env(name, value))
}

/// A command of the binary without any setting of the environment but the store of these tests.
pub fn larder() -> Command {
    let mut command = command(&binary());
    command.envs(store::environment());
    command
}

/// The folder of real files, where it is given.
pub fn corpus() -> Option<PathBuf> {
    std::env::var_os("LARDER_CORPUS").map(PathBuf::from)
}

/// Removes the catalogue from the disk, and from the bucket where it is replicated.
pub fn lose_the_catalogue(data: &Path) {
    let replicated = store::folder(data).join(".larder/catalog");
    if replicated.exists() {
        std::fs::remove_dir_all(replicated).unwrap();
    }
    let mut lost = 0;
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("catalog.db") || name.starts_with("state.db") {
            std::fs::remove_file(path).unwrap();
            lost += 1;
        }
    }
    assert!(lost > 0, "there was a catalogue");
}

/// A client that follows no redirects and no proxies.
pub fn client() -> Client {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client")
}

/// Runs a command that has to succeed and answers its standard output.
pub fn stdout_of(command: &mut Command) -> String {
    let output = command.output().expect("the binary can be started");
    assert!(output.status.success(), "{command:?}: {}", printed(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command that has to succeed and answers its JSON.
pub fn json_of(command: &mut Command) -> Value {
    let text = stdout_of(command.arg("--json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs a command that has to succeed and answers its JSON lines.
pub fn lines_of(command: &mut Command) -> Vec<Value> {
    let text = stdout_of(command.arg("--json"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Exit code and standard error of a command that has to fail.
pub fn failure_of(command: &mut Command) -> (i32, String) {
    let output = command.output().expect("the binary can be started");
    assert!(!output.status.success(), "{command:?} succeeded: {}", printed(&output));
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Sends a request and answers status and JSON.
pub async fn ask(client: &Client, method: Method, url: &str, bearer: Option<&str>) -> (StatusCode, Value) {
    let mut request = client.request(method, url);
    if let Some(key) = bearer {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.expect("an answer");
    let status = response.status();
    (status, json(response).await)
}

/// The body as JSON; null where it is none.
pub async fn json(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.expect("a body")).unwrap_or_default()
}

/// Uploads a file to a bucket and answers the acknowledgement.
pub async fn upload(
    client: &Client,
    server: &Server,
    bucket: &str,
    name: &str,
    bytes: Vec<u8>,
) -> (StatusCode, Value) {
    let url = server.url(&format!("/api/v1/uploads?bucket={bucket}&filename={name}"));
    let response = client.post(url).body(bytes).send().await.expect("an answer");
    let status = response.status();
    (status, json(response).await)
}

/// The upload, when it has ended.
pub async fn finished(client: &Client, server: &Server, id: &str) -> Value {
    let deadline = Instant::now() + UPLOAD_WITHIN;
    loop {
        let url = server.url(&format!("/api/v1/uploads/{id}?wait=20"));
        let (status, upload) = ask(client, Method::GET, &url, None).await;
        assert_eq!(status, StatusCode::OK, "{upload}");
        if matches!(upload["status"].as_str(), Some("completed" | "failed" | "expired")) {
            return upload;
        }
        assert!(Instant::now() < deadline, "the upload does not end: {upload}");
    }
}

/// Files of a folder, by name.
pub fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}
