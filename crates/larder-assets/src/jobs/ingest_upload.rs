//! Ingest: an acknowledged upload becomes an asset, or fails with the reason.

use async_trait::async_trait;
use larder_catalog::{Class, Lease, UploadChange, UploadStatus};
use larder_core::{Code, Fault, FaultKind, UploadId, text::Span};
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext};
use crate::{
    intake::stage,
    larder::{Larder, place},
};

/// Arguments of the job.
#[derive(Debug, Serialize, Deserialize)]
pub struct IngestUpload {
    /// The upload.
    pub upload_id: UploadId,
}

#[async_trait]
impl Job for IngestUpload {
    const NAME: &'static str = "ingest";
    const DOC: &'static str = "checks an uploaded file in full and stores it as an asset";
    const QUEUE: &'static str = "intake";

    fn unique_key(&self) -> Option<String> {
        Some(self.upload_id.to_string())
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        match context.larder().ingest(self.upload_id, &context).await {
            // A bad file is the upload's failure, not the job's: the job did its work.
            Err(fault) if is_about_the_file(&fault) => {
                fail_upload(context.larder(), self.upload_id, fault, Some(context.lease())).await?;
                Ok(Ended::Recorded)
            }
            outcome => outcome,
        }
    }

    async fn gave_up(self, larder: &Larder, fault: &Fault) -> Result<(), Fault> {
        give_upload_up(larder, self.upload_id, fault.clone()).await
    }
}

fn is_about_the_file(fault: &Fault) -> bool {
    fault.kind() == FaultKind::Invalid && fault.code != Code::Cancelled
}

/// Ends an upload without an asset, together with its job if a lease is given, and then removes its
/// staged bytes. Does nothing if the upload has ended or became an asset meanwhile.
///
/// # Errors
/// The catalogue's; [`Code::Conflict`] if the lease is no longer the newest: somebody else works on the
/// upload, and its bytes are theirs.
pub(crate) async fn fail_upload(
    larder: &Larder,
    id: UploadId,
    fault: Fault,
    lease: Option<Lease>,
) -> Result<(), Fault> {
    end_upload(larder, id, fault, lease, Bytes::Removed).await
}

/// Ends an upload whose job ended for good. What its sender did not cause keeps its staged bytes, which
/// were acknowledged: for as long as an upload lives ([`Larder::keeps_bytes`]), a retry of the job opens
/// it again.
///
/// # Errors
/// The catalogue's.
pub(crate) async fn give_upload_up(larder: &Larder, id: UploadId, mut fault: Fault) -> Result<(), Fault> {
    if matches!(fault.kind(), FaultKind::Invalid | FaultKind::Denied) {
        return fail_upload(larder, id, fault, None).await;
    }
    let life = Span(larder.settings().upload_life);
    let retry = format!("retry its job within {life}, for which the file is kept, or send the file again");
    fault.remedy = match fault.remedy.as_str() {
        "" => retry,
        own => format!("{own}; then {retry}"),
    };
    end_upload(larder, id, fault, None, Bytes::Kept).await
}

/// What becomes of the staged bytes of an upload that ends without an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bytes {
    Removed,
    Kept,
}

async fn end_upload(
    larder: &Larder,
    id: UploadId,
    fault: Fault,
    lease: Option<Lease>,
    bytes: Bytes,
) -> Result<(), Fault> {
    let change = UploadChange {
        status: Some(if fault.code == Code::UploadExpired {
            UploadStatus::Expired
        } else {
            UploadStatus::Failed
        }),
        stage: Some("done".to_owned()),
        error: Some(fault),
        staging_place: (bytes == Bytes::Removed).then_some(None),
        ..UploadChange::default()
    };
    let staged = larder
        .catalog()
        .commit(Class::Durable, move |tx| {
            Box::pin(async move {
                if let Some(lease) = lease {
                    tx.confirm_lease(lease).await?;
                }
                let upload = tx.upload(id).await?;
                let upload = upload.filter(|upload| !upload.status.is_final() && upload.asset_id.is_none());
                let staged = match upload {
                    None => None,
                    Some(upload) => {
                        let from = [UploadStatus::Pending, UploadStatus::Processing];
                        tx.change_upload(id, &from, change).await?;
                        upload.staging_place.map(|staged| (upload.staging_store, staged))
                    }
                };
                if let Some(lease) = lease {
                    tx.finish_job(lease).await?;
                }
                Ok(staged)
            })
        })
        .await?;
    if let (Some((store, staged)), Bytes::Removed) = (staged, bytes) {
        // What can't be removed now is swept: no upload waits for it any more.
        stage::discard(&**larder.store(&store)?, &place(&staged)?).await;
    }
    Ok(())
}
