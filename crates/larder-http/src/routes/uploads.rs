//! Uploads: files in, by form or as a raw body, and what became of them.

use std::time::Duration;

use axum::body::BodyDataStream;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use larder_assets::{Accepted, Action, Door, Idempotency, Incoming, UploadQuery, UploadView};
use larder_core::{BucketName, Code, Fault, ObjectKey, Timestamp, UploadId, limits::WAIT_MAX};
use larder_store::{BoxError, ByteStream};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value};

use super::{Access, Parameter, Payload, Route, digest, form, header as in_header, present, query, replies};
use crate::{
    body::{RequestBody, ResponseBody},
    call::{Call, Outcome, at, fault_of, json, ok},
    problem::{self, Problem},
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "uploads",
        access: Access::Scoped(Action::Write),
        summary: "Upload one file, or several in one form",
        detail: "As a multipart form with a part `file`, or as a raw body whose parameters stand in the query. \
                 Parts may come in any order. Several parts `file` are a batch and answer `{items}`. The answer \
                 means that the bytes are durable; the work that follows is watched at `Location`. A batch of which no \
                 file was taken is a problem, with what became of each as its `items`.",
        parameters: &[
            query("bucket", "the bucket; `media` unless given", schema::text),
            query("key", "the key; made from the bucket's template unless given", schema::text),
            query("filename", "the file's name at the client; raw bodies only", schema::text),
            query("owner", "whom the asset belongs to", schema::text),
            query("tags", "tags, separated by commas", schema::text),
            query("metadata", "a JSON object of the application's", schema::text),
            query("expires_at", "when the asset is to be deleted", schema::instant),
            query("wait", "seconds to wait for the result, at most 60", schema::integer),
            IDEMPOTENCY_KEY,
            in_header(
                "Content-Digest",
                "the body's digest (RFC 9530), checked; raw bodies only",
                schema::text,
            ),
        ],
        payloads: &[
            Payload { content_type: "multipart/form-data", schema: form::schema, optional: false },
            Payload { content_type: "*/*", schema: schema::anything, optional: false },
        ],
        replies: &[
            replies(202, "acknowledged; `Location` tells what becomes of it", upload_or_items)
                .with(&["Location"]),
            replies(201, "finished within `wait`", upload_or_items).with(&["Location"]),
        ],
        ..Route::new("POST", "/api/v1/uploads", "upload_create", |call| Box::pin(create(call)))
    },
    Route {
        tag: "uploads",
        access: Access::Scoped(Action::Read),
        summary: "List uploads, the newest first",
        detail: "A key that does not cover every bucket names one.",
        parameters: &[
            query("bucket", "only this bucket", schema::text),
            query("status", "only this status", schema::text),
            query("owner", "only this owner", schema::text),
            query("after", "`next` of the previous page", schema::text),
            query("limit", "items of a page, at most 1,000", schema::integer),
        ],
        replies: &[replies(200, "a page", || schema::page(schema::named("Upload")))],
        ..Route::new("GET", "/api/v1/uploads", "upload_list", |call| Box::pin(list(call)))
    },
    Route {
        tag: "uploads",
        access: Access::Scoped(Action::Read),
        summary: "What became of an upload",
        parameters: &[query("wait", "seconds to wait for its end, at most 60", schema::integer)],
        replies: &[replies(200, "the upload", upload_schema)],
        ..Route::new("GET", "/api/v1/uploads/{id}", "upload_show", |call| Box::pin(show(call)))
    },
];

/// The bucket of uploads that name none.
const DEFAULT_BUCKET: &str = "media";

/// The header of routes whose requests may be repeated.
pub(super) const IDEMPOTENCY_KEY: Parameter =
    in_header("Idempotency-Key", "repeats with the same key get the first answer, for 24 h", schema::text);

/// Longest `Idempotency-Key`; clients use UUIDs.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Most items of a page.
pub(super) const PAGE_MAX: u32 = 1_000;

fn upload_schema() -> Value {
    schema::named("Upload")
}

fn upload_or_items() -> Value {
    let item = schema::object(&[
        ("file_name", schema::or_null(schema::text()), Need::Always),
        ("upload", schema::named("Upload"), Need::Maybe),
        ("problem", schema::named("Problem"), Need::Maybe),
    ]);
    let items = schema::object(&[("items", schema::list(item), Need::Always)]);
    serde_json::json!({ "anyOf": [schema::named("Upload"), items] })
}

/// What a client says of a file in the query or in the fields of its form, unparsed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    pub(super) bucket: Option<String>,
    pub(super) key: Option<String>,
    pub(super) filename: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) tags: Option<String>,
    pub(super) metadata: Option<String>,
    pub(super) expires_at: Option<String>,
    #[serde(default, deserialize_with = "wait_seconds")]
    pub(super) wait: Option<u64>,
}

impl Said {
    /// The bucket, named or usual.
    pub(super) fn bucket(&self) -> Result<BucketName, Problem> {
        Ok(self.bucket.as_deref().unwrap_or(DEFAULT_BUCKET).parse::<BucketName>()?)
    }

    /// Everything that is said, parsed, for one file.
    pub(super) fn incoming(&self, call: &Call, door: Door) -> Result<Incoming, Problem> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let mut incoming = Incoming::new(self.bucket()?, door);
        incoming.key = given(&self.key).map(|key| key.parse::<ObjectKey>()).transpose()?;
        incoming.file_name = given(&self.filename);
        incoming.owner = given(&self.owner);
        incoming.tags = self.tags.as_deref().map(split_tags).unwrap_or_default();
        incoming.metadata = self.metadata.as_deref().map(parse_metadata).transpose()?.unwrap_or_default();
        incoming.expires_at = given(&self.expires_at).map(|text| parse_instant(&text)).transpose()?;
        incoming.credential = call.caller.principal.key;
        let key = incoming.key.as_ref().map_or("", |key| key.as_str());
        call.may(Action::Write, Some(&incoming.bucket), Some(key))?;
        Ok(incoming)
    }
}

/// `wait` of a query: what is longer than possible is refused at every route.
pub(super) fn wait_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let seconds = Option::<u64>::deserialize(deserializer)?;
    match seconds {
        Some(seconds) if seconds > WAIT_MAX.as_secs() => {
            Err(D::Error::custom(format!("wait is at most {} seconds", WAIT_MAX.as_secs())))
        }
        seconds => Ok(seconds),
    }
}

fn split_tags(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

fn parse_metadata(text: &str) -> Result<Map<String, Value>, Problem> {
    serde_json::from_str(text).map_err(|error| {
        Problem::invalid(format!("metadata is no JSON object: {error}")).remedy("send {\"name\": value, …}")
    })
}

pub(super) fn parse_instant(text: &str) -> Result<Timestamp, Problem> {
    text.parse().map_err(|_| {
        Problem::invalid(format!("\"{text}\" is no instant"))
            .remedy("write RFC 3339, such as 2026-03-01T12:00:00Z")
    })
}

async fn create(call: Call) -> Outcome {
    let said: Said = call.query()?;
    let wait = said.wait.map(Duration::from_secs);
    let idempotency = idempotency(&call)?;
    if let Some(boundary) = form::boundary(call.headers())? {
        return form::take(call, said, &boundary, idempotency, wait).await;
    }
    let mut incoming = said.incoming(&call, Door::Raw)?;
    announce(&mut incoming, call.headers())?;
    let body = byte_stream(call.take_body());
    let accepted = call.larder().accept(incoming, body, idempotency.as_ref()).await?;
    answer(&call, accepted, wait).await
}

/// Takes over what the headers say of a body that is the file itself.
pub(super) fn announce(incoming: &mut Incoming, headers: &HeaderMap) -> Result<(), Problem> {
    let announced = digest::announced(headers)?;
    incoming.expect_sha256 = announced.sha256;
    incoming.expect_md5 = announced.md5;
    incoming.declared_type = text(headers, &header::CONTENT_TYPE).map(str::to_owned);
    incoming.declared_bytes = text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The bytes of a request, with the fault of a body that stalls or breaks off as their error.
pub(super) fn byte_stream(body: RequestBody) -> ByteStream {
    let stream: BodyDataStream = body.into_data_stream();
    stream.map_err(|error| -> BoxError { fault_of(Box::new(error)).into() }).boxed()
}

/// `Idempotency-Key`, in the scope of credential and route.
pub(super) fn idempotency(call: &Call) -> Result<Option<Idempotency>, Problem> {
    let Some(value) = call.headers().get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().map(|text| text.trim().trim_matches('"'));
    let key = key.filter(|key| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())).ok_or_else(|| {
        Problem::invalid("Idempotency-Key is empty, too long or no text").remedy("send a UUID")
    })?;
    let principal = &call.caller.principal;
    let who = principal.key.map_or_else(|| principal.name.clone(), |key| key.to_string());
    let scope = format!("{who} {} {}", call.parts.method, call.parts.uri.path());
    Ok(Some(Idempotency { scope, key: key.to_owned() }))
}

/// Answers an acknowledged upload: 202 at once; with `wait`, 201 or the problem if it ends in time.
pub(super) async fn answer(call: &Call, accepted: Accepted, wait: Option<Duration>) -> Outcome {
    let mut upload = accepted.upload;
    if let Some(wait) = wait {
        upload = waited(call, upload.id, wait).await?;
    }
    if let Some(fault) = failure(&upload) {
        return Err(fault.into());
    }
    let status = if upload.status == "completed" { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    Ok(located(call, &upload, status))
}

/// The upload when it has ended, when the time is over, or when the process begins to stop.
pub(super) async fn waited(call: &Call, id: UploadId, wait: Duration) -> Result<UploadView, Problem> {
    let larder = call.larder();
    tokio::select! {
        upload = larder.wait(id, wait) => Ok(upload?),
        () = call.context.app.stopping().cancelled() => Ok(larder.upload(id).await?),
    }
}

/// Why a finished upload came to nothing.
pub(super) fn failure(upload: &UploadView) -> Option<Fault> {
    match (upload.status.as_str(), &upload.error) {
        ("failed", Some(fault)) => Some(fault.clone()),
        ("failed", None) => Some(Fault::internal(format!("the upload {} failed without a cause", upload.id))),
        ("expired", _) => Some(Fault::new(Code::UploadExpired, format!("the upload {} expired", upload.id))),
        _ => None,
    }
}

/// An upload with the place of its status.
pub(super) fn located(call: &Call, upload: &UploadView, status: StatusCode) -> Response<ResponseBody> {
    at(json(status, &present::upload(upload)), call.larder(), &format!("/api/v1/uploads/{}", upload.id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    bucket: Option<BucketName>,
    status: Option<String>,
    owner: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

async fn list(call: Call) -> Outcome {
    let asked: ListQuery = call.query()?;
    call.may(Action::List, asked.bucket.as_ref(), None)?;
    let page = call
        .larder()
        .uploads(&UploadQuery {
            bucket: asked.bucket,
            status: asked.status,
            owner: asked.owner,
            after: asked.after,
            limit: page_limit(asked.limit)?,
        })
        .await?;
    ok(&present::page(&page, present::upload))
}

/// A page's length: 100 unless asked otherwise.
pub(super) fn page_limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked {
        None => Ok(100),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(_) => Err(Problem::invalid(format!("limit is a number from 1 to {PAGE_MAX}"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    #[serde(default, deserialize_with = "wait_seconds")]
    wait: Option<u64>,
}

async fn show(call: Call) -> Outcome {
    let asked: ShowQuery = call.query()?;
    let id: UploadId = call.id()?;
    let mut upload = readable(&call, id).await?;
    if let Some(seconds) = asked.wait {
        upload = waited(&call, id, Duration::from_secs(seconds)).await?;
    }
    ok(&present::upload(&upload))
}

/// The upload, if the caller may see it: by reading, or by writing, since whoever sends files must be
/// able to ask what became of them. Whether one of this id exists is not told to others.
pub(super) async fn readable(call: &Call, id: UploadId) -> Result<UploadView, Problem> {
    let upload = call.larder().upload(id).await?;
    let key = upload.asset.as_ref().map(|asset| &asset.key).or(upload.key.as_ref());
    let key = key.map_or("", |key| key.as_str());
    let may = |action| call.may(action, Some(&upload.bucket), Some(key));
    may(Action::Read).or_else(|_| may(Action::Write)).map_err(|refusal| match refusal.fault.code {
        Code::Forbidden => Fault::new(Code::UploadNotFound, format!("there is no upload {id}")).into(),
        _ => refusal,
    })?;
    Ok(upload)
}

/// One file of a batch in its answer.
pub(super) fn item(file_name: Option<&str>, outcome: &Result<Accepted, Fault>) -> Value {
    match outcome {
        Ok(accepted) => {
            serde_json::json!({ "file_name": file_name, "upload": present::upload(&accepted.upload) })
        }
        Err(fault) => serde_json::json!({ "file_name": file_name, "problem": problem::describe(fault) }),
    }
}
