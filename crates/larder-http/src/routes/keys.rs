//! API keys.

use std::time::Duration;

use http::StatusCode;
use larder_assets::{Action, NewKey};
use larder_core::{KeyId, text::Span};
use serde::Deserialize;
use serde_json::Value;

use super::{Access, Payload, Route, json_body, present, replies};
use crate::{
    call::{Call, Outcome, json, ok},
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "keys",
        access: Access::Scoped(Action::Admin),
        summary: "Make a key",
        detail: "The secrets are in this answer and nowhere else: Larder keeps a digest.",
        payloads: &[json_body(body)],
        replies: &[replies(201, "made", || schema::named("NewKey"))],
        ..Route::new("POST", "/api/v1/keys", "key_create", |call| Box::pin(create(call)))
    },
    Route {
        tag: "keys",
        access: Access::Scoped(Action::Admin),
        summary: "List the keys, without their secrets",
        replies: &[replies(200, "all of them", || schema::page(schema::named("Key")))],
        ..Route::new("GET", "/api/v1/keys", "key_list", |call| Box::pin(list(call)))
    },
    Route {
        tag: "keys",
        access: Access::Scoped(Action::Admin),
        summary: "Revoke a key at once",
        replies: &[replies(200, "the key", || schema::named("Key"))],
        ..Route::new("DELETE", "/api/v1/keys/{id}", "key_revoke", |call| Box::pin(revoke(call)))
    },
    Route {
        tag: "keys",
        access: Access::Scoped(Action::Admin),
        summary: "Replace a key by a new one with the same scope",
        detail: "The old key works for `overlap` more (24 hours unless said otherwise), so that its users can change.",
        payloads: &[Payload { content_type: "application/json", schema: rotation, optional: true }],
        replies: &[replies(201, "made", || schema::named("NewKey"))],
        ..Route::new("POST", "/api/v1/keys/{id}/rotate", "key_rotate", |call| Box::pin(rotate(call)))
    },
];

/// How long a rotated key works on: a day, within which a deployment can follow.
const OVERLAP: Duration = Duration::from_secs(86_400);

fn span() -> Value {
    serde_json::json!({ "type": ["integer", "string"], "description": "seconds, or text such as \"24h\"" })
}

fn body() -> Value {
    schema::object(&[
        ("name", schema::text(), Need::Always),
        ("scope", schema::named("Scope"), Need::Always),
        ("expires_in", schema::or_null(span()), Need::Maybe),
    ])
}

fn rotation() -> Value {
    schema::object(&[("overlap", span(), Need::Maybe)])
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    overlap: Option<Span>,
}

async fn create(call: Call) -> Outcome {
    let new: NewKey = call.json().await?;
    let issued = call.larder().create_key(new).await?;
    Ok(json(StatusCode::CREATED, &issued))
}

async fn list(call: Call) -> Outcome {
    ok(&present::list(&call.larder().keys().await?, present::value))
}

async fn revoke(call: Call) -> Outcome {
    let id: KeyId = call.id()?;
    ok(&call.larder().revoke_key(id).await?)
}

async fn rotate(call: Call) -> Outcome {
    let id: KeyId = call.id()?;
    let rotation: Rotation = call.json_or_default().await?;
    let issued = call.larder().rotate_key(id, rotation.overlap.map_or(OVERLAP, |span| span.0)).await?;
    Ok(json(StatusCode::CREATED, &issued))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_bodies_are_the_ones_that_are_read() {
        crate::routes::assert_same_members::<NewKey>(&body());
        crate::routes::assert_same_members::<Rotation>(&rotation());
        let (_, scope) = schema::COMPONENTS.iter().find(|(name, _)| *name == "Scope").unwrap();
        crate::routes::assert_same_members::<larder_assets::Scope>(&scope());
    }
}
