//! Objects: assets by bucket and key, written and read at once.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use larder_assets::{
    Action, AssetQuery, AssetView, DeleteOptions, Door, PutOutcome, WriteCondition, policy::GpsPolicy,
};
use larder_core::{Code, Fault};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Access, Payload, Route, answers,
    delivery::{DELIVERED, PART},
    header as in_header, query, replies, sends,
    uploads::{Said, announce, byte_stream, page_limit},
};
use crate::{
    body::ResponseBody,
    call::{Call, Outcome, at, json, ok},
    delivery::{self, Extra, Right, Validators, Verdict, evaluate, strong_tags},
    problem::Problem,
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "objects",
        access: Access::Scoped(Action::List),
        summary: "List the assets of a bucket by key",
        detail: "With `delimiter=/` only those directly under the prefix, and as `prefixes` the common prefixes of the \
                 others, as S3's `ListObjectsV2` has them: each counts as one item, and comes once over all pages.",
        parameters: &[
            query("prefix", "only keys that begin with this", schema::text),
            query("delimiter", "`/`: one level of keys", schema::text),
            query("owner", "only this owner's", schema::text),
            query("tag", "only those with this tag", schema::text),
            query("status", "only this status", schema::text),
            query("deleted", "those that were deleted and can be restored instead", schema::boolean),
            query("after", "`next` of the previous page", schema::text),
            query("limit", "items of a page, at most 1,000", schema::integer),
        ],
        replies: &[replies(200, "a page", asset_page)],
        ..Route::new("GET", "/api/v1/buckets/{bucket}/objects", "object_list", |call| Box::pin(list(call)))
    },
    Route {
        tag: "objects",
        access: Access::Scoped(Action::Read),
        summary: "Read an object's bytes",
        detail: "With ranges and conditions as `/m`; HEAD answers the head alone. Never cached by others.",
        parameters: &[
            query("download", "save instead of show; its value is the name", schema::text),
            in_header("If-None-Match", "answer 304 if the client has these bytes", schema::text),
            in_header("If-Modified-Since", "answer 304 if the bytes are not newer", schema::text),
            in_header("If-Match", "only if the bytes have this ETag", schema::text),
            in_header("If-Unmodified-Since", "only if the bytes are not newer", schema::text),
            in_header("If-Range", "ranges only of the bytes with this ETag or date", schema::text),
            in_header("Range", "only a part of the bytes", schema::text),
        ],
        replies: &[
            sends(200, "the bytes", "*/*", schema::bytes).with(DELIVERED),
            sends(206, "the ranges asked for", "*/*", schema::bytes).with(PART),
            answers(304, "the client has them").with(&["ETag", "Last-Modified", "Cache-Control"]),
        ],
        ..Route::new("GET", OBJECT, "object_read", |call| Box::pin(read(call)))
    },
    Route {
        tag: "objects",
        access: Access::Scoped(Action::Write),
        summary: "Store an object, durable and checked when answered",
        parameters: &[
            query("owner", "whom the asset belongs to", schema::text),
            query("tags", "tags, separated by commas", schema::text),
            query("metadata", "a JSON object of the application's", schema::text),
            query("filename", "the file's name at the client", schema::text),
            query("expires_at", "when the asset is to be deleted", schema::instant),
            in_header("If-Match", "only if the object there has this ETag", schema::text),
            in_header("If-Unmodified-Since", "only if the object there is not newer", schema::text),
            in_header("If-None-Match", "`*`: only if nothing is there", schema::text),
            in_header("Content-Digest", "the body's digest (RFC 9530), checked", schema::text),
        ],
        payloads: &[Payload { content_type: "*/*", schema: schema::anything, optional: false }],
        replies: &[
            replies(201, "created", || schema::named("Asset")).with(&["Location", "ETag"]),
            replies(200, "replaced", || schema::named("Asset")).with(&["ETag"]),
        ],
        ..Route::new("PUT", OBJECT, "object_write", |call| Box::pin(write(call)))
    },
    Route {
        tag: "objects",
        access: Access::Scoped(Action::Delete),
        summary: "Delete an object",
        detail: "Its URLs are gone when this answers; until `restore_until` it can be restored. `purge` removes the \
                 bytes for good.",
        parameters: &[
            query("purge", "for good, without the trash", schema::boolean),
            in_header("If-Match", "only if the object there has this ETag", schema::text),
        ],
        replies: &[replies(200, "deleted", deleted)],
        ..Route::new("DELETE", OBJECT, "object_delete", |call| Box::pin(delete(call)))
    },
];

const OBJECT: &str = "/api/v1/buckets/{bucket}/objects/{*key}";

pub(super) fn deleted() -> Value {
    schema::object(&[
        ("id", schema::id(), Need::Always),
        ("bucket", schema::text(), Need::Always),
        ("key", schema::text(), Need::Always),
        ("size_bytes", schema::integer(), Need::Always),
        ("purged", schema::boolean(), Need::Always),
        ("restore_until", schema::or_null(schema::instant()), Need::Always),
    ])
}

fn asset_page() -> Value {
    schema::object(&[
        ("items", schema::list(schema::named("Asset")), Need::Always),
        ("prefixes", schema::list(schema::text()), Need::Maybe),
        ("next", schema::or_null(schema::text()), Need::Always),
    ])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    prefix: Option<String>,
    delimiter: Option<String>,
    owner: Option<String>,
    tag: Option<String>,
    status: Option<String>,
    #[serde(default)]
    deleted: bool,
    after: Option<String>,
    limit: Option<u32>,
}

async fn list(call: Call) -> Outcome {
    let bucket = call.bucket()?;
    let asked: ListQuery = call.query()?;
    call.may(Action::List, Some(&bucket), asked.prefix.as_deref())?;
    let page = call
        .larder()
        .assets(&AssetQuery {
            bucket: Some(bucket),
            prefix: asked.prefix,
            delimiter: asked.delimiter,
            owner: asked.owner,
            tag: asked.tag,
            status: asked.status,
            deleted: asked.deleted,
            after: asked.after,
            limit: page_limit(asked.limit)?,
        })
        .await?;
    ok(&page)
}

async fn read(call: Call) -> Outcome {
    let (bucket, key) = (call.bucket()?, call.key()?);
    call.may(Action::Read, Some(&bucket), Some(key.as_str()))?;
    let is_admin = call.may(Action::Admin, None, None).is_ok();
    let policy = &call.larder().bucket(&bucket).await?.policy;
    let readable = match policy.gps {
        GpsPolicy::Refuse if is_admin => call.larder().read_untouched(&bucket, &key).await?,
        _ => call.larder().read_original(&bucket, &key).await?,
    };
    let right = Right::Credential { by_machine: call.caller.by_machine, is_admin };
    delivery::respond(&call.context, &call.parts, readable, Extra::of(right)).await
}

async fn write(call: Call) -> Outcome {
    let mut said: Said = call.query()?;
    if said.bucket.is_some() || said.key.is_some() || said.wait.is_some() {
        return Err(Problem::invalid("bucket and key stand in the path, and wait has no meaning here"));
    }
    let (bucket, key) = (call.bucket()?, call.key()?);
    said.bucket = Some(bucket.to_string());
    said.key = Some(key.to_string());
    let mut incoming = said.incoming(&call, Door::Put)?;
    announce(&mut incoming, call.headers())?;
    let condition = condition(&call, &bucket, &key).await?;
    let outcome = call.larder().put(incoming, condition, byte_stream(call.take_body())).await?;
    Ok(stored(&call, &outcome))
}

/// The answer to bytes that were stored under a key.
pub(super) fn stored(call: &Call, outcome: &PutOutcome) -> Response<ResponseBody> {
    let asset = &outcome.asset;
    let status = if outcome.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = json(status, asset);
    if let Ok(etag) = HeaderValue::from_str(&asset.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    if outcome.created {
        let key = larder_assets::links::encode_path(asset.key.as_str());
        response = at(response, call.larder(), &format!("/api/v1/buckets/{}/objects/{key}", asset.bucket));
    }
    response
}

/// The condition of a write. What can't be checked in the instant of the write (dates, lists of
/// entity tags that must not match) is checked now.
async fn condition(
    call: &Call,
    bucket: &larder_core::BucketName,
    key: &larder_core::ObjectKey,
) -> Result<WriteCondition, Problem> {
    let headers = call.headers();
    let conditional = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE];
    if !conditional.iter().any(|name| headers.contains_key(name)) {
        return Ok(WriteCondition::None);
    }
    let present = match call.larder().asset_at(bucket, key).await {
        Err(fault) if fault.code == Code::AssetNotFound => None,
        found => Some(found?),
    };
    refuse_unless_it_holds(call, headers, present.as_ref())?;
    if let Some(tags) = strong_tags(headers, &header::IF_MATCH) {
        return Ok(WriteCondition::IfMatch(tags));
    }
    if present.is_none() && headers.contains_key(header::IF_NONE_MATCH) {
        return Ok(WriteCondition::IfAbsent);
    }
    Ok(WriteCondition::None)
}

fn refuse_unless_it_holds(
    call: &Call,
    headers: &HeaderMap,
    present: Option<&AssetView>,
) -> Result<(), Problem> {
    let current = present.map(|asset| Validators { etag: &asset.etag, last_modified: asset.updated_at });
    match evaluate(&call.parts.method, headers, current, call.larder().ambient().now()) {
        Verdict::Proceed { .. } => Ok(()),
        _ => Err(Fault::new(Code::PreconditionFailed, "the object is not as the condition demands").into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteQuery {
    #[serde(default)]
    purge: bool,
}

async fn delete(call: Call) -> Outcome {
    let (bucket, key) = (call.bucket()?, call.key()?);
    let asked: DeleteQuery = call.query()?;
    call.may(Action::Delete, Some(&bucket), Some(key.as_str()))?;
    let if_match = match condition(&call, &bucket, &key).await? {
        WriteCondition::IfMatch(tags) => Some(tags),
        _ => None,
    };
    let deleted =
        call.larder().delete(&bucket, &key, &DeleteOptions { purge: asked.purge, if_match }).await?;
    ok(&deleted)
}
