//! The job queue: a table of the catalogue.
//!
//! A job is enqueued in the transaction of the record that it is for, so neither exists without the
//! other. Whoever claims it gets a lease, whose number is higher than that of every earlier claim; it
//! is proved in each transaction that ends the job or stores its result. A worker that was taken for
//! dead can therefore change nothing any more, however late it wakes up. A job may run twice; it
//! counts once.

mod backoff;
mod claim;
mod control;
mod end;
mod enqueue;
mod heartbeat;
mod job;
mod list;
mod takeover;

pub use backoff::Backoff;
pub use claim::{Claim, Lease};
pub use end::{Outcome, Retry};
pub use enqueue::{Enqueued, NewJob};
pub use heartbeat::HeartbeatAnswer;
pub use job::{JobAttempt, JobRecord, JobState};
pub use list::{JobFilter, QueueCount};
pub use takeover::{JOB_CRASHES_MAX, TakenOver};
