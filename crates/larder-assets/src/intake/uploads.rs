//! Uploads as callers follow them.

use std::{collections::BTreeMap, time::Duration};

use futures::{Stream, StreamExt, stream};
use larder_catalog::{Change, UploadFilter, UploadRecord, UploadStatus};
use larder_core::{BucketName, Code, Fault, UploadId, limits::WAIT_MAX};
use tokio::{sync::broadcast, time::Instant};

use super::accept::no_upload;
use crate::{
    larder::Larder,
    view::{Page, UploadView, VariantView, asset_view, upload_view, variant_view},
};

/// How often a followed upload is looked up: the rest comes by notice from this process; another
/// process's changes are seen this late.
const POLL: Duration = Duration::from_millis(250);

/// Which uploads to list.
#[derive(Debug, Clone, Default)]
pub struct UploadQuery {
    /// To this bucket.
    pub bucket: Option<BucketName>,
    /// `pending`, `processing`, `completed`, `failed` or `expired`.
    pub status: Option<String>,
    /// For this owner.
    pub owner: Option<String>,
    /// `next` of the previous page.
    pub after: Option<String>,
    /// Most items, 1 to 1,000; 100 if 0.
    pub limit: u32,
}

impl Larder {
    /// An upload, also while its bytes still come in (to this process).
    ///
    /// # Errors
    /// [`Code::UploadNotFound`].
    pub async fn upload(&self, id: UploadId) -> Result<UploadView, Fault> {
        if let Some(record) = self.catalog().upload(id).await? {
            return self.view_of_upload(&record).await;
        }
        self.in_flight().get(id, self.ambient().now()).ok_or_else(|| no_upload(id))
    }

    /// A page of uploads, the newest first. The first page begins with those whose bytes are coming
    /// in to this process.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] for an unknown status or cursor.
    pub async fn uploads(&self, query: &UploadQuery) -> Result<Page<UploadView>, Fault> {
        let status = query.status.as_deref().map(|text| {
            text.parse::<UploadStatus>().map_err(|_| {
                Fault::new(Code::InvalidRequest, format!("\"{text}\" is no status of an upload"))
                    .remedy("use pending, processing, completed, failed or expired")
            })
        });
        let filter = UploadFilter {
            bucket: query.bucket.clone(),
            status: status.transpose()?,
            owner: query.owner.clone(),
            after: query.after.clone(),
            limit: if query.limit == 0 { 100 } else { query.limit },
            ..UploadFilter::default()
        };
        let page = self.catalog().uploads(&filter).await?;
        let mut items = Vec::new();
        if query.after.is_none() && query.status.as_deref().is_none_or(|status| status == "pending") {
            let fits = |view: &UploadView| {
                query.bucket.as_ref().is_none_or(|bucket| view.bucket == *bucket)
                    && query.owner.as_ref().is_none_or(|owner| view.owner.as_ref() == Some(owner))
                    && !page.items.iter().any(|record| record.id == view.id)
            };
            items.extend(self.in_flight().list(self.ambient().now()).into_iter().filter(fits));
        }
        for record in &page.items {
            items.push(self.view_of_upload(record).await?);
        }
        Ok(Page { items, next: page.next })
    }

    /// Waits until an upload has ended, at most `time` and never longer than
    /// [`WAIT_MAX`]; answers its state then.
    ///
    /// # Errors
    /// [`Code::UploadNotFound`].
    pub async fn wait(&self, id: UploadId, time: Duration) -> Result<UploadView, Fault> {
        let deadline = Instant::now() + time.min(WAIT_MAX);
        let mut changes = self.catalog().subscribe();
        loop {
            let view = self.upload(id).await?;
            if view.is_finished() || Instant::now() >= deadline {
                return Ok(view);
            }
            next_look(&mut changes, id, deadline).await;
        }
    }

    /// An upload's state now and after each change, until it has ended.
    ///
    /// # Errors
    /// [`Code::UploadNotFound`] at once; later errors end the stream.
    pub async fn watch_upload(
        &self,
        id: UploadId,
    ) -> Result<impl Stream<Item = UploadView> + Send + 'static, Fault> {
        let changes = self.catalog().subscribe();
        let first = self.upload(id).await?;
        let state = (self.clone(), changes, first.clone());
        let rest = stream::unfold(state, move |(larder, mut changes, last)| async move {
            if last.is_finished() {
                return None;
            }
            loop {
                next_look(&mut changes, id, Instant::now() + Duration::from_secs(3_600)).await;
                let view = larder.upload(id).await.ok()?;
                if view != last {
                    return Some((view.clone(), (larder, changes, view)));
                }
            }
        });
        Ok(stream::once(async move { first }).chain(rest).boxed())
    }

    pub(crate) async fn view_of_upload(&self, record: &UploadRecord) -> Result<UploadView, Fault> {
        let Some(asset_id) = record.asset_id else {
            return Ok(upload_view(record, None, BTreeMap::new()));
        };
        let (Some(asset), Ok(bucket)) =
            (self.catalog().asset(asset_id).await?, self.bucket(&record.bucket).await)
        else {
            return Ok(upload_view(record, None, BTreeMap::new()));
        };
        let variants = self
            .catalog()
            .variants(asset_id)
            .await?
            .iter()
            .filter(|variant| variant.source_sha256 == asset.sha256)
            .map(|variant| variant_view(self, &bucket, &asset, variant))
            .map(|view| (view.preset.clone().unwrap_or_else(|| view.recipe.clone()), view))
            .collect::<BTreeMap<String, VariantView>>();
        let mut view = upload_view(record, Some(asset_view(self, &bucket, &asset)), variants);
        if view.stage == "variants" && !view.variants.is_empty() {
            let done = view.variants.values().filter(|variant| variant.status != "pending").count();
            view.progress_percentage = (75 + 25 * done / view.variants.len()).min(99) as u8;
        }
        Ok(view)
    }
}

/// Waits for something that may have changed the upload: a notice, or the time to look again.
async fn next_look(changes: &mut broadcast::Receiver<Change>, id: UploadId, deadline: Instant) {
    let until = deadline.min(Instant::now() + POLL);
    loop {
        match tokio::time::timeout_at(until, changes.recv()).await {
            Ok(Ok(Change::Upload(changed))) if changed == id => return,
            Ok(Ok(Change::Asset(_))) | Err(_) => return,
            Ok(Ok(_)) => {}
            // Too many changes to keep up with: look at once.
            Ok(Err(broadcast::error::RecvError::Lagged(_))) => return,
            Ok(Err(broadcast::error::RecvError::Closed)) => tokio::time::sleep_until(until).await,
        }
    }
}
