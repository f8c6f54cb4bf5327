//! Caches in front: which answers belong together for them, and how they are told to forget some.
//!
//! A change of what everybody may read notes in its own transaction what caches are to forget
//! (`Noting`), and enqueues the job [`purge_cdn`](crate::jobs::purge_cdn), which tells it to a hook. A
//! hook is a file here, a `mod` line and a line in [`HOOKS`].

mod addresses;
mod cloudfront;
mod fastly;
mod generic;
mod hook;
mod note;
mod sending;
mod trace;

use std::sync::Arc;

use larder_core::{AssetId, BucketName};

pub use self::hook::{HOOKS, Hidden, HookKind, HookOptions, Purge, PurgeHook};
pub(crate) use self::note::{Noting, Reason};

/// What an instance is told of the caches in front of it.
#[derive(Debug, Clone, Default)]
pub struct CdnSettings {
    /// Who is told what to forget; nothing is noted without.
    pub hook: Option<Arc<dyn PurgeHook>>,
    /// A second path for the originals of a bucket, with a slash at both ends.
    pub alias: Option<(String, BucketName)>,
}

/// The tag of everything that comes from an asset: its original and all that is made of it.
pub fn asset_tag(asset: AssetId) -> String {
    format!("a-{asset}")
}

/// The tag of everything that comes from a bucket.
pub fn bucket_tag(bucket: &BucketName) -> String {
    format!("b-{bucket}")
}

#[cfg(test)]
mod tests;
