//! Variants: what recipes made of an asset's bytes.

use larder_core::{AssetId, Code, Fault, Timestamp, VariantId};

use super::{asset::changed_one, meta::MetaKind};
use crate::{
    change::Change,
    db::{FromRow, Param, Row, Statement, json},
    error::{Error, Result},
    reads::reads,
    tx::{Class, Tx},
    words::words,
};

words! {
    /// How far a variant is.
    VariantStatus {
        /// It is to be made.
        Pending = "pending",
        /// Its bytes are there.
        Ready = "ready",
        /// It can't be made, or not yet; the error tells why.
        Failed = "failed",
        /// Its asset has other bytes by now.
        Stale = "stale",
    }
}

/// What a variant is made of, and how: two variants with the same identity have the same bytes but
/// for the encoder's version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VariantIdentity {
    /// The asset.
    pub asset_id: AssetId,
    /// SHA-256 of the asset's bytes, 64 hex digits.
    pub source_sha256: String,
    /// Digest of the normal form of the recipe, in hex.
    pub recipe_digest: String,
}

/// A variant. The fields about its bytes are empty or zero until it is ready.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantRecord {
    /// Its id.
    pub id: VariantId,
    /// The asset.
    pub asset_id: AssetId,
    /// SHA-256 of the asset's bytes that it is made of.
    pub source_sha256: String,
    /// The recipe in its normal form.
    pub recipe: String,
    /// Digest of the recipe, in hex.
    pub recipe_digest: String,
    /// The preset for which it was made, if any; a name, no identity.
    pub preset: Option<String>,
    /// How far it is.
    pub status: VariantStatus,
    /// Name of the store that holds the bytes.
    pub store: String,
    /// Where the bytes lie in the store.
    pub place: String,
    /// What the store says of the bytes at the place.
    pub fingerprint: String,
    /// Size of the bytes.
    pub size_bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// Media type of the bytes.
    pub content_type: String,
    /// Width in pixels.
    pub width_px: Option<u32>,
    /// Height in pixels.
    pub height_px: Option<u32>,
    /// Frames.
    pub frames: Option<u32>,
    /// Why it failed.
    pub error: Option<Fault>,
    /// The encoder and its version.
    pub encoder: Option<String>,
    /// When it was first wanted.
    pub created_at: Timestamp,
    /// When this record last changed.
    pub updated_at: Timestamp,
    /// When it was last served, to the hour or so; see
    /// [`Catalog::fold_last_uses`](crate::Catalog::fold_last_uses).
    pub last_used_at: Timestamp,
}

/// How the making of a variant ended.
#[derive(Debug, Clone, PartialEq)]
pub enum VariantResult {
    /// Its bytes lie in a store.
    Ready {
        /// Name of the store.
        store: String,
        /// Where in the store.
        place: String,
        /// What the store says of the bytes.
        fingerprint: String,
        /// Size of the bytes.
        size_bytes: u64,
        /// SHA-256 of the bytes.
        sha256: String,
        /// Media type of the bytes.
        content_type: String,
        /// Width in pixels.
        width_px: u32,
        /// Height in pixels.
        height_px: u32,
        /// Frames.
        frames: u32,
        /// The encoder and its version.
        encoder: String,
    },
    /// It can't be made.
    Failed(Fault),
}

pub(super) const SELECT: &str = "SELECT id, asset_id, source_sha256, recipe, recipe_digest, preset, status, store, place, \
    fingerprint, size_bytes, sha256, content_type, width_px, height_px, frames, error, encoder, created_at, \
    updated_at, last_used_at FROM variants ";

impl FromRow for VariantRecord {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.parse("id")?,
            asset_id: row.parse("asset_id")?,
            source_sha256: row.get("source_sha256")?,
            recipe: row.get("recipe")?,
            recipe_digest: row.get("recipe_digest")?,
            preset: row.get("preset")?,
            status: row.parse("status")?,
            store: row.get("store")?,
            place: row.get("place")?,
            fingerprint: row.get("fingerprint")?,
            size_bytes: row.count("size_bytes")?,
            sha256: row.get("sha256")?,
            content_type: row.get("content_type")?,
            width_px: row.opt_count("width_px")?,
            height_px: row.opt_count("height_px")?,
            frames: row.opt_count("frames")?,
            error: row.opt_json("error")?,
            encoder: row.get("encoder")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
            last_used_at: row.time("last_used_at")?,
        })
    }
}

impl VariantResult {
    fn columns(self, now: Timestamp) -> Vec<(&'static str, Param)> {
        match self {
            Self::Ready {
                store,
                place,
                fingerprint,
                size_bytes,
                sha256,
                content_type,
                width_px,
                height_px,
                frames,
                encoder,
            } => vec![
                ("status", VariantStatus::Ready.into()),
                ("store", store.into()),
                ("place", place.into()),
                ("fingerprint", fingerprint.into()),
                ("size_bytes", size_bytes.into()),
                ("sha256", sha256.into()),
                ("content_type", content_type.into()),
                ("width_px", width_px.into()),
                ("height_px", height_px.into()),
                ("frames", frames.into()),
                ("encoder", encoder.into()),
                ("error", None::<&str>.into()),
                ("last_used_at", now.into()),
                ("updated_at", now.into()),
            ],
            Self::Failed(error) => vec![
                ("status", VariantStatus::Failed.into()),
                ("error", json(&error)),
                ("updated_at", now.into()),
            ],
        }
    }
}

fn by_identity(identity: &VariantIdentity) -> Statement {
    Statement::new(SELECT)
        .push("WHERE 1 = 1")
        .and("asset_id = ", identity.asset_id)
        .and("source_sha256 = ", &identity.source_sha256)
        .and("recipe_digest = ", &identity.recipe_digest)
}

reads! { Durable;
    /// The variant of an id.
    one variant(id: VariantId) -> VariantRecord = Statement::new(SELECT).push("WHERE id = ").bind(id);
    /// The variant of an identity.
    one variant_of(identity: &VariantIdentity) -> VariantRecord = by_identity(identity);
    /// All variants of an asset, stale ones included, the oldest first.
    many variants(asset: AssetId) -> VariantRecord = Statement::new(SELECT)
        .push("WHERE asset_id = ").bind(asset).push(" ORDER BY created_at, id");
}

impl Tx {
    /// Inserts a variant that is to be made, unless one of its identity exists; answers the record
    /// that is there then, and whether it is new. A stale one of the same identity (the asset has its
    /// former bytes again) becomes ready if its bytes are there, else pending.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it was removed at the same moment: repeat.
    pub async fn want_variant(
        &mut self,
        identity: &VariantIdentity,
        recipe: &str,
        preset: Option<&str>,
    ) -> Result<(VariantRecord, bool)> {
        let now = self.now();
        let columns = vec![
            ("id", VariantId::new(self.ambient()).into()),
            ("asset_id", identity.asset_id.into()),
            ("source_sha256", (&identity.source_sha256).into()),
            ("recipe", recipe.into()),
            ("recipe_digest", (&identity.recipe_digest).into()),
            ("preset", preset.into()),
            ("status", VariantStatus::Pending.into()),
            ("store", "".into()),
            ("place", "".into()),
            ("fingerprint", "".into()),
            ("size_bytes", 0_i64.into()),
            ("sha256", "".into()),
            ("content_type", "".into()),
            ("created_at", now.into()),
            ("updated_at", now.into()),
            ("last_used_at", now.into()),
        ];
        let insert = Statement::insert("variants", columns).push(" ON CONFLICT DO NOTHING");
        let inserted = self.execute(Class::Durable, insert).await? == 1;
        if inserted {
            self.announce(Change::Asset(identity.asset_id));
        } else {
            self.revive(identity, now).await?;
        }
        let found = self.variant_of(identity).await?;
        // Only on PostgreSQL: it was there for the insert, and a collector removed it before the read.
        let variant = found.ok_or_else(|| Error::unavailable("the variant was removed at the same time"))?;
        Ok((variant, inserted))
    }

    async fn revive(&mut self, identity: &VariantIdentity, now: Timestamp) -> Result<()> {
        let revive = Statement::update("variants", vec![("updated_at", now.into())])
            .push(", status = CASE WHEN place = '' THEN 'pending' ELSE 'ready' END WHERE status = 'stale'")
            .and("asset_id = ", identity.asset_id)
            .and("source_sha256 = ", &identity.source_sha256)
            .and("recipe_digest = ", &identity.recipe_digest);
        self.execute(Class::Durable, revive).await.map(drop)
    }

    /// Records how the making of a variant ended. The first record wins: `false` means that another
    /// worker was faster or the variant is stale or gone, and the caller removes its own bytes. A
    /// failed variant can become ready, a ready one never fails.
    pub async fn finish_variant(&mut self, id: VariantId, result: VariantResult) -> Result<bool> {
        let from: &[VariantStatus] = match result {
            VariantResult::Ready { .. } => &[VariantStatus::Pending, VariantStatus::Failed],
            VariantResult::Failed(_) => &[VariantStatus::Pending],
        };
        let update = Statement::update("variants", result.columns(self.now()))
            .push(" WHERE 1 = 1")
            .and("id = ", id)
            .and_in("status", from.iter().copied());
        let won = self.execute(Class::Durable, update).await? == 1;
        if won {
            self.mark_meta(MetaKind::Variant, id).await?;
        }
        if let Some(variant) = self.variant(id).await? {
            self.announce(Change::Asset(variant.asset_id));
        }
        Ok(won)
    }

    /// Makes a failed variant pending again, to be tried once more.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a variant; [`Error::Precondition`] unless it failed.
    pub async fn retry_variant(&mut self, id: VariantId) -> Result<()> {
        let columns = vec![
            ("status", VariantStatus::Pending.into()),
            ("error", None::<&str>.into()),
            ("updated_at", self.now().into()),
        ];
        let update = Statement::update("variants", columns).push(" WHERE status = 'failed'").and("id = ", id);
        let updated = self.execute(Class::Durable, update).await?;
        let found = self.variant(id).await?;
        let variant =
            found.ok_or_else(|| Error::not_found(Code::VariantNotFound, format!("variant {id}")))?;
        self.announce(Change::Asset(variant.asset_id));
        changed_one(updated, || format!("variant {id} is {}", variant.status))
    }

    /// Marks the variants of an asset stale that were made of other bytes than `current_sha256`.
    /// Answers how many.
    pub async fn mark_variants_stale(&mut self, asset: AssetId, current_sha256: &str) -> Result<u64> {
        let columns = vec![("status", VariantStatus::Stale.into()), ("updated_at", self.now().into())];
        let update = Statement::update("variants", columns)
            .push(" WHERE status <> 'stale'")
            .and("asset_id = ", asset)
            .and("source_sha256 <> ", current_sha256);
        self.announce(Change::Asset(asset));
        self.execute(Class::Durable, update).await
    }

    /// Records that a variant's bytes lie in another store now, if they still lie where `from` says. Its
    /// times stay, since nothing of it changed. Answers whether it was so.
    pub async fn move_variant(
        &mut self,
        from: &VariantRecord,
        store: &str,
        place: &str,
        fingerprint: &str,
    ) -> Result<bool> {
        let columns =
            vec![("store", store.into()), ("place", place.into()), ("fingerprint", fingerprint.into())];
        let update = Statement::update("variants", columns)
            .push(" WHERE 1 = 1")
            .and("id = ", from.id)
            .and("store = ", &from.store)
            .and("place = ", &from.place)
            .and("fingerprint = ", &from.fingerprint);
        let moved = self.execute(Class::Durable, update).await? == 1;
        if moved {
            self.mark_meta(MetaKind::Variant, from.id).await?;
        }
        Ok(moved)
    }

    /// Forgets a variant whose bytes are removed, if it still has the status `status`. Answers
    /// whether it did.
    pub async fn remove_variant(&mut self, id: VariantId, status: VariantStatus) -> Result<bool> {
        let delete =
            Statement::new("DELETE FROM variants WHERE 1 = 1").and("id = ", id).and("status = ", status);
        self.mark_meta(MetaKind::Variant, id).await?;
        Ok(self.execute(Class::Durable, delete).await? > 0)
    }
}
