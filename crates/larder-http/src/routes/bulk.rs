//! What is done to many assets of a bucket at once, by a job.

use http::StatusCode;
use larder_assets::Action;
use larder_core::{JobId, text::Span};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Payload, Route, json_body, replies};
use crate::{
    call::{Call, Outcome, at, json as json_answer, ok},
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "buckets",
        access: Access::Scoped(Action::Admin),
        summary: "Make the variants that the assets of a bucket lack",
        detail: "Of one preset of the bucket, or of all. Giving a bucket more presets does so by itself.",
        payloads: &[Payload { content_type: "application/json", schema: backfill_body, optional: true }],
        replies: &[replies(202, "the job that enqueues them", job_id).with(&["Location"])],
        ..Route::new("POST", "/api/v1/buckets/{bucket}/backfill", "bucket_backfill", |call| {
            Box::pin(backfill(call))
        })
    },
    Route {
        tag: "buckets",
        access: Access::Scoped(Action::Delete),
        summary: "Delete the assets whose keys begin with a text",
        detail: "Into the trash, by a job that can be watched and cancelled. Only assets that are there when this is \
                 asked for are meant. `dry_run` counts at once and deletes nothing.",
        payloads: &[json_body(delete_body)],
        replies: &[
            replies(202, "the job that deletes them", job_id).with(&["Location"]),
            replies(200, "what would be deleted", counts),
        ],
        ..Route::new("POST", "/api/v1/buckets/{bucket}/delete", "bucket_delete_prefix", |call| {
            Box::pin(delete(call))
        })
    },
];

fn backfill_body() -> Value {
    schema::object(&[("preset", schema::or_null(schema::text()), Need::Maybe)])
}

fn delete_body() -> Value {
    let span = json!({ "type": ["integer", "string"], "description": "seconds, or text such as \"90d\"" });
    schema::object(&[
        ("prefix", schema::text(), Need::Always),
        ("older_than", schema::or_null(span), Need::Maybe),
        ("dry_run", schema::boolean(), Need::Maybe),
    ])
}

fn job_id() -> Value {
    schema::object(&[("job_id", schema::id(), Need::Always)])
}

fn counts() -> Value {
    schema::object(&[
        ("dry_run", schema::boolean(), Need::Always),
        ("assets", schema::integer(), Need::Always),
        ("asset_bytes", schema::integer(), Need::Always),
    ])
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Backfill {
    preset: Option<String>,
}

async fn backfill(call: Call) -> Outcome {
    let bucket = call.bucket()?;
    let body: Backfill = call.json_or_default().await?;
    let job = call.larder().backfill(&bucket, body.preset.as_deref()).await?;
    Ok(enqueued(&call, job))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    prefix: String,
    older_than: Option<Span>,
    #[serde(default)]
    dry_run: bool,
}

async fn delete(call: Call) -> Outcome {
    let bucket = call.bucket()?;
    let body: Delete = call.json().await?;
    call.may(Action::Delete, Some(&bucket), Some(&body.prefix))?;
    if body.dry_run {
        let found = call.larder().count_by_prefix(&bucket, &body.prefix, body.older_than).await?;
        return ok(&json!({ "dry_run": true, "assets": found.assets, "asset_bytes": found.asset_bytes }));
    }
    let job = call.larder().delete_by_prefix(&bucket, &body.prefix, body.older_than).await?;
    Ok(enqueued(&call, job))
}

/// 202 with the job and where it is watched.
fn enqueued(call: &Call, job: JobId) -> http::Response<crate::body::ResponseBody> {
    let response = json_answer(StatusCode::ACCEPTED, &json!({ "job_id": job }));
    at(response, call.larder(), &format!("/api/v1/jobs/{job}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_bodies_are_the_ones_that_are_read() {
        crate::routes::assert_same_members::<Backfill>(&backfill_body());
        crate::routes::assert_same_members::<Delete>(&delete_body());
    }
}
