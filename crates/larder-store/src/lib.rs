//! Where bytes lie: one interface over the local disk, memory and, later, any S3 bucket.
//!
//! [`Store`] has few methods, each atomic and durable as its documentation says; [`StoreExt`] adds
//! the conveniences. [`LocalStore`] keeps plain files under a folder, [`MemoryStore`] keeps bytes
//! for tests. Stores around stores are [`MeteredStore`], which counts what passes, [`BreakerStore`], which
//! leaves a store alone while it does not answer, and [`CachedStore`], which keeps what was read from one
//! that is far away. Nothing here knows of assets or records: a [`Place`] is just where bytes lie.
//!
//! ```
//! use larder_store::{MemoryStore, Place, Store, StoreExt, PutOptions};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder_store::Error> {
//! let store = MemoryStore::new();
//! let place: Place = "media/beach.jpg".parse()?;
//! let stat = store.put_bytes(&place, "bytes", PutOptions::default()).await?;
//! assert_eq!(stat.size_bytes, 5);
//! assert_eq!(store.read_all(&place, 1_024).await?, "bytes");
//! # Ok(()) }
//! ```

mod body;
mod breaker;
mod cached;
mod error;
mod exact;
mod ext;
mod listing;
mod local;
mod memory;
mod metered;
mod place;
mod s3;
mod split;
mod store;

pub use body::{Body, ByteStream, FileBody, stream_of};
pub use breaker::{BreakerLimits, BreakerStore, Circuit, CircuitOpen, CircuitState, Health, Outage};
pub use cached::{CACHE_PAGE_BYTES, CacheOptions, CachedStore};
pub use error::{BoxError, Error, Result};
pub use ext::StoreExt;
pub use listing::{Entry, LIST_LIMIT_MAX, ListOptions, Listing};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use metered::MeteredStore;
pub use place::{PLACE_BYTES_MAX, PREFIX_BYTES_MAX, Place, PlaceError, SEGMENT_BYTES_MAX};
pub use s3::{
    Addressing, AwsSigner, BucketSetup, Encryption, Finding, Profile, S3Checksum, S3Credentials, S3Key,
    S3Options, S3Store, SetupOutcome, SetupStep, SharedProfile, Verdict, iam_policy, read_env_file,
};
pub use split::SplitStore;
pub use store::{
    Attributes, Capabilities, Condition, CopyOptions, Fingerprint, OpenOptions, Opened, PutOptions,
    RenameOptions, SignedAction, Stat, Store, UnfinishedOptions,
};
