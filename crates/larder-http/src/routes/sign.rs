//! Signed URLs.

use std::time::Duration;

use larder_assets::{
    Action,
    links::{OWN_KEY, encode_path},
};
use larder_core::{BucketName, Code, Fault, ObjectKey, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Route, json_body, replies};
use crate::{
    call::{Call, Outcome, ok},
    delivery,
    problem::Problem,
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[Route {
    tag: "delivery",
    access: Access::Scoped(Action::Sign),
    summary: "Sign a URL for reading",
    detail: "Of an asset's own bytes, or, with `recipe` or `preset`, of a picture made of it. Making a URL asks no \
             store and does not look whether the asset exists.",
    payloads: &[json_body(body)],
    replies: &[replies(200, "the URL", signed)],
    ..Route::new("POST", "/api/v1/sign", "url_sign", |call| Box::pin(sign(call)))
}];

fn body() -> Value {
    schema::object(&[
        ("bucket", schema::text(), Need::Always),
        ("key", schema::text(), Need::Always),
        ("recipe", schema::text(), Need::Maybe),
        ("preset", schema::text(), Need::Maybe),
        ("extension", schema::text(), Need::Maybe),
        ("expires_in_seconds", schema::integer(), Need::Maybe),
    ])
}

fn signed() -> Value {
    schema::object(&[("url", schema::text(), Need::Always), ("expires_at", schema::instant(), Need::Always)])
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    bucket: BucketName,
    key: ObjectKey,
    recipe: Option<String>,
    preset: Option<String>,
    extension: Option<String>,
    expires_in_seconds: Option<u64>,
}

async fn sign(call: Call) -> Outcome {
    let body: Sign = call.json().await?;
    call.may(Action::Sign, Some(&body.bucket), Some(body.key.as_str()))?;
    let life = life_of(&call, body.expires_in_seconds)?;
    let links = call.larder().links();
    let expires = links.expiry(life);
    // Signed by the caller's key, so that revoking the key ends its URLs too.
    let signer = call.caller.principal.key.map_or_else(|| OWN_KEY.to_owned(), |key| key.to_string());
    let path = match recipe(&body)? {
        None => {
            links.sign(&format!("/m/{}/{}", body.bucket, encode_path(body.key.as_str())), &signer, expires)
        }
        Some(recipe) => {
            let extension = extension(&call, &body, &recipe).await?;
            let rest = format!("/{recipe}/{}/{}.{extension}", body.bucket, encode_path(body.key.as_str()));
            links.sign_variant(&rest, &signer, Some(expires))
        }
    };
    let expires_at = Timestamp::from_millis(expires.saturating_mul(1_000));
    ok(&json!({ "url": links.absolute(&path), "expires_at": expires_at }))
}

/// How long a signed URL is to be good.
pub(super) fn life_of(call: &Call, expires_in_seconds: Option<u64>) -> Result<Duration, Problem> {
    let settings = call.larder().settings();
    let life = expires_in_seconds.map_or(settings.signed_url_life, Duration::from_secs);
    if life.is_zero() || life > settings.signed_url_life_max {
        let longest = settings.signed_url_life_max.as_secs();
        return Err(Problem::invalid(format!("expires_in_seconds is a number from 1 to {longest}")));
    }
    Ok(life)
}

/// The recipe as it stands in the URL.
fn recipe(body: &Sign) -> Result<Option<String>, Problem> {
    match (&body.recipe, &body.preset) {
        (None, None) => Ok(None),
        (None, Some(preset)) => Ok(Some(format!("p:{preset}"))),
        (Some(recipe), None) => Ok(Some(recipe.clone())),
        (Some(_), Some(_)) => Err(Problem::invalid("recipe and preset exclude each other")),
    }
}

/// The extension asked for, else that of the recipe's format; also checks the recipe.
async fn extension(call: &Call, body: &Sign, recipe: &str) -> Result<String, Problem> {
    let parsed = match &body.preset {
        Some(preset) => call.larder().recipe_of_preset(preset).await?,
        None => recipe.parse::<larder_image::Recipe>().map_err(Fault::from)?,
    };
    if let Some(extension) = &body.extension {
        if !delivery::is_extension(extension) {
            let fault = Fault::new(Code::InvalidRecipe, format!("pictures are not made as .{extension}"));
            return Err(Problem::from(fault).remedy("name jpg, png, webp, avif or auto"));
        }
        return Ok(extension.clone());
    }
    Ok(parsed.format().url_extension().to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documented_body_is_the_one_that_is_read() {
        crate::routes::assert_same_members::<super::Sign>(&super::body());
    }
}
