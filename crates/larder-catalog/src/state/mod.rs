//! What may be lost: progress, last uses, workers, heartbeats. It lies in `state.db`, or in tables of
//! PostgreSQL that are written with `synchronous_commit = off`.

pub(crate) mod beat;
mod figures;
mod last_use;
mod progress;
mod worker;

pub use figures::RequestFigures;
pub use last_use::Touched;
pub use progress::Progress;
pub use worker::WorkerRecord;
