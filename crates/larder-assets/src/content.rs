//! Content that assets share: the `hash` layout, in which bytes lie at their digest.
//!
//! How many assets have the same bytes is told by their records, and counted nowhere. So that bytes are
//! never removed from under an asset that is about to share them, all who change that take the turn of
//! the content, a row of `place_writes` beside those of keys:
//!
//! - Whoever makes a record name a shared place looks at the bytes there while it holds the turn, and
//!   proves the turn in the transaction of the record.
//! - Whoever removes bytes from a shared place holds the turn, and finds before that no record names the
//!   place and no writer who was cut off declared it as its target.
//!
//! The turn of a key is taken before that of content, and nobody takes the turns of two contents at a
//! time, so nobody waits in a circle. No intent is ever kept in the row of a content: what was cut off is
//! settled by whoever takes the key.

use larder_catalog::{AssetRecord, Class, Fence, SpareCopy};
use larder_core::{AssetId, BucketName, Code, Fault, FileType, ObjectKey};
use larder_store::{Attributes, Condition, Fingerprint, OpenOptions, Place, RenameOptions, StoreExt};
use serde_json::Value;

use crate::{
    assets::CopyTarget,
    buckets::Bucket,
    commit::{
        Held, Intent, NewBytes, Picture, PutOutcome, Turns, WriteCondition, WriteIntent, check_condition,
    },
    fail_point,
    intake::{stage, uncut},
    jobs::JobContext,
    larder::{Larder, own_place, place},
    policy::{GpsPolicy, Layout},
    variants::source_of_shared,
};

/// Looks at a shared place before it is given up that it changes each time.
const LOOKS: u32 = 3;

/// What lies at a shared place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing,
    /// The bytes whose digest it is. `is_known`: a record says so.
    Whole {
        fingerprint: Fingerprint,
        is_known: bool,
    },
    /// Other bytes: they were damaged, or are a stranger's.
    Damaged,
    /// Other bytes, of an asset.
    Taken,
}

/// Whether bytes of this digest lie at a place that assets share.
pub(crate) fn is_shared(at: &str, sha256: &str) -> bool {
    at.parse::<Place>().is_ok_and(|at| at.content() == Some(sha256))
}

pub(crate) fn shares(asset: &AssetRecord) -> bool {
    is_shared(&asset.place, &asset.sha256)
}

/// Whether a copy lies at a place that assets share; variants and the trash are never shared so.
pub(crate) fn is_shared_copy(copy: &SpareCopy) -> bool {
    copy.variant_id.is_none() && is_shared(&copy.place, &copy.sha256)
}

impl Bucket {
    /// Where new bytes of the bucket lie if they may be shared.
    pub(crate) fn place_of_content(&self, sha256: &str, content_type: &str) -> Option<Place> {
        match self.policy.layout {
            Layout::Path => None,
            Layout::Hash => {
                let extension =
                    FileType::of_content_type(content_type).map_or("bin", |known| known.extension());
                Place::of_content(self.prefix(), sha256, extension)
            }
        }
    }
}

impl Larder {
    /// Takes the turn of a content.
    pub(crate) async fn hold_content(&self, bucket: &BucketName, sha256: &str) -> Result<Held, Fault> {
        let name = turn_of(sha256)?;
        let (row, since) = self.wait_for_turn(bucket, &name).await?;
        Ok(Held::new(row.fence(), since))
    }

    /// Takes the turn of the variants that are shared by whoever has a source.
    pub(crate) async fn hold_variants(&self, source_sha256: &str) -> Result<Held, Fault> {
        let name = ObjectKey::own(&format!("variants/{source_sha256}"))?;
        // Their records tell no bucket, and outlive their assets.
        let (row, since) = self.wait_for_turn(&"variants".parse()?, &name).await?;
        Ok(Held::new(row.fence(), since))
    }

    /// As [`hold_variants`](Self::hold_variants), if variants at a place are shared.
    pub(crate) async fn hold_variants_at(&self, at: &str) -> Result<Option<Held>, Fault> {
        match source_of_shared(at) {
            Some(source) => self.hold_variants(source).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether somebody is about to put or remove bytes of a digest.
    pub(crate) async fn is_content_in_hand(&self, bucket: &BucketName, sha256: &str) -> Result<bool, Fault> {
        let row = self.catalog().place_write(bucket, &turn_of(sha256)?).await?;
        Ok(row.is_some_and(|row| row.holder.is_some())
            || !self.catalog().place_writes_about(bucket, sha256).await?.is_empty())
    }

    /// Looks at a shared place. What is whole there is durable as well.
    pub(crate) async fn content_at(
        &self,
        store: &str,
        at: &Place,
        (sha256, size_bytes): (&str, u64),
    ) -> Result<Content, Fault> {
        for _ in 1..LOOKS {
            match self.content_now_at(store, at, (sha256, size_bytes)).await {
                // A copy between stores puts the same bytes there, without the turn.
                Err(fault) if fault.code == Code::Conflict => {}
                content => return content,
            }
        }
        self.content_now_at(store, at, (sha256, size_bytes)).await
    }

    async fn content_now_at(
        &self,
        store: &str,
        at: &Place,
        (sha256, size_bytes): (&str, u64),
    ) -> Result<Content, Fault> {
        let place = at.as_str();
        let Some(found) = self.store(store)?.find(at).await? else { return Ok(Content::Nothing) };
        let fingerprint = found.fingerprint.as_str();
        // A record that was stored says that they were whole, and durable, as they are now.
        if self.catalog().asset_with_bytes_at(store, place, sha256, fingerprint).await?.is_some() {
            return Ok(Content::Whole { fingerprint: found.fingerprint, is_known: true });
        }
        if found.size_bytes == size_bytes {
            let opened = self.store(store)?.open(at, OpenOptions::default()).await?.exact();
            let read = opened.stat.fingerprint.clone();
            if self.digest(opened.body).await? == sha256 {
                let settled = self.store(store)?.settle(at).await?;
                return match settled.is_some_and(|stat| stat.fingerprint == read) {
                    true => Ok(Content::Whole { fingerprint: read, is_known: false }),
                    false => Err(changed_meanwhile(at)),
                };
            }
        }
        let others = self.catalog().asset_with_others_at(store, place, sha256).await?;
        Ok(if others.is_some() { Content::Taken } else { Content::Damaged })
    }

    /// Whether bytes at a shared place are needed: by an asset other than `except`, or by a write of them
    /// that was cut off before its record. Holds for as long as the caller has the turn of the content.
    pub(crate) async fn is_content_needed(
        &self,
        (bucket, sha256): (&BucketName, &str),
        (store, at): (&str, &str),
        except: Option<AssetId>,
    ) -> Result<bool, Fault> {
        if self.catalog().asset_at_place(store, at, except).await?.is_some() {
            return Ok(true);
        }
        let is_target = |intent: &Value| {
            matches!(
                serde_json::from_value::<Intent>(intent.clone()),
                Ok(Intent::Write(write)) if write.target == at && write.bytes.store == store
            )
        };
        let cut_off = self.catalog().place_writes_about(bucket, sha256).await?;
        Ok(cut_off.iter().any(|row| row.intent.as_ref().is_some_and(is_target)))
    }

    /// Stores the record of bytes at their digest, where they are moved unless they lie there already. The
    /// key is held. `None` if the place can't be had: then nothing has moved. On failure, says whether the
    /// bytes may have moved.
    pub(crate) async fn write_content(
        &self,
        bucket: &Bucket,
        held: &Held,
        intent: &WriteIntent,
        job: Option<&JobContext>,
    ) -> Result<Option<(AssetRecord, bool)>, (Fault, bool)> {
        let turn =
            self.hold_content(&held.bucket, &intent.bytes.sha256).await.map_err(|fault| (fault, false))?;
        let written = self.write_content_held(bucket, (held, &turn), intent, job).await;
        if !matches!(written, Ok(Some(_))) {
            self.release(&turn).await;
        }
        written
    }

    async fn write_content_held(
        &self,
        bucket: &Bucket,
        (held, turn): (&Held, &Held),
        intent: &WriteIntent,
        job: Option<&JobContext>,
    ) -> Result<Option<(AssetRecord, bool)>, (Fault, bool)> {
        let before = |fault| (fault, false);
        let bytes = &intent.bytes;
        let at = place(&intent.target).map_err(before)?;
        let mut looks = 0;
        let (fingerprint, moved, corrects) = loop {
            looks += 1;
            let lies = self.content_at(&bytes.store, &at, (&bytes.sha256, bytes.size_bytes)).await;
            let lies = lies.map_err(before)?;
            let corrects = !matches!(lies, Content::Whole { is_known: true, .. });
            match lies {
                Content::Taken => return Ok(None),
                Content::Whole { fingerprint, .. } => {
                    fail_point::reached("commit.intent");
                    break (fingerprint, false, corrects);
                }
                // The source of a copy without bytes of its own.
                Content::Nothing | Content::Damaged if bytes.staged_at.is_empty() => return Ok(None),
                _ => {}
            }
            self.declare_intent(held, &Intent::Write(Box::new(intent.clone()))).await.map_err(before)?;
            fail_point::reached("commit.intent");
            match self.move_to_content((held, turn), intent, &at, lies == Content::Damaged).await {
                Ok(Some(fingerprint)) => break (fingerprint, true, corrects),
                Ok(None) => return Ok(None),
                // It lies there now.
                Err(fault) if fault.code == Code::Conflict && looks < LOOKS => {}
                Err(fault) => {
                    let staged = self.lies_at(&bytes.store, &bytes.staged_at).await;
                    return Err((fault, !matches!(staged, Ok(Some(_)))));
                }
            }
        };
        fail_point::reached("commit.moved");
        let turns = Turns { key: held, content: Some(turn), corrects };
        let recorded = self
            .record_write(bucket, turns, intent.clone(), &fingerprint, job)
            .await
            .map_err(|fault| (fault, moved))?;
        fail_point::reached("commit.recorded");
        if !moved
            && !bytes.staged_at.is_empty()
            && let (Ok(store), Ok(staged)) = (self.store(&bytes.store), place(&bytes.staged_at))
        {
            stage::discard(&**store, &staged).await;
        }
        Ok(Some(recorded))
    }

    /// Moves staged bytes to their digest. Damaged ones that lie there are set aside, and whoever shares the
    /// place has whole ones again. `None` if the file system can't give the place.
    async fn move_to_content(
        &self,
        (held, turn): (&Held, &Held),
        intent: &WriteIntent,
        at: &Place,
        is_damaged: bool,
    ) -> Result<Option<Fingerprint>, Fault> {
        held.may_move()?;
        turn.may_move()?;
        let store = self.store(&intent.bytes.store)?;
        if is_damaged {
            let aside = own_place(&format!("trash/unrecorded-{}", intent.asset_id))?;
            tracing::warn!(place = %at, set_aside = %aside, "bytes that are not those of their name were set aside");
            store.rename(at, &aside, RenameOptions::default()).await?;
        }
        let attributes =
            Attributes { content_type: Some(intent.bytes.content_type.clone()), ..Attributes::default() };
        let options = RenameOptions { condition: Condition::IfAbsent, attributes: Some(attributes) };
        match store.rename(&place(&intent.bytes.staged_at)?, at, options).await {
            Ok(stat) => Ok(Some(stat.fingerprint)),
            Err(larder_store::Error::Blocked { .. }) => Ok(None),
            Err(larder_store::Error::Precondition { .. }) => Err(changed_meanwhile(at)),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes bytes of an upload that ended away from where they may be shared: back into staging if the
    /// upload may be retried. Holds the turn of the content.
    pub(crate) async fn take_content_back(
        &self,
        held: &Fence,
        write: &WriteIntent,
        keep: bool,
    ) -> Result<(), Fault> {
        let (bytes, at) = (&write.bytes, write.target.as_str());
        // This write's own intent says that it needs them.
        let is_needed = self.catalog().asset_at_place(&bytes.store, at, None).await?.is_some()
            || self
                .catalog()
                .place_writes_about(&held.bucket, &bytes.sha256)
                .await?
                .iter()
                .any(|row| row.key != held.key);
        if !is_needed {
            return self.take_back(write, keep).await;
        }
        if keep && self.lies_at(&bytes.store, &bytes.staged_at).await?.is_none() {
            let (from, to) = (place(at)?, place(&bytes.staged_at)?);
            self.store(&bytes.store)?.copy(&from, &to, Default::default()).await?;
        }
        Ok(())
    }

    /// Purges a deleted asset that shares its bytes: they go if nobody else has them, then the record. In
    /// between, the record still tells of them.
    pub(crate) async fn purge_content(&self, asset: &AssetRecord) -> Result<(), Fault> {
        let turn = self.hold_content(&asset.bucket, &asset.sha256).await?;
        let purged = self.purge_content_held(&turn, asset).await;
        if purged.is_err() {
            self.give_back([&turn]).await;
        }
        purged
    }

    async fn purge_content_held(&self, turn: &Held, asset: &AssetRecord) -> Result<(), Fault> {
        let lies = (asset.store.as_str(), asset.place.as_str());
        if !self.is_content_needed((&asset.bucket, &asset.sha256), lies, Some(asset.id)).await? {
            let at = place(&asset.place)?;
            turn.remove(self.store(&asset.store)?, &at).await?;
        }
        let (id, fence) = (asset.id, (**turn).clone());
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.confirm_place(&fence).await?;
                    tx.void_copies_of_asset(id).await?;
                    tx.purge_asset(id).await?;
                    tx.release_place(&fence).await
                })
            })
            .await?;
        Ok(())
    }

    /// Removes a file without a record; answers `false` if it has one by now.
    pub(crate) async fn remove_orphan(&self, bucket: &BucketName, at: &Place) -> Result<bool, Fault> {
        let store = self.stores().primary();
        let Some(sha256) = at.content() else {
            store.remove(at).await?;
            return Ok(true);
        };
        let turn = self.hold_content(bucket, sha256).await?;
        let lies = (self.stores().primary_name(), at.as_str());
        let removed = match self.is_content_needed((bucket, sha256), lies, None).await {
            Ok(false) => turn.remove(store, at).await.map(|_| true),
            needed => needed.map(|_| false),
        };
        self.give_back([&turn]).await;
        removed
    }

    /// Copies an asset within its bucket without touching a byte, where its bytes may be shared; `None`
    /// where they have to pass the intake.
    pub(crate) async fn copy_content(
        &self,
        source: &AssetRecord,
        target: &Bucket,
        to: &CopyTarget,
    ) -> Result<Option<PutOutcome>, Fault> {
        let Some(bytes) = self.bytes_to_share(source, target, to)? else { return Ok(None) };
        self.check_room(&target.name).await?;
        let condition = if to.replace { WriteCondition::None } else { WriteCondition::IfAbsent };
        let (larder, target, key) = (self.clone(), target.clone(), to.key.clone());
        uncut(async move {
            let held = larder.hold(&target.name, &key).await?;
            let written = larder.share_held(&target, &held, bytes, &condition).await;
            match written {
                Ok(Some((asset, created))) => {
                    if !created {
                        larder.remove_void_copies(asset.id).await;
                    }
                    Ok(Some(larder.outcome(&target, &asset, created)))
                }
                other => {
                    larder.release(&held).await;
                    other.map(|_| None)
                }
            }
        })
        .await
    }

    async fn share_held(
        &self,
        bucket: &Bucket,
        held: &Held,
        bytes: NewBytes,
        condition: &WriteCondition,
    ) -> Result<Option<(AssetRecord, bool)>, Fault> {
        let present = self.catalog().asset_at(&held.bucket, &held.key).await?;
        check_condition(condition, present.as_ref())?;
        let intent = self.write_intent(bucket, &held.key, present.as_ref(), bytes, None);
        self.write_content(bucket, held, &intent, None).await.map_err(|(fault, _)| fault)
    }

    /// What the record of a copy says, if the rules of the bucket and of GPS positions let these very bytes
    /// be shared.
    fn bytes_to_share(
        &self,
        source: &AssetRecord,
        target: &Bucket,
        to: &CopyTarget,
    ) -> Result<Option<NewBytes>, Fault> {
        let at = target.place_of_content(&source.sha256, &source.content_type);
        let rules = &target.policy;
        let is_open = to.untouched || !source.has_gps || rules.gps == GpsPolicy::Serve;
        let is_called_otherwise = |extension: String| {
            FileType::of_extension(&extension).is_some_and(|known| known.content_type != source.content_type)
        };
        let may_share = source.bucket == target.name
            && !to.key.extension().is_some_and(is_called_otherwise)
            && at.is_some_and(|at| at.as_str() == source.place)
            && source.store == self.stores().primary_name()
            && source.status != larder_catalog::AssetStatus::Failed
            && rules.accepts(FileType::of_content_type(&source.content_type))
            && source.size_bytes <= rules.max_bytes.0
            && is_open;
        let picture = match (source.width_px, source.height_px, source.frames, source.perceptual_hash) {
            (Some(width_px), Some(height_px), Some(frames), Some(perceptual_hash)) => {
                source.description.clone().map(|description| Picture {
                    width_px,
                    height_px,
                    frames,
                    has_gps: source.has_gps,
                    description,
                    perceptual_hash,
                })
            }
            _ => None,
        };
        // Of one that was adopted, not everything is known that an upload finds out.
        if !may_share || picture.is_some() != source.width_px.is_some() {
            return Ok(None);
        }
        Ok(Some(NewBytes {
            store: source.store.clone(),
            staged_at: String::new(),
            fingerprint: source.fingerprint.clone(),
            size_bytes: source.size_bytes,
            sha256: source.sha256.clone(),
            md5: source.md5.clone(),
            content_type: source.content_type.clone(),
            original_filename: source.original_filename.clone(),
            owner: source.owner.clone(),
            metadata: source.metadata.clone(),
            tags: source.tags.clone(),
            expires_at: None,
            picture,
        }))
    }
}

/// The name under which the writers of a content take turns. No asset has it as its key, so whoever holds
/// a key never waits for itself.
fn turn_of(sha256: &str) -> Result<ObjectKey, Fault> {
    Ok(ObjectKey::own(&format!("content/{sha256}"))?)
}

fn changed_meanwhile(at: &Place) -> Fault {
    Fault::new(Code::Conflict, format!("{at} changed while it was looked at")).remedy("try again")
}
