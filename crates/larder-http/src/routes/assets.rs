//! Assets by their id, which stays when bytes are replaced.

use http::StatusCode;
use larder_assets::{Action, AssetPatch, CopyTarget, DeleteOptions};
use larder_core::{AssetId, BucketName, Code, Fault, ObjectKey};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Route, header as in_header, json_body, objects, present, query, replies};
use crate::{
    call::{Call, Outcome, at, json as json_answer, ok},
    delivery::strong_tags,
    problem::Problem,
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "assets",
        access: Access::Scoped(Action::Read),
        summary: "What is known of an asset",
        replies: &[replies(200, "the asset", asset)],
        ..Route::new("GET", ASSET, "asset_show", |call| Box::pin(show(call)))
    },
    Route {
        tag: "assets",
        access: Access::Scoped(Action::Write),
        summary: "Change what is known of an asset",
        detail: "What the body leaves out stays. `metadata` and `tags` are replaced as a whole; `null` takes owner or \
                 expiry away.",
        payloads: &[json_body(patch)],
        replies: &[replies(200, "the asset as it is now", asset)],
        ..Route::new("PATCH", ASSET, "asset_update", |call| Box::pin(update(call)))
    },
    Route {
        tag: "assets",
        access: Access::Scoped(Action::Delete),
        summary: "Delete an asset",
        detail: "With `purge` also one that lies in the trash already.",
        parameters: &[
            query("purge", "for good, without the trash", schema::boolean),
            in_header("If-Match", "only if the asset has this ETag", schema::text),
        ],
        replies: &[replies(200, "deleted", objects::deleted)],
        ..Route::new("DELETE", ASSET, "asset_delete", |call| Box::pin(delete(call)))
    },
    Route {
        tag: "assets",
        access: Access::Scoped(Action::Write),
        summary: "Bring a deleted asset back",
        replies: &[replies(200, "the asset, under its key again", asset)],
        ..Route::new("POST", "/api/v1/assets/{id}/restore", "asset_restore", |call| Box::pin(restore(call)))
    },
    Route {
        tag: "assets",
        access: Access::Scoped(Action::Write),
        summary: "Copy an asset to another key",
        detail: "With owner, tags and metadata, durable and checked when answered, as `PUT` of the same bytes. The key \
                 must be able to read the asset.",
        payloads: &[json_body(copy_body)],
        replies: &[
            replies(201, "created", asset).with(&["Location", "ETag"]),
            replies(200, "replaced", asset).with(&["ETag"]),
        ],
        ..Route::new("POST", "/api/v1/assets/{id}/copy", "asset_copy", |call| Box::pin(copy(call)))
    },
    Route {
        tag: "assets",
        access: Access::Scoped(Action::Read),
        summary: "List the variants of an asset's present bytes",
        replies: &[replies(200, "all of them", || schema::page(schema::named("Variant")))],
        ..Route::new("GET", VARIANTS, "variant_list", |call| Box::pin(variants(call)))
    },
    Route {
        tag: "assets",
        access: Access::Scoped(Action::Write),
        summary: "Make the variants that are missing or failed",
        replies: &[replies(202, "the job that makes them", job_id).with(&["Location"])],
        ..Route::new("POST", VARIANTS, "variant_rebuild", |call| Box::pin(rebuild(call)))
    },
];

const ASSET: &str = "/api/v1/assets/{id}";
const VARIANTS: &str = "/api/v1/assets/{id}/variants";

fn asset() -> Value {
    schema::named("Asset")
}

pub(super) fn patch() -> Value {
    schema::object(&[
        ("owner", schema::or_null(schema::text()), Need::Maybe),
        ("metadata", schema::open_object(), Need::Maybe),
        ("tags", schema::list(schema::text()), Need::Maybe),
        ("expires_at", schema::or_null(schema::instant()), Need::Maybe),
    ])
}

fn copy_body() -> Value {
    schema::object(&[
        ("bucket", schema::or_null(schema::text()), Need::Maybe),
        ("key", schema::text(), Need::Always),
        ("replace", schema::boolean(), Need::Maybe),
    ])
}

fn job_id() -> Value {
    schema::object(&[("job_id", schema::id(), Need::Always)])
}

/// Where the asset of this id lies, if the caller may do this to it. To whoever may not even read it,
/// it does not exist.
pub(super) async fn permitted(
    call: &Call,
    id: AssetId,
    action: Action,
) -> Result<(BucketName, ObjectKey), Problem> {
    let (bucket, key) = call.larder().whereabouts(id).await?;
    let may = |action| call.may(action, Some(&bucket), Some(key.as_str()));
    match may(action) {
        Ok(()) => Ok((bucket, key)),
        Err(refusal) if refusal.fault.code == Code::Forbidden && may(Action::Read).is_err() => {
            Err(Fault::new(Code::AssetNotFound, format!("there is no asset {id}")).into())
        }
        Err(refusal) => Err(refusal),
    }
}

async fn show(call: Call) -> Outcome {
    let id: AssetId = call.id()?;
    permitted(&call, id, Action::Read).await?;
    ok(&call.larder().asset(id).await?)
}

async fn update(call: Call) -> Outcome {
    let id: AssetId = call.id()?;
    permitted(&call, id, Action::Write).await?;
    let patch: AssetPatch = call.json().await?;
    ok(&call.larder().update_asset(id, patch).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteQuery {
    #[serde(default)]
    purge: bool,
}

async fn delete(call: Call) -> Outcome {
    let id: AssetId = call.id()?;
    let asked: DeleteQuery = call.query()?;
    permitted(&call, id, Action::Delete).await?;
    let if_match = strong_tags(call.headers(), &http::header::IF_MATCH);
    if if_match.as_ref().is_some_and(Vec::is_empty) && !matches_any(&call) {
        return Err(Fault::new(Code::PreconditionFailed, "If-Match holds no strong entity tag").into());
    }
    ok(&call.larder().delete_asset(id, &DeleteOptions { purge: asked.purge, if_match }).await?)
}

/// Whether `If-Match` is a star.
fn matches_any(call: &Call) -> bool {
    call.headers().get_all(http::header::IF_MATCH).iter().any(|value| value.as_bytes().trim_ascii() == b"*")
}

async fn restore(call: Call) -> Outcome {
    let id: AssetId = call.id()?;
    permitted(&call, id, Action::Write).await?;
    ok(&call.larder().restore(id).await?)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Copy {
    bucket: Option<BucketName>,
    key: ObjectKey,
    #[serde(default)]
    replace: bool,
}

async fn copy(call: Call) -> Outcome {
    let id: AssetId = call.id()?;
    let (own_bucket, _) = permitted(&call, id, Action::Read).await?;
    let body: Copy = call.json().await?;
    let bucket = body.bucket.as_ref().unwrap_or(&own_bucket).clone();
    call.may(Action::Write, Some(&bucket), Some(body.key.as_str()))?;
    let to = CopyTarget {
        bucket: Some(bucket),
        key: body.key,
        replace: body.replace,
        untouched: call.may(Action::Admin, None, None).is_ok(),
        credential: call.caller.principal.key,
    };
    let outcome = call.larder().copy_asset(id, to).await?;
    Ok(objects::stored(&call, &outcome))
}

async fn variants(call: Call) -> Outcome {
    let id: AssetId = call.id()?;
    permitted(&call, id, Action::Read).await?;
    ok(&present::list(&call.larder().variants(id).await?, present::variant))
}

async fn rebuild(call: Call) -> Outcome {
    let id: AssetId = call.id()?;
    permitted(&call, id, Action::Write).await?;
    let job = call.larder().rebuild(id).await?;
    let response = json_answer(StatusCode::ACCEPTED, &json!({ "job_id": job }));
    Ok(at(response, call.larder(), &format!("/api/v1/jobs/{job}")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documented_bodies_are_the_ones_that_are_read() {
        crate::routes::assert_same_members::<super::Copy>(&super::copy_body());
        crate::routes::assert_same_members::<larder_assets::AssetPatch>(&super::patch());
    }
}
