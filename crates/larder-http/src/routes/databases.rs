//! Databases of applications in the store: what is done for them by schedule, and when.

use larder_assets::Action;
use serde_json::Value;

use super::{
    Access, Route,
    integrity::{enqueued, job_id},
    present, replies,
};
use crate::{
    call::{Call, Outcome, ok},
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "databases",
        access: Access::Scoped(Action::Admin),
        summary: "Databases in the store that are looked after",
        detail: "As of the last runs of their schedules: the store is not asked.",
        replies: &[replies(200, "all databases, by prefix", || schema::page(database()))],
        ..Route::new("GET", "/api/v1/databases", "database_list", |call| Box::pin(list(call)))
    },
    Route {
        tag: "databases",
        access: Access::Scoped(Action::Admin),
        summary: "Back all databases up now",
        detail: "As the schedule does: those that changed. While such a job waits or runs, it is the answer.",
        replies: &[
            replies(202, "the job that does it; its report says what it did", job_id).with(&["Location"])
        ],
        ..Route::new("POST", "/api/v1/databases/backup", "database_backup", |call| Box::pin(backup(call)))
    },
    Route {
        tag: "databases",
        access: Access::Scoped(Action::Admin),
        summary: "Verify all databases now",
        detail: "As the schedule does, with the collection of versions that are not kept. While such a job waits or \
                 runs, it is the answer.",
        replies: &[
            replies(202, "the job that does it; its report says what it found", job_id).with(&["Location"])
        ],
        ..Route::new("POST", "/api/v1/databases/verify", "database_verify", |call| Box::pin(verify(call)))
    },
    Route {
        tag: "operation",
        access: Access::Scoped(Action::Admin),
        summary: "Jobs that come by themselves, and when",
        replies: &[replies(200, "all schedules, by name", || schema::page(schedule()))],
        ..Route::new("GET", "/api/v1/schedules", "schedule_list", |call| Box::pin(schedules(call)))
    },
];

fn database() -> Value {
    use Need::Always;
    let (text, number, time) = (schema::text, schema::integer, schema::instant);
    let maybe = schema::or_null;
    let backup =
        schema::object(&[("name", text(), Always), ("seq", number(), Always), ("made_at", time(), Always)]);
    let verify = schema::object(&[
        ("at", time(), Always),
        ("status", schema::one_of(&["whole", "damaged", "failed"]), Always),
        ("seq", number(), Always),
        ("objects", number(), Always),
        ("bytes", number(), Always),
        ("problems", schema::list(text()), Always),
        ("problem_count", number(), Always),
        ("error", maybe(text()), Always),
    ]);
    let collect = schema::object(&[
        ("at", time(), Always),
        ("removed", number(), Always),
        ("removed_bytes", number(), Always),
        ("skipped", maybe(text()), Always),
    ]);
    schema::object(&[
        ("prefix", text(), Always),
        ("url", text(), Always),
        ("is_there", schema::boolean(), Always),
        ("seen_at", maybe(time()), Always),
        ("seq", maybe(number()), Always),
        ("changed_at", maybe(time()), Always),
        ("pages", maybe(number()), Always),
        ("size_bytes", maybe(number()), Always),
        ("held_by", maybe(text()), Always),
        ("backup", maybe(backup), Always),
        ("backed_up_at", maybe(time()), Always),
        ("backup_error", maybe(text()), Always),
        ("next_backup_at", maybe(time()), Always),
        ("verify", maybe(verify), Always),
        ("whole_at", maybe(time()), Always),
        ("next_verify_at", maybe(time()), Always),
        ("collect", maybe(collect), Always),
    ])
}

fn schedule() -> Value {
    schema::object(&[
        ("name", schema::text(), Need::Always),
        ("doc", schema::text(), Need::Always),
        ("cron", schema::text(), Need::Always),
        ("enabled", schema::boolean(), Need::Always),
        ("next_at", schema::or_null(schema::instant()), Need::Always),
        ("last_at", schema::or_null(schema::instant()), Need::Always),
    ])
}

async fn list(call: Call) -> Outcome {
    ok(&present::page(&call.larder().databases().await?, present::value))
}

async fn schedules(call: Call) -> Outcome {
    ok(&present::list(&call.larder().schedules().await?, present::value))
}

async fn backup(call: Call) -> Outcome {
    let job = call.larder().enqueue_database_backup().await?;
    Ok(enqueued(&call, job))
}

async fn verify(call: Call) -> Outcome {
    let job = call.larder().enqueue_database_verification().await?;
    Ok(enqueued(&call, job))
}
