//! Readers of a store with a cache before it: what they are promised holds as without.

mod common;

use std::time::Duration;

use common::{Home, incoming, photo};
use larder_assets::{DeleteOptions, Larder, Readable, WriteCondition};
use larder_core::{BucketName, Code, Fault, ObjectKey};
use larder_store::stream_of;
use larder_testkit::faulty_store::Operation;
use larder_worker::Worker;
use sha2::{Digest, Sha256};

/// Longer than a process remembers a record.
const RECORD_LIFE: Duration = Duration::from_millis(1_100);

fn bucket() -> BucketName {
    "media".parse().unwrap()
}

fn key() -> ObjectKey {
    "a/photo.jpg".parse().unwrap()
}

async fn put(larder: &Larder, bytes: Vec<u8>) {
    let mut file = incoming("media");
    file.key = Some(key());
    larder.put(file, WriteCondition::None, stream_of(bytes)).await.unwrap();
    Worker::drain(larder).await.unwrap();
}

async fn read(larder: &Larder) -> Result<Vec<u8>, Fault> {
    bytes_of(larder.read_original(&bucket(), &key()).await?).await
}

/// The bytes, which are held against the entity tag under which they come.
async fn bytes_of(readable: Readable) -> Result<Vec<u8>, Fault> {
    let (etag, size_bytes) = (readable.etag.clone(), readable.size_bytes);
    let bytes = readable.into_body().await?.read_all(size_bytes).await?;
    let digest = hex::encode(Sha256::digest(&bytes));
    assert!(digest.starts_with(etag.trim_matches('"')), "{etag} is not of {digest}");
    Ok(bytes.to_vec())
}

#[tokio::test]
async fn what_was_read_is_served_while_the_store_is_away_and_changes_are_seen_at_once() {
    let home = Home::new().await;
    let (larder, faults) = home.cached_larder(16 << 20).await;
    let (first, second) = (photo(1200, 800), photo(900, 700));
    put(&larder, first.clone()).await;
    assert_eq!(read(&larder).await.unwrap(), first);
    let recipe = larder.recipe_of_preset("artwork-small").await.unwrap();
    let variant = async || {
        bytes_of(larder.read_variant(&bucket(), &key(), &recipe, Some("artwork-small")).await?).await
    };
    let small = variant().await.unwrap();

    faults.cut();
    let asked = faults.log().len();
    assert_eq!(read(&larder).await.unwrap(), first);
    assert_eq!(variant().await.unwrap(), small);
    let readable = larder.read_original(&bucket(), &key()).await.unwrap();
    let part = readable.open(Some(10_000..20_000)).await.unwrap().read_all(10_000).await.unwrap();
    assert_eq!(part, first[10_000..20_000]);
    assert_eq!(faults.log().len(), asked, "the store was not asked");
    faults.mend();

    put(&larder, second.clone()).await;
    assert_eq!(read(&larder).await.unwrap(), second);
    assert_ne!(variant().await.unwrap(), small);
    larder.delete(&bucket(), &key(), &DeleteOptions::default()).await.unwrap();
    assert_eq!(read(&larder).await.unwrap_err().code, Code::AssetNotFound);
}

#[tokio::test]
async fn what_another_process_changes_is_seen_within_the_second_and_never_mixed() {
    let home = Home::new().await;
    let writer = home.larder().await;
    let (reader, _) = home.cached_larder(16 << 20).await;
    // Its cache keeps nothing: all that it knows is the record, for a second.
    let (forgetful, faults) = home.cached_larder(0).await;
    let (first, second) = (photo(1200, 800), photo(900, 700));
    put(&writer, first.clone()).await;
    assert_eq!(read(&reader).await.unwrap(), first);
    assert_eq!(read(&forgetful).await.unwrap(), first);

    put(&writer, second.clone()).await;
    let at_once = read(&reader).await.unwrap();
    assert!(at_once == first || at_once == second);
    assert_eq!(read(&forgetful).await.unwrap(), second, "the old bytes are gone, so the new record is read");
    tokio::time::sleep(RECORD_LIFE).await;
    assert_eq!(read(&reader).await.unwrap(), second);

    writer.delete(&bucket(), &key(), &DeleteOptions::default()).await.unwrap();
    tokio::time::sleep(RECORD_LIFE).await;
    for larder in [&reader, &forgetful] {
        assert_eq!(read(larder).await.unwrap_err().code, Code::AssetNotFound);
    }
    assert!(faults.count(Operation::Open) > 0);
}

#[tokio::test]
async fn bytes_that_a_stranger_replaced_are_served_as_what_they_are_once_the_cache_forgot_the_old_ones() {
    let home = Home::new().await;
    let (larder, _) = home.cached_larder(16 << 20).await;
    let bytes = photo(1200, 800);
    put(&larder, bytes.clone()).await;
    assert_eq!(read(&larder).await.unwrap(), bytes);
    std::fs::write(home.path("media/a/photo.jpg"), "somebody else's").unwrap();
    assert_eq!(read(&larder).await.unwrap(), bytes, "those that it keeps");
    drop(larder);
    let (again, _) = home.cached_larder(16 << 20).await;
    let readable = again.read_original(&bucket(), &key()).await.unwrap();
    assert_eq!(readable.content_type, "application/octet-stream");
    assert_eq!(bytes_of(readable).await.unwrap(), b"somebody else's");
}
