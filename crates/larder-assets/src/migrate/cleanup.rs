//! Removing what moves left in a store, when somebody asks for it.

use larder_catalog::{AssetRecord, CopyState, SpareCopy};
use larder_core::{Code, Fault};
use larder_store::OpenOptions;

use super::{MigrateOptions, one::Outcome};
use crate::{
    larder::{Larder, place},
    spare::{Dropped, Forget},
};

/// Where the bytes lie of which a copy was left.
struct Present {
    store: String,
    at: String,
    /// None where only the digest tells, as in the trash of some stores.
    fingerprint: Option<String>,
    size_bytes: u64,
    sha256: String,
}

impl Larder {
    /// Removes one copy that was left: only if its record lies in the store that was named, or back in this
    /// one, and the bytes there are those of the record.
    pub(super) async fn clean_up(
        &self,
        copy: &SpareCopy,
        options: &MigrateOptions,
    ) -> Result<Outcome, Fault> {
        let held = self.hold_for(copy).await?;
        let outcome = self.clean_up_held(copy, held.as_ref(), options).await;
        self.give_back(&held).await;
        outcome
    }

    async fn clean_up_held(
        &self,
        copy: &SpareCopy,
        held: Option<&crate::commit::Held>,
        options: &MigrateOptions,
    ) -> Result<Outcome, Fault> {
        // It may have been taken up again since it was listed.
        let now = self.catalog().spare_copy(&copy.store, &copy.place).await?;
        let Some(copy) = now.filter(|now| now.state != CopyState::Coming && now.sha256 == copy.sha256) else {
            return Ok(Outcome::Skipped);
        };
        if copy.state == CopyState::Left
            && let Some(present) = self.present_of(&copy).await?
            && present.sha256 == copy.sha256
        {
            // It may be back in the store that it left, at another place: then nothing needs the copy either.
            if present.store != options.to && present.store != copy.store {
                return Ok(Outcome::Skipped);
            }
            self.check_present(&present, options.verify).await?;
        }
        match self.drop_copy(&copy, held, Forget::Now).await? {
            Dropped::Removed => Ok(Outcome::Removed),
            Dropped::Gone | Dropped::Named => Ok(Outcome::Skipped),
            Dropped::Foreign => Err(Fault::new(
                Code::Conflict,
                format!("another file lies at {} in {}, which is left alone", copy.place, copy.store),
            )
            .remedy("look at that file, and remove it by hand if nothing needs it")),
        }
    }

    async fn present_of(&self, copy: &SpareCopy) -> Result<Option<Present>, Fault> {
        Ok(match copy.variant_id {
            Some(id) => {
                self.catalog().variant(id).await?.filter(|variant| !variant.place.is_empty()).map(|variant| {
                    Present {
                        store: variant.store,
                        at: variant.place,
                        fingerprint: Some(variant.fingerprint),
                        size_bytes: variant.size_bytes,
                        sha256: variant.sha256,
                    }
                })
            }
            None => self.catalog().asset(copy.asset_id).await?.map(|asset: AssetRecord| Present {
                at: asset.trash_place.clone().unwrap_or(asset.place),
                fingerprint: asset.deleted_at.is_none().then_some(asset.fingerprint),
                store: asset.store,
                size_bytes: asset.size_bytes,
                sha256: asset.sha256,
            }),
        })
    }

    /// Fails unless the bytes that a record names are there: by the fingerprint that the record was given
    /// after they were hashed, or by reading them in full.
    async fn check_present(&self, present: &Present, in_full: bool) -> Result<(), Fault> {
        let store = self.store(&present.store)?;
        let at = place(&present.at)?;
        let kept = |what: &str| {
            Fault::new(
                Code::StoredBytesCorrupt,
                format!("the bytes at {at} in {} {what}; the copy that was left is kept", present.store),
            )
            .remedy("restore them from the copy, or delete the asset")
        };
        let stat = match store.stat(&at).await {
            Err(larder_store::Error::NotFound { .. }) => return Err(kept("are gone")),
            stat => stat?,
        };
        let same = stat.size_bytes == present.size_bytes
            && present.fingerprint.as_deref().is_none_or(|expected| expected == stat.fingerprint.as_str());
        if !same {
            return Err(kept("are not those of the record"));
        }
        if in_full {
            let opened = store.open(&at, OpenOptions::default()).await?.exact();
            if self.digest(opened.body).await? != present.sha256 {
                return Err(kept("are not those of the record"));
            }
        }
        Ok(())
    }
}
