//! Buckets and their rules.

use http::StatusCode;
use larder_assets::{Action, BucketPolicy};
use larder_core::Code;
use serde_json::Value;

use super::{Access, Route, answers, json_body, present, replies};
use crate::{
    call::{Call, Outcome, at, json, no_content, ok},
    schema,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "buckets",
        access: Access::Scoped(Action::List),
        summary: "List the buckets that the key covers",
        replies: &[replies(200, "all of them", || schema::page(bucket()))],
        ..Route::new("GET", "/api/v1/buckets", "bucket_list", |call| Box::pin(list(call)))
    },
    Route {
        tag: "buckets",
        access: Access::Scoped(Action::List),
        summary: "A bucket and its rules",
        replies: &[replies(200, "the bucket", bucket)],
        ..Route::new("GET", BUCKET, "bucket_show", |call| Box::pin(show(call)))
    },
    Route {
        tag: "buckets",
        access: Access::Scoped(Action::Admin),
        summary: "Make a bucket, or replace its rules",
        detail: "The body is the whole policy: what it leaves out takes its default. A bucket of the configuration \
                 file is read-only here.",
        payloads: &[json_body(|| schema::named("Policy"))],
        replies: &[replies(201, "made", bucket).with(&["Location"]), replies(200, "replaced", bucket)],
        ..Route::new("PUT", BUCKET, "bucket_write", |call| Box::pin(write(call)))
    },
    Route {
        tag: "buckets",
        access: Access::Scoped(Action::Admin),
        summary: "Remove an empty bucket",
        replies: &[answers(204, "removed")],
        ..Route::new("DELETE", BUCKET, "bucket_delete", |call| Box::pin(remove(call)))
    },
];

const BUCKET: &str = "/api/v1/buckets/{bucket}";

fn bucket() -> Value {
    schema::named("Bucket")
}

async fn list(call: Call) -> Outcome {
    let mut buckets = call.larder().buckets().await?;
    buckets.retain(|bucket| call.may(Action::List, Some(&bucket.name), Some("")).is_ok());
    ok(&present::list(&buckets, |bucket| present::value(&**bucket)))
}

async fn show(call: Call) -> Outcome {
    let name = call.bucket()?;
    call.may(Action::List, Some(&name), Some(""))?;
    ok(&*call.larder().bucket(&name).await?)
}

async fn write(call: Call) -> Outcome {
    let name = call.bucket()?;
    let policy: BucketPolicy = call.json().await?;
    let is_new = call.larder().bucket(&name).await.is_err_and(|fault| fault.code == Code::BucketNotFound);
    let bucket = call.larder().put_bucket(&name, policy).await?;
    match is_new {
        true => {
            Ok(at(json(StatusCode::CREATED, &*bucket), call.larder(), &format!("/api/v1/buckets/{name}")))
        }
        false => ok(&*bucket),
    }
}

async fn remove(call: Call) -> Outcome {
    call.larder().remove_bucket(&call.bucket()?).await?;
    no_content()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_policy_is_the_one_that_is_read() {
        let (_, policy) = schema::COMPONENTS.iter().find(|(name, _)| *name == "Policy").unwrap();
        crate::routes::assert_same_members::<BucketPolicy>(&policy());
    }
}
