//! What callers see: the shapes of the API, the same for every door.

use std::collections::BTreeMap;

use larder_catalog::{
    AssetRecord, AssetStatus, JobAttempt, JobRecord, JobState, KeyRecord, UploadRecord, UploadStatus,
    VariantRecord, VariantStatus,
};
use larder_core::{AssetId, BucketName, Fault, JobId, KeyId, ObjectKey, Timestamp, UploadId, VariantId};
use larder_image::Recipe;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    buckets::Bucket,
    credentials::Scope,
    larder::Larder,
    links::{VariantLink, variant_version, version},
    policy::{GpsPolicy, Visibility},
    variants::{SourceFacts, output_format, recipe_digest},
};

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// What to pass as `after` for the next page; absent on the last.
    pub next: Option<String>,
}

/// A page of assets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AssetPage {
    /// The assets, in the order of their keys.
    pub items: Vec<AssetView>,
    /// The common prefixes of what lies further below, in order; only if a delimiter was named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prefixes: Option<Vec<String>>,
    /// What to pass as `after` for the next page; absent on the last.
    pub next: Option<String>,
}

/// An upload as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UploadView {
    /// Its id.
    pub id: UploadId,
    /// `pending`, `processing`, `completed`, `failed` or `expired`.
    pub status: String,
    /// What is being done: `awaiting_bytes`, `receiving`, `queued`, `checking`, `storing`, `variants`, `done`.
    pub stage: String,
    /// How much of the work is done, 0 to 100.
    pub progress_percentage: u8,
    /// Bytes that arrived.
    pub bytes_received: u64,
    /// Bytes that were announced.
    pub bytes_total: Option<u64>,
    /// Why it failed: the same problem that a synchronous request would have got.
    pub error: Option<Fault>,
    /// The bucket it goes to.
    pub bucket: BucketName,
    /// The key it goes to, as far as it is chosen; `asset` holds it once the bytes are committed.
    pub key: Option<ObjectKey>,
    /// The name the client gave the file.
    pub original_filename: Option<String>,
    /// Who it belongs to.
    pub owner: Option<String>,
    /// The asset, once its bytes are committed.
    pub asset: Option<AssetView>,
    /// Variants by preset (or recipe).
    pub variants: BTreeMap<String, VariantView>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl UploadView {
    /// Whether nothing more will happen to it.
    pub fn is_finished(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "expired")
    }
}

/// An asset as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssetView {
    /// Its id; stays when the bytes are replaced.
    pub id: AssetId,
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// Where its present bytes are read: versioned, and signed if the bucket is private.
    pub url: String,
    /// The sniffed media type.
    pub content_type: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// The strong entity tag of its present bytes, in quotes.
    pub etag: String,
    /// How many times bytes were stored under the key.
    pub version: i64,
    /// `processing`, `ready` or `failed`.
    pub status: String,
    /// Width in pixels as shown, pictures only.
    pub width: Option<u32>,
    /// Height in pixels as shown, pictures only.
    pub height: Option<u32>,
    /// Frames, pictures only.
    pub frames: Option<u32>,
    /// Whether the file tells where it was taken.
    pub has_gps: bool,
    /// The name the client gave the file.
    pub original_filename: Option<String>,
    /// Who it belongs to, in the words of the application.
    pub owner: Option<String>,
    /// A JSON object of the application's.
    pub metadata: Value,
    /// Tags.
    pub tags: Vec<String>,
    /// What stands for the picture until it is loaded.
    pub placeholder: Option<Placeholder>,
    /// 64 bits in hex that are alike for pictures that look alike.
    pub perceptual_hash: Option<String>,
    /// When it came.
    pub created_at: Timestamp,
    /// When its record changed.
    pub updated_at: Timestamp,
    /// When it will be deleted.
    pub expires_at: Option<Timestamp>,
    /// When it was deleted; only in lists of deleted assets.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deleted_at: Option<Timestamp>,
}

/// What stands for a picture until it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placeholder {
    /// BlurHash text.
    pub blurhash: String,
    /// ThumbHash in Base64.
    pub thumbhash: String,
    /// `#rrggbb`.
    pub dominant_color: String,
}

/// A variant as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantView {
    /// Its id.
    pub id: VariantId,
    /// The preset it was made for; absent for a free recipe.
    pub preset: Option<String>,
    /// Its recipe in canonical form.
    pub recipe: String,
    /// `pending`, `ready`, `failed` or `stale`.
    pub status: String,
    /// Where it is read.
    pub url: String,
    /// Media type, once it is made.
    pub content_type: Option<String>,
    /// Width in pixels, once it is made.
    pub width: Option<u32>,
    /// Height in pixels, once it is made.
    pub height: Option<u32>,
    /// Size in bytes, once it is made.
    pub size_bytes: Option<u64>,
    /// Why it could not be made.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<Fault>,
    /// When it was first asked for.
    pub created_at: Timestamp,
}

/// A job as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// What it does, such as `variants`.
    pub kind: String,
    /// The queue it waits in.
    pub queue: String,
    /// `queued`, `running`, `done`, `dead` or `cancelled`.
    pub state: String,
    /// Its arguments.
    pub args: Value,
    /// Larger goes first.
    pub priority: i64,
    /// Times it was begun.
    pub attempts: i64,
    /// Times it may be begun.
    pub max_attempts: i64,
    /// Not before this instant.
    pub run_at: Timestamp,
    /// How much is done, 0 to 100.
    pub progress_percentage: u8,
    /// What it is doing.
    pub stage: Option<String>,
    /// Which worker has it.
    pub worker: Option<String>,
    /// Why the last attempt failed.
    pub error: Option<Fault>,
    /// The bucket it works for.
    pub bucket: Option<String>,
    /// The asset or upload it works on.
    pub subject: Option<String>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When its last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its attempts; only where one job is shown.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub history: Vec<AttemptView>,
}

/// One attempt of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Which attempt, from 1.
    pub attempt: i64,
    /// Which worker.
    pub worker: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How it ended: `running`, `done`, `retried`, `returned`, `dead`, `cancelled` or `lost`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<Fault>,
}

/// An API key as the API shows it; its secret is shown only when it is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyView {
    /// Its id.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The key that takes its place.
    pub rotated_to: Option<KeyId>,
}

/// Hex digits of a digest in an entity tag: 128 bits, so that no two contents share one by chance.
const ETAG_DIGITS: usize = 32;

/// The strong entity tag of bytes with this SHA-256 (RFC 9110, section 8.8.3).
pub fn etag(sha256: &str) -> String {
    format!("\"{}\"", sha256.get(..ETAG_DIGITS).unwrap_or(sha256))
}

/// What an [`etag`] says of the bytes: how their SHA-256 begins, in hex. Nothing for other tags, as that of a
/// copy without its GPS position.
pub fn digest_start(etag: &str) -> Option<&str> {
    let digits = etag.trim_start_matches("W/").trim_matches('"');
    let is_digest = digits.len() == ETAG_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then_some(digits)
}

/// The address of public bytes at the store or the CDN before it, if they may be fetched there: nobody looks
/// at a request on that way, so only what needs no look is sent on it.
fn direct(
    larder: &Larder,
    bucket: &Bucket,
    (store, place): (&str, &str),
    content_type: &str,
    version: &str,
) -> Option<String> {
    let is_shown = ["image/", "audio/", "video/"].iter().any(|kind| content_type.starts_with(kind));
    if bucket.policy.visibility != Visibility::Public || !is_shown || content_type == "image/svg+xml" {
        return None;
    }
    let mut url = larder.store(store).ok()?.public_url(&place.parse().ok()?)?;
    url.set_query(Some(&format!("v={version}")));
    Some(url.into())
}

pub(crate) fn asset_view(larder: &Larder, bucket: &Bucket, record: &AssetRecord) -> AssetView {
    let is_served_as_it_is = bucket.policy.gps == GpsPolicy::Serve || !record.has_gps;
    let lies = (record.store.as_str(), record.place.as_str());
    let direct = (is_served_as_it_is && record.deleted_at.is_none())
        .then(|| direct(larder, bucket, lies, &record.content_type, version(&record.sha256)));
    let url = direct.flatten().unwrap_or_else(|| {
        larder.links().asset(&record.bucket, &record.key, &record.sha256, bucket.policy.visibility)
    });
    AssetView {
        id: record.id,
        bucket: record.bucket.clone(),
        key: record.key.clone(),
        url,
        content_type: record.content_type.clone(),
        size_bytes: record.size_bytes,
        sha256: record.sha256.clone(),
        etag: etag(&record.sha256),
        version: record.version,
        status: match record.status {
            AssetStatus::Processing => "processing",
            AssetStatus::Ready => "ready",
            AssetStatus::Failed => "failed",
        }
        .to_owned(),
        width: record.width_px,
        height: record.height_px,
        frames: record.frames,
        has_gps: record.has_gps,
        original_filename: record.original_filename.clone(),
        owner: record.owner.clone(),
        metadata: record.metadata.clone(),
        tags: record.tags.clone(),
        placeholder: record.description.clone().and_then(|value| serde_json::from_value(value).ok()),
        perceptual_hash: record.perceptual_hash.map(|hash| format!("{hash:016x}")),
        created_at: record.created_at,
        updated_at: record.updated_at,
        expires_at: record.expires_at,
        deleted_at: record.deleted_at,
    }
}

pub(crate) fn variant_view(
    larder: &Larder,
    bucket: &Bucket,
    asset: &AssetRecord,
    record: &VariantRecord,
) -> VariantView {
    let named = record.preset.as_deref().map(|preset| format!("p:{preset}"));
    let made = record.status == VariantStatus::Ready;
    let open = record.preset.as_deref().is_some_and(|preset| bucket.opens(preset));
    let made_of = variant_version(&asset.sha256, &recipe_digest(&record.recipe));
    let lies = (record.store.as_str(), record.place.as_str());
    let direct = (made && open && asset.deleted_at.is_none())
        .then(|| direct(larder, bucket, lies, &record.content_type, &made_of));
    let url = direct.flatten().unwrap_or_else(|| {
        let link = VariantLink {
            recipe: named.as_deref().unwrap_or(&record.recipe),
            extension: extension(&record.recipe, asset),
            version: &made_of,
            open,
            visibility: bucket.policy.visibility,
        };
        larder.links().variant(&asset.bucket, &asset.key, &link)
    });
    VariantView {
        id: record.id,
        preset: record.preset.clone(),
        recipe: record.recipe.clone(),
        status: match record.status {
            VariantStatus::Pending => "pending",
            VariantStatus::Ready => "ready",
            VariantStatus::Failed => "failed",
            VariantStatus::Stale => "stale",
        }
        .to_owned(),
        url,
        content_type: made.then(|| record.content_type.clone()),
        width: record.width_px,
        height: record.height_px,
        size_bytes: made.then_some(record.size_bytes),
        error: record.error.clone(),
        created_at: record.created_at,
    }
}

/// The extension under which a recipe's output is served.
pub(crate) fn extension(recipe: &str, asset: &AssetRecord) -> &'static str {
    let source = SourceFacts {
        content_type: &asset.content_type,
        width_px: asset.width_px.unwrap_or(0),
        height_px: asset.height_px.unwrap_or(0),
        frames: asset.frames.unwrap_or(1),
    };
    recipe.parse::<Recipe>().ok().map_or("bin", |recipe| output_format(&recipe, &source).extension())
}

pub(crate) fn upload_view(
    record: &UploadRecord,
    asset: Option<AssetView>,
    variants: BTreeMap<String, VariantView>,
) -> UploadView {
    UploadView {
        id: record.id,
        status: match record.status {
            UploadStatus::Pending => "pending",
            UploadStatus::Processing => "processing",
            UploadStatus::Completed => "completed",
            UploadStatus::Failed => "failed",
            UploadStatus::Expired => "expired",
        }
        .to_owned(),
        stage: record.stage.clone(),
        progress_percentage: record.progress_percentage,
        bytes_received: record.bytes_received,
        bytes_total: record.bytes_total,
        error: record.error.clone(),
        bucket: record.bucket.clone(),
        key: record.key.clone(),
        original_filename: record.original_filename.clone(),
        owner: record.owner.clone(),
        asset,
        variants,
        created_at: record.created_at,
        updated_at: record.updated_at,
        finished_at: record.finished_at,
    }
}

pub(crate) fn job_view(record: JobRecord, history: Vec<JobAttempt>) -> JobView {
    JobView {
        id: record.id,
        kind: record.kind,
        queue: record.queue,
        state: match record.state {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Dead => "dead",
            JobState::Cancelled => "cancelled",
        }
        .to_owned(),
        args: record.args,
        priority: record.priority,
        attempts: record.attempts,
        max_attempts: record.max_attempts,
        run_at: record.run_at,
        progress_percentage: job_percentage(record.state, record.progress),
        stage: record.stage,
        worker: record.leased_by,
        error: record.error,
        bucket: record.bucket.map(|bucket| bucket.to_string()),
        subject: record.subject,
        created_at: record.created_at,
        started_at: record.started_at,
        finished_at: record.finished_at,
        history: (1..).zip(history).map(|(number, attempt)| attempt_view(number, attempt)).collect(),
    }
}

fn job_percentage(state: JobState, progress: Option<f64>) -> u8 {
    match state {
        JobState::Done => 100,
        _ => (progress.unwrap_or_default().clamp(0.0, 0.99) * 100.0) as u8,
    }
}

fn attempt_view(number: i64, attempt: JobAttempt) -> AttemptView {
    AttemptView {
        attempt: number,
        worker: attempt.worker,
        started_at: attempt.started_at,
        finished_at: attempt.ended_at,
        outcome: attempt.outcome.to_string(),
        error: attempt.error,
    }
}

pub(crate) fn key_view(record: KeyRecord) -> Result<KeyView, Fault> {
    let scope = serde_json::from_value(record.scope).map_err(|error| {
        Fault::internal(format!("the scope of the key {} can't be read", record.id)).caused_by(error)
    })?;
    Ok(KeyView {
        id: record.id,
        name: record.name,
        scope,
        created_at: record.created_at,
        expires_at: record.expires_at,
        revoked_at: record.revoked_at,
        rotated_to: record.rotated_to,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_how_the_digest_begins_and_that_of_a_copy_says_nothing() {
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let tag = etag(digest);
        assert_eq!(digest_start(&tag), Some(&digest[..32]));
        assert_eq!(digest_start(&format!("W/{tag}")), Some(&digest[..32]));
        let copy = format!("\"{}-stripped\"", tag.trim_matches('"'));
        assert_eq!((digest_start(&copy), digest_start("\"abc\"")), (None, None));
    }
}
