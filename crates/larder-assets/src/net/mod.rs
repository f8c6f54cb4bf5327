//! The one client for requests that Larder makes to addresses strangers name.

mod addresses;
mod client;

pub use addresses::{Network, is_public};
pub use client::{Guarded, ImportSettings, Posted, Remote};
