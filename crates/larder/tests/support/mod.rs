//! What system tests share: a data directory, uploads, and the look at what lies in it.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Time for an upload to end on a busy machine.
const ENDED_WITHIN: Duration = Duration::from_secs(120);

/// A data directory that outlives the servers on it.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The store holds exactly what the catalogue lists: assets and as many variants of each as are
    /// ready, of their sizes, and nothing in staging.
    pub async fn nothing_is_left_over(&self, address: &str, what: &str) {
        let root = self.path().join("media");
        let staging = files(&root.join(".larder/staging"));
        assert_eq!(staging, Vec::<PathBuf>::new(), "{what}: staging");
        let temporary = files(&root.join(".larder/local/tmp"));
        assert_eq!(temporary, Vec::<PathBuf>::new(), "{what}: temporary files");
        holds_what_is_listed(&root, address, what).await;
    }
}

/// The folder of a store holds exactly what the catalogue lists: assets, and as many variants of each as are
/// ready, of their sizes.
pub async fn holds_what_is_listed(root: &Path, address: &str, what: &str) {
    {
        let mut expected = BTreeSet::new();
        let mut variants = BTreeMap::new();
        let mut after = String::new();
        loop {
            let page = get(&format!("{address}/api/v1/buckets/media/objects?limit=200{after}")).await;
            for asset in page["items"].as_array().expect("items") {
                assert_eq!(asset["status"], "ready", "{what}: {asset}");
                let key = asset["key"].as_str().expect("a key");
                expected.insert(format!("media/{key}"));
                let id = asset["id"].as_str().expect("an id");
                let listed = get(&format!("{address}/api/v1/assets/{id}/variants")).await;
                let ready =
                    listed["items"].as_array().expect("items").iter().filter(|v| v["status"] == "ready");
                let mut sizes: Vec<u64> = ready.map(|v| v["size_bytes"].as_u64().expect("a size")).collect();
                sizes.sort_unstable();
                if !sizes.is_empty() {
                    variants.insert(format!("media/_variants/{key}"), sizes);
                }
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        let (mut originals, mut pictures) = (BTreeSet::new(), BTreeMap::<String, Vec<u64>>::new());
        for path in files(root) {
            let below = path.strip_prefix(root).expect("below the root").display().to_string();
            match below.rsplit_once('/') {
                _ if below.starts_with(".larder/") => {}
                Some((folder, _)) if below.starts_with("media/_variants/") => {
                    let size = path.metadata().expect("a file").len();
                    pictures.entry(folder.to_owned()).or_default().push(size);
                }
                _ => drop(originals.insert(below)),
            }
        }
        // What a crash leaves of a deleted asset goes with the trash.
        let deleted = get(&format!("{address}/api/v1/buckets/media/objects?limit=200&deleted=true")).await;
        for asset in deleted["items"].as_array().expect("items") {
            pictures.remove(&format!("media/_variants/{}", asset["key"].as_str().expect("a key")));
        }
        pictures.values_mut().for_each(|sizes| sizes.sort_unstable());
        assert_eq!(originals, expected, "{what}: originals in the folder and in the catalogue");
        assert_eq!(pictures, variants, "{what}: sizes of the variants in the folder and in the catalogue");
    }
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found
}

/// One client for all requests; never through a proxy.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client")
    })
}

/// Uploads a JPEG to the bucket `media`; answers the id once it is acknowledged.
pub async fn upload(address: &str, file: Vec<u8>) -> Result<String, String> {
    let request = client()
        .post(format!("{address}/api/v1/uploads?bucket=media"))
        .header("content-type", "image/jpeg")
        .body(file);
    let response = request.send().await.map_err(|error| error.to_string())?;
    if response.status() != 202 {
        return Err(format!("{}: {}", response.status(), response.text().await.unwrap_or_default()));
    }
    let upload: Value = response.json().await.map_err(|error| error.to_string())?;
    Ok(upload["id"].as_str().expect("an id").to_owned())
}

pub async fn get(url: &str) -> Value {
    let response = client().get(url).send().await.expect("an answer");
    assert!(response.status().is_success(), "{url}: {}", response.status());
    response.json().await.expect("JSON")
}

/// The upload once it has ended.
pub async fn ended(address: &str, id: &str) -> Value {
    let deadline = Instant::now() + ENDED_WITHIN;
    loop {
        let upload = get(&format!("{address}/api/v1/uploads/{id}")).await;
        if matches!(upload["status"].as_str(), Some("completed" | "failed" | "expired")) {
            return upload;
        }
        assert!(Instant::now() < deadline, "the upload does not end: {upload}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The upload once it is completed.
pub async fn completed(address: &str, id: &str) -> Value {
    let upload = ended(address, id).await;
    assert_eq!(upload["status"], "completed", "{upload}");
    upload
}

/// Waits until no job waits or runs.
pub async fn settled(address: &str) {
    let deadline = Instant::now() + ENDED_WITHIN;
    loop {
        let queues = get(&format!("{address}/api/v1/queues")).await;
        let queues = queues["items"].as_array().expect("items").clone();
        if !queues.iter().any(|queue| matches!(queue["state"].as_str(), Some("queued" | "running"))) {
            return;
        }
        assert!(Instant::now() < deadline, "jobs do not end: {queues:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Removes what uploads and processes that were cut off left, as the schedule does every ten minutes.
pub async fn sweep_uploads(address: &str) {
    let options = serde_json::json!({ "targets": ["uploads"] });
    let response =
        client().post(format!("{address}/api/v1/gc/sweep")).json(&options).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
}

/// The original and all four variants of a completed upload can be fetched and are whole.
pub async fn every_picture_is_there(address: &str, upload: &Value, what: &str) {
    let original = fetch(address, &upload["asset"]["url"]).await;
    assert_eq!(
        original.len() as u64,
        upload["asset"]["size_bytes"].as_u64().expect("a size"),
        "{what}: {upload}"
    );
    assert_eq!(digest(&original), upload["asset"]["sha256"].as_str().expect("a digest"), "{what}");
    let variants = upload["variants"].as_object().expect("variants");
    assert_eq!(variants.len(), 4, "{what}: {upload}");
    for variant in variants.values() {
        assert_eq!(variant["status"], "ready", "{what}: {variant}");
        let bytes = fetch(address, &variant["url"]).await;
        assert_eq!(bytes.len() as u64, variant["size_bytes"].as_u64().expect("a size"), "{what}: {variant}");
        assert!(bytes.starts_with(b"RIFF"), "{what}: a WebP");
    }
}

/// A deletion that was cut off has happened in full or not at all.
pub async fn is_whole_or_gone(address: &str, upload: &Value, what: &str) {
    let url = format!("{address}/api/v1/assets/{}", upload["asset"]["id"].as_str().expect("an id"));
    let answer = client().get(url).send().await.expect("an answer").status();
    let bytes =
        client().get(absolute(address, &upload["asset"]["url"])).send().await.expect("an answer").status();
    assert_eq!(answer, bytes, "{what}: the record and the bytes agree");
    assert!(answer == 200 || answer == 404, "{what}: {answer}");
}

async fn fetch(address: &str, url: &Value) -> Vec<u8> {
    let url = absolute(address, url);
    let response = client().get(&url).send().await.expect("an answer");
    assert_eq!(response.status(), 200, "{url}");
    response.bytes().await.expect("a body").to_vec()
}

fn absolute(address: &str, url: &Value) -> String {
    let url = url.as_str().expect("a URL");
    if url.starts_with('/') { format!("{address}{url}") } else { url.to_owned() }
}

pub fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(bytes))
}
