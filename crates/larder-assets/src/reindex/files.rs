//! What no record names, by its path.

use futures::{StreamExt, stream};
use larder_catalog::AssetRecord;
use larder_core::{Fault, FaultKind, ObjectKey};
use larder_image::Recipe;
use larder_store::{Entry, ListOptions, Place};

use super::{AT_A_TIME, Reindex};
use crate::{
    adopt::{Adopted, Depth, How, fits, is_own, key_of, unnameable},
    buckets::Bucket,
    variants::{FOLDER, NAME_DIGITS, recipe_digest},
};

/// A preset's recipe with its digest.
struct Known {
    name: String,
    recipe: Recipe,
    digest: String,
}

impl Reindex<'_> {
    pub(super) async fn files(&mut self) -> Result<(), Fault> {
        self.report.by_path.dry_run = self.options.dry_run;
        let presets = self.larder.presets().await?;
        let known: Vec<Known> = presets
            .into_iter()
            .filter_map(|preset| {
                let recipe = preset.recipe.parse().ok()?;
                Some(Known { digest: recipe_digest(&preset.recipe), name: preset.name, recipe })
            })
            .collect();
        // Assets first: a variant needs its own.
        for is_variants in [false, true] {
            for bucket in self.larder.buckets().await? {
                self.files_of(&bucket, &known, is_variants).await?;
            }
        }
        Ok(())
    }

    async fn files_of(&mut self, bucket: &Bucket, known: &[Known], is_variants: bool) -> Result<(), Fault> {
        let mut options = match is_variants {
            true => ListOptions::under(format!("{}/{FOLDER}/", bucket.prefix())),
            false => ListOptions::under(format!("{}/", bucket.prefix())),
        };
        loop {
            self.follow.check()?;
            let page = self.larder.stores().primary().list(options.clone()).await?;
            let meant: Vec<Entry> = page
                .entries
                .into_iter()
                .filter(|entry| is_variants || !is_own(bucket, &entry.place))
                .collect();
            self.follow.expect(meant.len() as u64);
            let this = &*self;
            let outcomes: Vec<_> = stream::iter(meant)
                .map(|entry| async move {
                    let outcome = match is_variants {
                        true => this.made_variant(bucket, &entry, known).await,
                        false => this.file(bucket, &entry).await.map(Some),
                    };
                    this.follow.advance(1);
                    (entry, outcome)
                })
                .buffer_unordered(AT_A_TIME)
                .collect()
                .await;
            for (entry, outcome) in outcomes {
                let by_path = &mut self.report.by_path;
                by_path.files += 1;
                by_path.bytes += entry.size_bytes;
                match outcome.transpose() {
                    None => by_path.own += 1,
                    Some(outcome) => by_path.add(&entry, outcome)?,
                }
            }
            if !is_variants {
                for name in page.unnameable {
                    self.report.by_path.refuse(name, unnameable());
                }
            }
            match page.next {
                Some(next) => options.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn file(&self, bucket: &Bucket, entry: &Entry) -> Result<Adopted, Fault> {
        if self.places.contains(entry.place.as_str()) {
            return Ok(Adopted::Present);
        }
        // A damaged original is known, whatever lies there now.
        if self.larder.known_at(self.larder.stores().primary_name(), &entry.place).await?.is_some() {
            return Ok(Adopted::Present);
        }
        let key = key_of(bucket, &entry.place, None)?;
        let depth = match (self.options.dry_run, self.options.verify) {
            (true, _) => Depth::Header,
            (false, false) => Depth::Hash,
            (false, true) => Depth::Decode,
        };
        self.larder.adopt_file(bucket, &key, entry, How { depth, ignore_extensions: false }).await
    }

    /// A variant whose place says of which asset and preset it is. `None` for any other: it is taken again
    /// when it is asked for.
    async fn made_variant(
        &self,
        bucket: &Bucket,
        entry: &Entry,
        known: &[Known],
    ) -> Result<Option<Adopted>, Fault> {
        let is_known = self.places.contains(entry.place.as_str());
        if is_known
            || self.larder.known_at(self.larder.stores().primary_name(), &entry.place).await?.is_some()
        {
            return Ok(Some(Adopted::Present));
        }
        let Some((key, source, digest)) = taken_apart(bucket, &entry.place) else { return Ok(None) };
        let Some(preset) = known.iter().find(|preset| preset.digest == digest) else { return Ok(None) };
        let asset = self.larder.catalog().asset_at(&bucket.name, &key).await?;
        let is_its = |asset: &AssetRecord| asset.sha256.starts_with(source) && asset.width_px.is_some();
        let Some(asset) = asset.filter(is_its) else { return Ok(None) };
        if self.options.dry_run {
            return Ok(Some(Adopted::Variant));
        }
        let how = How { depth: Depth::Hash, ignore_extensions: true };
        let lies = (self.larder.stores().primary_name(), &entry.place);
        let probed = match self.larder.probe(bucket, lies, &key, how).await {
            Err(fault) if fault.kind() == FaultKind::Unavailable => return Err(fault),
            Err(_) => return Ok(None),
            Ok(probed) => probed,
        };
        if fits(&preset.recipe, &asset, &probed).is_err() {
            return Ok(None);
        }
        let recipe = (&preset.recipe, Some(preset.name.as_str()));
        let recorded = self.larder.register_variant(&asset, recipe, entry.place.as_str(), probed).await?;
        Ok(recorded.then_some(Adopted::Variant))
    }
}

/// Key, beginning of the source's digest and digest of the recipe of
/// `<prefix>/_variants/<key>/<source>-<recipe>.<extension>`.
fn taken_apart<'a>(bucket: &Bucket, place: &'a Place) -> Option<(ObjectKey, &'a str, &'a str)> {
    let below = place.as_str().strip_prefix(bucket.prefix())?.strip_prefix('/')?;
    let (key, name) = below.strip_prefix(FOLDER)?.strip_prefix('/')?.rsplit_once('/')?;
    let (source, digest) = name.split_once('.')?.0.split_once('-')?;
    let are_digits = source.len() == NAME_DIGITS && digest.len() == NAME_DIGITS;
    are_digits.then_some((key.parse().ok()?, source, digest))
}
