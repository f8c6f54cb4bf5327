//! The store of these tests: a bucket whose objects are files, so that tests can look at them, and plant damage.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use larder_core::Ambient;
use larder_store::{PutOptions, S3Store, StoreExt};
use larder_testkit::s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, s3s_fs::S3sFs};

const BUCKET: &str = "larder";

/// Whether a process that starts alone removes what dead ones left in staging: nobody knows of a bucket who
/// else uses it, so that only the sweep does, after an hour.
pub const LEFTOVERS_GO_AT_START: bool = false;

/// Of this process, and so of one test.
static SERVER: OnceLock<S3sFs> = OnceLock::new();

fn running() -> &'static S3sFs {
    SERVER.get_or_init(|| {
        let server = S3sFs::start();
        server.bucket(BUCKET);
        server
    })
}

/// What a process is told of it, by the names that MinIO's documentation uses.
pub fn environment() -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY.to_owned()),
        ("AWS_STORAGE_BUCKET_NAME", BUCKET.to_owned()),
        ("AWS_S3_ENDPOINT_URL", running().endpoint()),
        // A test that kills its server and begins with another data directory waits for so long.
        ("LARDER_CATALOG__LEASE", "2s".to_owned()),
    ]
}

/// Puts bytes at a place as another program would.
pub async fn plant(_data_dir: &Path, place: &str, bytes: &'static str) {
    let options = running().options(BUCKET);
    let store = S3Store::connect(&options, Ambient::system()).await.expect("the server is there");
    let place = place.parse().expect("a place");
    store.put_bytes(&place, bytes, PutOptions::default()).await.expect("it is put");
}

/// The folder whose files are what lies in the bucket.
pub fn folder(_data_dir: &Path) -> PathBuf {
    running().bucket(BUCKET)
}
