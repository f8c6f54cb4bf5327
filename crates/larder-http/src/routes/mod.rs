//! The table of routes: router and OpenAPI document are both made from it.
//!
//! A group of routes is a file with its own ordered `ROUTES`; to add a route, add a line there.

mod asset_batch;
mod assets;
mod buckets;
mod bulk;
mod databases;
mod delivery;
mod digest;
mod direct;
mod events;
mod form;
mod health;
mod imports;
mod integrity;
mod jobs;
mod keys;
mod landing;
mod objects;
mod operation;
mod present;
mod presets;
mod sign;
mod uploads;

use axum::{
    Router,
    extract::{FromRequestParts, RawPathParams, Request},
    response::Response,
    routing::{MethodFilter, on},
};
use larder_assets::{Action, Principal};
use larder_core::{Code, Fault};

use crate::{
    app::Context,
    auth::{self, ByMachine, Caller},
    body::ResponseBody,
    call::{Call, Handler, Outcome},
    observe::RouteName,
    problem::Problem,
    schema::Shape,
};

/// One line of the table.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// In the router's form: `{name}`, and `{*name}` for the rest of the path.
    pub(crate) path: &'static str,
    /// Unique; the document's `operationId`.
    pub(crate) name: &'static str,
    /// The group in the document.
    pub(crate) tag: &'static str,
    pub(crate) access: Access,
    pub(crate) summary: &'static str,
    /// More than the summary says; may be empty.
    pub(crate) detail: &'static str,
    pub(crate) parameters: &'static [Parameter],
    /// The bodies it takes; any one of them.
    pub(crate) payloads: &'static [Payload],
    /// What it answers when all is well.
    pub(crate) replies: &'static [Reply],
    /// Who handles it; `None` for delivery, which is answered before the router.
    pub(crate) handler: Option<Handler>,
}

/// Who may call a route; decided before any byte of the body is read. Handlers refine it by bucket
/// and key with [`Call::may`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anyone; the handler learns nothing of the caller.
    Public,
    /// Anyone may ask; whether the answer needs a credential with this action, the handler decides.
    Optional(Action),
    /// Only with a credential that has this action somewhere.
    Scoped(Action),
}

/// A parameter that is not part of the path.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) description: &'static str,
    pub(crate) schema: Shape,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Query,
    Header,
}

/// A body that a route takes.
pub(crate) struct Payload {
    pub(crate) content_type: &'static str,
    pub(crate) schema: Shape,
    pub(crate) optional: bool,
}

/// An answer that a route gives.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) description: &'static str,
    pub(crate) content: Option<(&'static str, Shape)>,
    /// Headers that belong to it.
    pub(crate) headers: &'static [&'static str],
}

impl Reply {
    /// With these headers.
    const fn with(mut self, headers: &'static [&'static str]) -> Self {
        self.headers = headers;
        self
    }
}

impl Route {
    /// A line with what most routes have in common.
    const fn new(method: &'static str, path: &'static str, name: &'static str, handler: Handler) -> Self {
        Self {
            method,
            path,
            name,
            tag: "",
            access: Access::Public,
            summary: "",
            detail: "",
            parameters: &[],
            payloads: &[],
            replies: &[],
            handler: Some(handler),
        }
    }
}

/// A parameter of the query.
const fn query(name: &'static str, description: &'static str, schema: Shape) -> Parameter {
    Parameter { name, place: Place::Query, description, schema }
}

/// A parameter in a header.
const fn header(name: &'static str, description: &'static str, schema: Shape) -> Parameter {
    Parameter { name, place: Place::Header, description, schema }
}

/// A JSON body.
const fn json_body(schema: Shape) -> Payload {
    Payload { content_type: "application/json", schema, optional: false }
}

/// An answer with a JSON body.
const fn replies(status: u16, description: &'static str, schema: Shape) -> Reply {
    sends(status, description, "application/json", schema)
}

/// An answer with a body of another type.
const fn sends(status: u16, description: &'static str, content_type: &'static str, schema: Shape) -> Reply {
    Reply { status, description, content: Some((content_type, schema)), headers: &[] }
}

/// An answer without a body.
const fn answers(status: u16, description: &'static str) -> Reply {
    Reply { status, description, content: None, headers: &[] }
}

/// The groups, in the order of the document.
const GROUPS: &[&[Route]] = &[
    uploads::ROUTES,
    imports::ROUTES,
    direct::ROUTES,
    events::ROUTES,
    objects::ROUTES,
    assets::ROUTES,
    asset_batch::ROUTES,
    buckets::ROUTES,
    bulk::ROUTES,
    presets::ROUTES,
    sign::ROUTES,
    jobs::ROUTES,
    operation::ROUTES,
    integrity::ROUTES,
    databases::ROUTES,
    keys::ROUTES,
    delivery::ROUTES,
    health::ROUTES,
    landing::ROUTES,
];

/// Every route.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    GROUPS.iter().copied().flatten()
}

/// The router of everything but delivery.
pub(crate) fn router() -> Router {
    let mut router = Router::new();
    for route in all() {
        let (Some(handler), Some(filter)) = (route.handler, filter(route.method)) else { continue };
        router = router.route(route.path, on(filter, move |request: Request| run(route, handler, request)));
    }
    router
        .method_not_allowed_fallback(|request: Request| refuse(request, Code::MethodNotAllowed))
        .fallback(|request: Request| refuse(request, Code::RouteNotFound))
}

fn filter(method: &str) -> Option<MethodFilter> {
    Some(match method {
        // GET includes HEAD.
        "GET" => MethodFilter::GET,
        "PUT" => MethodFilter::PUT,
        "POST" => MethodFilter::POST,
        "PATCH" => MethodFilter::PATCH,
        "DELETE" => MethodFilter::DELETE,
        _ => return None,
    })
}

async fn run(route: &'static Route, handler: Handler, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(context) = parts.extensions.remove::<Context>() else { return Response::default() };
    let path = parts.uri.path().to_owned();
    let mut by_machine = false;
    let outcome: Outcome = async {
        let params = path_params(&mut parts).await?;
        let caller = admit(&context, route.access, &parts).await?;
        by_machine = caller.by_machine;
        handler(Call::new(context.clone(), caller, params, parts, body)).await
    }
    .await;
    let mut response = outcome.unwrap_or_else(|problem| context.refuse(problem, &path));
    response.extensions_mut().insert(RouteName(route.path));
    if by_machine {
        response.extensions_mut().insert(ByMachine);
    }
    response.map(axum::body::Body::new)
}

/// Decides whether the caller may call the route at all.
async fn admit(context: &Context, access: Access, parts: &http::request::Parts) -> Result<Caller, Fault> {
    match access {
        // Health checks must not ask the catalogue who asks.
        Access::Public => Ok(Caller { principal: Principal::anonymous(), by_machine: false }),
        Access::Optional(_) => auth::identify(context, parts).await,
        Access::Scoped(action) => {
            let caller = auth::identify(context, parts).await?;
            // Where a key has its actions only the handler can judge; nobody has them nowhere.
            if action == Action::Admin || caller.principal.is_anonymous() {
                caller.principal.may(action, None, None)?;
            }
            Ok(caller)
        }
    }
}

async fn path_params(parts: &mut http::request::Parts) -> Result<Vec<(String, String)>, Problem> {
    match RawPathParams::from_request_parts(parts, &()).await {
        Ok(params) => Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
        Err(_) => {
            Err(Problem::from(Fault::new(Code::InvalidKey, "the path is no UTF-8 after percent-decoding"))
                .remedy("encode names as UTF-8 before percent-encoding them"))
        }
    }
}

async fn refuse(mut request: Request, code: Code) -> Response {
    let Some(context) = request.extensions_mut().remove::<Context>() else { return Response::default() };
    let path = request.uri().path();
    let fault = Fault::new(code, format!("{} {path} is not part of this API", request.method()));
    context.refuse(fault.into(), path).map(axum::body::Body::new)
}

impl Context {
    /// The answer to a refused request.
    pub(crate) fn refuse(&self, problem: Problem, path: &str) -> http::Response<ResponseBody> {
        problem.into_response(path, self.request_id.as_str())
    }
}

/// Checks that a body's schema has exactly the members that its type reads: a type that refuses
/// unknown fields names the known ones when it does.
#[cfg(test)]
pub(crate) fn assert_same_members<T: serde::de::DeserializeOwned>(schema: &serde_json::Value) {
    let Err(error) = serde_json::from_str::<T>(r#"{"no such field":0}"#) else {
        panic!("the type takes unknown fields");
    };
    let text = error.to_string();
    let (_, expected) = text.split_once("expected").unwrap_or_else(|| panic!("{text}"));
    let mut read: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let mut documented: Vec<&str> = schema["properties"]
        .as_object()
        .map(|all| all.keys().map(String::as_str).collect())
        .unwrap_or_default();
    read.sort_unstable();
    documented.sort_unstable();
    assert_eq!(read, documented);
}
