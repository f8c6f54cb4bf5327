//! Direct uploads: files that clients put into the store themselves.

use std::time::Duration;

use http::{StatusCode, header};
use larder_assets::{Accepted, Action, DirectUpload, Door, Incoming, intake::direct::bytes_path};
use larder_core::{BucketName, Code, Fault, ObjectKey, Timestamp, UploadId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Access, Payload, Route, answers, json_body, present, query, replies,
    sign::life_of,
    uploads::{answer, byte_stream, wait_seconds},
};
use crate::{
    call::{self, Call, Outcome, at, no_content},
    path::query_value,
    problem::Problem,
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "uploads",
        access: Access::Scoped(Action::Write),
        summary: "Begin an upload whose bytes go straight to the store",
        detail: "Answers a URL that takes one PUT of exactly this type and size, with the headers in `headers`, until \
                 `expires_at`; a bucket's own address, or one of Larder's where the store is no bucket. After the PUT, \
                 `POST` to `complete_url` has the bytes checked as at any door. Until then nothing serves them. The \
                 store's CORS rules must allow PUT for pages (`larder store setup --cors`).",
        payloads: &[json_body(body)],
        replies: &[replies(201, "where to put the bytes", begun).with(&["Location"])],
        ..Route::new("POST", "/api/v1/uploads/direct", "upload_begin_direct", |call| Box::pin(begin(call)))
    },
    Route {
        tag: "uploads",
        access: Access::Public,
        summary: "Put the bytes of a direct upload",
        detail: "Where the store has no signed addresses of its own. The signature is the permission; it names the \
                 `Content-Type` and the `Content-Length`.",
        parameters: &[
            query("exp", "when the URL ends, in Unix seconds", schema::integer),
            query("sig", "the signature", schema::text),
        ],
        payloads: &[Payload { content_type: "*/*", schema: schema::anything, optional: false }],
        replies: &[answers(204, "the bytes are stored, and wait to be completed")],
        ..Route::new("PUT", "/api/v1/uploads/{id}/bytes", "upload_put_bytes", |call| Box::pin(receive(call)))
    },
    Route {
        tag: "uploads",
        access: Access::Scoped(Action::Write),
        summary: "Complete a direct upload",
        detail: "Checks the bytes that were put and goes on with them as with any upload. May be repeated.",
        parameters: &[query("wait", "seconds to wait for the result, at most 60", schema::integer)],
        replies: &[
            replies(202, "acknowledged; `Location` tells what becomes of it", || schema::named("Upload"))
                .with(&["Location"]),
            replies(201, "finished within `wait`", || schema::named("Upload")).with(&["Location"]),
        ],
        ..Route::new("POST", "/api/v1/uploads/{id}/complete", "upload_complete_direct", |call| {
            Box::pin(complete(call))
        })
    },
];

fn body() -> Value {
    schema::object(&[
        ("bucket", schema::text(), Need::Maybe),
        ("key", schema::text(), Need::Maybe),
        ("filename", schema::text(), Need::Maybe),
        ("content_type", schema::text(), Need::Always),
        ("size_bytes", schema::integer(), Need::Always),
        ("owner", schema::text(), Need::Maybe),
        ("metadata", schema::open_object(), Need::Maybe),
        ("tags", schema::list(schema::text()), Need::Maybe),
        ("expires_at", schema::instant(), Need::Maybe),
        ("expires_in_seconds", schema::integer(), Need::Maybe),
    ])
}

fn begun() -> Value {
    schema::object(&[
        ("upload", schema::named("Upload"), Need::Always),
        ("method", schema::text(), Need::Always),
        ("url", schema::text(), Need::Always),
        ("headers", schema::open_object(), Need::Always),
        ("expires_at", schema::instant(), Need::Always),
        ("complete_url", schema::text(), Need::Always),
    ])
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    bucket: Option<BucketName>,
    key: Option<ObjectKey>,
    filename: Option<String>,
    content_type: String,
    size_bytes: u64,
    owner: Option<String>,
    #[serde(default)]
    metadata: Map<String, Value>,
    #[serde(default)]
    tags: Vec<String>,
    expires_at: Option<Timestamp>,
    expires_in_seconds: Option<u64>,
}

async fn begin(call: Call) -> Outcome {
    let body: Begin = call.json().await?;
    let bucket = match body.bucket {
        Some(bucket) => bucket,
        None => super::uploads::Said::default().bucket()?,
    };
    let key = body.key.as_ref().map_or("", |key| key.as_str());
    call.may(Action::Write, Some(&bucket), Some(key))?;
    let life = life_of(&call, body.expires_in_seconds)?;
    let incoming = Incoming {
        key: body.key,
        file_name: body.filename,
        declared_type: Some(body.content_type),
        declared_bytes: Some(body.size_bytes),
        owner: body.owner,
        metadata: body.metadata,
        tags: body.tags,
        expires_at: body.expires_at,
        credential: call.caller.principal.key,
        ..Incoming::new(bucket, Door::Direct)
    };
    let DirectUpload { upload, url, content_type, size_bytes, expires_at } =
        call.larder().begin_direct(incoming, life).await?;
    let status = format!("/api/v1/uploads/{}", upload.id);
    let answer = json!({
        "upload": present::upload(&upload),
        "method": "PUT",
        "url": url,
        "headers": { "Content-Type": content_type, "Content-Length": size_bytes.to_string() },
        "expires_at": expires_at,
        "complete_url": call.larder().links().absolute(&format!("{status}/complete")),
    });
    Ok(at(call::json(StatusCode::CREATED, &answer), call.larder(), &status))
}

async fn receive(call: Call) -> Outcome {
    let id: UploadId = call.id()?;
    let asked = |name| query_value(call.parts.uri.query(), name).unwrap_or_default();
    let sent = |name| call.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let size_bytes = sent(header::CONTENT_LENGTH).parse().map_err(|_| {
        Problem::invalid("Content-Length is missing").remedy("send the file's length, not in chunks")
    })?;
    let expires = asked("exp").parse().map_err(|_| {
        Fault::new(Code::SignatureInvalid, "exp is no number of Unix seconds")
            .remedy("use the URL exactly as it was handed out")
    })?;
    let links = call.larder().links();
    links.verify_put(&bytes_path(id), sent(header::CONTENT_TYPE), size_bytes, expires, &asked("sig"))?;
    call.larder().receive_direct(id, byte_stream(call.take_body())).await?;
    no_content()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompleteQuery {
    #[serde(default, deserialize_with = "wait_seconds")]
    wait: Option<u64>,
}

async fn complete(call: Call) -> Outcome {
    let asked: CompleteQuery = call.query()?;
    let id: UploadId = call.id()?;
    let begun = super::uploads::readable(&call, id).await?;
    let key = begun.key.as_ref().map_or("", |key| key.as_str());
    call.may(Action::Write, Some(&begun.bucket), Some(key))?;
    let upload = call.larder().complete_direct(id).await?;
    answer(&call, Accepted { upload, replayed: false }, asked.wait.map(Duration::from_secs)).await
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documented_body_is_the_one_that_is_read() {
        crate::routes::assert_same_members::<super::Begin>(&super::body());
    }
}
