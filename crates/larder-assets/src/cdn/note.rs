//! Noting, in the transaction of a change, what caches are to forget.

use larder_catalog::{AssetRecord, BucketRecord, NewJob, Tx};
use larder_core::{BucketName, Fault};

use super::trace::traces;
use crate::{
    jobs::{self, purge_cdn::PurgeCdn},
    larder::Larder,
    policy::{BucketPolicy, Visibility},
};

/// Why caches are to forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Other bytes lie under the key.
    Replaced,
    /// Nothing lies under the key any more.
    Deleted,
    /// It was removed from the trash by request.
    Purged,
    /// Something lies under the key again, where caches may remember that nothing did.
    Restored,
    /// Others may read the bucket than before, or something else of it.
    Visibility,
}

impl Reason {
    pub(super) const ALL: [Self; 5] =
        [Self::Replaced, Self::Deleted, Self::Purged, Self::Restored, Self::Visibility];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
            Self::Purged => "purged",
            Self::Restored => "restored",
            Self::Visibility => "visibility",
        }
    }
}

/// The means to note something in a transaction; there only if somebody can be told.
#[derive(Debug, Clone)]
pub(crate) struct Noting {
    job: NewJob,
}

impl Larder {
    /// What a transaction takes along that changes what everybody may read.
    pub(crate) fn noting(&self) -> Result<Option<Noting>, Fault> {
        if self.settings().cdn.hook.is_none() {
            return Ok(None);
        }
        let soon = self.ambient().now().plus(super::sending::SETTLED_AFTER);
        Ok(Some(Noting { job: jobs::new_job(&PurgeCdn {})?.run_at(soon) }))
    }
}

impl Noting {
    /// Notes that caches are to forget an asset as `asset` says it was, if its bucket lets anybody cache
    /// something. To be called before the records of its variants change.
    pub(crate) async fn asset(
        self,
        tx: &mut Tx,
        asset: &AssetRecord,
        reason: Reason,
    ) -> larder_catalog::Result<()> {
        let bucket = tx.bucket(&asset.bucket).await?;
        if !bucket.is_some_and(|bucket| is_open(&bucket)) {
            return Ok(());
        }
        let variants = tx.variants(asset.id).await?;
        let traces = traces(asset, &variants);
        let traces = traces.iter().map(|trace| serde_json::to_value(trace).unwrap_or_default()).collect();
        tx.note_cdn_purge(&asset.bucket, Some(asset.id), reason.word(), traces).await?;
        tx.enqueue(self.job).await.map(drop)
    }

    /// Notes that caches are to forget all of a bucket.
    pub(crate) async fn bucket(self, tx: &mut Tx, bucket: &BucketName) -> larder_catalog::Result<()> {
        tx.note_cdn_purge(bucket, None, Reason::Visibility.word(), Vec::new()).await?;
        tx.enqueue(self.job).await.map(drop)
    }
}

/// Whether there are answers of this bucket that shared caches may keep.
fn is_open(bucket: &BucketRecord) -> bool {
    // Rules that can't be read are no reason to leave something in a cache.
    serde_json::from_value::<BucketPolicy>(bucket.policy.clone())
        .map_or(true, |policy| policy.visibility == Visibility::Public || !policy.public_presets.is_empty())
}
