//! A whole Larder in one process: catalogue in SQLite files, bytes in a store that can be cut off,
//! jobs run by hand.

#![allow(dead_code, reason = "each test binary uses another part of this module")]

pub mod pictures;
pub mod shape;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use larder_assets::{
    Action, BucketPolicy, DatabaseSettings, Larder, NewKey, Scope, Secrets, Settings, Visibility,
    jobs::{Ended, JobContext, JobKind, QUEUES},
    policy::Cors,
};
use larder_catalog::{Catalog, Claim, Class, Retry, Target};
use larder_core::{Ambient, FaultKind};
use larder_http::{App, AppOptions, Peer, RequestBody};
use larder_store::{BreakerLimits, BreakerStore, LocalStore, Store};
use larder_testkit::faulty_store::{Faults, FaultyStore};
use serde_json::Value;
use tempfile::TempDir;

/// The house under test.
pub struct House {
    pub app: App,
    pub larder: Larder,
    /// Cuts the store off and mends it.
    pub store: Faults,
    _folder: TempDir,
}

/// How a house differs from the usual one.
#[derive(Default)]
pub struct Plan {
    pub public_url: Option<&'static str>,
    pub admin_key: Option<&'static str>,
    pub batch_items_max: Option<usize>,
    /// A circuit breaker around the store.
    pub breaker: Option<BreakerLimits>,
    pub options: AppOptions,
}

impl House {
    /// With the buckets `media` (public, presets of the set `keep`, `keep-small` open to all) and
    /// `private`, no keys, no `public_url`.
    pub async fn new() -> Self {
        Self::build(Plan::default()).await
    }

    pub async fn build(plan: Plan) -> Self {
        // Several tests of one process may come here; the first one installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let ambient = Ambient::system();
        let at = |name: &str| folder.path().join(name);
        let target = Target::Sqlite { catalog: at("catalog.db"), state: at("state.db") };
        let catalog = Catalog::open(&target, ambient.clone()).await.unwrap();
        catalog.migrate().await.unwrap();
        let (store, faults) = FaultyStore::new(LocalStore::open(at("media"), ambient.clone()).unwrap());
        let mut settings = Settings::new(Secrets::new(*b"0123456789abcdef0123456789abcdef").unwrap());
        settings.public_url = plan.public_url.map(|url| url.parse().unwrap());
        settings.admin_key = plan.admin_key.map(str::to_owned);
        settings.batch_items_max = plan.batch_items_max.unwrap_or(settings.batch_items_max);
        settings.cpu_slots = 1;
        let store: Arc<dyn Store> = match plan.breaker {
            None => Arc::new(store),
            Some(limits) => {
                let store = BreakerStore::new("main", store, limits, ambient.clone());
                settings.store_circuit = Some(store.circuit());
                Arc::new(store)
            }
        };
        let patterns = vec!["org-data/{id}".parse().unwrap()];
        settings.databases = Some(DatabaseSettings::new(Arc::clone(&store), patterns, at("scratch")));
        let larder = Larder::open(settings, catalog, store, ambient).await.unwrap();
        larder.declare(&[], &[]).await.unwrap();
        larder.ensure_buckets(&buckets()).await.unwrap();
        let app = App::new(larder.clone(), plan.options);
        let house = Self { app, larder, store: faults, _folder: folder };
        shape::learn(house.get("/openapi.json").send().await.json());
        house
    }

    /// A request from this machine, as `curl http://localhost:8000` sends it.
    pub fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        Ask {
            house: self,
            request: Request::builder().method(method).uri(path).header(header::HOST, "localhost:8000"),
            peer: "127.0.0.1:54321",
            body: RequestBody::empty(),
        }
    }

    pub fn get(&self, path: &str) -> Ask<'_> {
        self.ask(Method::GET, path)
    }

    pub fn put(&self, path: &str, body: impl Into<Bytes>) -> Ask<'_> {
        self.ask(Method::PUT, path).body(body)
    }

    pub fn post(&self, path: &str) -> Ask<'_> {
        self.ask(Method::POST, path)
    }

    pub fn delete(&self, path: &str) -> Ask<'_> {
        self.ask(Method::DELETE, path)
    }

    /// Stores a picture under a key and makes its variants.
    pub async fn store(&self, bucket: &str, key: &str, body: &Bytes) -> Value {
        let answer = self.put(&format!("/api/v1/buckets/{bucket}/objects/{key}"), body.clone()).send().await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        self.work().await;
        answer.json()
    }

    /// A key with these actions everywhere; its bearer secret.
    pub async fn key(&self, actions: &[Action]) -> String {
        self.key_for(Scope { buckets: vec!["*".into()], prefixes: Vec::new(), actions: actions.to_vec() })
            .await
    }

    pub async fn key_for(&self, scope: Scope) -> String {
        let new = NewKey { name: "test".to_owned(), scope, expires_in: None };
        self.larder.create_key(new).await.unwrap().secret
    }

    /// Runs every job that is due, and those that they enqueue.
    pub async fn work(&self) {
        let queues: Vec<String> = QUEUES.iter().map(|queue| (*queue).to_owned()).collect();
        let catalog = self.larder.catalog();
        while let Some(claim) = catalog.claim("test", &queues, Duration::from_secs(60)).await.unwrap() {
            self.run(claim).await;
        }
    }

    async fn run(&self, Claim { job, lease }: Claim) {
        let kind = JobKind::named(&job.kind).unwrap();
        let (args, now) = (job.args.clone(), self.larder.ambient().now());
        let outcome = (kind.run)(args.clone(), JobContext::new(self.larder.clone(), job, lease)).await;
        let fault = match outcome {
            Ok(Ended::Recorded) => return,
            Ok(Ended::Open) => None,
            Err(fault) => Some(fault),
        };
        let retry = match fault.as_ref().map(larder_core::Fault::kind) {
            Some(FaultKind::Unavailable) => Retry::AtWithoutAttempt(now.plus(Duration::from_millis(1))),
            _ => Retry::Dead,
        };
        let given_up = fault.clone().filter(|_| retry == Retry::Dead);
        self.larder
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    match fault {
                        None => tx.finish_job(lease).await,
                        Some(fault) => tx.fail_job(lease, &fault, retry).await.map(drop),
                    }
                })
            })
            .await
            .unwrap();
        if let Some(fault) = given_up {
            (kind.gave_up)(args, self.larder.clone(), fault).await.unwrap();
        }
    }
}

fn buckets() -> Vec<(larder_core::BucketName, BucketPolicy)> {
    let media = BucketPolicy {
        visibility: Visibility::Public,
        presets: vec!["keep".to_owned()],
        public_presets: vec!["keep-small".to_owned()],
        accept: vec!["image/*".to_owned(), "application/pdf".to_owned()],
        cors: Cors { origins: vec!["https://app.example".to_owned()], credentials: false },
        ..BucketPolicy::default()
    };
    let private = BucketPolicy { presets: vec!["keep-small".to_owned()], ..BucketPolicy::default() };
    let any = BucketPolicy {
        visibility: Visibility::Public,
        accept: vec!["*/*".to_owned()],
        cors: Cors { origins: vec!["*".to_owned()], credentials: false },
        max_bytes: larder_core::text::ByteSize(200_000),
        ..BucketPolicy::default()
    };
    [("media", media), ("private", private), ("files", any)]
        .map(|(name, policy)| (name.parse().unwrap(), policy))
        .into()
}

/// A request in the making.
pub struct Ask<'a> {
    house: &'a House,
    request: http::request::Builder,
    peer: &'static str,
    body: RequestBody,
}

impl Ask<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case("host") {
            self.request.headers_mut().unwrap().remove(header::HOST);
        }
        self.request = self.request.header(name, value);
        self
    }

    /// In another version of HTTP.
    pub fn version(mut self, version: http::Version) -> Self {
        self.request = self.request.version(version);
        self
    }

    pub fn bearer(self, secret: &str) -> Self {
        self.header("authorization", &format!("Bearer {secret}"))
    }

    /// From another machine.
    pub fn from(mut self, peer: &'static str) -> Self {
        self.peer = peer;
        self
    }

    /// From somewhere in the world, without any right.
    pub fn stranger(self) -> Self {
        self.from("203.0.113.7:40000").header("host", "media.example")
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        let bytes: Bytes = body.into();
        self.request = self.request.header(header::CONTENT_LENGTH, bytes.len());
        self.body = RequestBody::from(bytes);
        self
    }

    pub fn stream(mut self, body: RequestBody) -> Self {
        self.body = body;
        self
    }

    pub fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json").body(value.to_string())
    }

    pub fn form(self, form: Form) -> Self {
        self.header("content-type", "multipart/form-data; boundary=XX").body(form.close())
    }

    /// Sends it. Every JSON answer is held against the OpenAPI document.
    pub async fn send(self) -> Answer {
        let request = self.request.body(self.body).unwrap();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let path = path.strip_prefix(self.house.larder.links().path_prefix()).unwrap_or(&path).to_owned();
        let peer = Peer { address: self.peer.parse().unwrap() };
        let (parts, body) = self.house.app.answer(request, peer).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        shape::check(&method, &path, &answer);
        answer
    }
}

/// An answer, its body read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Status and code of a refusal.
    pub fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Checks a refusal.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.refusal(), (status, code.to_owned()), "{}", self.text());
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
}

/// A multipart form.
#[derive(Default)]
pub struct Form(Vec<u8>);

impl Form {
    pub fn field(mut self, name: &str, value: &str) -> Self {
        let head = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        self.0.extend_from_slice(head.as_bytes());
        self
    }

    pub fn file(mut self, file_name: &str, content_type: &str, bytes: &[u8]) -> Self {
        let head = format!(
            "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
             Content-Type: {content_type}\r\n\r\n"
        );
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    fn close(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"--XX--\r\n");
        self.0
    }

    /// Without its closing boundary.
    pub fn cut_off(self) -> Vec<u8> {
        self.0
    }
}
