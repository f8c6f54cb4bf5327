//! Comparison of catalogue and store, in both directions.
//!
//! First each record: whether its bytes lie at their place, and are those that were stored; those that
//! are chosen, or whose fingerprint differs, are hashed. Then each file in the buckets' folders and in the
//! trash: whether a record names it. With `repair`, what can be mended without a loss is mended; no
//! original and no file without a record is ever removed, but by the `orphan_grace` of its bucket.
//!
//! A scrub that is cut off goes on where it stopped.

mod files;
mod mend;
mod pace;
mod records;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use larder_catalog::{AssetRecord, Class};
use larder_core::{AssetId, BucketName, Code, Fault, VariantId, text::ByteSize};
use serde::{Deserialize, Serialize};

use self::pace::Pace;
use crate::{follow::Follow, larder::Larder};

/// Findings that a report names; more are only counted.
const FINDINGS_MAX: usize = 10_000;

/// Things that are looked at at a time.
const AT_A_TIME: usize = 8;

/// Records or files of a portion, after which it is noted how far the scrub is.
const PORTION: u32 = 500;

/// Under which name it is noted.
const CHECKPOINT: &str = "scrub";

/// What to look at, and what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrubOptions {
    /// Only this bucket.
    pub bucket: Option<BucketName>,
    /// How many of all bytes are hashed, chosen by chance: 0.0 none, 1.0 all. Those whose fingerprint
    /// differs are hashed in any case.
    pub sample: f64,
    /// Bytes that are hashed a second at most.
    pub rate: Option<ByteSize>,
    /// Mend what can be mended.
    pub repair: bool,
    /// Make assets of files without a record.
    pub adopt: bool,
    /// Begin anew, although an earlier scrub was cut off.
    pub restart: bool,
}

impl Default for ScrubOptions {
    fn default() -> Self {
        Self { bucket: None, sample: 0.0, rate: None, repair: false, adopt: false, restart: false }
    }
}

/// What a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Whether an earlier scrub that was cut off was gone on with; its findings are among these.
    pub resumed: bool,
    /// Records of assets that were looked at, those in the trash included.
    pub assets: u64,
    /// Records of variants that were looked at.
    pub variants: u64,
    /// Files that were looked at.
    pub files: u64,
    /// Originals and variants that were hashed.
    pub hashed: u64,
    /// Their bytes.
    pub hashed_bytes: u64,
    /// Findings.
    pub problems: u64,
    /// Findings that are mended.
    pub repaired: u64,
    /// Files without a record that remain, among the findings that are not mended.
    pub orphans: u64,
    /// The findings; the first 10,000 of them.
    pub findings: Vec<Finding>,
}

impl ScrubReport {
    /// Findings that are not mended. `allow_orphans` leaves files without a record out.
    pub fn remaining(&self, allow_orphans: bool) -> u64 {
        let orphans = if allow_orphans { self.orphans } else { 0 };
        self.problems.saturating_sub(self.repaired).saturating_sub(orphans)
    }
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The bytes of an asset are gone.
    OriginalMissing,
    /// The bytes of an asset lie at another place.
    OriginalMoved,
    /// The bytes of an asset are not those that were stored.
    OriginalDamaged,
    /// The bytes of an asset are the ones that were stored, and the store calls them by another name.
    FingerprintChanged,
    /// An asset is marked as damaged, and its bytes are whole again.
    MarkedInVain,
    /// The bytes of a deleted asset are gone.
    TrashMissing,
    /// The bytes of a variant are gone.
    VariantMissing,
    /// The bytes of a variant are not those that were made.
    VariantDamaged,
    /// The record of a variant that is no longer wanted, and whose bytes are gone.
    VariantStale,
    /// A file in a bucket's folder that no record names.
    Orphan,
    /// A file among the variants that no record names.
    OrphanVariant,
    /// A file in the trash that no record names.
    OrphanTrash,
    /// A name that no key can have.
    Unnameable,
}

impl Problem {
    /// Whether it is about a file without a record.
    pub fn is_orphan(self) -> bool {
        matches!(self, Self::Orphan | Self::OrphanVariant | Self::OrphanTrash | Self::Unnameable)
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// Of which bucket.
    pub bucket: Option<BucketName>,
    /// Under which key.
    pub key: Option<String>,
    /// The asset.
    pub asset: Option<AssetId>,
    /// Where the bytes lie, or should.
    pub place: String,
    /// What was found.
    pub detail: String,
    /// Whether it is mended.
    pub repaired: bool,
    /// What was done, or can be.
    pub action: String,
}

impl Finding {
    fn of_asset(problem: Problem, asset: &AssetRecord, detail: impl Into<String>) -> Self {
        Self {
            problem,
            bucket: Some(asset.bucket.clone()),
            key: Some(asset.key.to_string()),
            asset: Some(asset.id),
            place: asset.place.clone(),
            detail: detail.into(),
            repaired: false,
            action: String::new(),
        }
    }

    fn of_file(problem: Problem, bucket: Option<&BucketName>, place: &str, detail: &str) -> Self {
        Self {
            problem,
            bucket: bucket.cloned(),
            key: None,
            asset: None,
            place: place.to_owned(),
            detail: detail.to_owned(),
            repaired: false,
            action: String::new(),
        }
    }

    /// Says what is to be done, as long as nothing was.
    #[must_use]
    fn advising(mut self, action: &str) -> Self {
        action.clone_into(&mut self.action);
        self
    }

    /// Says what was done.
    fn mend(&mut self, action: impl Into<String>) {
        self.repaired = true;
        self.action = action.into();
    }
}

/// How far a scrub is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    step: Step,
    asset: Option<AssetId>,
    variant: Option<VariantId>,
    bucket: Option<BucketName>,
    file: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    #[default]
    Assets,
    Variants,
    Files,
    Trash,
}

/// What is kept of a scrub that may be cut off.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    options: ScrubOptions,
    progress: Progress,
    report: ScrubReport,
    missing: Vec<(String, AssetRef)>,
}

/// An asset whose bytes are gone, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AssetRef {
    id: AssetId,
    version: i64,
    store: String,
    place: String,
}

/// A scrub under way.
struct Scrub<'a> {
    larder: &'a Larder,
    options: &'a ScrubOptions,
    follow: &'a dyn Follow,
    pace: Pace,
    progress: Progress,
    report: ScrubReport,
    /// Assets whose bytes are gone, by the fingerprint that they had: some may only lie elsewhere. Several
    /// may have shared them.
    missing: HashMap<String, Vec<AssetRef>>,
}

impl Larder {
    /// Compares catalogue and store, and mends what [`ScrubOptions`] allow.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`]; [`Code::InvalidRequest`] for a sample that is no share; the catalogue's
    /// and the store's: the next scrub goes on where this one was cut off.
    pub async fn scrub(&self, options: &ScrubOptions, follow: &dyn Follow) -> Result<ScrubReport, Fault> {
        if let Some(bucket) = &options.bucket {
            self.bucket(bucket).await?;
        }
        if !(0.0..=1.0).contains(&options.sample) {
            return Err(Fault::new(Code::InvalidRequest, format!("{} is no share of all", options.sample))
                .remedy("name a share from 0 to 1"));
        }
        let mut scrub = self.begun_scrub(options, follow).await?;
        let usage = self.catalog().bucket_usage().await?;
        follow.expect(usage.iter().map(|usage| usage.assets + usage.deleted_assets).sum());
        follow.expect(self.catalog().variant_usage().await?.iter().map(|usage| usage.variants).sum());
        if scrub.progress.step == Step::Assets {
            scrub.assets().await?;
            scrub.at(Step::Variants).await?;
        }
        if scrub.progress.step == Step::Variants {
            scrub.variants().await?;
            scrub.at(Step::Files).await?;
        }
        if scrub.progress.step == Step::Files {
            scrub.files().await?;
            scrub.at(Step::Trash).await?;
        }
        if options.bucket.is_none() {
            scrub.trash().await?;
        }
        // Only now it is certain that they lie nowhere.
        scrub.give_missing_up().await?;
        self.catalog()
            .commit(Class::Durable, |tx| Box::pin(async move { tx.forget_checkpoint(CHECKPOINT).await }))
            .await?;
        Ok(scrub.report)
    }

    async fn begun_scrub<'a>(
        &'a self,
        options: &'a ScrubOptions,
        follow: &'a dyn Follow,
    ) -> Result<Scrub<'a>, Fault> {
        let mut scrub = Scrub {
            larder: self,
            options,
            follow,
            pace: Pace::new(options.rate.map(|rate| rate.0)),
            progress: Progress::default(),
            report: ScrubReport::default(),
            missing: HashMap::new(),
        };
        if options.restart {
            return Ok(scrub);
        }
        let kept = self.catalog().checkpoint(CHECKPOINT).await?;
        let kept = kept.and_then(|value| serde_json::from_value::<Kept>(value).ok());
        // One that was to do something else says nothing about this one.
        if let Some(kept) = kept.filter(|kept| kept.options == *options) {
            scrub.progress = kept.progress;
            scrub.report = ScrubReport { resumed: true, ..kept.report };
            for (fingerprint, asset) in kept.missing {
                scrub.missing.entry(fingerprint).or_default().push(asset);
            }
        }
        Ok(scrub)
    }
}

impl Scrub<'_> {
    fn find(&mut self, finding: Finding) {
        self.report.problems += 1;
        self.report.repaired += u64::from(finding.repaired);
        self.report.orphans += u64::from(finding.problem.is_orphan() && !finding.repaired);
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(finding);
        }
    }

    /// Goes over to the next step.
    async fn at(&mut self, step: Step) -> Result<(), Fault> {
        self.progress = Progress { step, ..Progress::default() };
        self.keep().await
    }

    /// Notes how far it is.
    async fn keep(&self) -> Result<(), Fault> {
        let kept = Kept {
            options: self.options.clone(),
            progress: self.progress.clone(),
            report: self.report.clone(),
            missing: self
                .missing
                .iter()
                .flat_map(|(name, assets)| assets.iter().map(|asset| (name.clone(), asset.clone())))
                .collect(),
        };
        let value = serde_json::to_value(kept)
            .map_err(|error| Fault::internal("the state of a scrub does not print").caused_by(error))?;
        self.larder
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move { tx.set_checkpoint(CHECKPOINT, &value).await })
            })
            .await?;
        self.follow.check()
    }
}
