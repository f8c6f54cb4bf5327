//! The application: from a request to its answer, independent of connections.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::Router;
use http::{Method, Request, Response, header, request::Parts};
use http_body::Body;
use larder_assets::Larder;
use larder_core::{Code, Fault};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

use crate::{
    alias::PathAlias,
    body::{RequestBody, ResponseBody},
    cors,
    delivery::{self, Recipes, Sendfile, TagHeader},
    figures::Figures,
    observe, path,
    request_id::{self, RequestId},
    routes,
    server::ServerLimits,
};

/// How an [`App`] answers.
#[derive(Debug, Clone, Default)]
pub struct AppOptions {
    /// What a peer may take of the server.
    pub limits: ServerLimits,
    /// Lets the web server in front send the bytes of files itself.
    pub sendfile: Option<Sendfile>,
    /// A second path for the originals of one bucket.
    pub alias: Option<PathAlias>,
    /// Headers that tell caches in front what an answer belongs to.
    pub tags: Vec<TagHeader>,
}

/// Who sits at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its address: a client's, or that of the proxy in front.
    pub address: SocketAddr,
}

/// The application. A cheap handle.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    larder: Larder,
    options: AppOptions,
    router: Router,
    recipes: Recipes,
    figures: Figures,
    /// Cancelled when the process begins to stop.
    stopping: CancellationToken,
    /// Cancelled when the grace time is over.
    cut: CancellationToken,
}

/// What a route's handler is told besides the request.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) app: App,
    pub(crate) peer: Peer,
    pub(crate) request_id: RequestId,
}

impl App {
    /// An application that answers for `larder`.
    pub fn new(larder: Larder, options: AppOptions) -> Self {
        observe::install();
        let inner = Inner {
            larder,
            options,
            router: routes::router(),
            recipes: Recipes::new(),
            figures: Figures::default(),
            stopping: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        Self(Arc::new(inner))
    }

    /// What this application answers for.
    pub fn larder(&self) -> &Larder {
        &self.0.larder
    }

    /// How it answers.
    pub fn options(&self) -> &AppOptions {
        &self.0.options
    }

    /// Answers one request; never fails. Whatever the peer's body holds is read only after the
    /// request was found permitted.
    pub async fn answer(&self, request: Request<RequestBody>, peer: Peer) -> Response<ResponseBody> {
        let began = Instant::now();
        let (mut parts, body) = request.into_parts();
        let alias = self.options().alias.as_ref();
        path::strip_prefix(&mut parts.uri, self.larder().links().path_prefix(), alias);
        if let Some(alias) = alias {
            alias.resolve(&mut parts.uri);
        }
        let request_id = RequestId::of(&parts.headers, self.larder().ambient());
        let context = Context { app: self.clone(), peer, request_id };

        let cross = cors::Cross::of(&parts);
        let mut response = match &cross {
            Some(cross) if cross.is_preflight(&parts) => cors::preflight(self, cross, &parts).await,
            _ => self.dispatch(&context, &mut parts, body).await,
        };
        if let Some(cross) = cross {
            cors::allow(self, &cross, &parts, &mut response).await;
        }
        if parts.method == Method::HEAD {
            take_body_away(&mut response);
        }
        response.headers_mut().insert(request_id::HEADER, context.request_id.to_header());
        observe::answered(&context, &parts, &response, began.elapsed());
        response
    }

    async fn dispatch(
        &self,
        context: &Context,
        parts: &mut Parts,
        body: RequestBody,
    ) -> Response<ResponseBody> {
        if let Some(why) = self.larder().catalog().writes_refused()
            && !parts.method.is_safe()
        {
            let fault = Fault::new(Code::CatalogUnavailable, why);
            return context.refuse(fault.into(), parts.uri.path());
        }
        // Delivery is most of what is asked for; it does not go through the router.
        if let Some(door) = delivery::Door::of(parts.uri.path()) {
            let outcome = delivery::deliver(context, door, parts).await;
            return outcome.unwrap_or_else(|problem| delivery::refuse(context, problem, parts.uri.path()));
        }
        let mut request = Request::new(body);
        request.method_mut().clone_from(&parts.method);
        request.uri_mut().clone_from(&parts.uri);
        *request.version_mut() = parts.version;
        request.headers_mut().clone_from(&parts.headers);
        request.extensions_mut().insert(context.clone());
        let Ok(response) = self.0.router.clone().oneshot(request).await;
        response.map(ResponseBody::Routed)
    }

    /// Recipes that were asked for lately.
    pub(crate) fn recipes(&self) -> &Recipes {
        &self.0.recipes
    }

    /// What was answered for each bucket.
    pub(crate) fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// Sends watchers away and asks connections to end.
    pub(crate) fn begin_shutdown(&self) {
        self.0.stopping.cancel();
    }

    /// Cuts every connection when the guard is dropped.
    pub(crate) fn cut_on_drop(&self) -> DropGuard {
        self.0.cut.clone().drop_guard()
    }

    /// Cancelled when the process begins to stop.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Cancelled when connections are cut.
    pub(crate) fn cut(&self) -> &CancellationToken {
        &self.0.cut
    }
}

/// Answers to HEAD have the head of the answer to GET and no body (RFC 9110, section 9.3.2): refusals
/// are made with one.
fn take_body_away(response: &mut Response<ResponseBody>) {
    let length = response.body().size_hint().exact().filter(|length| *length > 0);
    if let Some(length) = length {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    *response.body_mut() = ResponseBody::Empty;
}
