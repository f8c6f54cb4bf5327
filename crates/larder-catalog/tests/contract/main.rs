//! What the catalogue promises, on both engines.

mod assets;
mod batches;
mod commits;
mod engine;
mod meta;
mod named;
mod outside;
mod places;
mod queue;
mod shared;
mod state;
mod stores;
mod uploads;
mod variants;
