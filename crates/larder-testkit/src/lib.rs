//! What tests share: contract suites that every implementation passes, starters for real servers,
//! and generated fixtures. For tests only.

pub mod copying_store;
pub mod faulty_store;
pub mod fixtures;
pub mod heedless_store;
pub mod hook;
pub mod postgres;
pub mod s3;
pub mod server;
pub mod store_contract;
