//! What a writer is about to do: stored before its bytes move, so that whoever comes after a crash can settle it.

use larder_catalog::{AssetRecord, Class, Fence};
use larder_core::{AssetId, Fault, ObjectKey, Timestamp, UploadId};
use larder_store::Place;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    buckets::Bucket,
    content::{is_shared, shares},
    larder::Larder,
    stores::LOCAL,
};

/// Bytes in staging with everything that their asset's record will say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NewBytes {
    /// The store that they lie in, and stay in. Intents of versions that had one store do not say.
    #[serde(default = "only_store")]
    pub(crate) store: String,
    pub(crate) staged_at: String,
    pub(crate) fingerprint: String,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: String,
    pub(crate) md5: String,
    pub(crate) content_type: String,
    pub(crate) original_filename: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) metadata: Value,
    pub(crate) tags: Vec<String>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) picture: Option<Picture>,
}

/// What is known of a picture after its decode.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Picture {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) frames: u32,
    pub(crate) has_gps: bool,
    pub(crate) description: Value,
    pub(crate) perceptual_hash: i64,
}

/// What a writer is about to do, as it stands in the catalogue while it does it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Intent {
    /// Put staged bytes under the key.
    Write(Box<WriteIntent>),
    /// Move the asset's bytes to the trash.
    Delete {
        /// The asset.
        asset_id: AssetId,
        /// Its version.
        version: i64,
        /// Where in the trash.
        trash: String,
    },
    /// Move the asset's bytes back from the trash.
    Restore {
        /// The asset.
        asset_id: AssetId,
        /// Where to.
        target: String,
        /// Where from.
        trash: String,
        /// In which store.
        #[serde(default = "only_store")]
        store: String,
    },
}

fn only_store() -> String {
    LOCAL.to_owned()
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WriteIntent {
    pub(crate) bytes: NewBytes,
    pub(crate) target: String,
    pub(crate) asset_id: AssetId,
    /// The version of the asset that is replaced; none for a new one.
    pub(crate) replaces: Option<i64>,
    /// Whether the bytes that are replaced lie at the target: not so where they lie in another store,
    /// which they leave when the record is stored.
    #[serde(default = "yes")]
    pub(crate) in_place: bool,
    pub(crate) upload: Option<UploadId>,
}

impl WriteIntent {
    /// Whether the bytes go where others may share them.
    pub(super) fn is_shared(&self) -> bool {
        is_shared(&self.target, &self.bytes.sha256)
    }

    pub(super) fn lies_where(&self, asset: &AssetRecord) -> bool {
        (&asset.store, &asset.place) == (&self.bytes.store, &self.target)
    }
}

impl Larder {
    /// What is to be done to put bytes under a key: where they go to by the layout of the bucket, and what
    /// they replace. What lies at a shared place is never overwritten.
    pub(crate) fn write_intent(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        present: Option<&AssetRecord>,
        bytes: NewBytes,
        upload: Option<UploadId>,
    ) -> WriteIntent {
        let target = match bucket.place_of_content(&bytes.sha256, &bytes.content_type) {
            Some(shared) => shared.to_string(),
            None => match present {
                Some(asset) if !shares(asset) => asset.place.clone(),
                _ => Place::of_key(bucket.prefix(), key).to_string(),
            },
        };
        let mut intent = WriteIntent {
            target,
            asset_id: present.map_or_else(|| AssetId::new(self.ambient()), |asset| asset.id),
            replaces: present.map(|asset| asset.version),
            in_place: false,
            bytes,
            upload,
        };
        intent.in_place = !intent.is_shared() && present.is_some_and(|asset| intent.lies_where(asset));
        intent
    }

    pub(crate) async fn declare_intent(&self, held: &Fence, intent: &Intent) -> Result<(), Fault> {
        let intent = serde_json::to_value(intent)
            .map_err(|error| Fault::internal("an intent does not print").caused_by(error))?;
        let held = held.clone();
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move { tx.set_place_intent(&held, &intent).await })
            })
            .await?;
        Ok(())
    }
}
