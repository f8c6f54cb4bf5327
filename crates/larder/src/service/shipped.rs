//! What exists without configuration: the shipped presets, and the buckets of a first start.

use larder_assets::{BucketPolicy, Larder, preset};
use larder_core::BucketName;
use larder_image::{Quality, Recipe};

use crate::{
    config::{Config, ConfigError, ImagesConfig, SHIPPED, shipped_policy},
    failure::Failure,
};

/// Takes over what the configuration says of buckets and presets, and makes the buckets of a first
/// start.
///
/// Settings that reshape what is shipped (`images.…`, `limits.artwork_bytes`) act like entries of
/// the file: they win over the catalogue as long as they are set.
///
/// # Errors
/// The catalogue's, or an entry of the configuration is wrong.
pub async fn declare(larder: &Larder, config: &Config) -> Result<(), Failure> {
    let mut declared_presets: Vec<(String, String)> =
        config.presets.iter().map(|(name, recipe)| (name.clone(), recipe.clone())).collect();
    if config.images.format.is_some() || config.images.quality.is_some() {
        let reshaped = presets(&config.images).into_iter();
        declared_presets.extend(reshaped.filter(|(name, _)| !config.presets.contains_key(name)));
    }
    let existing = larder.buckets().await?;
    // The shipped presets come last, so that they are there only when a first start was complete; and
    // a bucket that was removed later does not come back.
    let is_first = larder.presets().await?.is_empty();
    let present = |name: &BucketName| {
        existing.iter().find(|bucket| bucket.name == *name).map(|bucket| bucket.policy.clone())
    };
    let mut declared: Vec<(BucketName, BucketPolicy)> = Vec::new();
    for (name, entry) in &config.buckets {
        let policy = config.policy_of(name, entry, present(name).as_ref()).map_err(|problem| {
            ConfigError::new(format!("bucket {name}: {problem}"), format!("correct [buckets.{name}]"))
        })?;
        declared.push((name.clone(), policy));
    }
    let mut shipped = Vec::new();
    for (name, _) in SHIPPED {
        let Ok(name) = name.parse::<BucketName>() else { continue };
        if config.buckets.contains_key(&name) {
            continue;
        }
        let present = present(&name);
        if present.is_none() && !is_first {
            continue;
        }
        let policy = present.or_else(|| shipped_policy(&name)).unwrap_or_default();
        let reshaped = config.reshaped(&name, policy.clone());
        if reshaped != policy {
            declared.push((name.clone(), reshaped));
        }
        shipped.push((name, policy));
    }
    if is_first {
        larder.ensure_buckets(&shipped).await?;
    }
    larder.declare(&declared, &declared_presets).await?;
    Ok(())
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
