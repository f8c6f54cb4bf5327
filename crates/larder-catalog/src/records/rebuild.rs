//! Records put back as they were, when a catalogue is rebuilt from what lies in the store.

use super::{
    asset::AssetRecord, bucket::BucketRecord, meta::MetaKind, preset::PresetRecord, variant::VariantRecord,
};
use crate::{
    change::Change,
    db::{Param, Statement, json, opt_json},
    error::Result,
    tx::{Class, Tx},
};

impl VariantRecord {
    fn columns(&self) -> Vec<(&'static str, Param)> {
        vec![
            ("id", self.id.into()),
            ("asset_id", self.asset_id.into()),
            ("source_sha256", (&self.source_sha256).into()),
            ("recipe", (&self.recipe).into()),
            ("recipe_digest", (&self.recipe_digest).into()),
            ("preset", (&self.preset).into()),
            ("status", self.status.into()),
            ("store", (&self.store).into()),
            ("place", (&self.place).into()),
            ("fingerprint", (&self.fingerprint).into()),
            ("size_bytes", self.size_bytes.into()),
            ("sha256", (&self.sha256).into()),
            ("content_type", (&self.content_type).into()),
            ("width_px", self.width_px.into()),
            ("height_px", self.height_px.into()),
            ("frames", self.frames.into()),
            ("error", opt_json(&self.error)),
            ("encoder", (&self.encoder).into()),
            ("created_at", self.created_at.into()),
            ("updated_at", self.updated_at.into()),
            ("last_used_at", self.last_used_at.into()),
        ]
    }
}

impl Tx {
    /// Inserts an asset as it was, deleted or not, version and times included. `false`: its id or its key
    /// is taken. `is_new` says that it differs from what the store holds of it.
    pub async fn rebuild_asset(&mut self, asset: &AssetRecord, is_new: bool) -> Result<bool> {
        let insert = Statement::insert("assets", asset.columns()).push(" ON CONFLICT DO NOTHING");
        let inserted = self.execute(Class::Durable, insert).await? == 1;
        if inserted {
            self.announce(Change::Asset(asset.id));
            self.counts().add(asset);
        }
        if inserted && is_new {
            self.mark_meta(MetaKind::Asset, asset.id).await?;
        }
        Ok(inserted)
    }

    /// Inserts a variant as it was. `false`: its id or identity is there already.
    pub async fn rebuild_variant(&mut self, variant: &VariantRecord, is_new: bool) -> Result<bool> {
        let insert = Statement::insert("variants", variant.columns()).push(" ON CONFLICT DO NOTHING");
        let inserted = self.execute(Class::Durable, insert).await? == 1;
        if inserted && is_new {
            self.mark_meta(MetaKind::Variant, variant.id).await?;
        }
        Ok(inserted)
    }

    /// Inserts a bucket as it was, over one of its name.
    pub async fn rebuild_bucket(&mut self, bucket: &BucketRecord) -> Result<()> {
        let columns = vec![
            ("name", (&bucket.name).into()),
            ("policy", json(&bucket.policy)),
            ("managed_by_file", bucket.managed_by_file.into()),
            ("created_at", bucket.created_at.into()),
            ("updated_at", bucket.updated_at.into()),
        ];
        let upsert = Statement::insert("buckets", columns).push(
            " ON CONFLICT (name) DO UPDATE SET policy = excluded.policy, \
             managed_by_file = excluded.managed_by_file, created_at = excluded.created_at, \
             updated_at = excluded.updated_at",
        );
        self.execute(Class::Durable, upsert).await?;
        self.mark_meta(MetaKind::Bucket, &bucket.name).await
    }

    /// Inserts a preset as it was, over one of its name.
    pub async fn rebuild_preset(&mut self, preset: &PresetRecord) -> Result<()> {
        let columns = vec![
            ("name", (&preset.name).into()),
            ("recipe", (&preset.recipe).into()),
            ("managed_by_file", preset.managed_by_file.into()),
            ("created_at", preset.created_at.into()),
            ("updated_at", preset.updated_at.into()),
        ];
        let upsert = Statement::insert("presets", columns).push(
            " ON CONFLICT (name) DO UPDATE SET recipe = excluded.recipe, \
             managed_by_file = excluded.managed_by_file, created_at = excluded.created_at, \
             updated_at = excluded.updated_at",
        );
        self.execute(Class::Durable, upsert).await?;
        self.mark_meta(MetaKind::Preset, &preset.name).await
    }
}
