//! Uploads: one coming-in of a file, from its first byte to its asset or its failure.

use larder_core::{AssetId, BucketName, Code, Fault, KeyId, ObjectKey, Timestamp, UploadId};
use serde_json::Value;

use super::asset::changed_one;
use crate::{
    change::Change,
    db::{FromRow, Param, Row, Statement, json},
    error::{Error, Result},
    reads::reads,
    tx::{Class, Tx},
    words::words,
};

words! {
    /// How far an upload is.
    UploadStatus {
        /// Bytes are still to come.
        Pending = "pending",
        /// All bytes came; the asset is being made.
        Processing = "processing",
        /// The asset is there.
        Completed = "completed",
        /// There will be no asset; the error tells why.
        Failed = "failed",
        /// It was abandoned.
        Expired = "expired",
    }
}

/// An upload.
#[derive(Debug, Clone, PartialEq)]
pub struct UploadRecord {
    /// Its id.
    pub id: UploadId,
    /// Where the asset is to lie.
    pub bucket: BucketName,
    /// Under which key; `None` until Larder has chosen one.
    pub key: Option<ObjectKey>,
    /// How far it is.
    pub status: UploadStatus,
    /// What is being done, in a word: `receiving`, `inspecting`, `variants`.
    pub stage: String,
    /// 0 to 100.
    pub progress_percentage: u8,
    /// Bytes that came.
    pub bytes_received: u64,
    /// Bytes that were announced.
    pub bytes_total: Option<u64>,
    /// Why it failed.
    pub error: Option<Fault>,
    /// The asset that it made or replaced.
    pub asset_id: Option<AssetId>,
    /// The asset's version that it made.
    pub asset_version: Option<i64>,
    /// Where the bytes lie until they are promoted.
    pub staging_place: Option<String>,
    /// Name of the store in which that is.
    pub staging_store: String,
    /// SHA-256 of all bytes, 64 hex digits.
    pub sha256: Option<String>,
    /// MD5 of all bytes, 32 hex digits.
    pub md5: Option<String>,
    /// Size of all bytes.
    pub size_bytes: Option<u64>,
    /// The sniffed media type.
    pub content_type: Option<String>,
    /// The media type that the client declared; never served.
    pub declared_type: Option<String>,
    /// The name that the client gave the file.
    pub original_filename: Option<String>,
    /// Who the asset is to belong to.
    pub owner: Option<String>,
    /// The asset's metadata, a JSON object.
    pub metadata: Value,
    /// The asset's tags.
    pub tags: Vec<String>,
    /// Through which door it came: `form`, `raw`, `direct`, `tus`, `s3`, `url`.
    pub door: String,
    /// With which API key.
    pub credential: Option<KeyId>,
    /// When it began.
    pub created_at: Timestamp,
    /// When this record last changed.
    pub updated_at: Timestamp,
    /// When it counts as abandoned.
    pub expires_at: Timestamp,
    /// When the asset that it becomes is to be deleted.
    pub asset_expires_at: Option<Timestamp>,
    /// When it was completed, failed or expired.
    pub finished_at: Option<Timestamp>,
}

/// A change of an upload; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UploadChange {
    /// The new status. Completed, failed and expired also set the time it finished.
    pub status: Option<UploadStatus>,
    /// What is being done.
    pub stage: Option<String>,
    /// 0 to 100.
    pub progress_percentage: Option<u8>,
    /// Bytes that came.
    pub bytes_received: Option<u64>,
    /// Bytes that were announced, once the client knows.
    pub bytes_total: Option<u64>,
    /// Why it failed.
    pub error: Option<Fault>,
    /// The key that was chosen.
    pub key: Option<ObjectKey>,
    /// The asset and its version that it made.
    pub asset: Option<(AssetId, i64)>,
    /// Where the staged bytes lie; `Some(None)` once they are promoted or removed.
    pub staging_place: Option<Option<String>>,
    /// In which store that is.
    pub staging_store: Option<String>,
    /// SHA-256, MD5 and size of all bytes.
    pub digests: Option<(String, String, u64)>,
    /// The sniffed media type.
    pub content_type: Option<String>,
    /// The file's name, where it came with the bytes.
    pub original_filename: Option<String>,
    /// When it counts as abandoned.
    pub expires_at: Option<Timestamp>,
}

pub(super) const SELECT: &str = "SELECT id, bucket, key, status, stage, progress_percentage, bytes_received, bytes_total, \
    error, asset_id, asset_version, staging_place, staging_store, sha256, md5, size_bytes, content_type, declared_type, \
    original_filename, owner, metadata, tags, door, credential, created_at, updated_at, expires_at, asset_expires_at, finished_at \
    FROM uploads ";

impl FromRow for UploadRecord {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.parse("id")?,
            bucket: row.parse("bucket")?,
            key: row.opt_parse("key")?,
            status: row.parse("status")?,
            stage: row.get("stage")?,
            progress_percentage: row.count("progress_percentage")?,
            bytes_received: row.count("bytes_received")?,
            bytes_total: row.opt_count("bytes_total")?,
            error: row.opt_json("error")?,
            asset_id: row.opt_parse("asset_id")?,
            asset_version: row.get("asset_version")?,
            staging_place: row.get("staging_place")?,
            staging_store: row.get("staging_store")?,
            sha256: row.get("sha256")?,
            md5: row.get("md5")?,
            size_bytes: row.opt_count("size_bytes")?,
            content_type: row.get("content_type")?,
            declared_type: row.get("declared_type")?,
            original_filename: row.get("original_filename")?,
            owner: row.get("owner")?,
            metadata: row.json("metadata")?,
            tags: row.json("tags")?,
            door: row.get("door")?,
            credential: row.opt_parse("credential")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
            expires_at: row.time("expires_at")?,
            asset_expires_at: row.opt_time("asset_expires_at")?,
            finished_at: row.opt_time("finished_at")?,
        })
    }
}

impl UploadRecord {
    /// The stage of an upload whose bytes its client puts into the store itself.
    pub const AWAITING_BYTES: &'static str = "awaiting_bytes";

    /// Whether it waits for its client, and no job for it.
    pub fn awaits_bytes(&self) -> bool {
        self.status == UploadStatus::Pending && self.stage == Self::AWAITING_BYTES
    }

    fn columns(&self) -> Vec<(&'static str, Param)> {
        vec![
            ("id", self.id.into()),
            ("bucket", (&self.bucket).into()),
            ("key", (&self.key).into()),
            ("status", self.status.into()),
            ("stage", (&self.stage).into()),
            ("progress_percentage", i64::from(self.progress_percentage).into()),
            ("bytes_received", self.bytes_received.into()),
            ("bytes_total", self.bytes_total.into()),
            ("error", (&self.error).into()),
            ("asset_id", self.asset_id.into()),
            ("asset_version", self.asset_version.into()),
            ("staging_place", (&self.staging_place).into()),
            ("staging_store", (&self.staging_store).into()),
            ("sha256", (&self.sha256).into()),
            ("md5", (&self.md5).into()),
            ("size_bytes", self.size_bytes.into()),
            ("content_type", (&self.content_type).into()),
            ("declared_type", (&self.declared_type).into()),
            ("original_filename", (&self.original_filename).into()),
            ("owner", (&self.owner).into()),
            ("metadata", json(&self.metadata)),
            ("tags", json(&self.tags)),
            ("door", (&self.door).into()),
            ("credential", self.credential.into()),
            ("created_at", self.created_at.into()),
            ("updated_at", self.updated_at.into()),
            ("expires_at", self.expires_at.into()),
            ("asset_expires_at", self.asset_expires_at.into()),
            ("finished_at", self.finished_at.into()),
        ]
    }
}

impl UploadStatus {
    /// Whether nothing more will happen to the upload.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Expired)
    }
}

impl UploadChange {
    fn columns(self, now: Timestamp) -> Vec<(&'static str, Param)> {
        let mut columns = vec![("updated_at", now.into())];
        let mut set = |column, param: Option<Param>| columns.extend(param.map(|param| (column, param)));
        set("status", self.status.map(Into::into));
        set("finished_at", self.status.filter(|status| status.is_final()).map(|_| now.into()));
        set("stage", self.stage.map(Into::into));
        set("progress_percentage", self.progress_percentage.map(|percent| i64::from(percent).into()));
        set("bytes_received", self.bytes_received.map(Into::into));
        set("bytes_total", self.bytes_total.map(Into::into));
        set("error", self.error.map(|error| json(&error)));
        set("key", self.key.map(Into::into));
        set("asset_id", self.asset.map(|(id, _)| id.into()));
        set("asset_version", self.asset.map(|(_, version)| version.into()));
        set("staging_place", self.staging_place.map(Into::into));
        set("staging_store", self.staging_store.map(Into::into));
        if let Some((sha256, md5, size_bytes)) = self.digests {
            set("sha256", Some(sha256.into()));
            set("md5", Some(md5.into()));
            set("size_bytes", Some(size_bytes.into()));
        }
        set("content_type", self.content_type.map(Into::into));
        set("original_filename", self.original_filename.map(Into::into));
        set("expires_at", self.expires_at.map(Into::into));
        columns
    }
}

reads! { Durable;
    /// The upload of an id. Progress that is newer than the record:
    /// [`Catalog::upload_progress`](crate::Catalog::upload_progress).
    one upload(id: UploadId) -> UploadRecord = Statement::new(SELECT).push("WHERE id = ").bind(id);
}

impl Tx {
    /// Inserts an upload.
    ///
    /// # Errors
    /// [`Error::Precondition`] if the id exists.
    pub async fn insert_upload(&mut self, upload: &UploadRecord) -> Result<()> {
        let insert = Statement::insert("uploads", upload.columns()).push(" ON CONFLICT DO NOTHING");
        let inserted = self.execute(Class::Durable, insert).await?;
        self.announce(Change::Upload(upload.id));
        changed_one(inserted, || format!("upload {} exists already", upload.id))
    }

    /// Changes an upload that has one of the statuses `from`; answers the record as it is then.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such an upload; [`Error::Precondition`] if it has another status.
    pub async fn change_upload(
        &mut self,
        id: UploadId,
        from: &[UploadStatus],
        change: UploadChange,
    ) -> Result<UploadRecord> {
        let update = Statement::update("uploads", change.columns(self.now()))
            .push(" WHERE 1 = 1")
            .and("id = ", id)
            .and_in("status", from.iter().copied());
        let updated = self.execute(Class::Durable, update).await?;
        let found = self.upload(id).await?;
        let upload = found.ok_or_else(|| Error::not_found(Code::UploadNotFound, format!("upload {id}")))?;
        self.announce(Change::Upload(id));
        changed_one(updated, || format!("upload {id} is {}", upload.status))?;
        Ok(upload)
    }

    /// Opens an upload again that failed and still has its staged bytes: as if they had just come, until
    /// `expires_at`.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such an upload; [`Error::Precondition`] unless it is one of these.
    pub async fn reopen_upload(&mut self, id: UploadId, expires_at: Timestamp) -> Result<()> {
        let columns = vec![
            ("status", UploadStatus::Pending.into()),
            ("stage", "queued".into()),
            ("error", None::<&str>.into()),
            ("finished_at", None::<i64>.into()),
            ("expires_at", expires_at.into()),
            ("updated_at", self.now().into()),
        ];
        let update = Statement::update("uploads", columns)
            .push(" WHERE staging_place IS NOT NULL AND asset_id IS NULL")
            .and("id = ", id)
            .and("status = ", UploadStatus::Failed);
        let updated = self.execute(Class::Durable, update).await?;
        let found = self.upload(id).await?;
        let upload = found.ok_or_else(|| Error::not_found(Code::UploadNotFound, format!("upload {id}")))?;
        self.announce(Change::Upload(id));
        changed_one(updated, || format!("upload {id} is {}", upload.status))
    }

    /// Forgets an upload that has ended. Answers whether there was one.
    pub async fn remove_upload(&mut self, id: UploadId) -> Result<bool> {
        let delete = Statement::new("DELETE FROM uploads WHERE finished_at IS NOT NULL").and("id = ", id);
        Ok(self.execute(Class::Durable, delete).await? > 0)
    }
}
