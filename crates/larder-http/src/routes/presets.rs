//! Presets: recipes by name.

use http::StatusCode;
use larder_assets::Action;
use larder_core::Code;
use serde::Deserialize;
use serde_json::Value;

use super::{Access, Route, answers, json_body, present, replies};
use crate::{
    call::{Call, Outcome, at, json, no_content, ok},
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "presets",
        access: Access::Scoped(Action::Read),
        summary: "List the presets",
        replies: &[replies(200, "all of them", || schema::page(schema::named("Preset")))],
        ..Route::new("GET", "/api/v1/presets", "preset_list", |call| Box::pin(list(call)))
    },
    Route {
        tag: "presets",
        access: Access::Scoped(Action::Read),
        summary: "A preset and its recipe",
        replies: &[replies(200, "the preset", || schema::named("Preset"))],
        ..Route::new("GET", PRESET, "preset_show", |call| Box::pin(show(call)))
    },
    Route {
        tag: "presets",
        access: Access::Scoped(Action::Admin),
        summary: "Define a preset",
        detail: "If the recipe changed, `backfill` is the job that makes the new variants of assets that are there; \
                 the old ones are served until then.",
        payloads: &[json_body(body)],
        replies: &[replies(201, "made", put).with(&["Location"]), replies(200, "replaced", put)],
        ..Route::new("PUT", PRESET, "preset_write", |call| Box::pin(write(call)))
    },
    Route {
        tag: "presets",
        access: Access::Scoped(Action::Admin),
        summary: "Remove a preset that no bucket makes",
        replies: &[answers(204, "removed")],
        ..Route::new("DELETE", PRESET, "preset_delete", |call| Box::pin(remove(call)))
    },
];

const PRESET: &str = "/api/v1/presets/{name}";

fn body() -> Value {
    schema::object(&[("recipe", schema::text(), Need::Always)])
}

fn put() -> Value {
    schema::object(&[
        ("preset", schema::named("Preset"), Need::Always),
        ("backfill", schema::or_null(schema::id()), Need::Always),
    ])
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PresetBody {
    recipe: String,
}

async fn list(call: Call) -> Outcome {
    ok(&present::list(&call.larder().presets().await?, present::value))
}

async fn show(call: Call) -> Outcome {
    ok(&call.larder().preset(call.param("name")).await?)
}

async fn write(call: Call) -> Outcome {
    let body: PresetBody = call.json().await?;
    let name = call.param("name");
    let is_new = call.larder().preset(name).await.is_err_and(|fault| fault.code == Code::PresetNotFound);
    let put = call.larder().put_preset(name, &body.recipe).await?;
    call.context.app.recipes().forget(name);
    match is_new {
        true => Ok(at(json(StatusCode::CREATED, &put), call.larder(), &format!("/api/v1/presets/{name}"))),
        false => ok(&put),
    }
}

async fn remove(call: Call) -> Outcome {
    call.larder().remove_preset(call.param("name")).await?;
    call.context.app.recipes().forget(call.param("name"));
    no_content()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documented_body_is_the_one_that_is_read() {
        crate::routes::assert_same_members::<super::PresetBody>(&super::body());
    }
}
