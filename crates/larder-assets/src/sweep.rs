//! Everything that removes by rule. Each sweep can say what it would do without doing it.

use std::{sync::Arc, time::Duration};

use larder_catalog::{
    AssetRecord, Class, CopyState, JobFilter, UploadChange, UploadRecord, UploadStatus, VariantRecord,
};
use larder_core::{Code, Fault, Timestamp};
use larder_store::{ListOptions, Store, UnfinishedOptions};
use serde::{Deserialize, Serialize};

use crate::{
    jobs::{
        Job, JobContext,
        ingest_upload::{IngestUpload, fail_upload, give_upload_up},
        make_variants::MakeVariants,
    },
    larder::{Larder, OWN_FOLDER},
    reports,
    spare::Forget,
};

/// Records looked at in one go.
const BATCH: u32 = 500;

/// Most rounds of one sweep; what remains is taken by the next.
const ROUNDS_MAX: usize = 10_000;

/// How long after its last change an upload without a job is looked at: between two jobs there is
/// never more than a commit.
const STRANDED_AFTER: Duration = Duration::from_secs(120);

/// Age at which bytes in staging that no upload waits for are nobody's, while other processes use
/// the store. Longer than any upload takes: 100 MiB at 30 KB/s.
pub(crate) const LEFTOVER_AGE: Duration = Duration::from_secs(3_600);

/// How long nobody has written a key when its turn is forgotten. Nothing is lost with it; an hour is
/// far longer than the clocks of machines differ, on which the order of its fences then rests.
const IDLE_PLACE_AGE: Duration = Duration::from_secs(3_600);

/// How long a variant stays after it became stale: readers that opened its URL a moment ago still get
/// its bytes.
const STALE_KEPT: Duration = Duration::from_secs(600);

/// What to sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepTarget {
    /// Uploads that never became an asset, leftovers in staging, old history.
    Uploads,
    /// Deleted assets whose time in the trash is over; variants that are stale, orphaned or unused.
    Trash,
    /// Assets that a retention rule or their own expiry names.
    Retention,
}

/// How to sweep.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepOptions {
    /// What; everything if empty.
    #[serde(default)]
    pub targets: Vec<SweepTarget>,
    /// Only say what would be removed.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was, or would be, removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepReport {
    /// Whether nothing was removed in fact.
    pub dry_run: bool,
    /// Uploads that expired.
    pub uploads: u64,
    /// Leftovers of writers that were cut off: in staging, and what was not at its place yet.
    pub leftovers: u64,
    /// Assets deleted by rule, into the trash.
    pub assets: u64,
    /// Their bytes.
    pub asset_bytes: u64,
    /// Assets purged from the trash.
    pub purged: u64,
    /// Their bytes.
    pub purged_bytes: u64,
    /// Variants removed.
    pub variants: u64,
    /// Their bytes.
    pub variant_bytes: u64,
    /// Records of ended uploads and jobs forgotten.
    pub history: u64,
}

impl Larder {
    /// Removes what rules say, or says what it would remove.
    ///
    /// # Errors
    /// The catalogue's and the store's; what was removed until then stays removed.
    pub async fn sweep(&self, options: &SweepOptions) -> Result<SweepReport, Fault> {
        let mut report = SweepReport { dry_run: options.dry_run, ..SweepReport::default() };
        let wants = |target| options.targets.is_empty() || options.targets.contains(&target);
        if wants(SweepTarget::Retention) {
            self.sweep_retention(&mut report, None).await?;
        }
        if wants(SweepTarget::Uploads) {
            self.sweep_uploads(&mut report, None).await?;
        }
        if wants(SweepTarget::Trash) {
            self.sweep_trash(&mut report, None).await?;
        }
        Ok(report)
    }

    pub(crate) async fn sweep_uploads(
        &self,
        report: &mut SweepReport,
        job: Option<&JobContext>,
    ) -> Result<(), Fault> {
        let now = self.ambient().now();
        self.expire_uploads(now, report, job).await?;
        self.sweep_staging(now, report).await?;
        if report.dry_run {
            return Ok(());
        }
        self.settle_interrupted(true).await?;
        self.mend_stranded(now, job).await?;
        report.history += self.forget_history(now, job).await?;
        Ok(())
    }

    /// Ends uploads whose jobs ended without telling them: a process died between the end of a job
    /// and what follows from it.
    async fn mend_stranded(&self, now: Timestamp, job: Option<&JobContext>) -> Result<(), Fault> {
        let mut last = None;
        for _ in 0..ROUNDS_MAX {
            let before = now.minus(STRANDED_AFTER);
            let idle = self.catalog().idle_uploads(before, last.as_ref(), BATCH).await?;
            for upload in &idle {
                check(job)?;
                if self.is_worked_on(upload).await? {
                    continue;
                }
                // It may have come on while the others of its page were looked at.
                let now = self.catalog().upload(upload.id).await?;
                if now.is_some_and(|now| now.updated_at == upload.updated_at) {
                    self.end_stranded(upload).await?;
                }
            }
            last = idle.into_iter().last();
            if last.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn is_worked_on(&self, upload: &UploadRecord) -> Result<bool, Fault> {
        let mut subjects = vec![upload.id.to_string()];
        subjects.extend(upload.asset_id.map(|asset| asset.to_string()));
        for subject in &subjects {
            if !self.catalog().active_jobs_about(subject).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn end_stranded(&self, upload: &UploadRecord) -> Result<(), Fault> {
        tracing::warn!(upload = %upload.id, "an upload waited for a job that has ended");
        match upload.asset_id {
            Some(asset_id) => {
                let job = MakeVariants { asset_id, upload_id: Some(upload.id), recipes: None };
                let fault =
                    Fault::new(Code::ProcessingCrashed, "the making of variants ended without a result")
                        .remedy("rebuild the asset's variants");
                self.give_variants_up(&job, &fault).await
            }
            None => {
                let filter = JobFilter {
                    subject: Some(upload.id.to_string()),
                    kind: Some(IngestUpload::NAME.to_owned()),
                    limit: 1,
                    ..JobFilter::default()
                };
                let job = self.catalog().jobs(&filter).await?.items.into_iter().next();
                let fault = job.and_then(|job| job.error);
                let fault = fault.unwrap_or_else(|| Fault::internal("processing ended without a result"));
                give_upload_up(self, upload.id, fault).await
            }
        }
    }

    pub(crate) async fn complete_upload(&self, id: larder_core::UploadId) -> Result<(), Fault> {
        let change = UploadChange {
            status: Some(UploadStatus::Completed),
            stage: Some("done".to_owned()),
            progress_percentage: Some(100),
            ..UploadChange::default()
        };
        self.catalog()
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

    async fn expire_uploads(
        &self,
        now: Timestamp,
        report: &mut SweepReport,
        job: Option<&JobContext>,
    ) -> Result<(), Fault> {
        let mut last = None;
        for _ in 0..ROUNDS_MAX {
            check(job)?;
            let abandoned = self.catalog().abandoned_uploads(now, last.as_ref(), BATCH).await?;
            for upload in &abandoned {
                let became_asset = upload.asset_id.is_some();
                report.uploads += u64::from(!became_asset);
                if report.dry_run {
                    continue;
                }
                let ended = match became_asset {
                    // Only its variants never ended.
                    true => self.complete_upload(upload.id).await,
                    false => {
                        let (detail, remedy) = match upload.awaits_bytes() {
                            true => ("the upload was not completed in time", "begin another upload"),
                            false => (
                                "the upload was not processed in time",
                                "send the file again; check that workers run",
                            ),
                        };
                        let fault = Fault::new(Code::UploadExpired, detail).remedy(remedy);
                        fail_upload(self, upload.id, fault, None).await
                    }
                };
                told(ended, "an abandoned upload", upload.id)?;
            }
            last = abandoned.into_iter().last();
            if last.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Removes what requests and processes that were cut off left: old bytes in staging that no upload
    /// waits for, and what the store had in hand.
    async fn sweep_staging(&self, now: Timestamp, report: &mut SweepReport) -> Result<(), Fault> {
        for (name, store) in self.stores().iter() {
            let swept = self.sweep_staging_of(store, now, report).await;
            // Of several stores one may be away.
            told(swept, "what is left in staging", name)?;
        }
        self.sweep_copies(now, report).await
    }

    async fn sweep_staging_of(
        &self,
        store: &Arc<dyn Store>,
        now: Timestamp,
        report: &mut SweepReport,
    ) -> Result<(), Fault> {
        let unfinished = UnfinishedOptions { begun_before: now.minus(LEFTOVER_AGE), dry_run: report.dry_run };
        let removed = store.remove_unfinished(unfinished).await.map_err(Fault::from);
        report.leftovers += told(removed, "something unfinished", "in the store")?.unwrap_or(0);
        for folder in ["staging", "incoming"] {
            self.sweep_folder(store, folder, now, report).await?;
        }
        Ok(())
    }

    async fn sweep_folder(
        &self,
        store: &Arc<dyn Store>,
        folder: &str,
        now: Timestamp,
        report: &mut SweepReport,
    ) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let options = ListOptions {
                prefix: format!("{OWN_FOLDER}/{folder}/"),
                after: after.take(),
                limit: BATCH as usize,
                ..ListOptions::default()
            };
            let listing = store.list(options).await?;
            for entry in &listing.entries {
                let old = now.since(entry.modified) > LEFTOVER_AGE;
                if !old || self.is_awaited(&entry.place).await? {
                    continue;
                }
                report.leftovers += 1;
                if !report.dry_run {
                    let removed = store.remove(&entry.place).await.map(drop).map_err(Fault::from);
                    told(removed, "a leftover", &entry.place)?;
                }
            }
            match listing.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Removes copies that no record names and none will: of what was replaced or removed since it was
    /// copied, and of moves to another store that were cut off.
    async fn sweep_copies(&self, now: Timestamp, report: &mut SweepReport) -> Result<(), Fault> {
        for state in [CopyState::Void, CopyState::Coming] {
            let mut last = None;
            for _ in 0..ROUNDS_MAX {
                let found = match state {
                    CopyState::Coming => {
                        self.catalog().overdue_copies(now.minus(LEFTOVER_AGE), last.as_ref(), BATCH).await?
                    }
                    _ => self.catalog().void_copies(last.as_ref(), BATCH).await?,
                };
                for copy in &found {
                    report.leftovers += 1;
                    if !report.dry_run {
                        told(self.remove_spare(copy, Forget::WhenOld).await, "a spare copy", &copy.place)?;
                    }
                }
                last = found.into_iter().last();
                if last.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn forget_history(&self, now: Timestamp, job: Option<&JobContext>) -> Result<u64, Fault> {
        let before = now.minus(self.settings().history);
        let mut forgotten = 0;
        for _ in 0..ROUNDS_MAX {
            let ended = self.catalog().uploads_ended_before(before, BATCH).await?;
            if ended.is_empty() {
                break;
            }
            forgotten += ended.len() as u64;
            self.catalog()
                .commit(Class::Durable, move |tx| {
                    Box::pin(async move {
                        for upload in ended {
                            tx.remove_upload(upload.id).await?;
                        }
                        Ok(())
                    })
                })
                .await?;
        }
        let idle = now.minus(IDLE_PLACE_AGE);
        for _ in 0..ROUNDS_MAX {
            check(job)?;
            // Each round commits by itself, so that uploads wait for a portion, never for the whole.
            let round = self.catalog().commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    let keys = tx.expire_idempotency(BATCH).await?;
                    let places = tx.forget_idle_places(idle, BATCH).await?;
                    let jobs = tx.forget_jobs_ended_before(before, BATCH).await?;
                    Ok((keys.max(places).max(jobs), jobs))
                })
            });
            let (most, jobs) = round.await?;
            forgotten += jobs;
            if most < u64::from(BATCH) {
                break;
            }
        }
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move { tx.forget_checkpoints_before(reports::PREFIX, before).await })
            })
            .await?;
        self.catalog().forget_state_before(before).await?;
        Ok(forgotten)
    }

    pub(crate) async fn sweep_trash(
        &self,
        report: &mut SweepReport,
        job: Option<&JobContext>,
    ) -> Result<(), Fault> {
        self.purge_due(report, job).await?;
        self.collect_variants(report, job).await
    }

    async fn purge_due(&self, report: &mut SweepReport, job: Option<&JobContext>) -> Result<(), Fault> {
        let now = self.ambient().now();
        for bucket in self.buckets().await? {
            // Exactly the bucket's time in the trash is over.
            let before = now.minus(bucket.policy.trash.0).plus(Duration::from_millis(1));
            let mut last = None;
            for _ in 0..ROUNDS_MAX {
                let found = self.catalog().trash_due(&bucket.name, before, last.as_ref(), BATCH).await?;
                for asset in &found {
                    check(job)?;
                    let purged = match report.dry_run {
                        true => Ok(true),
                        false => self.purge(asset).await,
                    };
                    if told(purged, "a deleted asset", asset.id)?.unwrap_or(false) {
                        report.purged += 1;
                        report.purged_bytes += asset.size_bytes;
                    }
                }
                last = found.into_iter().last();
                if last.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn collect_variants(
        &self,
        report: &mut SweepReport,
        job: Option<&JobContext>,
    ) -> Result<(), Fault> {
        let now = self.ambient().now();
        self.fold_last_uses(job).await?;
        let mut last = None;
        for _ in 0..ROUNDS_MAX {
            let stale = now.minus(STALE_KEPT);
            let found = self.catalog().stale_variants(stale, last.as_ref(), BATCH).await?;
            last = self.drop_variants(found, report, job).await?;
            if last.is_none() {
                break;
            }
        }
        let mut window = None;
        for _ in 0..ROUNDS_MAX {
            let found = self.catalog().orphaned_variants(window.as_deref(), BATCH).await?;
            self.drop_variants(found.items, report, job).await?;
            window = found.next;
            if window.is_none() {
                break;
            }
        }
        for bucket in self.buckets().await? {
            let Some(unused_after) = bucket.policy.unused_variants_after else { continue };
            let (unused, mut last) = (now.minus(unused_after.0), None);
            for _ in 0..ROUNDS_MAX {
                let found =
                    self.catalog().unused_variants(&bucket.name, unused, last.as_ref(), BATCH).await?;
                last = self.drop_variants(found, report, job).await?;
                if last.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Brings all noted uses into the records by which it is decided what is unused.
    async fn fold_last_uses(&self, job: Option<&JobContext>) -> Result<(), Fault> {
        for _ in 0..ROUNDS_MAX {
            check(job)?;
            if self.catalog().fold_last_uses(BATCH).await? < u64::from(BATCH) {
                break;
            }
        }
        Ok(())
    }

    /// Removes variants, or counts them; answers the last of them, after which to go on.
    async fn drop_variants(
        &self,
        found: Vec<VariantRecord>,
        report: &mut SweepReport,
        job: Option<&JobContext>,
    ) -> Result<Option<VariantRecord>, Fault> {
        for variant in &found {
            check(job)?;
            report.variants += 1;
            report.variant_bytes += variant.size_bytes;
            if !report.dry_run {
                told(self.remove_variant(variant).await, "a variant", variant.id)?;
            }
        }
        Ok(found.into_iter().last())
    }

    pub(crate) async fn sweep_retention(
        &self,
        report: &mut SweepReport,
        job: Option<&JobContext>,
    ) -> Result<(), Fault> {
        let now = self.ambient().now();
        for bucket in self.buckets().await? {
            for rule in &bucket.policy.retention {
                let before = now.minus(rule.older_than.0);
                let mut last = None;
                for _ in 0..ROUNDS_MAX {
                    let found = self
                        .catalog()
                        .assets_older_than(&bucket.name, &rule.prefix, before, last.as_ref(), BATCH)
                        .await?;
                    last = self.delete_all(found, report, job).await?;
                    if last.is_none() {
                        break;
                    }
                }
            }
        }
        let mut last = None;
        for _ in 0..ROUNDS_MAX {
            let found = self.catalog().expired_assets(now, last.as_ref(), BATCH).await?;
            last = self.delete_all(found, report, job).await?;
            if last.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Deletes assets into the trash, or counts them; answers the last of them, after which to go on.
    async fn delete_all(
        &self,
        assets: Vec<AssetRecord>,
        report: &mut SweepReport,
        job: Option<&JobContext>,
    ) -> Result<Option<AssetRecord>, Fault> {
        for asset in &assets {
            check(job)?;
            let deleted = match report.dry_run {
                true => Ok(true),
                false => match self.delete_as_seen(asset).await {
                    // Somebody was faster, or gave it new bytes or another end.
                    Err(fault) if fault.code == Code::AssetNotFound => Ok(false),
                    outcome => outcome.map(|_| true),
                },
            };
            if told(deleted, "an asset", asset.id)?.unwrap_or(false) {
                report.assets += 1;
                report.asset_bytes += asset.size_bytes;
            }
        }
        Ok(assets.into_iter().last())
    }
}

/// One thing that can't be removed now must not keep the others: it is logged, and tried again by the
/// next sweep. Only a catalogue that does not answer ends the sweep.
fn told<T>(outcome: Result<T, Fault>, what: &str, which: impl std::fmt::Display) -> Result<Option<T>, Fault> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(fault) if fault.code == Code::CatalogUnavailable => Err(fault),
        Err(fault) => {
            tracing::warn!(%fault, %which, "{what} could not be removed; the next sweep tries again");
            Ok(None)
        }
    }
}

fn check(job: Option<&JobContext>) -> Result<(), Fault> {
    job.map_or(Ok(()), JobContext::check)
}
