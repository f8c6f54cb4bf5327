//! Ingest: an acknowledged upload becomes an asset, or fails with the reason.

use async_trait::async_trait;
use larder_catalog::{Class, UploadChange, UploadStatus};
use larder_core::{Code, Fault, FaultKind, UploadId};
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext};
use crate::larder::Larder;

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
                fail_upload(context.larder(), self.upload_id, fault).await?;
                Ok(Ended::Open)
            }
            outcome => outcome,
        }
    }

    async fn gave_up(self, larder: &Larder, fault: &Fault) -> Result<(), Fault> {
        fail_upload(larder, self.upload_id, fault.clone()).await
    }
}

fn is_about_the_file(fault: &Fault) -> bool {
    fault.kind() == FaultKind::Invalid && fault.code != Code::Cancelled
}

/// Ends an upload without an asset and removes its staged bytes.
pub(crate) async fn fail_upload(larder: &Larder, id: UploadId, fault: Fault) -> Result<(), Fault> {
    let Some(upload) = larder.catalog().upload(id).await? else { return Ok(()) };
    if upload.status.is_final() {
        return Ok(());
    }
    if let Some(staged) = &upload.staging_place {
        larder.store().remove(&crate::larder::place(staged)?).await?;
    }
    let change = UploadChange {
        status: Some(UploadStatus::Failed),
        stage: Some("done".to_owned()),
        error: Some(fault),
        staging_place: Some(None),
        ..UploadChange::default()
    };
    larder
        .catalog()
        .commit(Class::Durable, move |tx| {
            Box::pin(async move {
                tx.change_upload(id, &[UploadStatus::Pending, UploadStatus::Processing], change)
                    .await
                    .map(drop)
            })
        })
        .await?;
    Ok(())
}
