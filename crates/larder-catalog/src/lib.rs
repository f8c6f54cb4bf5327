//! Records and the job queue, on SQLite and PostgreSQL.
//!
//! [`Catalog`] is the handle; it is cheap to clone. Reads are methods on it. Every write is a method
//! on [`Tx`] and goes through [`Catalog::commit`], which says how durable it is; so a record, its
//! jobs and its idempotency row are stored together or not at all.
//!
//! There is one SQL text for both engines, checked at run time; every test of this crate runs on
//! both. Absent on purpose: advisory locks, triggers, and any decision made by comparing the clocks of
//! two machines closer than a lease.
//!
//! ```no_run
//! # async fn example() -> Result<(), larder_catalog::Error> {
//! use larder_catalog::{Catalog, Class, NewJob, Target};
//! use larder_core::Ambient;
//!
//! let target = Target::Sqlite { catalog: "catalog.db".into(), state: "state.db".into() };
//! let catalog = Catalog::open(&target, Ambient::system()).await?;
//! catalog.migrate().await?;
//! let job = catalog
//!     .commit(Class::Durable, |tx| {
//!         Box::pin(async move { tx.enqueue(NewJob::new("scrub", "maintenance")).await })
//!     })
//!     .await?;
//! println!("{}", job.id);
//! # Ok(()) }
//! ```

mod barrier;
mod catalog;
mod change;
mod db;
mod error;
mod migrate;
mod page;
#[cfg(test)]
mod plans;
mod queue;
mod reads;
mod records;
mod state;
mod tx;
mod words;

pub use barrier::CommitBarrier;
pub use catalog::{Catalog, CommitCounters, JobSignal};
pub use change::Change;
pub use db::Target;
pub use error::{Cause, Error, Result};
pub use migrate::{Applied, AppliedMigration, Pending, SchemaStatus};
pub use page::Page;
pub use queue::{
    Backoff, Claim, Enqueued, HeartbeatAnswer, JOB_CRASHES_MAX, JobAttempt, JobFilter, JobRecord, JobState,
    Lease, NewJob, Outcome, QueueCount, Retry, TakenOver,
};
pub use records::{
    AssetChange, AssetFilter, AssetRecord, AssetStatus, BatchMove, Begun, BucketRecord, BucketUsage,
    CdnPurge, Checkpoint, CopyState, Fence, IdempotencyAnswer, IdempotencyRecord, IdempotencyState,
    KeyRecord, Level, MetaChange, MetaKind, MetaLog, MovingRecord, NewIdempotency, OrphanRecord, PlaceWrite,
    PresetRecord, ScheduleRecord, SpareCopy, StoreFilter, StoreUsage, TypeUsage, UploadChange, UploadFilter,
    UploadRecord, UploadStatus, UsageDay, VariantIdentity, VariantRecord, VariantResult, VariantStatus,
    VariantUsage,
};
pub use state::{Progress, RequestFigures, Touched, WorkerRecord};
pub use tx::{Class, Tx};
pub use words::UnknownWord;
