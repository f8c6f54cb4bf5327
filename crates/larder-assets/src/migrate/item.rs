//! One thing that moves: an original, one in the trash, or a variant.

use larder_catalog::{AssetRecord, SpareCopy, VariantRecord};
use larder_core::{BucketName, Fault, FileType, ObjectKey};
use larder_image::Format;
use larder_store::{Attributes, Place};
use serde::{Deserialize, Serialize};

use crate::{
    content::is_shared,
    larder::{Larder, place},
    variants::{source_of_shared, variant_place},
};

/// A kind of thing that moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moved {
    /// The bytes of an asset.
    Original,
    /// The bytes of a deleted asset, in the trash.
    Deleted,
    /// The bytes of a variant.
    Variant,
}

/// The record of a thing that moves, as it was read.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Asset(Box<AssetRecord>),
    /// With its asset, while there is one.
    Variant(Box<VariantRecord>, Option<Box<AssetRecord>>),
}

impl Item {
    pub(super) fn kind(&self) -> Moved {
        match self {
            Self::Asset(asset) if asset.deleted_at.is_some() => Moved::Deleted,
            Self::Asset(_) => Moved::Original,
            Self::Variant(..) => Moved::Variant,
        }
    }

    /// Where its bytes lie in its store.
    pub(super) fn at(&self) -> &str {
        match self {
            Self::Asset(asset) => asset.trash_place.as_deref().unwrap_or(&asset.place),
            Self::Variant(variant, _) => &variant.place,
        }
    }

    pub(super) fn store(&self) -> &str {
        match self {
            Self::Asset(asset) => &asset.store,
            Self::Variant(variant, _) => &variant.store,
        }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::Asset(asset) => asset.size_bytes,
            Self::Variant(variant, _) => variant.size_bytes,
        }
    }

    pub(super) fn sha256(&self) -> &str {
        match self {
            Self::Asset(asset) => &asset.sha256,
            Self::Variant(variant, _) => &variant.sha256,
        }
    }

    /// The fingerprint that the opened bytes have to have. The trash of some stores changes it; there the
    /// digest alone decides.
    pub(super) fn fingerprint(&self) -> Option<&str> {
        match self {
            Self::Asset(asset) if asset.deleted_at.is_some() => None,
            Self::Asset(asset) => Some(&asset.fingerprint),
            Self::Variant(variant, _) => Some(&variant.fingerprint),
        }
    }

    pub(super) fn bucket(&self) -> Option<&BucketName> {
        match self {
            Self::Asset(asset) => Some(&asset.bucket),
            Self::Variant(_, asset) => asset.as_ref().map(|asset| &asset.bucket),
        }
    }

    pub(super) fn key(&self) -> Option<&ObjectKey> {
        match self {
            Self::Asset(asset) => Some(&asset.key),
            Self::Variant(_, asset) => asset.as_ref().map(|asset| &asset.key),
        }
    }

    pub(super) fn attributes(&self) -> Attributes {
        let content_type = match self {
            Self::Asset(asset) => &asset.content_type,
            Self::Variant(variant, _) => &variant.content_type,
        };
        Attributes { content_type: Some(content_type.clone()), ..Attributes::default() }
    }

    /// Whether its bytes may be shared with others.
    pub(super) fn is_shared(&self) -> bool {
        match self {
            Self::Asset(asset) => is_shared(self.at(), &asset.sha256),
            Self::Variant(..) => source_of_shared(self.at()).is_some(),
        }
    }

    /// Whether the record of another that shares these bytes says that they lie at a place under this
    /// fingerprint.
    pub(super) async fn is_known_at(
        &self,
        larder: &Larder,
        (store, at): (&str, &str),
        fingerprint: &str,
    ) -> Result<bool, Fault> {
        let catalog = larder.catalog();
        Ok(match self {
            Self::Asset(asset) => {
                catalog.asset_with_bytes_at(store, at, &asset.sha256, fingerprint).await?.is_some()
            }
            Self::Variant(variant, _) => {
                let others = catalog.variants_at_place(store, at).await?;
                others.iter().any(|other| {
                    (other.sha256.as_str(), other.fingerprint.as_str())
                        == (variant.sha256.as_str(), fingerprint)
                })
            }
        })
    }

    /// What people are told of it.
    pub(super) fn name(&self) -> String {
        match (self.bucket(), self.key()) {
            (Some(bucket), Some(key)) => match self {
                Self::Asset(_) => format!("{bucket}/{key}"),
                Self::Variant(variant, _) => format!("{bucket}/{key} ({})", variant.recipe),
            },
            _ => self.at().to_owned(),
        }
    }

    /// What is noted of its bytes at a place of a store. Nothing can be noted of a variant without its
    /// asset: it is an orphan, which goes with the next collection.
    pub(super) fn copy_at(&self, store: &str, at: &Place) -> Option<SpareCopy> {
        let left = self.left()?;
        Some(SpareCopy { store: store.to_owned(), place: at.to_string(), fingerprint: String::new(), ..left })
    }

    /// What it leaves where it lies.
    pub(super) fn left(&self) -> Option<SpareCopy> {
        match self {
            Self::Asset(asset) => Some(SpareCopy::left_by(asset)),
            Self::Variant(variant, asset) => {
                let asset = asset.as_ref()?;
                Some(SpareCopy::left_by_variant(variant, &asset.bucket, &asset.key))
            }
        }
    }

    /// Where it goes in another store: the same place, since links of others may name it, or the readable
    /// one if it had to be escaped where it lies; and where it goes if the store can't give that.
    pub(super) async fn targets(&self, larder: &Larder) -> Result<(Place, Option<Place>), Fault> {
        let at = place(self.at())?;
        let Some((readable, escaped)) = self.own_places(larder).await? else { return Ok((at, None)) };
        let natural = if at == escaped { readable } else { at };
        Ok((natural.clone(), Some(escaped).filter(|escaped| *escaped != natural)))
    }

    /// The readable and the escaped place of its key; none where a store gives any place.
    async fn own_places(&self, larder: &Larder) -> Result<Option<(Place, Place)>, Fault> {
        Ok(match self {
            Self::Asset(asset) if asset.deleted_at.is_none() => {
                let bucket = larder.bucket(&asset.bucket).await?;
                let prefix = bucket.prefix();
                Some((Place::of_key(prefix, &asset.key), Place::escaped(prefix, &asset.key)))
            }
            Self::Variant(variant, Some(asset)) => {
                let bucket = larder.bucket(&asset.bucket).await?;
                let format = FileType::of_content_type(&variant.content_type)
                    .and_then(|known| Format::named(known.name));
                match format {
                    Some(format) => Some(variant_place(&bucket, asset, &variant.recipe_digest, format)?),
                    None => None,
                }
            }
            _ => None,
        })
    }

    /// The record as it is now, if it still lies in the store that it lay in.
    pub(super) async fn again(&self, larder: &Larder) -> Result<Option<Self>, Fault> {
        Ok(match self {
            Self::Asset(asset) => larder
                .catalog()
                .asset(asset.id)
                .await?
                .filter(|now| now.store == asset.store)
                .map(|now| Self::Asset(Box::new(now))),
            Self::Variant(variant, _) => {
                let now = larder.catalog().variant(variant.id).await?;
                match now.filter(|now| now.store == variant.store && !now.place.is_empty()) {
                    Some(now) => {
                        let asset = larder.catalog().asset(now.asset_id).await?;
                        Some(Self::Variant(Box::new(now), asset.map(Box::new)))
                    }
                    None => None,
                }
            }
        })
    }
}
