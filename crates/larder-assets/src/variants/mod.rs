//! Variants: what recipes make of an asset.

mod ahead;
mod cleanup;
mod decode;
mod flights;
mod make;
mod on_demand;

use larder_core::{AssetId, Fault};
use larder_image::{Format, Recipe};
use larder_store::Place;
use sha2::{Digest, Sha256};

pub use ahead::AtHand;
pub(crate) use ahead::ENSURE_EVERY;
pub(crate) use decode::Known;
pub(crate) use flights::Flights;

use crate::{
    buckets::Bucket,
    larder::Larder,
    policy::Layout,
    view::{VariantView, variant_view},
};

/// Hex digits of a source's and a recipe's digest in the name of a variant's file: 64 bits each, so
/// that two of one asset never share a name.
pub(crate) const NAME_DIGITS: usize = 16;

/// Folder of variants below a bucket's prefix.
pub(crate) const FOLDER: &str = "_variants";

/// A variant that a bucket wants of every picture.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) preset: String,
    pub(crate) recipe: Recipe,
    pub(crate) digest: String,
}

/// What tells recipes apart, in records and as the version of a preset: the first 16 hex digits of
/// the SHA-256 of their canonical text.
pub fn recipe_digest(canonical: &str) -> String {
    hex::encode(&Sha256::digest(canonical.as_bytes())[..8])
}

/// The format that a recipe makes of a source, by what is known of it.
pub fn output_format(recipe: &Recipe, source: &SourceFacts<'_>) -> Format {
    let format = larder_core::FileType::of_content_type(source.content_type)
        .and_then(|known| Format::named(known.name))
        .unwrap_or(Format::Jpeg);
    recipe.output_format(format, (source.width_px, source.height_px), source.frames)
}

/// What the format of an output may depend on.
#[derive(Debug, Clone, Copy)]
pub struct SourceFacts<'a> {
    /// The media type.
    pub content_type: &'a str,
    /// Width of the upright picture in pixels; 0 if it is not known yet.
    pub width_px: u32,
    /// Height of the upright picture in pixels; 0 if it is not known yet.
    pub height_px: u32,
    /// Frames; 1 for a still picture.
    pub frames: u32,
}

/// Folder, below that of variants, of those that assets with equal bytes share. Keys that begin so are
/// escaped.
const SHARED: &str = "_hash";

/// The SHA-256 of the source of a variant that lies where assets with equal bytes share it.
pub(crate) fn source_of_shared(at: &str) -> Option<&str> {
    let mut segments = at.rsplit('/');
    let source = segments.next()?.split_once('-')?.0;
    let (second, first) = (segments.next()?, segments.next()?);
    let is_digest = source.len() == 64 && source.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_shared = is_digest
        && (first, second) == (&source[..2], &source[2..4])
        && segments.next() == Some(SHARED)
        && segments.next() == Some(FOLDER);
    is_shared.then_some(source)
}

/// Where a variant's bytes lie: `<prefix>/_variants/<key>/<source>-<recipe>.<extension>`, or in the `hash`
/// layout `<prefix>/_variants/_hash/<2 hex>/<2 hex>/<source>-<recipe>.<extension>`; and where they lie if
/// the store can't give that.
pub(crate) fn variant_place(
    bucket: &Bucket,
    asset: &larder_catalog::AssetRecord,
    digest: &str,
    format: Format,
) -> Result<(Place, Place), Fault> {
    let folder = format!("{}/{FOLDER}", bucket.prefix());
    let source = asset.sha256.get(..NAME_DIGITS).unwrap_or(&asset.sha256);
    let name = format!("{source}-{digest}.{}", format.extension());
    let natural = Place::of_key(&folder, &asset.key);
    let escaped = Place::escaped(&folder, &asset.key);
    let invalid =
        |error: larder_store::PlaceError| Fault::internal("a variant has no place").caused_by(error);
    let escaped = escaped.join(&name).map_err(invalid)?;
    if bucket.policy.layout == Layout::Hash && asset.sha256.len() == 64 && asset.sha256.is_ascii() {
        let (sha256, extension) = (&asset.sha256, format.extension());
        let (first, second) = (&sha256[..2], &sha256[2..4]);
        let shared = format!("{folder}/{SHARED}/{first}/{second}/{sha256}-{digest}.{extension}");
        return Ok((shared.parse().map_err(invalid)?, escaped));
    }
    Ok((natural.join(&name).unwrap_or_else(|_| escaped.clone()), escaped))
}

impl Larder {
    /// The recipes that a bucket wants of every picture at upload.
    pub(crate) async fn wanted_at_upload(&self, bucket: &Bucket) -> Result<Vec<Wanted>, Fault> {
        let names = bucket.presets();
        if names.is_empty() || !self.settings().variants_at_upload {
            return Ok(Vec::new());
        }
        let known = self.catalog().presets().await?;
        let mut wanted: Vec<Wanted> = Vec::new();
        for name in names {
            let Some(preset) = known.iter().find(|preset| preset.name == name) else {
                tracing::warn!(bucket = %bucket.name, preset = name, "the bucket names a preset that does not exist");
                continue;
            };
            let digest = recipe_digest(&preset.recipe);
            // Two names of one recipe are one variant.
            if wanted.iter().all(|other| other.digest != digest) {
                wanted.push(Wanted { preset: preset.name.clone(), recipe: preset.recipe.parse()?, digest });
            }
        }
        Ok(wanted)
    }

    /// The variants of an asset's present bytes.
    ///
    /// # Errors
    /// [`Code::AssetNotFound`](larder_core::Code::AssetNotFound).
    pub async fn variants(&self, id: AssetId) -> Result<Vec<VariantView>, Fault> {
        let asset = self.existing_asset(id).await?;
        let bucket = self.bucket(&asset.bucket).await?;
        let records = self.catalog().variants(id).await?;
        Ok(records
            .iter()
            .filter(|variant| variant.source_sha256 == asset.sha256)
            .map(|variant| variant_view(self, &bucket, &asset, variant))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_place_tells_what_it_was_made_of() {
        let source = "ab12".repeat(16);
        let at = format!("media/_variants/_hash/ab/12/{source}-0123456789abcdef.webp");
        assert_eq!(source_of_shared(&at), Some(source.as_str()));
        for other in [
            format!("media/_variants/a.jpg/{source}-0123456789abcdef.webp"),
            format!("media/_variants/_hash/ab/13/{source}-0123456789abcdef.webp"),
            format!("media/_hash/ab/12/{source}.webp"),
            "_hash".to_owned(),
        ] {
            assert_eq!(source_of_shared(&other), None, "{other}");
        }
    }
}
