//! Files that Larder fetches itself.

use std::time::Duration;

use larder_assets::{Action, Door, Incoming};
use larder_core::{BucketName, ObjectKey, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Access, Route, json_body, query, replies,
    uploads::{IDEMPOTENCY_KEY, answer, idempotency, wait_seconds},
};
use crate::{
    call::{Call, Outcome},
    problem::Problem,
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[Route {
    tag: "uploads",
    access: Access::Scoped(Action::Write),
    summary: "Import a file by its URL",
    detail: "Fetched by a job, under the same checks as any upload. Private, loopback and metadata addresses are \
             refused, at each redirect anew.",
    parameters: &[
        query("wait", "seconds to wait for the result, at most 60", schema::integer),
        IDEMPOTENCY_KEY,
    ],
    payloads: &[json_body(body)],
    replies: &[
        replies(202, "acknowledged; `Location` tells what becomes of it", || schema::named("Upload")),
        replies(201, "finished within `wait`", || schema::named("Upload")),
    ],
    ..Route::new("POST", "/api/v1/uploads/import", "upload_import", |call| Box::pin(import(call)))
}];

fn body() -> Value {
    schema::object(&[
        ("url", schema::formatted("uri"), Need::Always),
        ("bucket", schema::text(), Need::Maybe),
        ("key", schema::text(), Need::Maybe),
        ("owner", schema::text(), Need::Maybe),
        ("metadata", schema::open_object(), Need::Maybe),
        ("tags", schema::list(schema::text()), Need::Maybe),
        ("expires_at", schema::instant(), Need::Maybe),
    ])
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    url: String,
    bucket: Option<BucketName>,
    key: Option<ObjectKey>,
    owner: Option<String>,
    #[serde(default)]
    metadata: Map<String, Value>,
    #[serde(default)]
    tags: Vec<String>,
    expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportQuery {
    #[serde(default, deserialize_with = "wait_seconds")]
    wait: Option<u64>,
}

async fn import(call: Call) -> Outcome {
    let asked: ImportQuery = call.query()?;
    let body: Import = call.json().await?;
    let url = body.url.parse().map_err(|error| {
        Problem::invalid(format!("\"{}\" is no URL: {error}", body.url)).remedy("send an http or https URL")
    })?;
    let bucket = match body.bucket {
        Some(bucket) => bucket,
        None => super::uploads::Said::default().bucket()?,
    };
    let key = body.key.as_ref().map_or("", |key| key.as_str());
    call.may(Action::Write, Some(&bucket), Some(key))?;
    let incoming = Incoming {
        key: body.key,
        owner: body.owner,
        metadata: body.metadata,
        tags: body.tags,
        expires_at: body.expires_at,
        credential: call.caller.principal.key,
        ..Incoming::new(bucket, Door::Url)
    };
    let idempotency = idempotency(&call)?;
    let accepted = call.larder().import(incoming, url, idempotency.as_ref()).await?;
    answer(&call, accepted, asked.wait.map(Duration::from_secs)).await
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documented_body_is_the_one_that_is_read() {
        crate::routes::assert_same_members::<super::Import>(&super::body());
    }
}
