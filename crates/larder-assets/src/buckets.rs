//! Buckets and presets: where their rules come from, and who may change them.

use std::{collections::HashMap, sync::Arc};

use larder_catalog::{BucketRecord, Class, NewJob, PresetRecord};
use larder_core::{BucketName, Code, Fault, JobId, Timestamp};
use larder_image::Recipe;
use larder_store::Place;
use serde::{Deserialize, Serialize};

use crate::{
    jobs::{self, backfill::Backfill},
    larder::Larder,
    policy::{BucketPolicy, Visibility},
    preset,
    remembered::Remembered,
    variants::recipe_digest,
};

/// Buckets whose rules are remembered. Most applications have a handful.
const BUCKETS_REMEMBERED_MAX: usize = 10_000;

/// A bucket and its rules.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bucket {
    /// Its name.
    pub name: BucketName,
    /// Its rules.
    pub policy: BucketPolicy,
    /// Whether the configuration file defines it, so that the API can't change it.
    pub managed_by_file: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its rules changed last.
    pub updated_at: Timestamp,
}

impl Bucket {
    /// Where in the store the bucket's assets lie.
    pub fn prefix(&self) -> &str {
        self.policy.prefix.as_deref().unwrap_or(self.name.as_str())
    }

    /// The names of the presets made at upload, sets resolved.
    pub fn presets(&self) -> Vec<&str> {
        self.policy.presets.iter().flat_map(|name| preset::expand(name)).collect()
    }

    /// Whether the bucket serves this preset without a signature.
    pub fn opens(&self, preset: &str) -> bool {
        self.policy.public_presets.iter().any(|name| preset::expand(name).contains(&preset))
    }
}

/// A preset as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PresetView {
    /// Its name.
    pub name: String,
    /// Its recipe in canonical form.
    pub recipe: String,
    /// What changes when the recipe does: the recipe's digest, 16 hex digits.
    pub version: String,
    /// Whether the configuration file defines it.
    pub managed_by_file: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its recipe changed last.
    pub updated_at: Timestamp,
}

/// The outcome of defining a preset.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PutPreset {
    /// The preset as it is now.
    pub preset: PresetView,
    /// The job that makes its variants of assets that are there already; none if nothing changed.
    pub backfill: Option<JobId>,
}

/// Buckets that were looked up lately.
#[derive(Debug)]
pub(crate) struct BucketCache(Remembered<BucketName, Arc<Bucket>>);

impl Default for BucketCache {
    fn default() -> Self {
        Self(Remembered::new(BUCKETS_REMEMBERED_MAX))
    }
}

impl BucketCache {
    /// Whether it was looked up lately, however old that is by now.
    pub(crate) fn has(&self, name: &BucketName) -> bool {
        self.0.has(name)
    }
}

impl Larder {
    /// The bucket of this name; at most a second old.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`].
    pub async fn bucket(&self, name: &BucketName) -> Result<Arc<Bucket>, Fault> {
        let buckets = &self.bucket_cache().0;
        if let Some(bucket) = buckets.get(name) {
            return Ok(bucket);
        }
        let lookup = buckets.look_up();
        let record = self.catalog().bucket(name).await?.ok_or_else(|| no_bucket(name))?;
        let bucket = Arc::new(bucket_of(record)?);
        buckets.remember(lookup, name.clone(), bucket.clone());
        Ok(bucket)
    }

    /// All buckets by name.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn buckets(&self) -> Result<Vec<Arc<Bucket>>, Fault> {
        let records = self.catalog().buckets().await?;
        records.into_iter().map(|record| bucket_of(record).map(Arc::new)).collect()
    }

    /// Makes a bucket or replaces its rules. When it makes more presets than before, a job makes their
    /// variants of the assets that are there.
    ///
    /// # Errors
    /// [`Code::ManagedByFile`]; [`Code::InvalidRequest`] for rules that can't work;
    /// [`Code::PresetNotFound`].
    pub async fn put_bucket(&self, name: &BucketName, policy: BucketPolicy) -> Result<Arc<Bucket>, Fault> {
        self.check_policy(name, &policy).await?;
        let before = self.catalog().bucket(name).await?;
        if before.as_ref().is_some_and(|bucket| bucket.managed_by_file) {
            return Err(managed_by_file("bucket", name.as_str()));
        }
        self.store_bucket(name, &policy, false, before).await?;
        self.bucket(name).await
    }

    /// Enqueues a job that makes what the assets of a bucket lack: variants of `preset`, or of all of
    /// the bucket's presets.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`]; [`Code::PresetNotFound`] for a preset that the bucket does not make.
    pub async fn backfill(&self, bucket: &BucketName, preset: Option<&str>) -> Result<JobId, Fault> {
        let bucket = self.bucket(bucket).await?;
        if let Some(preset) = preset.filter(|preset| !bucket.presets().contains(preset)) {
            return Err(Fault::new(
                Code::PresetNotFound,
                format!("the bucket {} does not make the preset {preset}", bucket.name),
            )
            .remedy("add it to the presets of the bucket first"));
        }
        let job = jobs::new_job(&Backfill {
            preset: preset.map(str::to_owned),
            ..Backfill::of_bucket(bucket.name.clone())
        })?;
        let enqueued = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.enqueue(job).await }))
            .await?;
        Ok(enqueued.id)
    }

    /// Removes an empty bucket.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`], [`Code::ManagedByFile`], or [`Code::Conflict`] while assets,
    /// deleted ones included, lie in it.
    pub async fn remove_bucket(&self, name: &BucketName) -> Result<(), Fault> {
        let bucket = self.catalog().bucket(name).await?.ok_or_else(|| no_bucket(name))?;
        if bucket.managed_by_file {
            return Err(managed_by_file("bucket", name.as_str()));
        }
        for deleted in [false, true] {
            let filter = larder_catalog::AssetFilter {
                bucket: Some(name.clone()),
                deleted,
                limit: 1,
                ..Default::default()
            };
            if !self.catalog().assets(&filter).await?.items.is_empty() {
                let what = if deleted { "deleted assets that can still be restored" } else { "assets" };
                return Err(Fault::new(Code::Conflict, format!("the bucket {name} holds {what}"))
                    .remedy("delete its assets first; purge them to empty the trash"));
            }
        }
        let name = name.clone();
        self.catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.remove_bucket(&name).await }))
            .await?;
        self.bucket_cache().0.clear();
        Ok(())
    }

    /// All presets by name.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn presets(&self) -> Result<Vec<PresetView>, Fault> {
        Ok(self.catalog().presets().await?.into_iter().map(preset_view).collect())
    }

    /// The preset of this name.
    ///
    /// # Errors
    /// [`Code::PresetNotFound`].
    pub async fn preset(&self, name: &str) -> Result<PresetView, Fault> {
        let record = self.catalog().preset(name).await?;
        record.map(preset_view).ok_or_else(|| no_preset(name))
    }

    /// The recipe that a preset stands for.
    ///
    /// # Errors
    /// [`Code::PresetNotFound`].
    pub async fn recipe_of_preset(&self, name: &str) -> Result<Recipe, Fault> {
        let preset = self.preset(name).await?;
        Ok(preset.recipe.parse::<Recipe>()?)
    }

    /// Defines a preset. When its recipe changed, a job makes the new variants of the assets of
    /// every bucket that has the preset; until then and afterwards old URLs work.
    ///
    /// # Errors
    /// [`Code::InvalidRecipe`], [`Code::InvalidRequest`] for the name, [`Code::ManagedByFile`].
    pub async fn put_preset(&self, name: &str, recipe: &str) -> Result<PutPreset, Fault> {
        check_preset_name(name)?;
        let recipe = recipe.parse::<Recipe>()?.to_string();
        let before = self.catalog().preset(name).await?;
        if before.as_ref().is_some_and(|preset| preset.managed_by_file) {
            return Err(managed_by_file("preset", name));
        }
        let changed = before.as_ref().is_none_or(|preset| preset.recipe != recipe);
        let backfill = self.store_preset(name, &recipe, false, changed && before.is_some()).await?;
        Ok(PutPreset { preset: self.preset(name).await?, backfill })
    }

    /// Removes a preset. Variants made by it stay until they are collected as unused.
    ///
    /// # Errors
    /// [`Code::PresetNotFound`], [`Code::ManagedByFile`], or [`Code::Conflict`] while a bucket makes
    /// it at upload.
    pub async fn remove_preset(&self, name: &str) -> Result<(), Fault> {
        let preset = self.catalog().preset(name).await?.ok_or_else(|| no_preset(name))?;
        if preset.managed_by_file {
            return Err(managed_by_file("preset", name));
        }
        if let Some(bucket) = self.buckets().await?.iter().find(|bucket| bucket.presets().contains(&name)) {
            return Err(Fault::new(
                Code::Conflict,
                format!("the bucket {} makes the preset {name}", bucket.name),
            )
            .remedy("take the preset off the bucket first"));
        }
        let name = name.to_owned();
        self.catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.remove_preset(&name).await }))
            .await?;
        Ok(())
    }

    /// Takes over what the configuration file says: its buckets and presets become read-only in the
    /// API, those it no longer names become changeable and keep everything that lies in them. The
    /// shipped presets exist unless the file or the API defined them otherwise.
    ///
    /// A preset whose recipe the file changed is backfilled as one changed by the API.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] or [`Code::InvalidRecipe`] with the name of what is wrong.
    pub async fn declare(
        &self,
        buckets: &[(BucketName, BucketPolicy)],
        presets: &[(String, String)],
    ) -> Result<(), Fault> {
        self.declare_presets(presets).await?;
        for (name, policy) in buckets {
            self.check_policy(name, policy).await?;
            let record = self.catalog().bucket(name).await?;
            let value = policy_value(policy)?;
            let is_as_declared =
                record.as_ref().is_some_and(|record| record.policy == value && record.managed_by_file);
            if !is_as_declared {
                self.store_bucket(name, policy, true, record).await?;
            }
        }
        let bucket_names: Vec<BucketName> = buckets.iter().map(|(name, _)| name.clone()).collect();
        let preset_names: Vec<String> = presets.iter().map(|(name, _)| name.clone()).collect();
        let is_stale = self
            .catalog()
            .buckets()
            .await?
            .iter()
            .any(|b| b.managed_by_file && !bucket_names.contains(&b.name))
            || self
                .catalog()
                .presets()
                .await?
                .iter()
                .any(|p| p.managed_by_file && !preset_names.contains(&p.name));
        if is_stale {
            self.catalog()
                .commit(Class::Durable, move |tx| {
                    Box::pin(async move {
                        tx.detach_buckets_missing_from_file(&bucket_names).await?;
                        tx.detach_presets_missing_from_file(&preset_names).await.map(drop)
                    })
                })
                .await?;
        }
        self.bucket_cache().0.clear();
        Ok(())
    }

    /// Makes buckets that do not exist yet, changeable by the API: the defaults of a first start.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn ensure_buckets(&self, buckets: &[(BucketName, BucketPolicy)]) -> Result<(), Fault> {
        for (name, policy) in buckets {
            if self.catalog().bucket(name).await?.is_none() {
                self.store_bucket(name, policy, false, None).await?;
            }
        }
        Ok(())
    }

    /// Forgets what is remembered of buckets, after their records were changed.
    pub(crate) fn forget_buckets(&self) {
        self.bucket_cache().0.clear();
    }

    async fn declare_presets(&self, presets: &[(String, String)]) -> Result<(), Fault> {
        let known: HashMap<String, PresetRecord> =
            self.catalog().presets().await?.into_iter().map(|preset| (preset.name.clone(), preset)).collect();
        for (name, recipe) in presets {
            check_preset_name(name)?;
            let parsed = recipe.parse::<Recipe>().map_err(|error| {
                let fault = Fault::from(error);
                Fault::new(fault.code, format!("preset {name}: {}", fault.detail)).remedy(fault.remedy)
            })?;
            let recipe = parsed.to_string();
            let before = known.get(name);
            let changed = before.is_some_and(|preset| preset.recipe != recipe);
            if changed || before.is_none_or(|preset| !preset.managed_by_file) {
                self.store_preset(name, &recipe, true, changed).await?;
            }
        }
        for (name, recipe) in preset::SETS.iter().flat_map(|set| set.presets) {
            let named_by_file = presets.iter().any(|(declared, _)| declared == name);
            if !named_by_file && !known.contains_key(*name) {
                let recipe = recipe.parse::<Recipe>()?.to_string();
                self.store_preset(name, &recipe, false, false).await?;
            }
        }
        Ok(())
    }

    async fn check_policy(&self, name: &BucketName, policy: &BucketPolicy) -> Result<(), Fault> {
        let mut problems = policy.problems();
        if let Some(prefix) = &policy.prefix
            && prefix.parse::<larder_store::Place>().is_err()
        {
            problems.push(format!("prefix \"{prefix}\" is no folder of a store"));
        }
        for other in self.buckets().await?.iter().filter(|other| other.name != *name) {
            let (mine, theirs) = (policy.prefix.as_deref().unwrap_or(name.as_str()), other.prefix());
            if overlap(mine, theirs) {
                problems.push(format!(
                    "prefix \"{mine}\" overlaps the prefix \"{theirs}\" of the bucket {}",
                    other.name
                ));
            }
        }
        let presets = self.catalog().presets().await?;
        for preset in
            policy.presets.iter().chain(&policy.public_presets).flat_map(|name| preset::expand(name))
        {
            let shipped = preset::SETS.iter().flat_map(|set| set.presets).any(|(name, _)| *name == preset);
            if !shipped && !presets.iter().any(|known| known.name == preset) {
                problems.push(format!("the preset \"{preset}\" does not exist"));
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Fault::new(Code::InvalidRequest, format!("bucket {name}: {}", problems.join("; ")))
            .remedy("correct the bucket's rules"))
    }

    async fn store_bucket(
        &self,
        name: &BucketName,
        policy: &BucketPolicy,
        by_file: bool,
        before: Option<BucketRecord>,
    ) -> Result<(), Fault> {
        let before = before.map(bucket_of).transpose()?;
        let grew = before.as_ref().is_some_and(|before| {
            policy
                .presets
                .iter()
                .flat_map(|name| preset::expand(name))
                .any(|preset| !before.presets().contains(&preset))
        });
        let noting = match before.as_ref().is_some_and(|before| shows_otherwise(&before.policy, policy)) {
            true => self.noting()?,
            false => None,
        };
        if policy.visibility == Visibility::Private
            && before.as_ref().is_some_and(|before| before.policy.visibility == Visibility::Public)
        {
            self.warn_of_ways_past(name, policy);
        }
        let job = grew.then(|| jobs::new_job(&Backfill::of_bucket(name.clone()))).transpose()?;
        let (name, policy) = (name.clone(), policy_value(policy)?);
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.upsert_bucket(&name, &policy, by_file).await?;
                    if let Some(noting) = noting {
                        noting.bucket(tx, &name).await?;
                    }
                    if let Some(job) = job {
                        tx.enqueue(job).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        self.bucket_cache().0.clear();
        Ok(())
    }

    /// Says where a bucket that was closed can still be read without Larder.
    fn warn_of_ways_past(&self, name: &BucketName, policy: &BucketPolicy) {
        let Ok(folder) = policy.prefix.as_deref().unwrap_or(name.as_str()).parse::<Place>() else { return };
        for (store, of) in self.stores().iter() {
            if let Some(url) = of.public_url(&folder) {
                tracing::warn!(bucket = %name, store, %url, "the bucket is private now, and whoever knows an address of the store or the CDN may still read there; `larder doctor` asks them");
            }
        }
    }

    async fn store_preset(
        &self,
        name: &str,
        recipe: &str,
        by_file: bool,
        backfill: bool,
    ) -> Result<Option<JobId>, Fault> {
        let job: Option<NewJob> = backfill.then(|| jobs::new_job(&Backfill::of_preset(name))).transpose()?;
        let (name, recipe) = (name.to_owned(), recipe.to_owned());
        let enqueued = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.upsert_preset(&name, &recipe, by_file).await?;
                    match job {
                        Some(job) => tx.enqueue(job).await.map(|enqueued| Some(enqueued.id)),
                        None => Ok(None),
                    }
                })
            })
            .await?;
        Ok(enqueued)
    }
}

/// Whether other people may read under the new rules, or something else: then no cache may go by the old ones.
fn shows_otherwise(before: &BucketPolicy, after: &BucketPolicy) -> bool {
    let shown = |policy: &BucketPolicy| {
        let mut open: Vec<String> =
            policy.public_presets.iter().flat_map(|name| preset::expand(name)).map(str::to_owned).collect();
        open.sort_unstable();
        (policy.visibility, policy.gps, open)
    };
    shown(before) != shown(after)
}

/// Whether one folder is the other or lies in it; bytes of two buckets must never mix.
pub(crate) fn overlap(one: &str, two: &str) -> bool {
    let inside = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    inside(one, two) || inside(two, one)
}

fn check_preset_name(name: &str) -> Result<(), Fault> {
    let possible = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
    if possible && !preset::SETS.iter().any(|set| set.name == name) {
        return Ok(());
    }
    Err(Fault::new(Code::InvalidRequest, format!("\"{name}\" is no possible name of a preset")).remedy(
        "use 1 to 64 characters of a-z, 0-9, dots, hyphens and underscores, and not the name of a set",
    ))
}

fn policy_value(policy: &BucketPolicy) -> Result<serde_json::Value, Fault> {
    serde_json::to_value(policy).map_err(|error| Fault::internal("a policy does not print").caused_by(error))
}

fn bucket_of(record: BucketRecord) -> Result<Bucket, Fault> {
    let policy = serde_json::from_value(record.policy).map_err(|error| {
        Fault::internal(format!("the rules of the bucket {} can't be read", record.name)).caused_by(error)
    })?;
    Ok(Bucket {
        name: record.name,
        policy,
        managed_by_file: record.managed_by_file,
        created_at: record.created_at,
        updated_at: record.updated_at,
    })
}

fn preset_view(record: PresetRecord) -> PresetView {
    PresetView {
        version: recipe_digest(&record.recipe),
        name: record.name,
        recipe: record.recipe,
        managed_by_file: record.managed_by_file,
        created_at: record.created_at,
        updated_at: record.updated_at,
    }
}

fn no_bucket(name: &BucketName) -> Fault {
    Fault::new(Code::BucketNotFound, format!("there is no bucket {name}"))
        .remedy("create the bucket first, or check its name")
}

fn no_preset(name: &str) -> Fault {
    Fault::new(Code::PresetNotFound, format!("there is no preset {name}"))
        .remedy("list the presets, or define this one")
}

fn managed_by_file(what: &str, name: &str) -> Fault {
    Fault::new(Code::ManagedByFile, format!("the {what} {name} is defined in the configuration file"))
        .remedy("change it there and restart, or remove it there to change it here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_overlap_by_segments_not_letters() {
        assert!(overlap("a", "a") && overlap("a", "a/b") && overlap("a/b", "a"));
        assert!(!overlap("a", "ab") && !overlap("a/b", "a/c"));
    }

    #[test]
    fn preset_names_are_plain_and_no_sets() {
        assert!(check_preset_name("hero-2x").is_ok());
        for name in ["", "Hero", "a,b", "a:b", "keep"] {
            assert!(check_preset_name(name).is_err(), "{name}");
        }
    }
}
