//! Jobs: what runs, what waits, what failed and why.

use larder_assets::{Action, JobQuery, JobView};
use larder_core::{BucketName, JobId};
use serde::Deserialize;
use serde_json::Value;

use super::{Access, Route, present, query, replies, uploads::page_limit};
use crate::{
    call::{Call, Outcome, ok},
    schema,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "jobs",
        access: Access::Scoped(Action::Admin),
        summary: "List jobs, the newest first",
        parameters: &[
            query("state", "queued, running, done, dead or cancelled", schema::text),
            query("kind", "only this kind", schema::text),
            query("queue", "only this queue", schema::text),
            query("bucket", "only for this bucket", schema::text),
            query("subject", "only on this asset or upload", schema::text),
            query("after", "`next` of the previous page", schema::text),
            query("limit", "items of a page, at most 1,000", schema::integer),
        ],
        replies: &[replies(200, "a page", || schema::page(schema::named("Job")))],
        ..Route::new("GET", "/api/v1/jobs", "job_list", |call| Box::pin(list(call)))
    },
    Route {
        tag: "jobs",
        access: Access::Scoped(Action::Admin),
        summary: "A job with its attempts",
        replies: &[replies(200, "the job", job)],
        ..Route::new("GET", "/api/v1/jobs/{id}", "job_show", |call| Box::pin(show(call)))
    },
    Route {
        tag: "jobs",
        access: Access::Scoped(Action::Admin),
        summary: "Queue a dead or cancelled job again",
        replies: &[replies(200, "the job as it is now", job)],
        ..Route::new("POST", "/api/v1/jobs/{id}/retry", "job_retry", |call| Box::pin(retry(call)))
    },
    Route {
        tag: "jobs",
        access: Access::Scoped(Action::Admin),
        summary: "Cancel a job",
        detail: "One that waits ends at once; one that runs is asked to stop.",
        replies: &[replies(200, "the job as it is now", job)],
        ..Route::new("POST", "/api/v1/jobs/{id}/cancel", "job_cancel", |call| Box::pin(cancel(call)))
    },
];

fn job() -> Value {
    schema::named("Job")
}

/// Whether nothing more will happen to a job by itself.
pub(super) fn is_ended(job: &JobView) -> bool {
    matches!(job.state.as_str(), "done" | "dead" | "cancelled")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    state: Option<String>,
    kind: Option<String>,
    queue: Option<String>,
    bucket: Option<BucketName>,
    subject: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

async fn list(call: Call) -> Outcome {
    let asked: ListQuery = call.query()?;
    let page = call
        .larder()
        .jobs(&JobQuery {
            state: asked.state,
            kind: asked.kind,
            queue: asked.queue,
            bucket: asked.bucket,
            subject: asked.subject,
            after: asked.after,
            limit: page_limit(asked.limit)?,
        })
        .await?;
    ok(&present::page(&page, present::job))
}

async fn show(call: Call) -> Outcome {
    let id: JobId = call.id()?;
    ok(&present::job(&call.larder().job(id).await?))
}

async fn retry(call: Call) -> Outcome {
    let id: JobId = call.id()?;
    ok(&present::job(&call.larder().retry_job(id).await?))
}

async fn cancel(call: Call) -> Outcome {
    let id: JobId = call.id()?;
    ok(&present::job(&call.larder().cancel_job(id).await?))
}
