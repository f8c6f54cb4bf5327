//! A record as it lies in the store: one line of JSON.

use larder_catalog::{
    AssetRecord, AssetStatus, BucketRecord, MetaKind, PresetRecord, VariantRecord, VariantStatus,
};
use larder_core::{AssetId, BucketName, Fault, ObjectKey, Timestamp, VariantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What was known of something at a number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MetaRecord {
    /// The higher number is the newer record.
    pub(crate) seq: i64,
    #[serde(flatten)]
    pub(crate) about: About,
}

/// What a record is about. A kind that this program does not know is left out by its reader.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum About {
    Asset(Box<AssetMeta>),
    Variant(Box<VariantMeta>),
    Bucket(BucketMeta),
    Preset(PresetMeta),
    /// It is no more.
    Gone(Gone),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Gone {
    pub(crate) kind: String,
    pub(crate) id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AssetMeta {
    id: AssetId,
    bucket: BucketName,
    key: ObjectKey,
    version: i64,
    status: String,
    store: String,
    place: String,
    fingerprint: String,
    size_bytes: u64,
    sha256: String,
    md5: String,
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original_filename: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    metadata: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width_px: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    height_px: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frames: Option<u32>,
    #[serde(default)]
    has_gps: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    perceptual_hash: Option<i64>,
    created_at: Timestamp,
    written_at: Timestamp,
    updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trash_place: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VariantMeta {
    id: VariantId,
    asset_id: AssetId,
    source_sha256: String,
    recipe: String,
    recipe_digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preset: Option<String>,
    status: String,
    store: String,
    place: String,
    fingerprint: String,
    size_bytes: u64,
    sha256: String,
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width_px: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    height_px: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frames: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Fault>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoder: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BucketMeta {
    name: BucketName,
    policy: Value,
    managed_by_file: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PresetMeta {
    name: String,
    recipe: String,
    managed_by_file: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl About {
    /// Kind and id: two records with the same are of the same thing.
    pub(crate) fn identity(&self) -> (String, String) {
        let (kind, id) = match self {
            Self::Asset(asset) => (MetaKind::Asset, asset.id.to_string()),
            Self::Variant(variant) => (MetaKind::Variant, variant.id.to_string()),
            Self::Bucket(bucket) => (MetaKind::Bucket, bucket.name.to_string()),
            Self::Preset(preset) => (MetaKind::Preset, preset.name.clone()),
            Self::Gone(gone) => return (gone.kind.clone(), gone.id.clone()),
        };
        (kind.as_str().to_owned(), id)
    }

    pub(crate) fn gone(kind: MetaKind, id: String) -> Self {
        Self::Gone(Gone { kind: kind.as_str().to_owned(), id })
    }
}

impl From<AssetRecord> for About {
    fn from(record: AssetRecord) -> Self {
        Self::Asset(Box::new(AssetMeta {
            id: record.id,
            bucket: record.bucket,
            key: record.key,
            version: record.version,
            status: record.status.to_string(),
            store: record.store,
            place: record.place,
            fingerprint: record.fingerprint,
            size_bytes: record.size_bytes,
            sha256: record.sha256,
            md5: record.md5,
            content_type: record.content_type,
            original_filename: record.original_filename,
            owner: record.owner,
            metadata: record.metadata,
            tags: record.tags,
            width_px: record.width_px,
            height_px: record.height_px,
            frames: record.frames,
            has_gps: record.has_gps,
            description: record.description,
            perceptual_hash: record.perceptual_hash,
            created_at: record.created_at,
            written_at: record.written_at,
            updated_at: record.updated_at,
            expires_at: record.expires_at,
            deleted_at: record.deleted_at,
            trash_place: record.trash_place,
        }))
    }
}

impl From<AssetMeta> for AssetRecord {
    fn from(meta: AssetMeta) -> Self {
        Self {
            id: meta.id,
            bucket: meta.bucket,
            key: meta.key,
            version: meta.version,
            // A status of a newer version is one that this one does not know to be bad.
            status: meta.status.parse().unwrap_or(AssetStatus::Ready),
            store: meta.store,
            place: meta.place,
            fingerprint: meta.fingerprint,
            size_bytes: meta.size_bytes,
            sha256: meta.sha256,
            md5: meta.md5,
            content_type: meta.content_type,
            original_filename: meta.original_filename,
            owner: meta.owner,
            metadata: meta.metadata,
            tags: meta.tags,
            width_px: meta.width_px,
            height_px: meta.height_px,
            frames: meta.frames,
            has_gps: meta.has_gps,
            description: meta.description,
            perceptual_hash: meta.perceptual_hash,
            created_at: meta.created_at,
            written_at: meta.written_at,
            updated_at: meta.updated_at,
            expires_at: meta.expires_at,
            deleted_at: meta.deleted_at,
            trash_place: meta.trash_place,
        }
    }
}

impl About {
    /// The record of a variant that was made or could not be; others are made again anyway.
    pub(crate) fn of_variant(record: VariantRecord) -> Option<Self> {
        if record.status == VariantStatus::Pending {
            return None;
        }
        Some(Self::Variant(Box::new(VariantMeta {
            id: record.id,
            asset_id: record.asset_id,
            source_sha256: record.source_sha256,
            recipe: record.recipe,
            recipe_digest: record.recipe_digest,
            preset: record.preset,
            status: record.status.to_string(),
            store: record.store,
            place: record.place,
            fingerprint: record.fingerprint,
            size_bytes: record.size_bytes,
            sha256: record.sha256,
            content_type: record.content_type,
            width_px: record.width_px,
            height_px: record.height_px,
            frames: record.frames,
            error: record.error,
            encoder: record.encoder,
            created_at: record.created_at,
            updated_at: record.updated_at,
        })))
    }
}

impl VariantMeta {
    /// The record, last used at `last_used_at`, which the store is not told. `None` for a status that
    /// this version does not know.
    pub(crate) fn record(self, last_used_at: Timestamp) -> Option<VariantRecord> {
        Some(VariantRecord {
            status: self.status.parse().ok()?,
            id: self.id,
            asset_id: self.asset_id,
            source_sha256: self.source_sha256,
            recipe: self.recipe,
            recipe_digest: self.recipe_digest,
            preset: self.preset,
            store: self.store,
            place: self.place,
            fingerprint: self.fingerprint,
            size_bytes: self.size_bytes,
            sha256: self.sha256,
            content_type: self.content_type,
            width_px: self.width_px,
            height_px: self.height_px,
            frames: self.frames,
            error: self.error,
            encoder: self.encoder,
            created_at: self.created_at,
            updated_at: self.updated_at,
            last_used_at,
        })
    }
}

impl From<BucketRecord> for About {
    fn from(record: BucketRecord) -> Self {
        Self::Bucket(BucketMeta {
            name: record.name,
            policy: record.policy,
            managed_by_file: record.managed_by_file,
            created_at: record.created_at,
            updated_at: record.updated_at,
        })
    }
}

impl From<BucketMeta> for BucketRecord {
    fn from(meta: BucketMeta) -> Self {
        Self {
            name: meta.name,
            policy: meta.policy,
            managed_by_file: meta.managed_by_file,
            created_at: meta.created_at,
            updated_at: meta.updated_at,
        }
    }
}

impl From<PresetRecord> for About {
    fn from(record: PresetRecord) -> Self {
        Self::Preset(PresetMeta {
            name: record.name,
            recipe: record.recipe,
            managed_by_file: record.managed_by_file,
            created_at: record.created_at,
            updated_at: record.updated_at,
        })
    }
}

impl From<PresetMeta> for PresetRecord {
    fn from(meta: PresetMeta) -> Self {
        Self {
            name: meta.name,
            recipe: meta.recipe,
            managed_by_file: meta.managed_by_file,
            created_at: meta.created_at,
            updated_at: meta.updated_at,
        }
    }
}
