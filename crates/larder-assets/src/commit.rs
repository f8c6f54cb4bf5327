//! How bytes get to their place and their record into the catalogue, so that a crash between the two
//! is mended.
//!
//! Writers of one key take turns through the catalogue (`place_writes`). A writer first stores its
//! intent, then moves the bytes, then stores the record in the transaction that proves that it still
//! holds the key. Whoever finds the intent of a dead writer settles it: if the moved bytes lie at
//! their place, the record is written; if not, the intent is dropped.
//!
//! Bytes that may be shared, by the `hash` layout, have a turn of their own: see [`crate::content`].

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use larder_catalog::{
    AssetRecord, AssetStatus, Class, CopyState, Fence, PlaceWrite, SpareCopy, Tx, UploadChange, UploadStatus,
    VariantIdentity,
};
use larder_core::{AssetId, BucketName, Code, Fault, ObjectKey, Timestamp, UploadId};
use larder_store::{Attributes, Condition, Fingerprint, OpenOptions, Place, RenameOptions, Stat, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    buckets::Bucket,
    cdn::{Noting, Reason},
    content::{is_shared, shares},
    fail_point,
    jobs::{self, JobContext, make_variants::MakeVariants},
    larder::{Larder, own_place, place},
    liveness::ProcessName,
    stores::LOCAL,
    variants::Wanted,
    view::{AssetView, asset_view, etag},
};

/// How long a writer may hold a key without asking again. Moving bytes and storing a record take
/// milliseconds; a writer that is slower than this is fenced off.
pub(crate) const HELD_FOR: Duration = Duration::from_secs(30);

/// How much of its time a writer must have left to move bytes. A writer that was stopped for long moves
/// nothing any more, since the next one may have moved its own.
const LEFT_TO_MOVE: Duration = Duration::from_secs(5);

/// How long a writer waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(40);

/// Assets with equal bytes whose records are corrected at once when damaged bytes were replaced by whole
/// ones; a scrub that repairs corrects what is beyond.
const CORRECTED_MAX: u32 = 1_000;

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

/// A key's turn, with the time since it was taken by this process's own clock.
#[derive(Debug)]
pub(crate) struct Held {
    fence: Fence,
    since: Instant,
    /// Whether something that was asked for in it may still happen.
    in_doubt: AtomicBool,
}

impl Held {
    pub(crate) fn new(fence: Fence, since: Instant) -> Self {
        Self { fence, since, in_doubt: AtomicBool::new(false) }
    }

    /// Whether bytes may still be moved in this turn.
    ///
    /// # Errors
    /// [`Code::Conflict`] if it is nearly over.
    pub(crate) fn may_move(&self) -> Result<(), Fault> {
        match self.since.elapsed() + LEFT_TO_MOVE < HELD_FOR {
            true => Ok(()),
            false => Err(self.is_over()),
        }
    }
}

impl Held {
    /// Removes what must not be removed after the turn is over. If it is not certain what became of that,
    /// the turn is not given back but runs out.
    ///
    /// # Errors
    /// [`Code::Conflict`] if it takes longer, or the turn is nearly over; the store's.
    pub(crate) async fn remove(&self, store: &Arc<dyn Store>, at: &Place) -> Result<bool, Fault> {
        self.may_move()?;
        let left = HELD_FOR.saturating_sub(self.since.elapsed());
        let removed = match tokio::time::timeout(left, store.remove(at)).await {
            Ok(removed) => removed.map_err(Fault::from),
            Err(_) => Err(self.is_over()),
        };
        self.in_doubt.fetch_or(removed.is_err(), Ordering::SeqCst);
        removed
    }

    fn is_over(&self) -> Fault {
        let detail = format!("writing {}/{} took longer than its turn", self.fence.bucket, self.fence.key);
        Fault::new(Code::Conflict, detail).remedy("try again")
    }
}

/// The turns that a record is stored in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns<'a> {
    pub(crate) key: &'a Fence,
    /// That of the content, if the bytes lie where others may share them.
    pub(crate) content: Option<&'a Fence>,
    /// Whether the records of others that share them may say otherwise of these bytes.
    pub(crate) corrects: bool,
}

impl Deref for Held {
    type Target = Fence;

    fn deref(&self) -> &Fence {
        &self.fence
    }
}

/// Bytes in staging with everything that their asset's record will say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NewBytes {
    /// The store that they lie in, and stay in. Intents of versions that had one store do not say.
    #[serde(default = "only_store")]
    pub(crate) store: String,
    pub(crate) staged_at: String,
    pub(crate) fingerprint: String,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: String,
    pub(crate) md5: String,
    pub(crate) content_type: String,
    pub(crate) original_filename: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) metadata: Value,
    pub(crate) tags: Vec<String>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) picture: Option<Picture>,
}

/// What is known of a picture after its decode.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Picture {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) frames: u32,
    pub(crate) has_gps: bool,
    pub(crate) description: Value,
    pub(crate) perceptual_hash: i64,
}

/// What a writer is about to do, as it stands in the catalogue while it does it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Intent {
    /// Put staged bytes under the key.
    Write(Box<WriteIntent>),
    /// Move the asset's bytes to the trash.
    Delete {
        /// The asset.
        asset_id: AssetId,
        /// Its version.
        version: i64,
        /// Where in the trash.
        trash: String,
    },
    /// Move the asset's bytes back from the trash.
    Restore {
        /// The asset.
        asset_id: AssetId,
        /// Where to.
        target: String,
        /// Where from.
        trash: String,
        /// In which store.
        #[serde(default = "only_store")]
        store: String,
    },
}

fn only_store() -> String {
    LOCAL.to_owned()
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WriteIntent {
    pub(crate) bytes: NewBytes,
    pub(crate) target: String,
    pub(crate) asset_id: AssetId,
    /// The version of the asset that is replaced; none for a new one.
    pub(crate) replaces: Option<i64>,
    /// Whether the bytes that are replaced lie at the target: not so where they lie in another store,
    /// which they leave when the record is stored.
    #[serde(default = "yes")]
    pub(crate) in_place: bool,
    pub(crate) upload: Option<UploadId>,
}

impl WriteIntent {
    /// Whether the bytes go where others may share them.
    fn is_shared(&self) -> bool {
        is_shared(&self.target, &self.bytes.sha256)
    }

    fn lies_where(&self, asset: &AssetRecord) -> bool {
        (&asset.store, &asset.place) == (&self.bytes.store, &self.target)
    }
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

    /// What is to be done to put bytes under a key: where they go to by the layout of the bucket, and what
    /// they replace. What lies at a shared place is never overwritten.
    pub(crate) fn write_intent(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        present: Option<&AssetRecord>,
        bytes: NewBytes,
        upload: Option<UploadId>,
    ) -> WriteIntent {
        let target = match bucket.place_of_content(&bytes.sha256, &bytes.content_type) {
            Some(shared) => shared.to_string(),
            None => match present {
                Some(asset) if !shares(asset) => asset.place.clone(),
                _ => Place::of_key(bucket.prefix(), key).to_string(),
            },
        };
        let mut intent = WriteIntent {
            target,
            asset_id: present.map_or_else(|| AssetId::new(self.ambient()), |asset| asset.id),
            replaces: present.map(|asset| asset.version),
            in_place: false,
            bytes,
            upload,
        };
        intent.in_place = !intent.is_shared() && present.is_some_and(|asset| intent.lies_where(asset));
        intent
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

    /// Stores the record for bytes that lie at their place.
    pub(crate) async fn record_write(
        &self,
        bucket: &Bucket,
        turns: Turns<'_>,
        intent: WriteIntent,
        moved: &Fingerprint,
        job: Option<&JobContext>,
    ) -> Result<(AssetRecord, bool), Fault> {
        let held = turns.key;
        let store = self.store(&intent.bytes.store)?;
        let fingerprint = store.stat(&place(&intent.target)?).await?.fingerprint;
        if fingerprint != *moved {
            return Err(Fault::new(
                Code::Conflict,
                format!("{}/{} was overwritten while it was stored", held.bucket, held.key),
            )
            .remedy("try again"));
        }
        let created = intent.replaces.is_none();
        let wanted = match intent.bytes.picture {
            Some(_) => self.wanted_at_upload(bucket).await?,
            None => Vec::new(),
        };
        let asset = self.asset_record(held, &intent, &fingerprint, wanted.is_empty());
        let work = RecordWork {
            held: held.clone(),
            content: turns.content.cloned(),
            corrects: turns.corrects,
            replaces: intent.replaces,
            upload: intent.upload,
            job: match wanted.is_empty() {
                true => None,
                false => Some(
                    jobs::new_job(&MakeVariants {
                        asset_id: asset.id,
                        upload_id: intent.upload,
                        recipes: None,
                    })?
                    .bucket(held.bucket.clone())
                    .subject(asset.id),
                ),
            },
            wanted,
            asset,
            ended: job.map(JobContext::lease),
            noting: self.noting()?,
        };
        let asset = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { work.store(tx).await }))
            .await?;
        self.record_cache().forget(&asset.bucket, &asset.key);
        Ok((asset, created))
    }

    fn asset_record(
        &self,
        held: &Fence,
        intent: &WriteIntent,
        fingerprint: &Fingerprint,
        is_ready: bool,
    ) -> AssetRecord {
        let now = self.ambient().now();
        let bytes = intent.bytes.clone();
        let picture = bytes.picture;
        AssetRecord {
            id: intent.asset_id,
            bucket: held.bucket.clone(),
            key: held.key.clone(),
            version: 1,
            status: if is_ready { AssetStatus::Ready } else { AssetStatus::Processing },
            store: bytes.store,
            place: intent.target.clone(),
            fingerprint: fingerprint.to_string(),
            size_bytes: bytes.size_bytes,
            sha256: bytes.sha256,
            md5: bytes.md5,
            content_type: bytes.content_type,
            original_filename: bytes.original_filename,
            owner: bytes.owner,
            metadata: bytes.metadata,
            tags: bytes.tags,
            width_px: picture.as_ref().map(|picture| picture.width_px),
            height_px: picture.as_ref().map(|picture| picture.height_px),
            frames: picture.as_ref().map(|picture| picture.frames),
            has_gps: picture.as_ref().is_some_and(|picture| picture.has_gps),
            perceptual_hash: picture.as_ref().map(|picture| picture.perceptual_hash),
            description: picture.map(|picture| picture.description),
            created_at: now,
            written_at: now,
            updated_at: now,
            expires_at: bytes.expires_at,
            deleted_at: None,
            trash_place: None,
        }
    }

    /// Takes the turn to write a key, settling what a dead writer left.
    pub(crate) async fn hold(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Held, Fault> {
        loop {
            let (row, since) = self.wait_for_turn(bucket, key).await?;
            let held = Held::new(row.fence(), since);
            if let Some(intent) = row.intent
                && self.settle(&held, intent).await? == Turn::GivenBack
            {
                continue;
            }
            return Ok(held);
        }
    }

    /// Waits until a row is ours; answers it as it was left, and since when it is held.
    pub(crate) async fn wait_for_turn(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<(PlaceWrite, Instant), Fault> {
        let deadline = Instant::now() + WAIT_MAX;
        let mut pause = Duration::from_millis(5);
        loop {
            let since = Instant::now();
            match self.try_hold(bucket, key).await {
                Ok(row) => return Ok((row, since)),
                Err(larder_catalog::Error::Precondition { .. }) if Instant::now() < deadline => {
                    if self.free_of_dead(bucket, key).await? {
                        continue;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(250));
                }
                Err(larder_catalog::Error::Precondition { .. }) => {
                    return Err(Fault::new(
                        Code::Conflict,
                        format!("{bucket}/{key} is being written by others all the time"),
                    )
                    .remedy("try again"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the turn from a holder whose process is certainly dead, so that nobody waits until it runs
    /// out. Its intent stays for whoever takes the turn next.
    async fn free_of_dead(&self, bucket: &BucketName, key: &ObjectKey) -> Result<bool, Fault> {
        let Some(row) = self.catalog().place_write(bucket, key).await? else { return Ok(false) };
        let holder = row.holder.as_deref().and_then(|name| name.parse::<ProcessName>().ok());
        if !holder.is_some_and(|process| process.is_certainly_dead()) {
            return Ok(false);
        }
        let fence = row.fence();
        let freed = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.release_holder(&fence).await }));
        match freed.await {
            Ok(()) => Ok(true),
            // Somebody else was faster.
            Err(larder_catalog::Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn try_hold(&self, bucket: &BucketName, key: &ObjectKey) -> larder_catalog::Result<PlaceWrite> {
        let (bucket, key) = (bucket.clone(), key.clone());
        let until = self.ambient().now().plus(HELD_FOR);
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.take_place(&bucket, &key, &ProcessName::current().to_string(), until).await
                })
            })
            .await
    }

    pub(crate) async fn declare_intent(&self, held: &Fence, intent: &Intent) -> Result<(), Fault> {
        let intent = serde_json::to_value(intent)
            .map_err(|error| Fault::internal("an intent does not print").caused_by(error))?;
        let held = held.clone();
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move { tx.set_place_intent(&held, &intent).await })
            })
            .await?;
        Ok(())
    }

    /// Gives the turn back. If that fails, it runs out by itself.
    pub(crate) async fn release(&self, held: &Fence) {
        let released = held.clone();
        let outcome = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.release_place(&released).await }))
            .await;
        if let Err(error) = outcome {
            tracing::debug!(bucket = %held.bucket, key = %held.key, %error, "a key could not be released; its lease will run out");
        }
    }

    /// Gives turns back after a removal, those that are not in doubt.
    pub(crate) async fn give_back(&self, turns: impl IntoIterator<Item = &Held>) {
        for held in turns {
            if !held.in_doubt.load(Ordering::SeqCst) {
                self.release(held).await;
            }
        }
    }

    /// Gives the turn back with its intent: whoever takes the key next settles what may have happened. If
    /// this fails, the turn runs out by itself.
    pub(crate) async fn hand_on(&self, held: &Fence) {
        let handed = held.clone();
        let outcome = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.release_holder(&handed).await }))
            .await;
        if let Err(error) = outcome {
            tracing::debug!(bucket = %held.bucket, key = %held.key, %error, "a key could not be handed on; its lease will run out");
        }
    }

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
    async fn moved_bytes(&self, write: &WriteIntent) -> Result<Option<String>, Fault> {
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

/// Whether a settlement used up the turn: storing a record gives it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Kept,
    GivenBack,
}

/// Everything that one transaction stores for bytes at their place.
struct RecordWork {
    held: Fence,
    content: Option<Fence>,
    corrects: bool,
    asset: AssetRecord,
    replaces: Option<i64>,
    upload: Option<UploadId>,
    wanted: Vec<Wanted>,
    job: Option<larder_catalog::NewJob>,
    ended: Option<larder_catalog::Lease>,
    noting: Option<Noting>,
}

impl RecordWork {
    async fn store(mut self, tx: &mut Tx) -> larder_catalog::Result<AssetRecord> {
        tx.confirm_place(&self.held).await?;
        if let Some(content) = &self.content {
            tx.confirm_place(content).await?;
            if self.corrects {
                let asset = &self.asset;
                let lies = (asset.store.as_str(), asset.place.as_str());
                tx.bytes_lie_at(lies, &asset.sha256, &asset.fingerprint, CORRECTED_MAX).await?;
            }
            tx.release_place(content).await?;
        }
        match self.replaces {
            None => tx.insert_asset(&self.asset).await?,
            Some(expected) => {
                let before = tx.asset(self.asset.id).await?;
                if let (Some(noting), Some(before)) = (self.noting.take(), &before) {
                    noting.asset(tx, before, Reason::Replaced).await?;
                }
                self.asset.version = tx.replace_asset(&self.asset, expected).await?;
                let lay = |asset: &AssetRecord| (asset.store.clone(), asset.place.clone());
                if let Some(before) = before.filter(|before| lay(before) != lay(&self.asset)) {
                    tx.note_spare(&SpareCopy::left_by(&before), CopyState::Void).await?;
                }
                tx.void_copies_of_asset(self.asset.id).await?;
                tx.mark_variants_stale(self.asset.id, &self.asset.sha256).await?;
            }
        }
        for wanted in &self.wanted {
            let identity = VariantIdentity {
                asset_id: self.asset.id,
                source_sha256: self.asset.sha256.clone(),
                recipe_digest: wanted.digest.clone(),
            };
            tx.want_variant(&identity, &wanted.recipe.to_string(), Some(&wanted.preset)).await?;
        }
        if let Some(upload) = self.upload {
            let change = upload_change(&self.asset, self.job.is_some());
            tx.change_upload(upload, &[UploadStatus::Pending, UploadStatus::Processing], change).await?;
        }
        if let Some(job) = self.job {
            tx.enqueue(job).await?;
        }
        if let Some(lease) = self.ended {
            tx.finish_job(lease).await?;
        }
        tx.release_place(&self.held).await?;
        Ok(self.asset)
    }
}

fn upload_change(asset: &AssetRecord, variants_follow: bool) -> UploadChange {
    let (status, stage, progress) = match variants_follow {
        true => (UploadStatus::Processing, "variants", 75),
        false => (UploadStatus::Completed, "done", 100),
    };
    UploadChange {
        status: Some(status),
        stage: Some(stage.to_owned()),
        progress_percentage: Some(progress),
        key: Some(asset.key.clone()),
        asset: Some((asset.id, asset.version)),
        staging_place: Some(None),
        ..UploadChange::default()
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
