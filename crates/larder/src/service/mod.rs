//! From configuration to a running Larder: data directory, catalogue, store, log.

pub mod allocator;
pub mod banner;
pub mod beside;
mod cache;
pub mod listener;
pub mod log;
pub mod open;
pub mod open_files;
pub mod presence;
pub mod replication;
pub mod runtime;
pub mod secret;
pub mod shipped;
mod standby;
pub mod stop;
pub mod store;
