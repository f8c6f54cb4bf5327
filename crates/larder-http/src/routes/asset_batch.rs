//! Many assets in one operation.

use larder_assets::{Action, BatchAction, BatchOperation, BatchOutcome};
use larder_core::{Code, Fault};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Route, assets, json_body, present, replies};
use crate::{
    call::{Call, Outcome, ok},
    problem::{self, Problem},
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[Route {
    tag: "assets",
    access: Access::Scoped(Action::Read),
    summary: "Do something to up to 100 assets",
    detail: "Each operation stands for itself: one that fails does not hinder the others, and its outcome holds the \
             problem. The outcomes are in the order of the operations. If none worked, the first problem is \
             answered, with all outcomes as its `items`.",
    payloads: &[json_body(body)],
    replies: &[replies(200, "what became of each", outcomes)],
    ..Route::new("POST", "/api/v1/assets/batch", "asset_batch", |call| Box::pin(batch(call)))
}];

fn body() -> Value {
    schema::object(&[("operations", schema::list(operation()), Need::Always)])
}

fn operation() -> Value {
    schema::object(&[
        ("action", schema::one_of(&["delete", "purge", "restore", "rebuild", "update"]), Need::Always),
        ("id", schema::id(), Need::Always),
        ("patch", schema::or_null(assets::patch()), Need::Maybe),
    ])
}

fn outcomes() -> Value {
    let outcome = schema::object(&[
        ("id", schema::id(), Need::Always),
        ("ok", schema::boolean(), Need::Always),
        ("job", schema::id(), Need::Maybe),
        ("error", schema::named("Problem"), Need::Maybe),
    ]);
    schema::object(&[("items", schema::list(outcome), Need::Always)])
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    operations: Vec<BatchOperation>,
}

async fn batch(call: Call) -> Outcome {
    let Batch { operations } = call.json().await?;
    let items_max = call.larder().settings().batch_items_max;
    if operations.len() > items_max {
        let detail = format!("{} operations came, at most {items_max} are possible", operations.len());
        return Err(Fault::new(Code::BatchTooLarge, detail).into());
    }
    let mut outcomes = Vec::with_capacity(operations.len());
    for operation in operations {
        let id = operation.id;
        let outcome = match assets::permitted(&call, id, needed(operation.action)).await {
            Ok(_) => call.larder().batch(vec![operation]).await?.pop(),
            Err(refusal) => Some(BatchOutcome { id, ok: false, job: None, error: Some(*refusal.fault) }),
        };
        outcomes.extend(outcome);
    }
    let items: Vec<Value> = outcomes.iter().map(shown).collect();
    // A batch of which nothing worked is no success.
    if let (true, Some(fault)) =
        (outcomes.iter().all(|outcome| !outcome.ok), outcomes.first().and_then(|first| first.error.clone()))
    {
        return Err(Problem::of_all(fault, items));
    }
    ok(&json!({ "items": items }))
}

/// What a credential must allow for an operation.
fn needed(action: BatchAction) -> Action {
    match action {
        BatchAction::Delete | BatchAction::Purge => Action::Delete,
        BatchAction::Restore | BatchAction::Rebuild | BatchAction::Update => Action::Write,
    }
}

fn shown(outcome: &BatchOutcome) -> Value {
    let mut value = present::value(outcome);
    if let Some(fault) = &outcome.error {
        value["error"] = problem::describe(fault);
    }
    value
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documented_bodies_are_the_ones_that_are_read() {
        crate::routes::assert_same_members::<super::Batch>(&super::body());
        crate::routes::assert_same_members::<larder_assets::BatchOperation>(&super::operation());
    }
}
