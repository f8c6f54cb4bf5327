//! What exists without configuration: the shipped presets, and the buckets of a first start.

use larder_assets::{BucketPolicy, Larder, preset};
use larder_core::{BucketName, Fault, text::ByteSize};
use larder_image::{Quality, Recipe};

use crate::config::{Config, ImagesConfig};

/// The buckets of a first start and the presets that each makes. `media` is what doors use that name
/// no bucket; it comes last, so that it is there only when the others are.
const BUCKETS: [(&str, &str); 4] =
    [("artwork", "artwork"), ("keeps", "keep"), ("designs", "design"), ("media", "artwork")];

/// Takes over what the configuration says of buckets and presets, and makes the buckets of a first
/// start.
///
/// Settings that reshape what is shipped (`images.…`, `limits.artwork_bytes`) act like entries of
/// the file: they win over the catalogue as long as they are set.
///
/// # Errors
/// The catalogue's, or an entry of the file is wrong.
pub async fn declare(larder: &Larder, config: &Config) -> Result<(), Fault> {
    let mut declared_presets: Vec<(String, String)> =
        config.presets.iter().map(|(name, recipe)| (name.clone(), recipe.clone())).collect();
    if config.images.format.is_some() || config.images.quality.is_some() {
        let reshaped = presets(&config.images).into_iter();
        declared_presets.extend(reshaped.filter(|(name, _)| !config.presets.contains_key(name)));
    }
    let existing = larder.buckets().await?;
    let is_first = !existing.iter().any(|bucket| bucket.name.as_str() == "media");
    let mut declared: Vec<(BucketName, BucketPolicy)> =
        config.buckets.iter().map(|(name, policy)| (name.clone(), policy.clone())).collect();
    let mut shipped = Vec::new();
    for (name, set) in BUCKETS {
        let Ok(name) = name.parse::<BucketName>() else { continue };
        if config.buckets.contains_key(&name) {
            continue;
        }
        let present = existing.iter().find(|bucket| bucket.name == name).map(|bucket| bucket.policy.clone());
        if present.is_none() && !is_first {
            continue;
        }
        let policy = present.unwrap_or_else(|| shipped_policy(&name, set));
        let reshaped = reshape(config, &name, policy.clone());
        if reshaped == policy { shipped.push((name, policy)) } else { declared.push((name, reshaped)) }
    }
    larder.declare(&declared, &declared_presets).await?;
    if is_first {
        larder.ensure_buckets(&shipped).await?;
    }
    Ok(())
}

fn shipped_policy(name: &BucketName, set: &str) -> BucketPolicy {
    let mut policy = BucketPolicy { presets: vec![set.to_owned()], ..BucketPolicy::default() };
    if name.as_str() == "artwork" {
        policy.max_bytes = ByteSize(larder_core::limits::ARTWORK_BYTES_MAX);
    }
    policy
}

/// What settings make of a shipped bucket.
fn reshape(config: &Config, name: &BucketName, mut policy: BucketPolicy) -> BucketPolicy {
    if name.as_str() == "artwork" && config.origins.contains_key("limits.artwork_bytes") {
        policy.max_bytes = config.limits.artwork_bytes;
    }
    policy
}

/// The shipped presets as the settings shape them: name and canonical recipe.
pub fn presets(images: &ImagesConfig) -> Vec<(String, String)> {
    preset::SETS
        .iter()
        .flat_map(|set| set.presets)
        .map(|(name, recipe)| ((*name).to_owned(), shape(recipe, images)))
        .collect()
}

/// Every preset that is known without a catalogue: the shipped ones and those of the file.
pub fn all_presets(config: &Config) -> Vec<(String, String)> {
    let mut all = presets(&config.images);
    all.retain(|(name, _)| !config.presets.contains_key(name));
    all.extend(config.presets.iter().map(|(name, recipe)| (name.clone(), recipe.clone())));
    all
}

/// A recipe in the format and quality that the settings name. What a format does not have (a quality
/// of PNG) is left out.
fn shape(recipe: &str, images: &ImagesConfig) -> String {
    let Ok(mut shaped) = recipe.parse::<Recipe>() else { return recipe.to_owned() };
    let format = images.format.and_then(|format| shaped.with_format(format.0).ok());
    if let Some(changed) = format {
        shaped = changed;
    }
    let lossy = shaped.quality() != Quality::Lossless;
    if let Some(changed) =
        images.quality.filter(|_| lossy).and_then(|quality| shaped.with_quality(Quality::Lossy(quality)).ok())
    {
        shaped = changed;
    }
    shaped.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FromRaw, Raw};

    fn recipe(images: &ImagesConfig, name: &str) -> String {
        presets(images).into_iter().find(|(preset, _)| preset == name).unwrap().1
    }

    #[test]
    fn without_settings_the_presets_are_those_of_the_seeds() {
        let images = ImagesConfig { format: None, quality: None, optimize: true };
        assert_eq!(recipe(&images, "keep-small"), "resize:inside:150x150,format:jpeg,quality:85");
        assert_eq!(recipe(&images, "artwork-large"), "resize:inside:1920x1080,format:webp,quality:85");
        assert_eq!(recipe(&images, "design-thumbnail"), "resize:inside:200x200,format:png,quality:lossless");
    }

    #[test]
    fn format_and_quality_reshape_them_where_the_format_has_a_quality() {
        let images = ImagesConfig { format: None, quality: Some(70), optimize: true };
        assert_eq!(recipe(&images, "keep-small"), "resize:inside:150x150,format:jpeg,quality:70");
        assert_eq!(recipe(&images, "design-thumbnail"), "resize:inside:200x200,format:png,quality:lossless");
        let images = ImagesConfig { format: Option::from_raw(&Raw::text("avif")).unwrap(), ..images };
        assert_eq!(recipe(&images, "design-thumbnail"), "resize:inside:200x200,format:avif,quality:70");
    }
}
