//! A server, asked over its API.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::StreamExt;
use larder_assets::{
    AdoptOptions, AdoptReport, AssetPage, AssetQuery, AssetView, Bucket, BucketPolicy, Deleted, Follow,
    IssuedKey, JobQuery, JobView, KeyView, MigrateOptions, NewKey, Page, PresetView, PutPreset,
    ReindexOptions, ReindexReport, ScrubOptions, ScrubReport, Statistics, SweepOptions, SweepReport,
    UploadView, VariantView,
    links::encode_path,
    migrate::Watch,
    operation::{QueueView, WorkerView},
    view::digest_start,
};
use larder_core::{
    AssetId, BucketName, Code, Fault, FileType, JobId, KeyId, ObjectKey, UploadId, key::extension_of, limits,
    text::Span,
};
use reqwest::{Method, RequestBuilder, Response, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;

use super::{Backend, Download, LinkRequest, Migration, Outcome, PAGE_ITEMS, Sending, SignedLink, body_of};
use crate::failure::Failure;

/// Time within which a server must accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Time without any byte after which an answer is given up; longer than the longest wait.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How often a job of the server is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Larder behind HTTP.
pub struct Remote {
    client: reqwest::Client,
    base: String,
    key: Option<String>,
}

/// A list as the API answers it.
#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
struct JobOf {
    job_id: JobId,
}

impl Remote {
    /// Speaks to the server at `address`, which may hold a path prefix.
    ///
    /// # Errors
    /// The address is no URL, or TLS can't be set up.
    pub fn new(address: &str, key: Option<String>) -> Result<Self, Failure> {
        let remedy = "write --server as http://127.0.0.1:8000, with the path prefix if there is one";
        let url = Url::parse(address)
            .map_err(|error| Failure::usage(format!("\"{address}\" is no URL: {error}"), remedy))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Failure::usage(format!("\"{address}\" does not begin with http: or https:"), remedy));
        }
        // A provider that is there already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENCE_MAX)
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")));
        if url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            Failure::configuration("the HTTP client can't be set up", "").because_of(&error)
        })?;
        Ok(Self { client, base: url.as_str().trim_end_matches('/').to_owned(), key })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/api/v1{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Outcome<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() { Ok(response) } else { Err(problem(response).await) }
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Outcome<T> {
        let response = self.send(request).await?;
        let bytes = response.bytes().await.map_err(|error| self.unreachable(error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Fault::internal("the server's answer can't be read")
                .remedy("check that --server is a Larder of a version like this one's")
                .caused_by(error)
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        self.ask(self.request(Method::GET, path)).await
    }

    fn unreachable(&self, error: reqwest::Error) -> Fault {
        let what = if error.is_connect() { "can't be reached" } else { "broke off" };
        Fault::new(Code::BackendUnavailable, format!("the server at {} {what}", self.base))
            .remedy("check --server (or LARDER_SERVER) and that the server runs")
            .caused_by(error.without_url())
    }

    /// Has the server do long work, and follows it to its report.
    async fn job_with_report<T: DeserializeOwned>(
        &self,
        path: &str,
        options: &Value,
        follow: Arc<dyn Follow>,
    ) -> Outcome<T> {
        let started: JobOf = self.ask(self.request(Method::POST, path).json(options)).await?;
        let job = format!("/jobs/{}", started.job_id);
        // A job tells its progress in per cent.
        follow.expect(100);
        let mut shown = 0;
        loop {
            let now: JobView = self.get(&job).await?;
            let percent = u64::from(now.progress_percentage);
            follow.advance(percent.saturating_sub(shown));
            shown = shown.max(percent);
            match now.state.as_str() {
                "done" => return self.get(&format!("{job}/report")).await,
                "dead" | "cancelled" => {
                    let ended = || Fault::new(Code::Cancelled, format!("the job {} was cancelled", now.id));
                    return Err(now.error.clone().unwrap_or_else(ended));
                }
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// What both ways in say of a file, except where it goes.
    async fn with_file(&self, request: RequestBuilder, file: &Sending) -> Outcome<RequestBuilder> {
        let name = file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut query = vec![("filename", name.clone())];
        query.extend(file.expires_at.map(|at| ("expires_at", at.to_string())));
        query.extend(file.owner.clone().map(|owner| ("owner", owner)));
        if !file.tags.is_empty() {
            query.push(("tags", file.tags.join(",")));
        }
        if !file.metadata.is_empty() {
            query.push(("metadata", Value::Object(file.metadata.clone()).to_string()));
        }
        let declared = extension_of(&name).and_then(|extension| FileType::of_extension(&extension));
        let content_type = declared.map_or("application/octet-stream", |known| known.content_type);
        let body = body_of(file).await?;
        Ok(request
            .query(&query)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_LENGTH, file.size_bytes)
            .header("content-digest", content_digest(&file.sha256))
            .body(reqwest::Body::wrap_stream(body)))
    }
}

/// `Content-Digest` of RFC 9530, section 2.
fn content_digest(sha256_hex: &str) -> String {
    let digest = hex::decode(sha256_hex).unwrap_or_default();
    format!("sha-256=:{}:", STANDARD.encode(digest))
}

/// A refusal as the fault that it was.
async fn problem(response: Response) -> Fault {
    let status = response.status();
    let bytes = response.bytes().await.unwrap_or_default();
    serde_json::from_slice::<Fault>(&bytes).unwrap_or_else(|_| {
        Fault::new(Code::BackendUnavailable, format!("the server answered {status} without saying why"))
            .remedy("check that --server is a Larder, with its path prefix")
    })
}

fn object(bucket: &BucketName, key: &ObjectKey) -> String {
    format!("/buckets/{bucket}/objects/{}", encode_path(key.as_str()))
}

#[async_trait]
impl Backend for Remote {
    async fn upload(&self, file: Sending) -> Outcome<UploadView> {
        let mut request = self.request(Method::POST, "/uploads").query(&[("bucket", file.bucket.as_str())]);
        if let Some(key) = &file.key {
            request = request.query(&[("key", key.as_str())]);
        }
        self.ask(self.with_file(request, &file).await?).await
    }

    async fn replace(&self, file: Sending) -> Outcome<AssetView> {
        let key = file.key.as_ref().ok_or_else(|| Fault::internal("a replacement without a key"))?;
        let request = self.request(Method::PUT, &object(&file.bucket, key));
        self.ask(self.with_file(request, &file).await?).await
    }

    async fn wait(&self, id: UploadId, at_most: Duration) -> Outcome<UploadView> {
        self.get(&format!("/uploads/{id}?wait={}", at_most.min(limits::WAIT_MAX).as_secs())).await
    }

    async fn download(&self, bucket: &BucketName, key: &ObjectKey) -> Outcome<Download> {
        let response = self.send(self.request(Method::GET, &object(bucket, key))).await?;
        let etag = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok());
        let digest_start = etag.and_then(digest_start).map(str::to_owned);
        let size_bytes = response.content_length();
        let body = response.bytes_stream().map(|chunk| chunk.map_err(Into::into)).boxed();
        Ok(Download { size_bytes, digest_start, body })
    }

    async fn asset_at(&self, bucket: &BucketName, key: &ObjectKey) -> Outcome<Option<AssetView>> {
        // The list is ordered by key, so that the key itself comes before all that it is a prefix of.
        let query = AssetQuery { prefix: Some(key.to_string()), limit: 1, ..AssetQuery::default() };
        Ok(self.assets(bucket, &query).await?.items.into_iter().find(|asset| asset.key == *key))
    }

    async fn assets(&self, bucket: &BucketName, query: &AssetQuery) -> Outcome<AssetPage> {
        let mut pairs = vec![("limit", query.limit.clamp(1, PAGE_ITEMS).to_string())];
        let named = [
            ("prefix", &query.prefix),
            ("delimiter", &query.delimiter),
            ("owner", &query.owner),
            ("tag", &query.tag),
            ("status", &query.status),
            ("after", &query.after),
        ];
        pairs.extend(named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        if query.deleted {
            pairs.push(("deleted", "true".to_owned()));
        }
        self.ask(self.request(Method::GET, &format!("/buckets/{bucket}/objects")).query(&pairs)).await
    }

    async fn delete(&self, bucket: &BucketName, key: &ObjectKey, purge: bool) -> Outcome<Deleted> {
        let request = self.request(Method::DELETE, &object(bucket, key)).query(&[("purge", purge)]);
        self.ask(request).await
    }

    async fn restore(&self, id: AssetId) -> Outcome<AssetView> {
        self.ask(self.request(Method::POST, &format!("/assets/{id}/restore"))).await
    }

    async fn variants(&self, id: AssetId) -> Outcome<Vec<VariantView>> {
        Ok(self.get::<List<_>>(&format!("/assets/{id}/variants")).await?.items)
    }

    async fn rebuild(&self, id: AssetId) -> Outcome<JobId> {
        Ok(self.ask::<JobOf>(self.request(Method::POST, &format!("/assets/{id}/variants"))).await?.job_id)
    }

    async fn sign(&self, request: &LinkRequest) -> Outcome<SignedLink> {
        self.ask(self.request(Method::POST, "/sign").json(request)).await
    }

    async fn buckets(&self) -> Outcome<Vec<Bucket>> {
        Ok(self.get::<List<_>>("/buckets").await?.items)
    }

    async fn bucket(&self, name: &BucketName) -> Outcome<Bucket> {
        self.get(&format!("/buckets/{name}")).await
    }

    async fn put_bucket(&self, name: &BucketName, policy: BucketPolicy) -> Outcome<Bucket> {
        self.ask(self.request(Method::PUT, &format!("/buckets/{name}")).json(&policy)).await
    }

    async fn backfill(&self, bucket: &BucketName, preset: Option<&str>) -> Outcome<JobId> {
        let request = self.request(Method::POST, &format!("/buckets/{bucket}/backfill"));
        Ok(self.ask::<JobOf>(request.json(&json!({ "preset": preset }))).await?.job_id)
    }

    async fn remove_bucket(&self, name: &BucketName) -> Outcome<()> {
        self.send(self.request(Method::DELETE, &format!("/buckets/{name}"))).await.map(drop)
    }

    async fn presets(&self) -> Outcome<Vec<PresetView>> {
        Ok(self.get::<List<_>>("/presets").await?.items)
    }

    async fn put_preset(&self, name: &str, recipe: &str) -> Outcome<PutPreset> {
        let path = format!("/presets/{}", encode_path(name));
        self.ask(self.request(Method::PUT, &path).json(&json!({ "recipe": recipe }))).await
    }

    async fn remove_preset(&self, name: &str) -> Outcome<()> {
        self.send(self.request(Method::DELETE, &format!("/presets/{}", encode_path(name)))).await.map(drop)
    }

    async fn jobs(&self, query: &JobQuery) -> Outcome<Page<JobView>> {
        let mut pairs = vec![("limit", query.limit.clamp(1, PAGE_ITEMS).to_string())];
        let named = [
            ("state", &query.state),
            ("kind", &query.kind),
            ("queue", &query.queue),
            ("after", &query.after),
        ];
        pairs.extend(named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        self.ask(self.request(Method::GET, "/jobs").query(&pairs)).await
    }

    async fn job(&self, id: JobId) -> Outcome<JobView> {
        self.get(&format!("/jobs/{id}")).await
    }

    async fn retry_job(&self, id: JobId) -> Outcome<JobView> {
        self.ask(self.request(Method::POST, &format!("/jobs/{id}/retry"))).await
    }

    async fn cancel_job(&self, id: JobId) -> Outcome<JobView> {
        self.ask(self.request(Method::POST, &format!("/jobs/{id}/cancel"))).await
    }

    async fn queues(&self) -> Outcome<Vec<QueueView>> {
        Ok(self.get::<List<_>>("/queues").await?.items)
    }

    async fn workers(&self) -> Outcome<Vec<WorkerView>> {
        Ok(self.get::<List<_>>("/workers").await?.items)
    }

    async fn statistics(&self, bucket: Option<&BucketName>) -> Outcome<Statistics> {
        let query: Vec<_> = bucket.map(|bucket| ("bucket", bucket.as_str())).into_iter().collect();
        self.ask(self.request(Method::GET, "/stats").query(&query)).await
    }

    async fn sweep(&self, options: &SweepOptions) -> Outcome<SweepReport> {
        self.ask(self.request(Method::POST, "/gc/sweep").json(options)).await
    }

    async fn adopt(&self, options: &AdoptOptions, follow: Arc<dyn Follow>) -> Outcome<AdoptReport> {
        self.job_with_report("/adopt", &json!(options), follow).await
    }

    async fn reindex(&self, _: ReindexOptions, _: Arc<dyn Follow>) -> Outcome<ReindexReport> {
        Err(Fault::new(Code::InvalidRequest, "a catalogue is rebuilt where it lies, not through a server")
            .remedy("give the command without --server (and LARDER_SERVER), with --data-dir or LARDER_DATABASE_URL"))
    }

    async fn scrub(&self, options: &ScrubOptions, follow: Arc<dyn Follow>) -> Outcome<ScrubReport> {
        self.job_with_report("/scrub", &json!(options), follow).await
    }

    async fn migrate(&self, options: &MigrateOptions, _watch: &Watch<'_>) -> Outcome<Migration> {
        let request = self.request(Method::POST, "/migrations").json(options);
        Ok(match options.dry_run {
            true => Migration::Done(Box::new(self.ask(request).await?)),
            false => Migration::Job(self.ask::<JobOf>(request).await?.job_id),
        })
    }

    async fn keys(&self) -> Outcome<Vec<KeyView>> {
        Ok(self.get::<List<_>>("/keys").await?.items)
    }

    async fn create_key(&self, new: NewKey) -> Outcome<IssuedKey> {
        self.ask(self.request(Method::POST, "/keys").json(&new)).await
    }

    async fn revoke_key(&self, id: KeyId) -> Outcome<KeyView> {
        self.ask(self.request(Method::DELETE, &format!("/keys/{id}"))).await
    }

    async fn rotate_key(&self, id: KeyId, overlap: Span) -> Outcome<IssuedKey> {
        let request = self.request(Method::POST, &format!("/keys/{id}/rotate"));
        self.ask(request.json(&json!({ "overlap": overlap }))).await
    }

    fn address(&self) -> &str {
        &self.base
    }

    async fn run_jobs(&self) -> Outcome<()> {
        // The server does, or the workers beside it.
        Ok(())
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_goes_as_a_structured_field() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(content_digest(empty), "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");
    }

    #[test]
    fn an_address_keeps_its_path_prefix_and_must_be_http() {
        assert_eq!(Remote::new("https://a.example/x/", None).unwrap().base, "https://a.example/x");
        assert!(Remote::new("ftp://a.example", None).is_err());
        assert!(Remote::new("a.example:80", None).is_err());
    }
}
