//! One thing on its way: copied, switched, and looked at again when it became another one meanwhile.

use std::sync::Arc;

use larder_catalog::{CopyState, SpareCopy};
use larder_core::{Code, Fault, FaultKind};
use tokio::{
    sync::Semaphore,
    time::{Duration, Instant, sleep},
};

use super::{
    batch::Switcher,
    copying::{Answers, Copied, Landed},
    item::Item,
    rate::Rate,
};
use crate::{fail_point, larder::Larder, spare::Forget};

/// How often one thing is tried: it may be replaced while it is copied.
const ATTEMPTS: u32 = 6;

/// How long to wait before the second attempt; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(100);

/// Age at which the note of a copy on its way is renewed: well before a sweep takes it for one that was
/// cut off.
const NOTE_RENEWED: Duration = Duration::from_secs(600);

/// How one thing ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Copied,
    /// The right bytes were there already.
    Adopted,
    /// What was left is gone.
    Removed,
    /// There is nothing (more) to do.
    Skipped,
}

/// What all things that a run moves have in common.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// Name of the store that is gone to.
    pub(super) to: String,
    /// One permit for each copy at a time.
    pub(super) copies: Arc<Semaphore>,
    pub(super) rate: Option<Arc<Rate>>,
    pub(super) answers: Arc<Answers>,
    pub(super) switcher: Switcher,
}

impl Larder {
    /// Moves one thing, and whatever it becomes while it is moved.
    pub(super) async fn move_item(
        &self,
        mut item: Item,
        way: &Way,
        mut noted: Option<Instant>,
    ) -> Result<Outcome, Fault> {
        let to = way.to.as_str();
        if let Item::Variant(variant, None) = &item {
            // Its asset is gone for good: so is it, with the next collection or now.
            self.remove_variant(variant).await?;
            return Ok(Outcome::Skipped);
        }
        if noted.is_none() {
            let (natural, _) = item.targets(self).await?;
            self.announce_copy(&item, to, &natural).await?;
            noted = Some(Instant::now());
        }
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
            }
            let copied = {
                let _permit = way
                    .copies
                    .acquire()
                    .await
                    .map_err(|error| Fault::internal("copies are not made any more").caused_by(error))?;
                self.copy_item(&item, way).await
            };
            let copied = match copied {
                Err(fault) if fault.kind() == FaultKind::Unavailable && attempt + 1 < ATTEMPTS => continue,
                copied => copied?,
            };
            if let Copied::To(landed) = &copied {
                fail_point::reached("migrate.copied");
                if self.is_noted(&item, to, landed, noted).await?
                    && self.switch(&way.switcher, &item, to, landed).await?
                {
                    return Ok(if landed.adopted { Outcome::Adopted } else { Outcome::Copied });
                }
            }
            let Some(now) = self.look_again(&item, to, &copied).await? else { return Ok(Outcome::Skipped) };
            item = now;
            let (natural, _) = item.targets(self).await?;
            self.announce_copy(&item, to, &natural).await?;
            noted = Some(Instant::now());
        }
        Err(Fault::new(Code::Conflict, "it changes all the time").remedy("run it again later"))
    }

    /// The record as it is now, after it was found to be another one, or its bytes were not there; `None`
    /// if there is nothing to move any more. A copy of what it was before is taken back.
    async fn look_again(&self, item: &Item, to: &str, copied: &Copied) -> Result<Option<Item>, Fault> {
        if let Item::Asset(asset) = item {
            // Waits for whoever writes there, and settles what a dead writer left.
            let held = self.hold(&asset.bucket, &asset.key).await?;
            self.release(&held).await;
        }
        let now = item.again(self).await?;
        let same = |now: &Item| {
            (now.at(), now.sha256(), now.fingerprint(), now.kind())
                == (item.at(), item.sha256(), item.fingerprint(), item.kind())
        };
        match (copied, now) {
            (Copied::To(landed), now) => {
                if !now.as_ref().is_some_and(same) {
                    self.take_copy_back(item, to, landed).await?;
                }
                Ok(now)
            }
            (Copied::Outdated, Some(now)) if same(&now) => match &now {
                // They can be made again, and are, by whoever asks for them.
                Item::Variant(variant, _) => {
                    tracing::warn!(
                        place = variant.place,
                        "a variant's bytes are gone; it will be made again"
                    );
                    self.remove_lost_variant(variant).await?;
                    Ok(None)
                }
                Item::Asset(asset) => Err(Fault::new(
                    Code::StoredBytesCorrupt,
                    format!(
                        "the bytes at {} in {} are gone or not those of the record",
                        now.at(),
                        asset.store
                    ),
                )
                .remedy("restore the file from a backup, or delete the asset")),
            },
            (Copied::Outdated | Copied::Displaced, now) => Ok(now),
        }
    }

    /// Removes a copy that no record will name.
    async fn take_copy_back(&self, item: &Item, to: &str, landed: &Landed) -> Result<(), Fault> {
        let noted = self.catalog().spare_copy(to, landed.place.as_str()).await?;
        let ours = |copy: &SpareCopy| copy.state != CopyState::Left && copy.sha256 == item.sha256();
        if let Some(copy) = noted.filter(ours) {
            self.remove_spare(&copy, Forget::Now).await?;
        }
        Ok(())
    }

    /// Whether the copy is still noted as on its way; renews a note that got old, and looks whether its
    /// bytes outlived it.
    async fn is_noted(
        &self,
        item: &Item,
        to: &str,
        landed: &Landed,
        noted: Option<Instant>,
    ) -> Result<bool, Fault> {
        if noted.is_some_and(|at| at.elapsed() < NOTE_RENEWED) {
            return Ok(true);
        }
        self.announce_copy(item, to, &landed.place).await?;
        Ok(self.lies_at(to, landed.place.as_str()).await?.is_some_and(|found| found == landed.fingerprint))
    }
}
