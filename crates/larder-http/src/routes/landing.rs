//! The page at `/`, and the OpenAPI document.

use http::{HeaderValue, header};

use super::{Route, replies, sends};
use crate::{
    body::ResponseBody,
    call::{Call, Outcome, ok},
    openapi, schema,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "operation",
        summary: "What this is, for people",
        replies: &[sends(200, "a page", "text/html", schema::text)],
        ..Route::new("GET", "/", "landing", |call| Box::pin(landing(call)))
    },
    Route {
        tag: "operation",
        summary: "This document",
        replies: &[replies(200, "OpenAPI 3.1", schema::open_object)],
        ..Route::new("GET", "/openapi.json", "openapi", |call| Box::pin(document(call)))
    },
];

async fn landing(call: Call) -> Outcome {
    let base = call.larder().links().absolute("");
    let shown = if base.is_empty() { "http://localhost:8000" } else { &base };
    let page = PAGE
        .replace("{base}", &base)
        .replace("{shown}", shown)
        .replace("{version}", env!("CARGO_PKG_VERSION"));
    let mut response = http::Response::new(ResponseBody::full(page));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    Ok(response)
}

async fn document(call: Call) -> Outcome {
    ok(&openapi::document(&call.larder().links().absolute("")))
}

const PAGE: &str = include_str!("landing.html");
