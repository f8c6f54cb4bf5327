//! Everything that removes by rule. Each sweep can say what it would do without doing it.

use std::time::Duration;

use larder_catalog::{AssetRecord, Class, UploadChange, UploadFilter, UploadStatus};
use larder_core::{BucketName, Code, Fault, Timestamp};
use larder_store::ListOptions;
use serde::{Deserialize, Serialize};

use crate::{
    jobs::{JobContext, ingest_upload::fail_upload, make_variants::MakeVariants},
    larder::{Larder, OWN_FOLDER, place},
    removal::DeleteOptions,
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
const LEFTOVER_AGE: Duration = Duration::from_secs(3_600);

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
    /// Leftovers in staging.
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
        self.mend_stranded(now).await?;
        report.history += self.forget_history(now).await?;
        Ok(())
    }

    /// Ends uploads whose jobs ended without telling them: a process died between the end of a job
    /// and what follows from it.
    async fn mend_stranded(&self, now: Timestamp) -> Result<(), Fault> {
        for status in [UploadStatus::Pending, UploadStatus::Processing] {
            let filter = UploadFilter { status: Some(status), limit: BATCH, ..UploadFilter::default() };
            for upload in self.catalog().uploads(&filter).await?.items {
                if now.since(upload.updated_at) < STRANDED_AFTER {
                    continue;
                }
                let mut subjects = vec![upload.id.to_string()];
                subjects.extend(upload.asset_id.map(|asset| asset.to_string()));
                let mut active = false;
                for subject in &subjects {
                    active |= !self.catalog().active_jobs_about(subject).await?.is_empty();
                }
                if active {
                    continue;
                }
                tracing::warn!(upload = %upload.id, "an upload waited for a job that has ended");
                match upload.asset_id {
                    Some(asset_id) => {
                        let job = MakeVariants { asset_id, upload_id: Some(upload.id), recipes: None };
                        let fault = Fault::new(
                            Code::ProcessingCrashed,
                            "the making of variants ended without a result",
                        )
                        .remedy("rebuild the asset's variants");
                        self.give_variants_up(&job, &fault).await?;
                    }
                    None => {
                        let fault = Fault::new(Code::ProcessingCrashed, "processing ended without a result")
                            .remedy("send the file again");
                        fail_upload(self, upload.id, fault).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn complete_upload(&self, id: larder_core::UploadId) -> Result<(), Fault> {
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
        if report.dry_run {
            report.uploads += self.catalog().abandoned_uploads(now, BATCH).await?.len() as u64;
            return Ok(());
        }
        for _ in 0..ROUNDS_MAX {
            check(job)?;
            let abandoned = self.catalog().abandoned_uploads(now, BATCH).await?;
            if abandoned.is_empty() {
                return Ok(());
            }
            for upload in abandoned {
                if upload.asset_id.is_some() {
                    // It became an asset; only its variants never ended.
                    self.complete_upload(upload.id).await?;
                    continue;
                }
                if let Some(staged) = &upload.staging_place {
                    self.store().remove(&place(staged)?).await?;
                }
                let fault = Fault::new(Code::UploadExpired, "the upload was not processed in time")
                    .remedy("send the file again; check that workers run");
                let change = UploadChange {
                    status: Some(UploadStatus::Expired),
                    stage: Some("done".to_owned()),
                    error: Some(fault),
                    staging_place: Some(None),
                    ..UploadChange::default()
                };
                let id = upload.id;
                self.catalog()
                    .commit(Class::Durable, move |tx| {
                        Box::pin(async move {
                            tx.change_upload(id, &[UploadStatus::Pending, UploadStatus::Processing], change)
                                .await
                                .map(drop)
                        })
                    })
                    .await?;
                report.uploads += 1;
            }
        }
        Ok(())
    }

    /// Removes old bytes in staging that no upload waits for: of requests that were cut off.
    async fn sweep_staging(&self, now: Timestamp, report: &mut SweepReport) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let options = ListOptions {
                prefix: format!("{OWN_FOLDER}/staging/"),
                after: after.take(),
                limit: BATCH as usize,
                ..ListOptions::default()
            };
            let listing = self.store().list(options).await?;
            for entry in &listing.entries {
                let old = now.since(entry.modified) > LEFTOVER_AGE;
                if old && !self.is_awaited(&entry.place).await? {
                    report.leftovers += 1;
                    if !report.dry_run {
                        self.store().remove(&entry.place).await?;
                    }
                }
            }
            match listing.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn forget_history(&self, now: Timestamp) -> Result<u64, Fault> {
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
        let jobs = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.expire_idempotency().await?;
                    tx.forget_idle_places(before).await?;
                    tx.forget_jobs_ended_before(before, 1_000).await
                })
            })
            .await?;
        self.catalog().forget_state_before(before).await?;
        Ok(forgotten + jobs)
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
        // Buckets differ in how long they keep trash; the shortest decides what is looked at.
        let buckets = self.buckets().await?;
        let keep = |name: &BucketName| {
            buckets
                .iter()
                .find(|bucket| bucket.name == *name)
                .map_or(Duration::ZERO, |bucket| bucket.policy.trash.0)
        };
        let shortest = buckets.iter().map(|bucket| bucket.policy.trash.0).min().unwrap_or_default();
        let due =
            |asset: &AssetRecord| asset.deleted_at.is_some_and(|at| now.since(at) >= keep(&asset.bucket));
        for _ in 0..ROUNDS_MAX {
            check(job)?;
            let found =
                self.catalog().trash_due(now.minus(shortest).plus(Duration::from_millis(1)), BATCH).await?;
            let (full, mut removed) = (found.len() == BATCH as usize, 0);
            for asset in found.iter().filter(|asset| due(asset)) {
                report.purged += 1;
                report.purged_bytes += asset.size_bytes;
                removed += 1;
                if !report.dry_run {
                    self.purge(asset).await?;
                }
            }
            if report.dry_run || !full || removed == 0 {
                return Ok(());
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
        self.catalog().fold_last_uses(BATCH).await?;
        // Readers that opened a stale variant's URL a moment ago still get its bytes.
        let mut found = self.catalog().stale_variants(now.minus(Duration::from_secs(600)), BATCH).await?;
        found.extend(self.catalog().orphaned_variants(BATCH).await?);
        let buckets = self.buckets().await?;
        for bucket in buckets.iter().filter_map(|bucket| Some((bucket, bucket.policy.unused_variants_after?)))
        {
            let (bucket, unused_after) = bucket;
            for variant in self.catalog().unused_variants(now.minus(unused_after.0), BATCH).await? {
                let asset = self.catalog().asset(variant.asset_id).await?;
                if asset.is_some_and(|asset| asset.bucket == bucket.name) {
                    found.push(variant);
                }
            }
        }
        found.sort_by_key(|variant| variant.id);
        found.dedup_by_key(|variant| variant.id);
        for variant in found {
            check(job)?;
            report.variants += 1;
            report.variant_bytes += variant.size_bytes;
            if !report.dry_run {
                self.remove_variant(&variant).await?;
            }
        }
        Ok(())
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
                for _ in 0..ROUNDS_MAX {
                    let found =
                        self.catalog().assets_older_than(&bucket.name, &rule.prefix, before, BATCH).await?;
                    if found.is_empty() || !self.delete_all(found, report, job).await? {
                        break;
                    }
                }
            }
        }
        for _ in 0..ROUNDS_MAX {
            let found = self.catalog().expired_assets(now, BATCH).await?;
            if found.is_empty() || !self.delete_all(found, report, job).await? {
                break;
            }
        }
        Ok(())
    }

    /// Deletes assets into the trash; answers whether looking again makes sense.
    async fn delete_all(
        &self,
        assets: Vec<AssetRecord>,
        report: &mut SweepReport,
        job: Option<&JobContext>,
    ) -> Result<bool, Fault> {
        for asset in assets {
            check(job)?;
            report.assets += 1;
            report.asset_bytes += asset.size_bytes;
            if !report.dry_run {
                match self.delete_asset(asset.id, &DeleteOptions::default()).await {
                    Err(fault) if fault.code == Code::AssetNotFound => {}
                    outcome => {
                        outcome?;
                    }
                }
            }
        }
        Ok(!report.dry_run)
    }
}

fn check(job: Option<&JobContext>) -> Result<(), Fault> {
    job.map_or(Ok(()), JobContext::check)
}
