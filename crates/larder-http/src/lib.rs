//! Everything that answers HTTP: the native API under `/api/v1`, delivery under `/m` and `/i`, health
//! and metrics.
//!
//! The way of a request: [`serve`] accepts connections and bounds what a peer may take; [`App::answer`]
//! names the request, finds out who asks, and hands it to delivery or to one of the routes of the one
//! table in `routes/`, from which the OpenAPI document is made too. A refusal is a
//! [`Fault`](larder_core::Fault) until `problem.rs` makes it an answer, by the one table of codes.
//!
//! What is absent: SQL, image code, and decisions about assets, which are `larder-assets`'. This crate
//! parses, authorises, calls and prints.

mod alias;
mod app;
mod auth;
mod body;
mod call;
mod cors;
mod database_figures;
mod delivery;
mod figures;
mod loopback;
mod observe;
mod openapi;
mod path;
mod problem;
mod request_id;
mod routes;
mod schema;
mod server;

pub use alias::PathAlias;
pub use app::{App, AppOptions, Peer};
pub use body::{RequestBody, ResponseBody};
pub use delivery::{Sendfile, TagHeader};
pub use server::{ServerLimits, serve};
