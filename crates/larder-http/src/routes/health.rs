//! Whether the process lives, whether it can serve, and what it has done.

use http::{HeaderValue, StatusCode, header};
use larder_assets::Action;
use larder_core::Fault;
use serde_json::{Value, json};

use super::{Access, Route, replies, sends};
use crate::{
    auth,
    body::ResponseBody,
    call::{Call, Outcome, json as json_answer, ok},
    database_figures, loopback, observe, problem,
    schema::{self, Need},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "operation",
        summary: "Whether the process lives",
        detail: "Touches neither catalogue nor store: a restart would not mend them.",
        replies: &[replies(200, "it does", alive)],
        ..Route::new("GET", "/healthz", "health", |call| Box::pin(health(call)))
    },
    Route {
        tag: "operation",
        summary: "Whether it can serve",
        detail: "503 while the catalogue does not answer, the process stops, or it is on `standby`: another server \
                 holds the catalogue, this one answers reads and takes over when that one ends. A store that does not answer makes it \
                 `degraded` only: what is in memory is still served, and taking every process out of rotation would \
                 not bring the store back. Why a store was last found away, in its own words, is told to a key with \
                 `admin` and to a peer on this machine that is no proxy.",
        replies: &[replies(200, "it can", ready), replies(503, "it can't", ready)],
        ..Route::new("GET", "/readyz", "readiness", |call| Box::pin(readiness(call)))
    },
    Route {
        tag: "operation",
        access: Access::Public,
        summary: "Figures in the text format of Prometheus",
        detail: "For a key with `admin`, or a peer on this machine that is no proxy.",
        replies: &[sends(200, "the figures", "text/plain", schema::text)],
        ..Route::new("GET", "/metrics", "metrics", |call| Box::pin(metrics(call)))
    },
];

fn alive() -> Value {
    schema::object(&[("status", schema::one_of(&["ok"]), Need::Always)])
}

fn ready() -> Value {
    schema::object(&[
        ("status", schema::one_of(&["ok", "degraded", "standby", "unavailable"]), Need::Always),
        ("catalog", schema::or_null(schema::named("Problem")), Need::Always),
        ("store", schema::or_null(schema::named("Problem")), Need::Always),
        ("store_error", schema::or_null(schema::text()), Need::Maybe),
        ("stopping", schema::boolean(), Need::Always),
    ])
}

async fn health(_: Call) -> Outcome {
    ok(&json!({ "status": "ok" }))
}

async fn readiness(call: Call) -> Outcome {
    let stopping = call.context.app.stopping().is_cancelled();
    let parts = call.larder().readiness().await;
    let is_standby = call.larder().catalog().writes_refused().is_some();
    let (status, code) = match (&parts.catalog, &parts.store) {
        _ if stopping => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        (Err(_), _) => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        _ if is_standby => ("standby", StatusCode::SERVICE_UNAVAILABLE),
        (Ok(()), Err(_)) => ("degraded", StatusCode::OK),
        (Ok(()), Ok(())) => ("ok", StatusCode::OK),
    };
    let part = |outcome: &Result<(), Fault>| outcome.as_ref().err().map(problem::describe);
    let mut body = json!({
        "status": status,
        "catalog": part(&parts.catalog),
        "store": part(&parts.store),
        "stopping": stopping,
    });
    if let Some(error) = parts.store_error
        && sees_figures(&call).await.is_ok()
    {
        body["store_error"] = Value::from(error);
    }
    Ok(json_answer(code, &body))
}

/// Refuses whoever is neither an administrator nor a process of this machine.
async fn sees_figures(call: &Call) -> Result<(), Fault> {
    if loopback::is_direct(call.context.peer, &call.parts) {
        return Ok(());
    }
    let caller = auth::identify(&call.context, &call.parts).await?;
    caller.principal.may(Action::Admin, None, None)
}

async fn metrics(call: Call) -> Outcome {
    sees_figures(&call).await?;
    let text = observe::render()
        .ok_or_else(|| Fault::internal("another recorder of metrics was installed in this process"))?;
    let text = text + &database_figures::render(call.larder()).await;
    let mut response = http::Response::new(ResponseBody::full(text));
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
