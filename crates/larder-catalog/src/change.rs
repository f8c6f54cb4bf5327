//! What changed, for those who watch.

use larder_core::{AssetId, JobId, UploadId};

/// A record that a transaction of this process changed; announced after its commit.
///
/// A hint: a watcher that falls behind loses some, and changes of other processes never appear.
/// Whoever must not miss anything polls behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// An upload's record or progress.
    Upload(UploadId),
    /// A job's state or progress.
    Job(JobId),
    /// An asset or one of its variants.
    Asset(AssetId),
}
