//! What an operator looks at and does: queues, workers, statistics, sweeps.

use larder_assets::{Action, SweepOptions};
use larder_core::{BucketName, Fault};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Route, json_body, present, query, replies};
use crate::{
    call::{Call, Outcome, ok},
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "operation",
        access: Access::Scoped(Action::Admin),
        summary: "Jobs by queue and state",
        replies: &[replies(200, "all queues", || schema::page(queue()))],
        ..Route::new("GET", "/api/v1/queues", "queue_list", |call| Box::pin(queues(call)))
    },
    Route {
        tag: "operation",
        access: Access::Scoped(Action::Admin),
        summary: "Workers that gave a sign within the last minute",
        replies: &[replies(200, "all workers", || schema::page(worker()))],
        ..Route::new("GET", "/api/v1/workers", "worker_list", |call| Box::pin(workers(call)))
    },
    Route {
        tag: "operation",
        access: Access::Scoped(Action::Admin),
        summary: "Wait until the catalogue is as durable as promised",
        detail: "Everything that was committed to it before: where it is replicated with `commit`, that is in the store \
                 then. A worker beside the server asks so after each of its commits.",
        replies: &[replies(200, "it is", is_durable)],
        ..Route::new("POST", "/api/v1/catalog/barrier", "catalog_barrier", |call| Box::pin(barrier(call)))
    },
    Route {
        tag: "operation",
        access: Access::Scoped(Action::List),
        summary: "How much there is, how it grew, what was asked for, and what a month costs",
        detail: "A key that does not cover every bucket names one. Requests and growth are those of the last 30 days \
                 at most; the cost is an estimate by the prices in `stats.prices`.",
        parameters: &[query("bucket", "only this bucket", schema::text)],
        replies: &[replies(200, "the figures", statistics)],
        ..Route::new("GET", "/api/v1/stats", "statistics", |call| Box::pin(stats(call)))
    },
    Route {
        tag: "operation",
        access: Access::Scoped(Action::Admin),
        summary: "Remove what rules say, or say what they would",
        detail: "`targets` are `uploads`, `trash` and `retention`; all of them if left out.",
        payloads: &[json_body(sweep_options)],
        replies: &[replies(200, "what was, or would be, removed", sweep_report)],
        ..Route::new("POST", "/api/v1/gc/sweep", "sweep", |call| Box::pin(sweep(call)))
    },
];

fn is_durable() -> Value {
    schema::object(&[("is_durable", schema::boolean(), Need::Always)])
}

async fn barrier(call: Call) -> Outcome {
    call.larder().catalog().pass_barrier().await.map_err(Fault::from)?;
    ok(&json!({ "is_durable": true }))
}

fn queue() -> Value {
    schema::object(&[
        ("queue", schema::text(), Need::Always),
        ("state", schema::text(), Need::Always),
        ("jobs", schema::integer(), Need::Always),
        ("oldest_run_at", schema::or_null(schema::instant()), Need::Always),
    ])
}

fn worker() -> Value {
    schema::object(&[
        ("id", schema::text(), Need::Always),
        ("host", schema::text(), Need::Always),
        ("pid", schema::integer(), Need::Always),
        ("queues", schema::list(schema::text()), Need::Always),
        ("started_at", schema::instant(), Need::Always),
        ("seen_at", schema::instant(), Need::Always),
    ])
}

fn statistics() -> Value {
    let figures = |own: &[(&str, Value, Need)]| schema::object(own);
    let types = figures(&[
        ("content_type", schema::text(), Need::Always),
        ("objects", schema::integer(), Need::Always),
        ("bytes", schema::integer(), Need::Always),
    ]);
    let variants = figures(&[
        ("preset", schema::or_null(schema::text()), Need::Always),
        ("status", schema::text(), Need::Always),
        ("variants", schema::integer(), Need::Always),
        ("bytes", schema::integer(), Need::Always),
    ]);
    let bucket = figures(&[
        ("bucket", schema::text(), Need::Always),
        ("store", schema::text(), Need::Always),
        ("objects", schema::integer(), Need::Always),
        ("bytes", schema::integer(), Need::Always),
        ("deleted_objects", schema::integer(), Need::Always),
        ("deleted_bytes", schema::integer(), Need::Always),
        ("types", schema::list(types), Need::Always),
        ("variants", schema::list(variants), Need::Always),
    ]);
    figures(&[
        ("buckets", schema::list(bucket), Need::Always),
        ("total_objects", schema::integer(), Need::Always),
        ("total_bytes", schema::integer(), Need::Always),
        ("total_size_mb", json!({ "type": "number" }), Need::Always),
        ("variant_bytes", schema::integer(), Need::Always),
        ("requests", schema::list(requests_of_bucket()), Need::Always),
        ("growth", schema::list(growth()), Need::Always),
        ("cost", cost(), Need::Always),
    ])
}

fn number() -> Value {
    json!({ "type": "number" })
}

fn requests_of_bucket() -> Value {
    schema::object(&[
        ("bucket", schema::text(), Need::Always),
        ("since", schema::instant(), Need::Always),
        ("requests", schema::integer(), Need::Always),
        ("client_errors", schema::integer(), Need::Always),
        ("server_errors", schema::integer(), Need::Always),
        ("client_error_rate", number(), Need::Always),
        ("server_error_rate", number(), Need::Always),
        ("bytes_out", schema::integer(), Need::Always),
        ("p50_ms", number(), Need::Always),
        ("p95_ms", number(), Need::Always),
    ])
}

fn growth() -> Value {
    let counts = ["objects", "bytes", "variants", "variant_bytes"];
    let of = |mut members: Vec<(&'static str, Value, Need)>| {
        members.extend(counts.map(|name| (name, schema::integer(), Need::Always)));
        members
    };
    let day = schema::object(&of(vec![("day", schema::instant(), Need::Always)]));
    schema::object(&of(vec![
        ("bucket", schema::text(), Need::Always),
        ("store", schema::text(), Need::Always),
        ("since", schema::instant(), Need::Always),
        ("days", schema::list(day), Need::Always),
    ]))
}

fn cost() -> Value {
    let parts = ["storage", "writes", "reads", "out", "total"];
    let mut bucket = vec![("bucket", schema::text(), Need::Always)];
    bucket.extend(parts.map(|name| (name, number(), Need::Always)));
    schema::object(&[
        ("currency", schema::text(), Need::Always),
        ("total", number(), Need::Always),
        ("buckets", schema::list(schema::object(&bucket)), Need::Always),
    ])
}

fn sweep_options() -> Value {
    let target = schema::one_of(&["uploads", "trash", "retention"]);
    schema::object(&[
        ("targets", schema::list(target), Need::Maybe),
        ("dry_run", schema::boolean(), Need::Maybe),
    ])
}

fn sweep_report() -> Value {
    let mut members = vec![("dry_run", schema::boolean(), Need::Always)];
    let counts = [
        "uploads",
        "leftovers",
        "assets",
        "asset_bytes",
        "purged",
        "purged_bytes",
        "variants",
        "variant_bytes",
        "history",
    ];
    members.extend(counts.map(|name| (name, schema::integer(), Need::Always)));
    schema::object(&members)
}

async fn queues(call: Call) -> Outcome {
    ok(&present::list(&call.larder().queues().await?, present::value))
}

async fn workers(call: Call) -> Outcome {
    ok(&present::list(&call.larder().workers().await?, present::value))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatsQuery {
    bucket: Option<BucketName>,
}

async fn stats(call: Call) -> Outcome {
    let asked: StatsQuery = call.query()?;
    call.may(Action::List, asked.bucket.as_ref(), Some(""))?;
    ok(&call.larder().statistics(asked.bucket.as_ref()).await?)
}

async fn sweep(call: Call) -> Outcome {
    let options: SweepOptions = call.json().await?;
    ok(&call.larder().sweep(&options).await?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documented_body_is_the_one_that_is_read() {
        crate::routes::assert_same_members::<larder_assets::SweepOptions>(&super::sweep_options());
    }
}
