//! Assets as callers see and change them.

use larder_catalog::{AssetChange, AssetFilter, AssetRecord, AssetStatus, Class};
use larder_core::{AssetId, BucketName, Code, Fault, JobId, KeyId, ObjectKey, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    buckets::Bucket,
    commit::{PutOutcome, WriteCondition},
    intake::{Door, Incoming, Said, key_taken},
    jobs::{self, make_variants::MakeVariants},
    larder::Larder,
    reading::no_asset_at,
    removal::DeleteOptions,
    view::{AssetPage, AssetView, asset_view},
};

/// Which assets to list; in the order of bucket and key.
#[derive(Debug, Clone, Default)]
pub struct AssetQuery {
    /// In this bucket.
    pub bucket: Option<BucketName>,
    /// Whose keys begin with this.
    pub prefix: Option<String>,
    /// Of this owner.
    pub owner: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// `processing`, `ready` or `failed`.
    pub status: Option<String>,
    /// Those in the trash instead.
    pub deleted: bool,
    /// `/`: only those directly under the prefix, and the common prefixes of the others; of one bucket.
    pub delimiter: Option<String>,
    /// `next` of the previous page.
    pub after: Option<String>,
    /// Most items, 1 to 1,000; 100 if 0.
    pub limit: u32,
}

/// A change of what is known of an asset. An absent field stays, `null` empties it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AssetPatch {
    /// Who it belongs to.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub owner: Option<Option<String>>,
    /// The application's JSON object, as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Tags, as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// When it is to be deleted.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Option<Timestamp>>,
}

/// Tells a field that is `null` from one that is absent.
fn present<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Where an asset is copied to.
#[derive(Debug, Clone)]
pub struct CopyTarget {
    /// The bucket; the source's own unless given.
    pub bucket: Option<BucketName>,
    /// The key.
    pub key: ObjectKey,
    /// Whether an asset that lies there is replaced.
    pub replace: bool,
    /// Whether the bytes are copied whatever the source's bucket says of GPS positions.
    pub untouched: bool,
    /// The API key by which it is done.
    pub credential: Option<KeyId>,
}

/// What to do with an asset of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchAction {
    /// Into the trash.
    Delete,
    /// Gone for good.
    Purge,
    /// Out of the trash.
    Restore,
    /// Make its variants anew.
    Rebuild,
    /// Change what is known of it.
    Update,
}

/// One operation of a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchOperation {
    /// What to do.
    pub action: BatchAction,
    /// The asset.
    pub id: AssetId,
    /// For `update`.
    #[serde(default)]
    pub patch: Option<AssetPatch>,
}

/// How one operation of a batch ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BatchOutcome {
    /// The asset.
    pub id: AssetId,
    /// Whether it worked.
    pub ok: bool,
    /// The job that was enqueued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Why it did not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

impl Larder {
    /// An asset by its id.
    ///
    /// # Errors
    /// [`Code::AssetNotFound`], also if it is deleted.
    pub async fn asset(&self, id: AssetId) -> Result<AssetView, Fault> {
        let record = self.existing_asset(id).await?;
        let bucket = self.bucket(&record.bucket).await?;
        Ok(asset_view(self, &bucket, &record))
    }

    /// The asset under a key.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`], [`Code::AssetNotFound`].
    pub async fn asset_at(&self, bucket: &BucketName, key: &ObjectKey) -> Result<AssetView, Fault> {
        let bucket = self.bucket(bucket).await?;
        let record = self.catalog().asset_at(&bucket.name, key).await?;
        let record = record.ok_or_else(|| no_asset_at(&bucket.name, key))?;
        Ok(asset_view(self, &bucket, &record))
    }

    /// A page of assets.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`]; [`Code::InvalidRequest`] for an unknown status, cursor or delimiter.
    pub async fn assets(&self, query: &AssetQuery) -> Result<AssetPage, Fault> {
        if let Some(name) = &query.bucket {
            self.bucket(name).await?;
        }
        let status = query.status.as_deref().map(|text| {
            text.parse::<AssetStatus>().map_err(|_| {
                Fault::new(Code::InvalidRequest, format!("\"{text}\" is no status of an asset"))
                    .remedy("use processing, ready or failed")
            })
        });
        let filter = AssetFilter {
            bucket: query.bucket.clone(),
            prefix: query.prefix.clone(),
            owner: query.owner.clone(),
            tag: query.tag.clone(),
            status: status.transpose()?,
            deleted: query.deleted,
            after: query.after.clone(),
            limit: if query.limit == 0 { 100 } else { query.limit },
            ..AssetFilter::default()
        };
        let (records, prefixes, next) = match query.delimiter.as_deref() {
            None => {
                let page = self.catalog().assets(&filter).await?;
                (page.items, None, page.next)
            }
            Some("/") => {
                let level = self.catalog().assets_of_level(&filter, '/').await?;
                (level.items, Some(level.prefixes), level.next)
            }
            Some(other) => {
                let detail = format!("\"{other}\" is no delimiter of keys");
                return Err(Fault::new(Code::InvalidRequest, detail).remedy("use /, or none"));
            }
        };
        let mut items = Vec::with_capacity(records.len());
        for record in &records {
            let bucket = self.bucket(&record.bucket).await?;
            items.push(asset_view(self, &bucket, record));
        }
        Ok(AssetPage { items, prefixes, next })
    }

    /// Changes what is known of an asset.
    ///
    /// # Errors
    /// [`Code::AssetNotFound`], [`Code::InvalidRequest`].
    pub async fn update_asset(&self, id: AssetId, patch: AssetPatch) -> Result<AssetView, Fault> {
        self.existing_asset(id).await?;
        let said = Said {
            owner: patch.owner.as_ref().and_then(Option::as_deref),
            tags: patch.tags.as_deref().unwrap_or_default(),
            metadata: patch.metadata.as_ref(),
            file_name: None,
            expires_at: patch.expires_at.flatten(),
        };
        said.check(self.ambient().now())?;
        let change = AssetChange {
            owner: patch.owner,
            metadata: patch.metadata.map(Value::Object),
            tags: patch.tags,
            expires_at: patch.expires_at,
            ..AssetChange::default()
        };
        let record = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move { tx.change_asset(id, None, change).await })
            })
            .await?;
        self.record_cache().forget(&record.bucket, &record.key);
        let bucket = self.bucket(&record.bucket).await?;
        Ok(asset_view(self, &bucket, &record))
    }

    /// Copies an asset to another key, with what is known of it except its expiry. Its bytes pass the
    /// intake as any others: the rules of the bucket that they come to hold, and so does the source's
    /// rule on GPS positions, unless `untouched`. Within a bucket of the `hash` layout no byte is read or
    /// written.
    ///
    /// # Errors
    /// [`Code::AssetNotFound`]; those of [`Larder::read_original`] and [`Larder::put`];
    /// [`Code::Conflict`] if the key is taken and `replace` is not set.
    pub async fn copy_asset(&self, id: AssetId, to: CopyTarget) -> Result<PutOutcome, Fault> {
        let source = self.existing_asset(id).await?;
        let target = self.bucket(to.bucket.as_ref().unwrap_or(&source.bucket)).await?;
        if !to.replace && self.catalog().asset_at(&target.name, &to.key).await?.is_some() {
            return Err(key_taken(&target, &to.key));
        }
        if let Some(outcome) = self
            .copy_content(&source, &target, &to)
            .await
            .map_err(|fault| taken_if_precondition(fault, &target, &to.key))?
        {
            return Ok(outcome);
        }
        let readable = match to.untouched {
            true => self.read_untouched(&source.bucket, &source.key).await?,
            false => self.read_original(&source.bucket, &source.key).await?,
        };
        let incoming = Incoming {
            key: Some(to.key.clone()),
            file_name: source.original_filename,
            declared_bytes: Some(readable.size_bytes),
            owner: source.owner,
            metadata: source.metadata.as_object().cloned().unwrap_or_default(),
            tags: source.tags,
            credential: to.credential,
            ..Incoming::new(target.name.clone(), Door::Put)
        };
        let condition = if to.replace { WriteCondition::None } else { WriteCondition::IfAbsent };
        let body = readable.into_body().await?.into_stream();
        self.put(incoming, condition, body)
            .await
            .map_err(|fault| taken_if_precondition(fault, &target, &to.key))
    }

    /// Makes the variants of an asset that its bucket wants and that are not there.
    ///
    /// # Errors
    /// [`Code::AssetNotFound`].
    pub async fn rebuild(&self, id: AssetId) -> Result<JobId, Fault> {
        let asset = self.existing_asset(id).await?;
        let failed: Vec<_> = self
            .catalog()
            .variants(id)
            .await?
            .into_iter()
            .filter(|variant| variant.status == larder_catalog::VariantStatus::Failed)
            .map(|variant| variant.id)
            .collect();
        let job = jobs::new_job(&MakeVariants { asset_id: id, upload_id: None, recipes: None })?
            .bucket(asset.bucket.clone())
            .subject(id);
        let enqueued = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    for variant in failed {
                        tx.retry_variant(variant).await?;
                    }
                    tx.enqueue(job).await
                })
            })
            .await?;
        Ok(enqueued.id)
    }

    /// Does many operations; each for itself, so that one that fails does not hinder the others.
    ///
    /// # Errors
    /// [`Code::BatchTooLarge`].
    pub async fn batch(&self, operations: Vec<BatchOperation>) -> Result<Vec<BatchOutcome>, Fault> {
        let items_max = self.settings().batch_items_max;
        if operations.len() > items_max {
            return Err(Fault::new(
                Code::BatchTooLarge,
                format!("{} operations came, at most {items_max} are possible", operations.len()),
            )
            .remedy("send several batches"));
        }
        let mut outcomes = Vec::with_capacity(operations.len());
        for operation in operations {
            let id = operation.id;
            outcomes.push(match self.operate(operation).await {
                Ok(job) => BatchOutcome { id, ok: true, job, error: None },
                Err(fault) => BatchOutcome { id, ok: false, job: None, error: Some(fault) },
            });
        }
        Ok(outcomes)
    }

    async fn operate(&self, operation: BatchOperation) -> Result<Option<JobId>, Fault> {
        let id = operation.id;
        match operation.action {
            BatchAction::Delete | BatchAction::Purge => {
                let purge = operation.action == BatchAction::Purge;
                self.delete_asset(id, &DeleteOptions { purge, if_match: None }).await?;
            }
            BatchAction::Restore => {
                self.restore(id).await?;
            }
            BatchAction::Rebuild => return self.rebuild(id).await.map(Some),
            BatchAction::Update => {
                let patch = operation.patch.ok_or_else(|| {
                    Fault::new(Code::InvalidRequest, "an update needs a patch")
                        .remedy("send {\"action\":\"update\",\"id\":…,\"patch\":{…}}")
                })?;
                self.update_asset(id, patch).await?;
            }
        }
        Ok(None)
    }

    pub(crate) async fn existing_asset(&self, id: AssetId) -> Result<AssetRecord, Fault> {
        let record = self.catalog().asset(id).await?.filter(|asset| asset.deleted_at.is_none());
        record.ok_or_else(|| no_asset(id))
    }

    /// The bucket and key of an asset, deleted or not: for judging who may see it.
    ///
    /// # Errors
    /// [`Code::AssetNotFound`].
    pub async fn whereabouts(&self, id: AssetId) -> Result<(BucketName, ObjectKey), Fault> {
        let record = self.catalog().asset(id).await?.ok_or_else(|| no_asset(id))?;
        Ok((record.bucket, record.key))
    }
}

fn taken_if_precondition(fault: Fault, bucket: &Bucket, key: &ObjectKey) -> Fault {
    match fault.code {
        Code::PreconditionFailed => key_taken(bucket, key),
        _ => fault,
    }
}

pub(crate) fn no_asset(id: AssetId) -> Fault {
    Fault::new(Code::AssetNotFound, format!("there is no asset {id}"))
        .remedy("check the id; deleted assets can be restored for a while")
}
