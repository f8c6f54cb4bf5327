//! Adoption: files that lie in the store already become assets where they lie.
//!
//! Nothing is moved, copied or written beside them. Each file is read once: its beginning and end are
//! judged as those of an upload are, its header is inspected, its bytes are hashed. What the bucket does
//! not take is reported and left alone. A file that is an asset already is passed over, so that a second
//! run goes on where the first one stopped.

mod probe;
mod register;
mod rules;
#[cfg(test)]
mod trees;
mod variants;

use futures::{StreamExt, stream};
use larder_core::{BucketName, Code, Fault, ObjectKey};
use larder_store::{Entry, ListOptions, Place};
use serde::{Deserialize, Serialize};

pub(crate) use probe::{Depth, How, Probed};
pub use rules::VariantRule;
pub(crate) use variants::fits;

use self::rules::Rules;
use crate::{
    buckets::{Bucket, overlap},
    follow::Follow,
    larder::Larder,
    variants::FOLDER,
};

/// Files that are looked at at a time: while some are hashed, others wait for the store.
const AT_A_TIME: usize = 16;

/// Refusals that a report names; more are only counted.
const REFUSALS_MAX: usize = 10_000;

/// What to adopt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdoptOptions {
    /// The bucket that gets the assets.
    pub bucket: BucketName,
    /// The folder of the store that holds the files; the bucket's own unless given.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Outside the bucket's own folder, the key is the whole place without this folder at its front.
    #[serde(default)]
    pub strip: Option<String>,
    /// The name, without extension, of files that are originals of the variants beside them.
    #[serde(default)]
    pub original: Option<String>,
    /// Which files are variants of which preset.
    #[serde(default)]
    pub variants: Vec<VariantRule>,
    /// Decode every picture in full, as an upload is, instead of inspecting its header.
    #[serde(default)]
    pub verify: bool,
    /// Take files whose extension says something else than their bytes.
    #[serde(default)]
    pub ignore_extensions: bool,
    /// Only say what would be adopted.
    #[serde(default)]
    pub dry_run: bool,
}

impl AdoptOptions {
    /// Everything in a bucket's own folder.
    pub fn of_bucket(bucket: BucketName) -> Self {
        Self {
            bucket,
            prefix: None,
            strip: None,
            original: None,
            variants: Vec::new(),
            verify: false,
            ignore_extensions: false,
            dry_run: false,
        }
    }
}

/// What was, or would be, adopted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptReport {
    /// Whether nothing was stored in fact.
    pub dry_run: bool,
    /// Files that were looked at.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are assets now.
    pub adopted: u64,
    /// Their bytes.
    pub adopted_bytes: u64,
    /// Files that are variants of assets now.
    pub variants: u64,
    /// Their bytes.
    pub variant_bytes: u64,
    /// Files that were known already.
    pub present: u64,
    /// Larder's own files: variants and escaped places.
    pub own: u64,
    /// Files that were refused.
    pub refused: u64,
    /// Which, and why; the first 10,000 of them.
    pub refusals: Vec<Refusal>,
}

/// A file that was refused and left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Where it lies.
    pub place: String,
    /// Why: the problem that an upload of it would have got.
    pub error: Fault,
}

impl Eq for Refusal {}

impl AdoptReport {
    pub(crate) fn refuse(&mut self, place: impl Into<String>, error: Fault) {
        self.refused += 1;
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(Refusal { place: place.into(), error });
        }
    }

    pub(crate) fn add(&mut self, entry: &Entry, outcome: Result<Adopted, Fault>) -> Result<(), Fault> {
        match outcome {
            Ok(Adopted::Asset) => {
                self.adopted += 1;
                self.adopted_bytes += entry.size_bytes;
            }
            Ok(Adopted::Variant) => {
                self.variants += 1;
                self.variant_bytes += entry.size_bytes;
            }
            Ok(Adopted::Present) => self.present += 1,
            // Of a catalogue or store that is away, every file would be refused.
            Err(fault) if fault.kind() == larder_core::FaultKind::Unavailable => return Err(fault),
            Err(fault) => self.refuse(entry.place.as_str(), fault),
        }
        Ok(())
    }
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adopted {
    Asset,
    Variant,
    /// It was known already.
    Present,
}

impl Larder {
    /// Makes assets of the files in a folder of the store, where they lie; see [`AdoptOptions`].
    ///
    /// # Errors
    /// [`Code::BucketNotFound`]; [`Code::InvalidRequest`] for a folder that belongs to another bucket and
    /// for rules that can't work; [`Code::PresetNotFound`]; the catalogue's and the store's. What was
    /// adopted until then stays so.
    pub async fn adopt(&self, options: &AdoptOptions, follow: &dyn Follow) -> Result<AdoptReport, Fault> {
        let bucket = self.bucket(&options.bucket).await?;
        let folder = self.adoptable_folder(&bucket, options).await?;
        let rules = Rules::new(options.original.clone(), &options.variants)?;
        let presets = self.presets_of_rules(&options.variants).await?;
        let mut report = AdoptReport { dry_run: options.dry_run, ..AdoptReport::default() };
        self.count(&folder, &mut report, follow).await?;
        let how = How {
            depth: match (options.dry_run, options.verify) {
                (true, _) => Depth::Header,
                (false, false) => Depth::Hash,
                (false, true) => Depth::Decode,
            },
            ignore_extensions: options.ignore_extensions,
        };
        let work = Work { larder: self, bucket: &bucket, options, rules: &rules, presets: &presets, how };
        // Originals first: a variant needs one.
        work.pass(&folder, Pass::Assets, &mut report, follow).await?;
        if !rules.is_empty() {
            work.pass(&folder, Pass::Variants, &mut report, follow).await?;
        }
        Ok(report)
    }

    /// The folder to go through, with a slash at its end.
    async fn adoptable_folder(&self, bucket: &Bucket, options: &AdoptOptions) -> Result<String, Fault> {
        let folder = options.prefix.as_deref().unwrap_or(bucket.prefix()).trim_end_matches('/');
        let refused = |detail: String, remedy: &str| {
            Err(Fault::new(Code::InvalidRequest, detail).remedy(remedy.to_owned()))
        };
        if folder.parse::<Place>().is_err() {
            return refused(
                format!("\"{folder}\" is no folder of the store"),
                "name the folder as it lies in the store, such as media/series",
            );
        }
        if folder.split('/').next() == Some(crate::larder::OWN_FOLDER) {
            return refused(format!("\"{folder}\" is Larder's own"), "name a folder with files of yours");
        }
        for other in self.buckets().await?.iter().filter(|other| other.name != bucket.name) {
            if overlap(folder, other.prefix()) {
                return refused(
                    format!("the folder \"{folder}\" overlaps that of the bucket {}", other.name),
                    "adopt it into that bucket, or narrow the prefix",
                );
            }
        }
        Ok(format!("{folder}/"))
    }

    async fn count(&self, folder: &str, report: &mut AdoptReport, follow: &dyn Follow) -> Result<(), Fault> {
        let mut options = ListOptions::under(folder);
        loop {
            follow.check()?;
            let page = self.stores().primary().list(options.clone()).await?;
            report.files += page.entries.len() as u64;
            report.bytes += page.entries.iter().map(|entry| entry.size_bytes).sum::<u64>();
            follow.expect(page.entries.len() as u64);
            for name in page.unnameable {
                report.refuse(name, unnameable());
            }
            match page.next {
                Some(next) => options.after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// Which files a pass is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// All that no rule names.
    Assets,
    /// Those that a rule names.
    Variants,
}

struct Work<'a> {
    larder: &'a Larder,
    bucket: &'a Bucket,
    options: &'a AdoptOptions,
    rules: &'a Rules,
    presets: &'a [variants::RulePreset],
    how: How,
}

impl Work<'_> {
    async fn pass(
        &self,
        folder: &str,
        pass: Pass,
        report: &mut AdoptReport,
        follow: &dyn Follow,
    ) -> Result<(), Fault> {
        let mut options = ListOptions::under(folder);
        loop {
            let page = self.larder.stores().primary().list(options.clone()).await?;
            let meant = page.entries.into_iter().filter(|entry| {
                let named = self.rules.of(entry.place.as_str()).is_some();
                named == (pass == Pass::Variants)
            });
            let mut done = stream::iter(meant)
                .map(|entry| async move {
                    let outcome = self.one(&entry).await;
                    (entry, outcome)
                })
                .buffer_unordered(AT_A_TIME);
            while let Some((entry, outcome)) = done.next().await {
                follow.check()?;
                follow.advance(1);
                match outcome {
                    None => report.own += 1,
                    Some(outcome) => report.add(&entry, outcome)?,
                }
            }
            match page.next {
                Some(next) => options.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// `None` for a file of Larder's own.
    async fn one(&self, entry: &Entry) -> Option<Result<Adopted, Fault>> {
        if is_own(self.bucket, &entry.place) {
            return None;
        }
        let key = match key_of(self.bucket, &entry.place, self.options.strip.as_deref()) {
            Ok(key) => key,
            Err(fault) => return Some(Err(fault)),
        };
        if let Some(named) = self.rules.of(entry.place.as_str()) {
            match self.variant(entry, &named).await {
                Ok(Some(adopted)) => return Some(Ok(adopted)),
                // No variant after all: an asset of its own.
                Ok(None) => {}
                Err(fault) => return Some(Err(fault)),
            }
        }
        Some(self.larder.adopt_file(self.bucket, &key, entry, self.how).await)
    }
}

/// Whether a file is a variant that Larder made, or lies where keys lie that are no paths.
pub(crate) fn is_own(bucket: &Bucket, place: &Place) -> bool {
    let below = place.as_str().strip_prefix(bucket.prefix()).and_then(|rest| rest.strip_prefix('/'));
    let first = below.and_then(|rest| rest.split('/').next());
    matches!(first, Some(FOLDER | "_keys"))
}

/// The key of the asset whose bytes lie at a place: what follows the bucket's own folder; elsewhere, the
/// whole place without `strip`.
pub(crate) fn key_of(bucket: &Bucket, place: &Place, strip: Option<&str>) -> Result<ObjectKey, Fault> {
    let below = |folder: &str| {
        place.as_str().strip_prefix(folder.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'))
    };
    let text = below(bucket.prefix()).or_else(|| strip.and_then(below)).unwrap_or(place.as_str());
    Ok(text.parse::<ObjectKey>()?)
}

pub(crate) fn unnameable() -> Fault {
    Fault::new(Code::InvalidKey, "the name holds control characters, is no UTF-8 or is too long")
        .remedy("rename it")
}

#[cfg(test)]
mod tests {
    use larder_core::Timestamp;

    use super::*;
    use crate::policy::BucketPolicy;

    fn bucket(prefix: &str) -> Bucket {
        let at = Timestamp::from_millis(0);
        Bucket {
            name: "media".parse().unwrap(),
            policy: BucketPolicy { prefix: Some(prefix.to_owned()), ..BucketPolicy::default() },
            managed_by_file: false,
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn a_key_is_what_follows_the_buckets_folder_and_elsewhere_the_place() {
        let key = |prefix: &str, place: &str, strip: Option<&str>| {
            key_of(&bucket(prefix), &place.parse().unwrap(), strip).unwrap().to_string()
        };
        assert_eq!(key("media", "media/series/a/cover.jpg", None), "series/a/cover.jpg");
        assert_eq!(key("media", "mediaseries/a.jpg", None), "mediaseries/a.jpg");
        assert_eq!(
            key("artwork", "series/ab/cd/7/poster/large.webp", None),
            "series/ab/cd/7/poster/large.webp"
        );
        assert_eq!(key("artwork", "old/site/a.jpg", Some("old/site")), "a.jpg");
        assert_eq!(key("artwork", "old/site/a.jpg", Some("old/site/")), "a.jpg");
    }

    #[test]
    fn larders_own_files_are_told_from_others() {
        let own = |place: &str| is_own(&bucket("media"), &place.parse().unwrap());
        assert!(own("media/_variants/a.jpg/x.webp") && own("media/_keys/x-a"));
        assert!(!own("media/a/_variants/x") && !own("media/_variantsx/a") && !own("other/_variants/a"));
    }
}
