//! What a scrub does about what it finds.

use larder_catalog::{AssetChange, AssetRecord, AssetStatus, Class, VariantRecord};
use larder_core::Fault;
use larder_image::Recipe;
use larder_store::{Condition, Entry, RenameOptions};

use super::{AssetRef, Finding, Problem, Scrub};
use crate::{larder::place, variants::source_of_shared};

impl Scrub<'_> {
    /// Mends what is wrong with an asset that is there.
    pub(super) async fn mend_asset(&self, asset: &AssetRecord, finding: &mut Finding) -> Result<(), Fault> {
        if !self.options.repair {
            return Ok(());
        }
        let done = match finding.problem {
            Problem::FingerprintChanged => {
                let Some(stat) = self.found(asset).await? else { return Ok(()) };
                let change = AssetChange { fingerprint: Some(stat), ..AssetChange::default() };
                self.change(asset, healthy(asset, change)).await?.then_some("noted the new fingerprint")
            }
            Problem::MarkedInVain => {
                let change = healthy(asset, AssetChange::default());
                self.change(asset, change).await?.then_some("took the mark off")
            }
            Problem::OriginalDamaged => {
                self.give_up(asset, finding).await?;
                None
            }
            _ => None,
        };
        if let Some(done) = done {
            finding.mend(done);
        }
        Ok(())
    }

    /// The fingerprint of an asset's bytes, if they are still the recorded ones.
    async fn found(&self, asset: &AssetRecord) -> Result<Option<String>, Fault> {
        let hashed = self.hash(&asset.store, &place(&asset.place)?).await?;
        Ok(hashed.filter(|(_, sha256)| *sha256 == asset.sha256).map(|(stat, _)| stat.fingerprint.to_string()))
    }

    /// Marks an original whose bytes are lost, so that nobody is served others in their stead. Where
    /// another copy of them exists is not known here; it would be fetched before this.
    async fn give_up(&self, asset: &AssetRecord, finding: &mut Finding) -> Result<(), Fault> {
        let change = AssetChange { status: Some(AssetStatus::Failed), ..AssetChange::default() };
        if asset.status == AssetStatus::Failed || self.change(asset, change).await? {
            "marked, so that reads say what is wrong; restore the file from a backup, or put it again"
                .clone_into(&mut finding.action);
        }
        Ok(())
    }

    /// Changes an asset if it is as it was seen.
    async fn change(&self, asset: &AssetRecord, change: AssetChange) -> Result<bool, Fault> {
        let (id, version) = (asset.id, asset.version);
        let changed = self
            .larder
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move { tx.change_asset(id, Some(version), change).await })
            })
            .await;
        self.larder.record_cache().forget(&asset.bucket, &asset.key);
        match changed {
            Ok(_) => Ok(true),
            Err(larder_catalog::Error::Precondition { .. } | larder_catalog::Error::NotFound { .. }) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// If the bytes of an asset whose place is empty lie here: says so, and moves them back.
    pub(super) async fn moved(&mut self, entry: &Entry) -> Result<Option<Finding>, Fault> {
        let fingerprint = entry.fingerprint.as_str();
        let Some(seen) = self.missing.get(fingerprint).and_then(|seen| seen.first()) else {
            return Ok(None);
        };
        let asset = self.larder.catalog().asset(seen.id).await?;
        let Some(asset) = asset.filter(|asset| {
            asset.store == self.larder.stores().primary_name()
                && asset.fingerprint == fingerprint
                && asset.deleted_at.is_none()
        }) else {
            return Ok(None);
        };
        // Those that shared the bytes still miss them if they are not moved back.
        let is_mended = self.options.repair && self.move_back(&asset, entry).await?;
        if let Some(seen) = self.missing.get_mut(fingerprint) {
            seen.retain(|other| other.id != asset.id && !(is_mended && other.place == asset.place));
        }
        // It is one finding, not a missing asset and a file without a record.
        let is_same = |finding: &Finding| {
            finding.problem == Problem::OriginalMissing
                && (finding.asset == Some(asset.id) || is_mended && finding.place == asset.place)
        };
        while let Some(at) = self.report.findings.iter().position(is_same) {
            self.report.findings.remove(at);
            self.report.problems -= 1;
        }
        let mut finding =
            Finding::of_asset(Problem::OriginalMoved, &asset, format!("its bytes lie at {}", entry.place))
                .advising("--repair moves them back");
        if is_mended {
            finding.mend("moved back");
        }
        Ok(Some(finding))
    }

    async fn move_back(&self, asset: &AssetRecord, entry: &Entry) -> Result<bool, Fault> {
        let held = self.larder.hold(&asset.bucket, &asset.key).await?;
        let outcome = async {
            held.may_move()?;
            let options = RenameOptions { condition: Condition::IfAbsent, ..RenameOptions::default() };
            match self.larder.stores().primary().rename(&entry.place, &place(&asset.place)?, options).await {
                Ok(stat) => Ok(Some(stat.fingerprint.to_string())),
                // Something else came to lie there, or in its way.
                Err(
                    larder_store::Error::Precondition { .. }
                    | larder_store::Error::Blocked { .. }
                    | larder_store::Error::NotFound { .. },
                ) => Ok(None),
                Err(error) => Err(Fault::from(error)),
            }
        };
        let moved = outcome.await;
        self.larder.release(&held).await;
        let Some(fingerprint) = moved? else { return Ok(false) };
        let change = AssetChange { fingerprint: Some(fingerprint), ..AssetChange::default() };
        self.change(asset, healthy(asset, change)).await
    }

    /// Marks the assets whose bytes lie nowhere.
    pub(super) async fn give_missing_up(&mut self) -> Result<(), Fault> {
        if !self.options.repair {
            return Ok(());
        }
        let missing: Vec<AssetRef> = self.missing.values().flatten().cloned().collect();
        for seen in missing {
            let asset = self.larder.catalog().asset(seen.id).await?;
            let as_seen = |asset: &AssetRecord| {
                (asset.version, asset.deleted_at, &asset.store, &asset.place)
                    == (seen.version, None, &seen.store, &seen.place)
            };
            let Some(asset) = asset.filter(as_seen) else { continue };
            let at = self.report.findings.iter().position(|finding| {
                finding.problem == Problem::OriginalMissing && finding.asset == Some(asset.id)
            });
            let mut finding = match at {
                Some(at) => self.report.findings[at].clone(),
                None => Finding::of_asset(Problem::OriginalMissing, &asset, ""),
            };
            self.give_up(&asset, &mut finding).await?;
            if let Some(at) = at {
                self.report.findings[at] = finding;
            }
        }
        Ok(())
    }

    /// Mends what is wrong with a variant.
    pub(super) async fn mend_variant(
        &self,
        asset: Option<&AssetRecord>,
        variant: &VariantRecord,
        finding: &mut Finding,
    ) -> Result<(), Fault> {
        if !self.options.repair {
            return Ok(());
        }
        if finding.problem == Problem::FingerprintChanged {
            return self.note_fingerprint(variant, finding).await;
        }
        // Its record may have gone already, with that of another that shares its bytes.
        let is_gone = self.larder.remove_lost_variant(variant).await?
            || source_of_shared(&variant.place).is_some()
                && self.larder.catalog().variant(variant.id).await?.is_none();
        if !is_gone {
            return Ok(());
        }
        let wants = |asset: &&AssetRecord| {
            asset.deleted_at.is_none()
                && asset.sha256 == variant.source_sha256
                && finding.problem != Problem::VariantStale
        };
        let Some(asset) = asset.filter(wants) else {
            finding.mend("dropped");
            return Ok(());
        };
        let bucket = self.larder.bucket(&asset.bucket).await?;
        let recipe: Recipe = variant.recipe.parse()?;
        let made = self.larder.variant_on_demand(&bucket, asset, &recipe, variant.preset.as_deref()).await;
        match made {
            Ok(_) => finding.mend("made again"),
            Err(fault) if fault.kind() == larder_core::FaultKind::Unavailable => return Err(fault),
            // Readers are told the same; its record is gone, so that it is tried again when it is asked for.
            Err(fault) => finding.action = format!("dropped, and not made again: {}", fault.detail),
        }
        Ok(())
    }

    async fn note_fingerprint(&self, variant: &VariantRecord, finding: &mut Finding) -> Result<(), Fault> {
        let hashed = self.hash(&variant.store, &place(&variant.place)?).await?;
        let Some((stat, _)) = hashed.filter(|(_, sha256)| *sha256 == variant.sha256) else { return Ok(()) };
        let (seen, fingerprint) = (variant.clone(), stat.fingerprint.to_string());
        let noted = self
            .larder
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move { tx.move_variant(&seen, &seen.store, &seen.place, &fingerprint).await })
            })
            .await;
        self.larder.record_cache().forget_variants(variant.asset_id);
        if noted? {
            finding.mend("noted the new fingerprint");
        }
        Ok(())
    }
}

/// The change, and the mark of damage off if there is one.
fn healthy(asset: &AssetRecord, change: AssetChange) -> AssetChange {
    match asset.status {
        AssetStatus::Failed => AssetChange { status: Some(AssetStatus::Ready), ..change },
        _ => change,
    }
}
