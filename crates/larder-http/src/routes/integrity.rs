//! Catalogue and store: adoption of what lies there, and their comparison. Both are jobs.

use http::StatusCode;
use larder_assets::{Action, AdoptOptions, ScrubOptions};
use larder_core::JobId;
use serde_json::{Value, json};

use super::{Access, Payload, Route, json_body, replies};
use crate::{
    call::{Call, Outcome, at, json as json_answer, ok},
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "operation",
        access: Access::Scoped(Action::Admin),
        summary: "Make assets of files that lie in the store already",
        detail: "Where they lie: nothing is moved, copied or written beside them. A second run registers nothing twice.",
        payloads: &[json_body(adopt_options)],
        replies: &[replies(202, "the job that does it; its report says what became of each file", job_id)
            .with(&["Location"])],
        ..Route::new("POST", "/api/v1/adopt", "adopt", |call| Box::pin(adopt(call)))
    },
    Route {
        tag: "operation",
        access: Access::Scoped(Action::Admin),
        summary: "Compare catalogue and store in both directions",
        detail: "While a scrub waits or runs, it is the answer.",
        payloads: &[Payload { content_type: "application/json", schema: scrub_options, optional: true }],
        replies: &[
            replies(202, "the job that does it; its report holds what it found", job_id).with(&["Location"])
        ],
        ..Route::new("POST", "/api/v1/scrub", "scrub", |call| Box::pin(scrub(call)))
    },
    Route {
        tag: "jobs",
        access: Access::Scoped(Action::Admin),
        summary: "What a job reported when it was done",
        detail: "Adoptions, scrubs, and backups and verifications of databases do.",
        replies: &[replies(200, "the report", schema::open_object)],
        ..Route::new("GET", "/api/v1/jobs/{id}/report", "job_report", |call| Box::pin(report(call)))
    },
];

fn adopt_options() -> Value {
    let text = || schema::or_null(schema::text());
    schema::object(&[
        ("bucket", schema::text(), Need::Always),
        ("prefix", text(), Need::Maybe),
        ("strip", text(), Need::Maybe),
        ("original", text(), Need::Maybe),
        ("variants", schema::list(schema::text()), Need::Maybe),
        ("verify", schema::boolean(), Need::Maybe),
        ("ignore_extensions", schema::boolean(), Need::Maybe),
        ("dry_run", schema::boolean(), Need::Maybe),
    ])
}

fn scrub_options() -> Value {
    let rate = json!({ "type": ["integer", "string", "null"], "description": "bytes a second, or text such as \"20 MiB\"" });
    schema::object(&[
        ("bucket", schema::or_null(schema::text()), Need::Maybe),
        ("sample", json!({ "type": "number", "minimum": 0, "maximum": 1 }), Need::Maybe),
        ("rate", rate, Need::Maybe),
        ("repair", schema::boolean(), Need::Maybe),
        ("adopt", schema::boolean(), Need::Maybe),
        ("restart", schema::boolean(), Need::Maybe),
    ])
}

pub(super) fn job_id() -> Value {
    schema::object(&[("job_id", schema::id(), Need::Always)])
}

async fn adopt(call: Call) -> Outcome {
    let options: AdoptOptions = call.json().await?;
    let job = call.larder().enqueue_adoption(options).await?;
    Ok(enqueued(&call, job))
}

async fn scrub(call: Call) -> Outcome {
    let options: ScrubOptions = call.json_or_default().await?;
    let job = call.larder().enqueue_scrub(options).await?;
    Ok(enqueued(&call, job))
}

async fn report(call: Call) -> Outcome {
    let id: JobId = call.id()?;
    ok(&call.larder().report(id).await?)
}

pub(super) fn enqueued(call: &Call, job: JobId) -> http::Response<crate::body::ResponseBody> {
    let response = json_answer(StatusCode::ACCEPTED, &json!({ "job_id": job }));
    at(response, call.larder(), &format!("/api/v1/jobs/{job}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_bodies_are_the_ones_that_are_read() {
        crate::routes::assert_same_members::<AdoptOptions>(&adopt_options());
        crate::routes::assert_same_members::<ScrubOptions>(&scrub_options());
    }
}
