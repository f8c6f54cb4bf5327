//! The data directory, opened by the command itself.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use larder_assets::{
    AdoptOptions, AdoptReport, AssetPage, AssetQuery, AssetView, Bucket, BucketPolicy, DeleteOptions,
    Deleted, Door, Follow, Incoming, IssuedKey, JobQuery, JobView, KeyView, Larder, MigrateOptions, NewKey,
    Page, PresetView, PutPreset, ReindexOptions, ReindexReport, ScrubOptions, ScrubReport, Statistics,
    SweepOptions, SweepReport, UploadView, VariantView, WriteCondition,
    links::{OWN_KEY, encode_path},
    migrate::Watch,
    operation::{QueueView, WorkerView},
    view::digest_start,
};
use larder_core::{
    AssetId, BucketName, Code, Fault, JobId, KeyId, ObjectKey, Timestamp, UploadId, text::Span,
};
use larder_worker::{Worker, WorkerOptions};

use super::{Backend, Download, LinkRequest, Migration, Outcome, Sending, SignedLink, body_of};
use crate::{
    config::Config,
    failure::Failure,
    service::{
        open::{Opened, Opening, open},
        presence,
        replication::Replication,
    },
};

/// Time that jobs of this process get to end.
const GRACE: Duration = Duration::from_secs(20);

/// Larder in this process.
pub struct Embedded {
    larder: Larder,
    served: bool,
    concurrency: Option<usize>,
    address: String,
    worker: Mutex<Option<Worker>>,
    replication: Mutex<Option<Replication>>,
}

impl Embedded {
    /// Opens the data directory.
    ///
    /// # Errors
    /// Those of [`open`].
    pub async fn open(config: &Config, opening: Opening) -> Result<Self, Failure> {
        let Opened { larder, replication } = open(config, opening).await?;
        let server = presence::find(&config.data_dir);
        Ok(Self {
            larder,
            served: server.as_ref().is_some_and(|server| server.runs_jobs),
            concurrency: config.worker.concurrency,
            address: server.map_or_else(|| format!("http://{}", config.listen), |server| server.address),
            worker: Mutex::new(None),
            replication: Mutex::new(replication),
        })
    }

    fn incoming(file: &Sending) -> Incoming {
        let mut incoming = Incoming::new(file.bucket.clone(), Door::CommandLine);
        incoming.key = file.key.clone();
        incoming.file_name = file.path.file_name().map(|name| name.to_string_lossy().into_owned());
        incoming.declared_bytes = Some(file.size_bytes);
        incoming.expect_sha256 = Some(file.sha256.clone());
        incoming.owner = file.owner.clone();
        incoming.tags = file.tags.clone();
        incoming.metadata = file.metadata.clone();
        incoming.expires_at = file.expires_at;
        incoming
    }

    /// `p:<preset>` or the canonical recipe, and the extension under which it is served.
    async fn picture(&self, request: &LinkRequest) -> Outcome<Option<(String, &'static str)>> {
        let (text, recipe) = match (&request.preset, &request.recipe) {
            (Some(preset), _) => (format!("p:{preset}"), self.larder.recipe_of_preset(preset).await?),
            (None, Some(text)) => {
                let recipe: larder_image::Recipe = text.parse()?;
                (recipe.to_string(), recipe)
            }
            (None, None) => return Ok(None),
        };
        let extension = recipe.format().url_extension();
        Ok(Some((text, extension)))
    }
}

#[async_trait]
impl Backend for Embedded {
    async fn upload(&self, file: Sending) -> Outcome<UploadView> {
        let body = body_of(&file).await?;
        Ok(self.larder.accept(Self::incoming(&file), body, None).await?.upload)
    }

    async fn replace(&self, file: Sending) -> Outcome<AssetView> {
        let body = body_of(&file).await?;
        Ok(self.larder.put(Self::incoming(&file), WriteCondition::None, body).await?.asset)
    }

    async fn wait(&self, id: UploadId, at_most: Duration) -> Outcome<UploadView> {
        self.larder.wait(id, at_most).await
    }

    async fn download(&self, bucket: &BucketName, key: &ObjectKey) -> Outcome<Download> {
        let readable = self.larder.read_untouched(bucket, key).await?;
        let digest_start = digest_start(&readable.etag).map(str::to_owned);
        let size_bytes = Some(readable.size_bytes);
        Ok(Download { size_bytes, digest_start, body: readable.into_body().await?.into_stream() })
    }

    async fn asset_at(&self, bucket: &BucketName, key: &ObjectKey) -> Outcome<Option<AssetView>> {
        match self.larder.asset_at(bucket, key).await {
            Ok(asset) => Ok(Some(asset)),
            Err(fault) if fault.code == Code::AssetNotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn assets(&self, bucket: &BucketName, query: &AssetQuery) -> Outcome<AssetPage> {
        self.larder.assets(&AssetQuery { bucket: Some(bucket.clone()), ..query.clone() }).await
    }

    async fn delete(&self, bucket: &BucketName, key: &ObjectKey, purge: bool) -> Outcome<Deleted> {
        self.larder.delete(bucket, key, &DeleteOptions { purge, if_match: None }).await
    }

    async fn restore(&self, id: AssetId) -> Outcome<AssetView> {
        self.larder.restore(id).await
    }

    async fn variants(&self, id: AssetId) -> Outcome<Vec<VariantView>> {
        self.larder.variants(id).await
    }

    async fn rebuild(&self, id: AssetId) -> Outcome<JobId> {
        self.larder.rebuild(id).await
    }

    async fn sign(&self, request: &LinkRequest) -> Outcome<SignedLink> {
        let links = self.larder.links();
        let settings = self.larder.settings();
        let life = request.expires_in_seconds.map_or(settings.signed_url_life, Duration::from_secs);
        if life.is_zero() || life > settings.signed_url_life_max {
            let longest = Span(settings.signed_url_life_max);
            return Err(Fault::new(
                Code::InvalidRequest,
                format!("a signed link lives from 1s to {longest}"),
            )
            .remedy("choose another --expires, or raise limits.signed_url_life_max"));
        }
        let expires = links.expiry(life);
        let key = encode_path(request.key.as_str());
        let path = match self.picture(request).await? {
            None => links.sign(&format!("/m/{}/{key}", request.bucket), OWN_KEY, expires),
            Some((recipe, extension)) => {
                let rest = format!("/{recipe}/{}/{key}.{extension}", request.bucket);
                links.sign_variant(&rest, OWN_KEY, Some(expires))
            }
        };
        let expires_at = Timestamp::from_millis(expires.saturating_mul(1_000));
        Ok(SignedLink { url: links.absolute(&path), expires_at })
    }

    async fn buckets(&self) -> Outcome<Vec<Bucket>> {
        Ok(self.larder.buckets().await?.iter().map(|bucket| Bucket::clone(bucket)).collect())
    }

    async fn bucket(&self, name: &BucketName) -> Outcome<Bucket> {
        Ok(Bucket::clone(&*self.larder.bucket(name).await?))
    }

    async fn put_bucket(&self, name: &BucketName, policy: BucketPolicy) -> Outcome<Bucket> {
        Ok(Bucket::clone(&*self.larder.put_bucket(name, policy).await?))
    }

    async fn backfill(&self, bucket: &BucketName, preset: Option<&str>) -> Outcome<JobId> {
        self.larder.backfill(bucket, preset).await
    }

    async fn remove_bucket(&self, name: &BucketName) -> Outcome<()> {
        self.larder.remove_bucket(name).await
    }

    async fn presets(&self) -> Outcome<Vec<PresetView>> {
        self.larder.presets().await
    }

    async fn put_preset(&self, name: &str, recipe: &str) -> Outcome<PutPreset> {
        self.larder.put_preset(name, recipe).await
    }

    async fn remove_preset(&self, name: &str) -> Outcome<()> {
        self.larder.remove_preset(name).await
    }

    async fn jobs(&self, query: &JobQuery) -> Outcome<Page<JobView>> {
        self.larder.jobs(query).await
    }

    async fn job(&self, id: JobId) -> Outcome<JobView> {
        self.larder.job(id).await
    }

    async fn retry_job(&self, id: JobId) -> Outcome<JobView> {
        self.larder.retry_job(id).await
    }

    async fn cancel_job(&self, id: JobId) -> Outcome<JobView> {
        self.larder.cancel_job(id).await
    }

    async fn queues(&self) -> Outcome<Vec<QueueView>> {
        self.larder.queues().await
    }

    async fn workers(&self) -> Outcome<Vec<WorkerView>> {
        self.larder.workers().await
    }

    async fn statistics(&self, bucket: Option<&BucketName>) -> Outcome<Statistics> {
        self.larder.statistics(bucket).await
    }

    async fn sweep(&self, options: &SweepOptions) -> Outcome<SweepReport> {
        self.larder.sweep(options).await
    }

    async fn adopt(&self, options: &AdoptOptions, follow: Arc<dyn Follow>) -> Outcome<AdoptReport> {
        self.larder.adopt(options, &*follow).await
    }

    async fn reindex(&self, options: ReindexOptions, follow: Arc<dyn Follow>) -> Outcome<ReindexReport> {
        self.larder.reindex(options, &*follow).await
    }

    async fn scrub(&self, options: &ScrubOptions, follow: Arc<dyn Follow>) -> Outcome<ScrubReport> {
        self.larder.scrub(options, &*follow).await
    }

    async fn migrate(&self, options: &MigrateOptions, watch: &Watch<'_>) -> Outcome<Migration> {
        Ok(Migration::Done(Box::new(self.larder.migrate(options, watch).await?)))
    }

    async fn keys(&self) -> Outcome<Vec<KeyView>> {
        self.larder.keys().await
    }

    async fn create_key(&self, new: NewKey) -> Outcome<IssuedKey> {
        self.larder.create_key(new).await
    }

    async fn revoke_key(&self, id: KeyId) -> Outcome<KeyView> {
        self.larder.revoke_key(id).await
    }

    async fn rotate_key(&self, id: KeyId, overlap: Span) -> Outcome<IssuedKey> {
        self.larder.rotate_key(id, overlap.0).await
    }

    fn address(&self) -> &str {
        &self.address
    }

    async fn run_jobs(&self) -> Outcome<()> {
        // A server on this data directory runs them already.
        if self.served {
            return Ok(());
        }
        let usual = WorkerOptions::default();
        let concurrency = self.concurrency.unwrap_or(usual.concurrency).max(1);
        let worker = Worker::start(
            self.larder.clone(),
            WorkerOptions { concurrency, replaces_schedules: false, ..usual },
        )
        .await?;
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        Ok(())
    }

    async fn close(&self) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.stop(GRACE).await;
        }
        let replication = self.replication.lock().unwrap_or_else(PoisonError::into_inner).take();
        if !replication.as_ref().is_some_and(Replication::is_lost) {
            self.larder.record_meta_at_end().await;
        }
        self.larder.catalog().close().await;
        if let Some(replication) = replication {
            // Whatever was not replicated was not acknowledged either.
            if let Err(failure) = replication.end().await {
                tracing::error!(cause = failure.cause, "the catalogue is replicated no more");
            }
        }
    }
}
