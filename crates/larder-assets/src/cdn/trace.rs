//! Where the bytes of an asset were to be had: what is noted with a change, since a moment later its
//! record and those of its variants may be gone.

use larder_catalog::{AssetRecord, VariantRecord};
use larder_core::ObjectKey;
use serde::{Deserialize, Serialize};

use crate::{
    links::{variant_version, version},
    variants::recipe_digest,
    view::extension,
};

/// Variants of one asset whose addresses are noted; of more, those that were wanted last. The asset's tag
/// stands for all.
const VARIANTS_MAX: usize = 200;

/// Bytes that were to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trace {
    /// The asset's key.
    pub(super) key: ObjectKey,
    /// What stood in `?v=`.
    pub(super) version: String,
    /// Where they lay: store and place. None if they were yet to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lay: Option<(String, String)>,
    /// Of a variant: how it is spelled in addresses. None for the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made: Option<Made>,
}

/// How a variant is spelled in addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    /// `p:<preset>`, or a canonical recipe.
    pub(super) recipe: String,
    /// The extension without its dot.
    pub(super) extension: String,
}

/// All that is known of an asset, its original first.
pub(super) fn traces(asset: &AssetRecord, variants: &[VariantRecord]) -> Vec<Trace> {
    let original = Trace {
        key: asset.key.clone(),
        version: version(&asset.sha256).to_owned(),
        lay: Some((asset.store.clone(), asset.place.clone())),
        made: None,
    };
    let variants = variants.iter().rev().take(VARIANTS_MAX).map(|variant| Trace {
        key: asset.key.clone(),
        version: variant_version(&variant.source_sha256, &recipe_digest(&variant.recipe)),
        lay: (!variant.place.is_empty()).then(|| (variant.store.clone(), variant.place.clone())),
        made: Some(Made {
            recipe: match &variant.preset {
                Some(preset) => format!("p:{preset}"),
                None => variant.recipe.clone(),
            },
            extension: extension(&variant.recipe, asset).to_owned(),
        }),
    });
    [original].into_iter().chain(variants).collect()
}
