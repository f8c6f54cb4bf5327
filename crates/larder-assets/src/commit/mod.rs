//! How bytes get to their place and their record into the catalogue, so that a crash between the two
//! is mended.
//!
//! Writers of one key take turns through the catalogue (`place_writes`). A writer first stores its
//! intent, then moves the bytes, then stores the record in the transaction that proves that it still
//! holds the key. Whoever finds the intent of a dead writer settles it: if the moved bytes lie at
//! their place, the record is written; if not, the intent is dropped.
//!
//! Bytes that may be shared, by the `hash` layout, have a turn of their own: see [`crate::content`].
//!
//! | file | idea |
//! |---|---|
//! | `turn` | the turn of a key |
//! | `intent` | what a writer is about to do |
//! | `record` | the record and all that is stored with it |
//! | `settle` | ending what a dead writer began |

mod intent;
mod record;
mod settle;
mod turn;

use larder_catalog::AssetRecord;
use larder_core::{Code, Fault, ObjectKey, UploadId};
use larder_store::{Attributes, Condition, Fingerprint, Place, RenameOptions, Stat};

pub(crate) use self::{
    intent::{Intent, NewBytes, Picture, WriteIntent},
    settle::Turn,
    turn::{HELD_FOR, Held, Turns},
};
use crate::{
    buckets::Bucket,
    fail_point,
    jobs::JobContext,
    larder::{Larder, own_place, place},
    view::{AssetView, asset_view, etag},
};

/// What must hold for a key to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WriteCondition {
    /// Nothing.
    #[default]
    None,
    /// No asset lies there (`If-None-Match: *`).
    IfAbsent,
    /// The asset there has one of these entity tags (`If-Match`); empty for any asset.
    IfMatch(Vec<String>),
}

/// The outcome of putting an object.
#[derive(Debug, Clone)]
pub struct PutOutcome {
    /// The asset as it is now.
    pub asset: AssetView,
    /// Whether there was none before.
    pub created: bool,
}

impl Larder {
    /// Moves staged bytes under a key and stores the record, the variants wanted at upload, their job
    /// and the upload's progress in one transaction; ends `job` in it as well, if one is given.
    pub(crate) async fn commit_bytes(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        bytes: NewBytes,
        condition: &WriteCondition,
        upload: Option<UploadId>,
        job: Option<&JobContext>,
    ) -> Result<(AssetRecord, bool), Fault> {
        let held = self.hold(&bucket.name, key).await?;
        let outcome = self.write_held(bucket, &held, bytes, condition, upload, job).await;
        match outcome {
            Ok((asset, created)) => {
                if !created {
                    self.remove_void_copies(asset.id).await;
                }
                Ok((asset, created))
            }
            Err((fault, true)) => {
                self.hand_on(&held).await;
                Err(fault)
            }
            Err((fault, false)) => {
                self.release(&held).await;
                Err(fault)
            }
        }
    }

    /// On failure, says whether the bytes may have moved: then the intent stays for recovery.
    async fn write_held(
        &self,
        bucket: &Bucket,
        held: &Held,
        bytes: NewBytes,
        condition: &WriteCondition,
        upload: Option<UploadId>,
        job: Option<&JobContext>,
    ) -> Result<(AssetRecord, bool), (Fault, bool)> {
        let before = |fault| (fault, false);
        let present =
            self.catalog().asset_at(&held.bucket, &held.key).await.map_err(|error| before(error.into()))?;
        check_condition(condition, present.as_ref()).map_err(before)?;
        let mut intent = self.write_intent(bucket, &held.key, present.as_ref(), bytes, upload);
        if intent.is_shared() {
            if let Some(recorded) = self.write_content(bucket, held, &intent, job).await? {
                return Ok(recorded);
            }
            // Something else has the place of these bytes.
            intent.target = Place::escaped(bucket.prefix(), &held.key).to_string();
            intent.in_place = present.as_ref().is_some_and(|asset| intent.lies_where(asset));
        }
        let before_it = match intent.in_place {
            true => self.as_it_lies(&intent.bytes.store, &intent.target).await.map_err(before)?,
            false => Condition::IfAbsent,
        };
        self.declare_intent(held, &Intent::Write(Box::new(intent.clone()))).await.map_err(before)?;
        fail_point::reached("commit.intent");
        let mut moved = self.move_staged(held, &intent, &before_it).await;
        if let Ok(Moved::Blocked) = moved {
            intent.target = Place::escaped(bucket.prefix(), &held.key).to_string();
            self.declare_intent(held, &Intent::Write(Box::new(intent.clone()))).await.map_err(before)?;
            moved = self.move_staged(held, &intent, &Condition::IfAbsent).await;
        }
        let fingerprint = match moved {
            Ok(Moved::To(fingerprint)) => fingerprint,
            Ok(Moved::Blocked) => {
                return Err(before(Fault::internal(format!(
                    "the escaped place {} is blocked",
                    intent.target
                ))));
            }
            // A move may have happened although it failed, at its sync: only bytes that are still in
            // staging have not moved.
            Err(fault) => {
                let staged = self.lies_at(&intent.bytes.store, &intent.bytes.staged_at).await;
                let still_there = matches!(staged, Ok(Some(_)));
                return Err((fault, !still_there));
            }
        };
        fail_point::reached("commit.moved");
        let turns = Turns { key: held, content: None, corrects: false };
        let recorded = self
            .record_write(bucket, turns, intent, &fingerprint, job)
            .await
            .map_err(|fault| (fault, true))?;
        fail_point::reached("commit.recorded");
        Ok(recorded)
    }

    /// Moves the bytes, if what lay at the place when the turn was taken still lies there. What lies at
    /// the place of a new asset without a record is a copy that is spare, and goes, or somebody's file: it
    /// is set aside, never overwritten.
    async fn move_staged(
        &self,
        held: &Held,
        intent: &WriteIntent,
        expected: &Condition,
    ) -> Result<Moved, Fault> {
        held.may_move()?;
        let store = self.store(&intent.bytes.store)?;
        let (from, to) = (place(&intent.bytes.staged_at)?, place(&intent.target)?);
        // The type is known only now that the bytes were judged.
        let attributes =
            Attributes { content_type: Some(intent.bytes.content_type.clone()), ..Attributes::default() };
        let options = |condition| RenameOptions { condition, attributes: Some(attributes.clone()) };
        let overtaken = || {
            Fault::new(Code::Conflict, format!("{}/{} was written by another", held.bucket, held.key))
                .remedy("try again")
        };
        match store.rename(&from, &to, options(expected.clone())).await {
            Err(larder_store::Error::Precondition { .. }) if !intent.in_place => {
                // Another record under the key means that this turn was overtaken, and not a stranger's
                // file.
                let present = self.catalog().asset_at(&held.bucket, &held.key).await?;
                if present.map(|asset| asset.version) != intent.replaces {
                    return Err(overtaken());
                }
                // Adopted files are assets wherever they lie, also where another key belongs.
                if self.known_at(&intent.bytes.store, &to).await?.is_some() {
                    return Ok(Moved::Blocked);
                }
                held.may_move()?;
                if self.remove_if_spare(&intent.bytes.store, &to).await? {
                    match store.rename(&from, &to, options(Condition::IfAbsent)).await {
                        // A move from store to store put its copy again, or a file came.
                        Err(larder_store::Error::Precondition { .. }) => {}
                        moved => return Moved::of(moved),
                    }
                }
                if !store.capabilities().rename_keeps_fingerprint
                    && let Some(moved) = self.moved_bytes(intent).await?
                {
                    // An earlier turn was cut off between the copy and the removal that make its move.
                    store.remove(&from).await?;
                    return Ok(Moved::To(Fingerprint::new(moved)));
                }
                if !self.remove_if_spare(&intent.bytes.store, &to).await? {
                    let aside = own_place(&format!("trash/unrecorded-{}", intent.asset_id))?;
                    tracing::warn!(bucket = %held.bucket, key = %held.key, place = %to, set_aside = %aside, "a file without a record lay at the place of a new asset");
                    store.rename(&to, &aside, RenameOptions::default()).await?;
                }
                Moved::of(store.rename(&from, &to, options(Condition::IfAbsent)).await)
            }
            Err(larder_store::Error::Precondition { .. }) => Err(overtaken()),
            moved => Moved::of(moved),
        }
    }

    /// What a replacement may replace: exactly what lies there now.
    async fn as_it_lies(&self, store: &str, at: &str) -> Result<Condition, Fault> {
        if !self.store(store)?.capabilities().replace_if_match {
            return Ok(Condition::None);
        }
        let found = self.lies_at(store, at).await?;
        Ok(found.map_or(Condition::IfAbsent, |found| Condition::IfMatch(Fingerprint::new(found))))
    }
}

/// Where a move of staged bytes ended.
#[derive(Debug)]
enum Moved {
    To(Fingerprint),
    /// The file system can't give the place: `a` beside `a/b`.
    Blocked,
}

impl Moved {
    fn of(moved: larder_store::Result<Stat>) -> Result<Self, Fault> {
        match moved {
            Err(larder_store::Error::Blocked { .. }) => Ok(Self::Blocked),
            moved => Ok(Self::To(moved?.fingerprint)),
        }
    }
}

pub(crate) fn check_condition(
    condition: &WriteCondition,
    present: Option<&AssetRecord>,
) -> Result<(), Fault> {
    let failed = |what: String| {
        Err(Fault::new(Code::PreconditionFailed, what).remedy("read the asset again and decide anew"))
    };
    match (condition, present) {
        (WriteCondition::IfAbsent, Some(asset)) => {
            failed(format!("an asset lies already under {}/{}", asset.bucket, asset.key))
        }
        (WriteCondition::IfMatch(_), None) => failed("no asset lies under this key".to_owned()),
        (WriteCondition::IfMatch(tags), Some(asset))
            if !tags.is_empty() && !tags.contains(&etag(&asset.sha256)) =>
        {
            failed(format!("the asset's entity tag is {}", etag(&asset.sha256)))
        }
        _ => Ok(()),
    }
}

impl Larder {
    pub(crate) fn outcome(&self, bucket: &Bucket, asset: &AssetRecord, created: bool) -> PutOutcome {
        PutOutcome { asset: asset_view(self, bucket, asset), created }
    }
}
