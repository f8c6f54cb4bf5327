//! Ending what a dead writer began: forward if its bytes moved, back if not.

use larder_catalog::Fence;
use larder_core::{AssetId, Code, Fault, UploadId};
use larder_store::{Condition, Fingerprint, OpenOptions, RenameOptions};
use serde_json::Value;

use super::{
    intent::{Intent, WriteIntent},
    turn::Turns,
};
use crate::larder::{Larder, own_place, place};

/// Whether a settlement used up the turn: storing a record gives it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Kept,
    GivenBack,
}

impl Larder {
    /// Ends what a dead writer began, while holding its key: forward if its bytes moved, back if not.
    ///
    /// A writer that was killed between its move and the sync left a move that everybody sees and that
    /// a loss of power would undo; so each move is made durable before its record is.
    pub(crate) async fn settle(&self, held: &Fence, intent: Value) -> Result<Turn, Fault> {
        let intent: Intent = serde_json::from_value(intent)
            .map_err(|error| Fault::internal("a stored intent can't be read").caused_by(error))?;
        tracing::info!(bucket = %held.bucket, key = %held.key, "settling a write that was cut off");
        match intent {
            Intent::Write(write) if write.is_shared() => {
                let turn = self.hold_content(&held.bucket, &write.bytes.sha256).await?;
                let turns = Turns { key: held, content: Some(&turn), corrects: true };
                let settled = self.settle_write(turns, *write).await;
                if !matches!(settled, Ok(Turn::GivenBack)) {
                    self.release(&turn).await;
                }
                return settled;
            }
            Intent::Write(write) => {
                return self.settle_write(Turns { key: held, content: None, corrects: false }, *write).await;
            }
            Intent::Delete { asset_id, version, trash } => {
                // While an intent stands, nobody moves the asset to another store.
                let Some(asset) = self.catalog().asset(asset_id).await? else { return Ok(Turn::Kept) };
                if self.settled_at(&asset.store, &trash).await?.is_none() {
                    return Ok(Turn::Kept);
                }
                // The place that it left, too: after a loss of power a deleted file must not be back. Nor may
                // it still be there, where a move is a copy and a removal that was not reached.
                let left = self.settled_at(&asset.store, &asset.place).await?;
                if left.is_some_and(|left| left == asset.fingerprint) {
                    self.store(&asset.store)?.remove(&place(&asset.place)?).await?;
                }
                self.record_deletion(held, asset_id, version, &trash).await?;
            }
            Intent::Restore { asset_id, target, trash, store } => {
                let Some(fingerprint) = self.settled_at(&store, &target).await? else {
                    return Ok(Turn::Kept);
                };
                if self.settled_at(&store, &trash).await?.is_some() {
                    return Ok(Turn::Kept);
                }
                if self.catalog().asset(asset_id).await?.is_none_or(|asset| asset.deleted_at.is_none()) {
                    // Its record was purged: the bytes are nobody's any more.
                    self.set_aside(&store, &target, asset_id).await?;
                    return Ok(Turn::Kept);
                }
                self.record_restoration(held, asset_id, &target, &fingerprint).await?;
            }
        }
        Ok(Turn::GivenBack)
    }

    async fn settle_write(&self, turns: Turns<'_>, mut write: WriteIntent) -> Result<Turn, Fault> {
        let held = turns.key;
        let Some(moved) = self.moved_bytes(&write).await? else { return Ok(Turn::Kept) };
        if self.is_recorded(&write, &moved).await? {
            return Ok(Turn::Kept);
        }
        if let Some(upload) = write.upload
            && let Some(ended) = self.ended(upload).await?
        {
            // Whoever sent the bytes was told that nothing came of them. Where they replaced
            // others, these are gone, and the record has to follow what lies there.
            if write.replaces.is_none() || !write.in_place {
                match turns.content {
                    Some(_) => self.take_content_back(held, &write, ended.keeps_bytes).await?,
                    None => self.take_back(&write, ended.keeps_bytes).await?,
                }
                return Ok(Turn::Kept);
            }
            write.upload = None;
        }
        let bucket = match self.bucket(&held.bucket).await {
            Err(fault) if fault.code == Code::BucketNotFound => {
                let named = self.catalog().asset_at_place(&write.bytes.store, &write.target, None).await?;
                if turns.content.is_some() && named.is_some() {
                    return Ok(Turn::Kept);
                }
                self.set_aside(&write.bytes.store, &write.target, write.asset_id).await?;
                return Ok(Turn::Kept);
            }
            bucket => bucket?,
        };
        self.record_write(&bucket, turns, write, &Fingerprint::new(moved), None).await?;
        Ok(Turn::GivenBack)
    }

    /// The fingerprint of the bytes at a place, if some are there.
    pub(crate) async fn lies_at(&self, store: &str, at: &str) -> Result<Option<String>, Fault> {
        match self.store(store)?.stat(&place(at)?).await {
            Ok(stat) => Ok(Some(stat.fingerprint.to_string())),
            Err(larder_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`lies_at`](Self::lies_at), and what it answers survives a loss of power.
    async fn settled_at(&self, store: &str, at: &str) -> Result<Option<String>, Fault> {
        let found = self.store(store)?.settle(&place(at)?).await?;
        Ok(found.map(|stat| stat.fingerprint.as_str().to_owned()))
    }

    /// The fingerprint of the bytes at the target of a write, made durable, if they are those that were to
    /// come there. Where a move changes the fingerprint, or a store once answered a wrong one, the bytes
    /// themselves tell.
    pub(super) async fn moved_bytes(&self, write: &WriteIntent) -> Result<Option<String>, Fault> {
        let (store, at) = (self.store(&write.bytes.store)?, place(&write.target)?);
        let Some(found) = store.settle(&at).await? else { return Ok(None) };
        let fingerprint = found.fingerprint.as_str();
        let is_moved = fingerprint == write.bytes.fingerprint
            || (found.size_bytes == write.bytes.size_bytes && {
                let opened = store.open(&at, OpenOptions::default()).await?.exact();
                opened.stat.fingerprint == found.fingerprint
                    && self.digest(opened.body).await? == write.bytes.sha256
            });
        Ok(is_moved.then(|| fingerprint.to_owned()))
    }

    /// How an upload ended, if it has.
    async fn ended(&self, upload: UploadId) -> Result<Option<EndedUpload>, Fault> {
        Ok(match self.catalog().upload(upload).await? {
            Some(upload) if !upload.status.is_final() => None,
            Some(upload) => Some(EndedUpload { keeps_bytes: self.keeps_bytes(&upload) }),
            None => Some(EndedUpload { keeps_bytes: false }),
        })
    }

    /// Takes bytes away from the place where they must not be found: back into staging if their upload may
    /// be retried.
    pub(crate) async fn take_back(&self, write: &WriteIntent, keep: bool) -> Result<(), Fault> {
        let store = self.store(&write.bytes.store)?;
        let (from, to) = (place(&write.target)?, place(&write.bytes.staged_at)?);
        if !keep {
            store.remove(&from).await?;
            return Ok(());
        }
        let options = RenameOptions { condition: Condition::IfAbsent, ..RenameOptions::default() };
        match store.rename(&from, &to, options).await {
            // The move that brought them was cut off between its copy and its removal.
            Err(larder_store::Error::Precondition { .. }) => drop(store.remove(&from).await?),
            moved => drop(moved?),
        }
        Ok(())
    }

    /// Takes bytes that no record can name out of the way, where they are kept.
    async fn set_aside(&self, store: &str, at: &str, asset: AssetId) -> Result<(), Fault> {
        let aside = own_place(&format!("trash/unrecorded-{asset}"))?;
        tracing::warn!(store, place = at, set_aside = %aside, "bytes whose bucket or record is gone were set aside");
        self.store(store)?.rename(&place(at)?, &aside, RenameOptions::default()).await?;
        Ok(())
    }

    async fn is_recorded(&self, write: &WriteIntent, moved: &str) -> Result<bool, Fault> {
        let record = self.catalog().asset(write.asset_id).await?;
        Ok(record.is_some_and(|asset| {
            write.lies_where(&asset)
                && (asset.fingerprint.as_str(), asset.sha256.as_str()) == (moved, write.bytes.sha256.as_str())
        }))
    }
}

/// What a settlement has to know of an upload that ended.
struct EndedUpload {
    keeps_bytes: bool,
}
