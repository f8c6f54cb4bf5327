//! One request: signed, sent, sent again if it failed for a passing reason.

use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_core::Ambient;
use object_store::{
    aws::{AwsAuthorizer, AwsCredentialProvider},
    client::{HttpRequest, HttpRequestBody},
};
use reqwest::{
    Method, Response, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use sha2::{Digest, Sha256};
use url::Url;

use super::{
    credentials::provider,
    endpoint::{Endpoint, query},
    failure::{About, Answer, Failure},
    options::S3Options,
    presign, xml,
};
use crate::{
    error::{Error, Result},
    place::Place,
    store::SignedAction,
};

/// First pause before a request is sent again; each further one may be twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// Longest pause that the store did not ask for.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Bytes a second that a body is granted at least, beside the time for the answer.
const UPLOAD_BYTES_PER_SECOND: u64 = 64 * 1_024;

/// Largest body of an error that is read.
const ERROR_BYTES_MAX: usize = 64 * 1_024;

/// What speaks to one bucket.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    root: String,
    region: String,
    credentials: Option<AwsCredentialProvider>,
    answer_within: Duration,
    retries: u32,
    retry_within: Duration,
    ambient: Ambient,
}

/// A request, which can be sent any number of times.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The permission that it takes, for messages.
    pub(super) action: &'static str,
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// A request without headers and body.
    pub(super) fn new(action: &'static str, method: Method, url: String) -> Self {
        Self { action, method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Adds to the query.
    #[must_use]
    pub(super) fn query(mut self, pairs: &[(&str, &str)]) -> Self {
        self.url = format!("{}?{}", self.url, query(pairs));
        self
    }

    /// Adds a header. A value that can't be one is left out: callers check what strangers choose.
    #[must_use]
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Adds headers.
    #[must_use]
    pub(super) fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Sets the body.
    #[must_use]
    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// A success, and whether the request had been sent before: then it may have had its effect already.
pub(super) struct Sent<T> {
    pub(super) outcome: Result<T, Failure>,
    pub(super) repeated: bool,
}

impl Client {
    pub(super) fn new(options: &S3Options, ambient: Ambient) -> Result<Self> {
        let refused = |cause: String, remedy: &str, source: crate::BoxError| Error::Refused {
            place: options.bucket.clone(),
            cause,
            remedy: remedy.to_owned(),
            source,
        };
        let endpoint = Endpoint::of(options)?;
        install_tls();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.connect_within);
        if let Some(path) = &options.ca_file {
            let read = std::fs::read(path)
                .map_err(|error| error.to_string())
                .and_then(|pem| {
                    reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())
                })
                .map_err(|detail| {
                    refused(
                        format!("the certificates in {} can't be read: {detail}", path.display()),
                        "name a file of certificates in PEM in store.s3.ca_file",
                        detail.into(),
                    )
                })?;
            builder = builder.tls_certs_merge(read);
        }
        let http = builder
            .build()
            .map_err(|error| Error::Internal { place: options.bucket.clone(), source: Box::new(error) })?;
        let credentials = provider(&options.credentials, &options.region, &http).map_err(|error| {
            refused(
                format!("the credentials for the bucket {} can't be used: {error}", options.bucket),
                "correct the AWS_… variables of roles and tokens, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                Box::new(error),
            )
        })?;
        Ok(Self {
            http,
            root: endpoint.root(),
            endpoint,
            region: options.region.clone(),
            credentials,
            answer_within: options.answer_within,
            retries: options.retries,
            retry_within: options.retry_within,
            ambient,
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// What somebody without credentials is answered at an address.
    pub(super) async fn get_plain(&self, url: Url) -> Result<StatusCode, String> {
        let sent = tokio::time::timeout(self.answer_within, self.http.get(url).send()).await;
        match sent {
            Ok(Ok(response)) => Ok(response.status()),
            Ok(Err(error)) => Err(error.without_url().to_string()),
            Err(_) => Err("no answer came in time".to_owned()),
        }
    }

    pub(super) fn ambient(&self) -> &Ambient {
        &self.ambient
    }

    pub(super) fn answer_within(&self) -> Duration {
        self.answer_within
    }

    pub(super) fn about(&self, action: &'static str) -> About<'_> {
        About {
            action,
            bucket: self.endpoint.bucket(),
            address: &self.root,
            region: &self.region,
            now: self.ambient.now(),
        }
    }

    /// Sends until there is a success or an error that stays.
    pub(super) async fn send(&self, call: &Call) -> Result<Response, Failure> {
        self.send_told(call).await.outcome
    }

    /// [`send`](Self::send) that also says whether the request was sent more than once.
    pub(super) async fn send_told(&self, call: &Call) -> Sent<Response> {
        self.send_counted(call, read_nothing).await
    }

    /// [`send`](Self::send) for a request about one place.
    pub(super) async fn send_at(&self, call: &Call, place: &Place) -> Result<Response> {
        self.send(call).await.map_err(|failure| failure.at(place, self.about(call.action)))
    }

    /// Sends and reads the answer, which is a document; an answer that breaks off, or is an error in spite of
    /// its status, counts as a failure of the request.
    pub(super) async fn ask(&self, call: &Call) -> Sent<Bytes> {
        self.send_counted(call, read_document).await
    }

    /// See [`Store::signed_url`](crate::Store::signed_url).
    pub(super) async fn signed_url(
        &self,
        place: &Place,
        action: &SignedAction,
        life: Duration,
    ) -> Result<Option<Url>> {
        let Some(credentials) = &self.credentials else { return Ok(None) };
        let credential = credentials.get_credential().await.map_err(|error| {
            Failure::Credentials(error.to_string()).of(place.as_str(), self.about("s3:GetObject"))
        })?;
        let object = self.endpoint.object(place).parse().map_err(|error: url::ParseError| {
            Error::Internal { place: place.to_string(), source: error.into() }
        })?;
        let now = self.ambient.now();
        Ok(Some(presign::sign(&object, action, &self.region, &credential, now, life)))
    }

    async fn send_counted<T, F>(&self, call: &Call, read: fn(Response, Duration) -> F) -> Sent<T>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let begun = Instant::now();
        let mut attempt = 0;
        loop {
            let outcome = match self.once(call).await {
                Ok(response) => read(response, self.answer_within).await,
                Err(failure) => Err(failure),
            };
            let failure = match outcome {
                Ok(answer) => return Sent { outcome: Ok(answer), repeated: attempt > 0 },
                Err(failure) => failure,
            };
            let pause = self.pause(attempt, &failure);
            let is_over = attempt >= self.retries || begun.elapsed() + pause > self.retry_within;
            if !failure.is_passing() || is_over {
                return Sent { outcome: Err(failure), repeated: attempt > 0 };
            }
            tracing::debug!(action = call.action, %failure, "a request to the store is sent again");
            metrics::counter!("larder_store_retries_total", "action" => call.action).increment(1);
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// The pause before the next attempt: what the store asks for, else doubling, with full jitter, so that
    /// many who failed together don't come back together.
    fn pause(&self, attempt: u32, failure: &Failure) -> Duration {
        let longest = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(attempt)).min(PAUSE_MAX);
        let drawn = longest.mul_f64(self.ambient.random_unit());
        failure.retry_after().map_or(drawn, |asked| asked + drawn)
    }

    /// Sends once. Gives successes only.
    async fn once(&self, call: &Call) -> Result<Response, Failure> {
        let request = self.signed(call).await?;
        let limit =
            self.answer_within + Duration::from_secs(call.body.len() as u64 / UPLOAD_BYTES_PER_SECOND);
        let response = match tokio::time::timeout(limit, self.http.execute(request)).await {
            Ok(answered) => answered.map_err(|error| Failure::Transport(error.without_url()))?,
            Err(_) => return Err(Failure::Silent { seconds: limit.as_secs() }),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match status {
            // As far as it comes: the status alone says enough to go on.
            _ if call.method != Method::HEAD => {
                tokio::time::timeout(self.answer_within, read_at_most(response, ERROR_BYTES_MAX))
                    .await
                    .unwrap_or_else(|_| Ok(Bytes::new()))
                    .unwrap_or_default()
            }
            _ => Bytes::new(),
        };
        Err(Failure::Answer(Box::new(Answer::of(status, &headers, &body))))
    }

    /// AWS Signature Version 4, in headers.
    async fn signed(&self, call: &Call) -> Result<reqwest::Request, Failure> {
        let unreadable = |detail: String| Failure::Unreadable(detail);
        let mut headers = call.headers.clone();
        if let Some(credentials) = &self.credentials {
            let credential = credentials
                .get_credential()
                .await
                .map_err(|error| Failure::Credentials(error.to_string()))?;
            // Only what is signed matters here: method, address, headers.
            let mut request: HttpRequest = http::Request::new(HttpRequestBody::empty());
            *request.method_mut() = call.method.clone();
            *request.uri_mut() =
                call.url.parse().map_err(|error: http::uri::InvalidUri| unreadable(error.to_string()))?;
            *request.headers_mut() = headers;
            let digest = (!call.body.is_empty()).then(|| Sha256::digest(&call.body));
            AwsAuthorizer::new(&credential, "s3", &self.region)
                .try_authorize(&mut request, digest.as_deref())
                .map_err(|error| Failure::Credentials(error.to_string()))?;
            headers = request.into_parts().0.headers;
        }
        let url = call.url.parse().map_err(|error: url::ParseError| unreadable(error.to_string()))?;
        let mut request = reqwest::Request::new(call.method.clone(), url);
        *request.headers_mut() = headers;
        // PUT and POST have a length even if they have no bytes (RFC 9110, section 8.6).
        if matches!(call.method, Method::PUT | Method::POST) || !call.body.is_empty() {
            request.headers_mut().insert(reqwest::header::CONTENT_LENGTH, call.body.len().into());
            *request.body_mut() = Some(call.body.clone().into());
        }
        Ok(request)
    }
}

/// Chooses who encrypts, for clients of this process that don't say.
pub(super) fn install_tls() {
    // Fails only if one is installed already, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

async fn read_nothing(response: Response, _: Duration) -> Result<Response, Failure> {
    Ok(response)
}

/// Reads a document whole. One that begins with `<Error>` is that error: CopyObject and
/// CompleteMultipartUpload send their status before they have done their work.
async fn read_document(response: Response, within: Duration) -> Result<Bytes, Failure> {
    let mut headers = response.headers().clone();
    let read = tokio::time::timeout(within * 4, read_at_most(response, xml::DOCUMENT_BYTES_MAX));
    let body = read.await.map_err(|_| Failure::Silent { seconds: (within * 4).as_secs() })??;
    if xml::is_error(&body) {
        headers.remove(RETRY_AFTER);
        let mut answer = Answer::of(StatusCode::INTERNAL_SERVER_ERROR, &headers, &body);
        if matches!(answer.code.as_str(), "PreconditionFailed") {
            answer.status = StatusCode::PRECONDITION_FAILED;
        }
        return Err(Failure::Answer(Box::new(answer)));
    }
    Ok(body)
}

async fn read_at_most(mut response: Response, limit: usize) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::Transport(error.without_url()))? {
        if body.len() + chunk.len() > limit {
            return Err(Failure::Unreadable(format!("it has more than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}
