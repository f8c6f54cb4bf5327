//! What is done to many assets at once, by a job.

use http::StatusCode;
use larder_assets::{Action, MigrateOptions};
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
    Route {
        tag: "operation",
        access: Access::Scoped(Action::Admin),
        summary: "Move what lies in one store to another",
        detail: "By a job that can be watched and cancelled, while everything is served. What is left in `from` stays \
                 until `cleanup` asks for its removal. `dry_run` counts at once and moves nothing.",
        payloads: &[json_body(migrate_body)],
        replies: &[
            replies(202, "the job that moves them", job_id).with(&["Location"]),
            replies(200, "what would be moved", migrate_report),
        ],
        ..Route::new("POST", "/api/v1/migrations", "migrate", |call| Box::pin(migrate(call)))
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

fn migrate_body() -> Value {
    let span =
        json!({ "type": ["integer", "string", "null"], "description": "seconds, or text such as \"10m\"" });
    schema::object(&[
        ("from", schema::text(), Need::Always),
        ("to", schema::text(), Need::Always),
        ("bucket", schema::or_null(schema::text()), Need::Maybe),
        ("prefix", schema::or_null(schema::text()), Need::Maybe),
        ("concurrency", schema::or_null(schema::integer()), Need::Maybe),
        ("rate_bytes", schema::or_null(schema::integer()), Need::Maybe),
        ("cleanup", schema::boolean(), Need::Maybe),
        ("grace", span, Need::Maybe),
        ("verify", schema::boolean(), Need::Maybe),
        ("dry_run", schema::boolean(), Need::Maybe),
    ])
}

fn migrate_report() -> Value {
    let count = || {
        schema::object(&[
            ("objects", schema::integer(), Need::Always),
            ("bytes", schema::integer(), Need::Always),
        ])
    };
    schema::object(&[
        ("from", schema::text(), Need::Always),
        ("to", schema::text(), Need::Always),
        ("dry_run", schema::boolean(), Need::Always),
        ("cleanup", schema::boolean(), Need::Always),
        ("originals", count(), Need::Always),
        ("deleted", count(), Need::Always),
        ("variants", count(), Need::Always),
        ("adopted", schema::integer(), Need::Always),
        ("skipped", schema::integer(), Need::Always),
        ("failures", schema::list(schema::anything()), Need::Always),
        ("remaining", count(), Need::Always),
        ("from_is_primary", schema::boolean(), Need::Always),
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

async fn migrate(call: Call) -> Outcome {
    let options: MigrateOptions = call.json().await?;
    if options.dry_run {
        return ok(&call.larder().migrate(&options, &|_| Ok(())).await?);
    }
    let job = call.larder().start_migration(options).await?;
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
        crate::routes::assert_same_members::<MigrateOptions>(&migrate_body());
    }
}
