//! How many bytes of an upload have come; newer than the upload's record.

use larder_core::{Timestamp, UploadId};

use crate::{
    catalog::Catalog,
    change::Change,
    db::{FromRow, Row, Statement},
    error::Result,
    tx::Class,
};

/// Progress of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that came.
    pub bytes_received: u64,
    /// Bytes that were announced.
    pub bytes_total: Option<u64>,
    /// When this was so.
    pub updated_at: Timestamp,
}

impl FromRow for Progress {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            bytes_received: row.count("bytes_received")?,
            bytes_total: row.opt_count("bytes_total")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

impl Catalog {
    /// Notes the progress of an upload, for those who watch. Ephemeral: call it every half second or
    /// so, not for each chunk.
    pub async fn report_upload_progress(
        &self,
        id: UploadId,
        bytes_received: u64,
        bytes_total: Option<u64>,
    ) -> Result<()> {
        let columns = vec![
            ("upload_id", id.into()),
            ("bytes_received", bytes_received.into()),
            ("bytes_total", bytes_total.into()),
            ("updated_at", self.ambient().now().into()),
        ];
        let upsert = Statement::insert("upload_progress", columns).push(
            " ON CONFLICT (upload_id) DO UPDATE SET bytes_received = excluded.bytes_received, \
             bytes_total = excluded.bytes_total, updated_at = excluded.updated_at",
        );
        self.commit(Class::Ephemeral, move |tx| {
            Box::pin(async move {
                tx.announce(Change::Upload(id));
                tx.execute(Class::Ephemeral, upsert).await.map(drop)
            })
        })
        .await
    }

    /// The progress last noted of an upload.
    pub async fn upload_progress(&self, id: UploadId) -> Result<Option<Progress>> {
        let select = Statement::new(
            "SELECT bytes_received, bytes_total, updated_at FROM upload_progress WHERE upload_id = ",
        );
        self.first(Class::Ephemeral, select.bind(id)).await
    }

    /// Forgets progress, workers and heartbeats that were last heard of before an instant. Answers
    /// how many.
    pub async fn forget_state_before(&self, before: Timestamp) -> Result<u64> {
        self.commit(Class::Ephemeral, move |tx| {
            Box::pin(async move {
                let mut forgotten = 0;
                for delete in [
                    "DELETE FROM upload_progress WHERE updated_at < $1",
                    "DELETE FROM workers WHERE seen_at < $1",
                    "DELETE FROM job_beats WHERE expires_at < $1",
                ] {
                    forgotten += tx.execute(Class::Ephemeral, Statement::new(delete).with(before)).await?;
                }
                Ok(forgotten)
            })
        })
        .await
    }
}
