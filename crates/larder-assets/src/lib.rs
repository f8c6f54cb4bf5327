//! What Larder does, without the doors: intake, variants, reading, deletion, retention, keys.
//!
//! [`Larder`] is the handle; every door (HTTP, command line) calls the same methods, so that however
//! bytes come in they pass the same checks. This crate answers no HTTP and holds no SQL.
//!
//! The way of an upload: [`Larder::accept`] stages and checks it, records it and enqueues the job
//! [`jobs::ingest_upload`]; that decodes, commits the bytes to their place and enqueues
//! [`jobs::make_variants`];
//! [`Larder::read_original`] and [`Larder::read_variant`] hand bytes out.

pub mod adopt;
pub mod buckets;
pub mod cdn;
pub mod credentials;
pub mod databases;
pub mod fail_point;
pub mod follow;
pub mod intake;
pub mod isolation;
pub mod jobs;
pub mod links;
pub mod meta;
pub mod migrate;
pub mod net;
pub mod operation;
pub mod pixels;
pub mod policy;
pub mod preset;
pub mod reading;
pub mod reindex;
mod remembered;
pub mod removal;
pub mod scrub;
pub mod secrets;
pub mod settings;
pub mod statistics;
pub mod stores;
pub mod sweep;
pub mod variants;
pub mod view;

mod assets;
mod commit;
mod content;
#[cfg(test)]
mod home;
mod larder;
mod liveness;
mod reports;
mod spare;
mod warm;

pub use adopt::{AdoptOptions, AdoptReport, VariantRule};
pub use assets::{AssetPatch, AssetQuery, BatchAction, BatchOperation, BatchOutcome, CopyTarget};
pub use buckets::{Bucket, PresetView, PutPreset};
pub use commit::{PutOutcome, WriteCondition};
pub use credentials::{Action, IssuedKey, NewKey, Principal, Scope};
pub use databases::{DatabaseSettings, DatabaseView};
pub use follow::{Follow, Unfollowed};
pub use intake::{Accepted, DirectUpload, Door, Idempotency, Incoming, Staged, UploadQuery};
pub use larder::{Larder, Readiness};
pub use links::Links;
pub use liveness::ProcessName;
pub use migrate::{MigrateEvent, MigrateOptions, MigrateReport};
pub use operation::{JobQuery, ScheduleView};
pub use policy::{BucketPolicy, Layout, Visibility};
pub use reading::Readable;
pub use reindex::{ReindexOptions, ReindexReport};
pub use removal::{DeleteOptions, Deleted};
pub use scrub::{ScrubOptions, ScrubReport};
pub use secrets::Secrets;
pub use settings::Settings;
pub use statistics::Statistics;
pub use stores::Stores;
pub use sweep::{SweepOptions, SweepReport};
pub use view::{AssetPage, AssetView, JobView, KeyView, Page, UploadView, VariantView};
