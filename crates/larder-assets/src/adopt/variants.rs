//! Files beside an original that become its variants.

use larder_catalog::{AssetFilter, AssetRecord, Class, VariantIdentity, VariantResult, VariantStatus};
use larder_core::{Code, Fault};
use larder_image::Recipe;
use larder_store::Entry;

use super::{Adopted, Depth, How, Probed, VariantRule, Work, key_of, rules::Named};
use crate::{
    larder::Larder,
    variants::{SourceFacts, output_format, recipe_digest},
};

/// What is recorded as the encoder of a variant that Larder did not make.
pub(crate) const ENCODER: &str = "adopted";

/// A preset that a rule names.
#[derive(Debug)]
pub(super) struct RulePreset {
    name: String,
    recipe: Recipe,
}

impl Larder {
    /// The presets that rules name.
    ///
    /// # Errors
    /// [`Code::PresetNotFound`].
    pub(super) async fn presets_of_rules(&self, rules: &[VariantRule]) -> Result<Vec<RulePreset>, Fault> {
        let mut presets: Vec<RulePreset> = Vec::new();
        for rule in rules {
            if presets.iter().all(|known| known.name != rule.preset) {
                let recipe = self.recipe_of_preset(&rule.preset).await?;
                presets.push(RulePreset { name: rule.preset.clone(), recipe });
            }
        }
        Ok(presets)
    }

    /// Records bytes that lie in the store as the variant of a recipe. `false` if there is one already.
    pub(crate) async fn register_variant(
        &self,
        asset: &AssetRecord,
        (recipe, preset): (&Recipe, Option<&str>),
        place: &str,
        probed: Probed,
    ) -> Result<bool, Fault> {
        let canonical = recipe.to_string();
        let identity = VariantIdentity {
            asset_id: asset.id,
            source_sha256: asset.sha256.clone(),
            recipe_digest: recipe_digest(&canonical),
        };
        let picture = probed.picture;
        let result = VariantResult::Ready {
            store: self.stores().primary_name().to_owned(),
            place: place.to_owned(),
            fingerprint: probed.fingerprint,
            size_bytes: probed.size_bytes,
            sha256: probed.sha256,
            content_type: probed.content_type,
            width_px: picture.as_ref().map_or(0, |picture| picture.width_px),
            height_px: picture.as_ref().map_or(0, |picture| picture.height_px),
            frames: picture.as_ref().map_or(1, |picture| picture.frames),
            encoder: ENCODER.to_owned(),
        };
        let preset = preset.map(str::to_owned);
        let recorded = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    let (variant, _) = tx.want_variant(&identity, &canonical, preset.as_deref()).await?;
                    match variant.status {
                        VariantStatus::Pending | VariantStatus::Failed => {
                            tx.finish_variant(variant.id, result).await
                        }
                        VariantStatus::Ready | VariantStatus::Stale => Ok(false),
                    }
                })
            })
            .await?;
        self.record_cache().forget_variants(asset.id);
        Ok(recorded)
    }
}

impl Work<'_> {
    /// Makes a variant of a file that a rule names; `None` if it is none.
    pub(super) async fn variant(&self, entry: &Entry, named: &Named<'_>) -> Result<Option<Adopted>, Fault> {
        if self.larder.known_at(self.larder.stores().primary_name(), &entry.place).await?.is_some() {
            return Ok(Some(Adopted::Present));
        }
        let Some(preset) = self.presets.iter().find(|preset| preset.name == named.preset) else {
            return Ok(None);
        };
        if self.how.depth == Depth::Header {
            // Of what is not stored yet, the original can't be asked.
            let original = self.lies_beside(&named.original).await?;
            return Ok(original.then_some(Adopted::Variant));
        }
        let Some(original) = self.original(&named.original).await? else { return Ok(None) };
        let key = key_of(self.bucket, &entry.place, self.options.strip.as_deref())?;
        let how = How { depth: Depth::Hash, ..self.how };
        let lies = (self.larder.stores().primary_name(), &entry.place);
        let probed = self.larder.probe(self.bucket, lies, &key, how).await?;
        if let Err(fault) = fits(&preset.recipe, &original, &probed) {
            tracing::info!(place = %entry.place, preset = preset.name, why = fault.detail, "a file is no variant and becomes an asset");
            return Ok(None);
        }
        let recipe = (&preset.recipe, Some(preset.name.as_str()));
        let recorded = self.larder.register_variant(&original, recipe, entry.place.as_str(), probed).await?;
        Ok(recorded.then_some(Adopted::Variant))
    }

    /// The picture that is the original of a variant: the only asset of this name, whatever its extension.
    async fn original(&self, upto_extension: &str) -> Result<Option<AssetRecord>, Fault> {
        let place =
            upto_extension.trim_end_matches('.').parse().map_err(|error: larder_store::PlaceError| {
                Fault::internal("an original has no place").caused_by(error)
            })?;
        let key = key_of(self.bucket, &place, self.options.strip.as_deref())?;
        let filter = AssetFilter {
            bucket: Some(self.bucket.name.clone()),
            prefix: Some(format!("{key}.")),
            limit: 10,
            ..AssetFilter::default()
        };
        let found = self.larder.catalog().assets(&filter).await?.items.into_iter();
        let mut originals = found.filter(|asset| {
            let extension = asset.place.strip_prefix(upto_extension);
            asset.width_px.is_some() && extension.is_some_and(|rest| !rest.contains(['/', '.']))
        });
        let original = originals.next();
        // Of two, none is certain to be it.
        Ok(original.filter(|_| originals.next().is_none()))
    }

    async fn lies_beside(&self, upto_extension: &str) -> Result<bool, Fault> {
        let options =
            larder_store::ListOptions { limit: 2, ..larder_store::ListOptions::under(upto_extension) };
        Ok(self.larder.stores().primary().list(options).await?.entries.len() == 1)
    }
}

/// Whether bytes can be what a recipe makes of a picture: in its format, and no larger.
pub(crate) fn fits(recipe: &Recipe, original: &AssetRecord, probed: &Probed) -> Result<(), Fault> {
    let source = SourceFacts {
        content_type: &original.content_type,
        width_px: original.width_px.unwrap_or(0),
        height_px: original.height_px.unwrap_or(0),
        frames: original.frames.unwrap_or(1),
    };
    let refused = |detail: String| Err(Fault::new(Code::TypeMismatch, detail));
    let expected = output_format(recipe, &source).content_type();
    if probed.content_type != expected {
        return refused(format!("it is {}, the recipe makes {expected}", probed.content_type));
    }
    let size = recipe.output_size_max(Some((source.width_px, source.height_px)));
    let (Some((width, height)), Some(picture)) = (size, &probed.picture) else { return Ok(()) };
    match picture.width_px <= width && picture.height_px <= height {
        true => Ok(()),
        false => refused(format!(
            "it has {}x{} pixels, the recipe makes at most {width}x{height}",
            picture.width_px, picture.height_px
        )),
    }
}
