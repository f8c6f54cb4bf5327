//! Runs jobs: claims them, keeps their leases alive, stores how they end, and enqueues what comes by
//! schedule. What the jobs do stands in [`larder_assets::jobs`].
//!
//! Any number of workers, in any number of processes, share a catalogue. A worker that dies loses its
//! lease, and another takes the job over; a worker that was only slow finds its lease raised and can't
//! store anything any more.

mod attempt;
mod schedules;
mod worker;

pub use schedules::check as check_schedule;
pub use worker::{Worker, WorkerOptions};
