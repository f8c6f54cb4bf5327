//! Records: one file per table, with its type and its queries.

mod asset;
mod asset_level;
mod asset_lists;
mod bucket;
mod counter;
mod idempotency;
mod key;
mod meta;
mod place_write;
mod preset;
mod rebuild;
mod schedule;
mod spare_copy;
mod store_lists;
mod upload;
mod upload_lists;
mod usage;
mod variant;
mod variant_lists;

pub use asset::{AssetChange, AssetRecord, AssetStatus};
pub use asset_level::Level;
pub use asset_lists::AssetFilter;
pub use bucket::BucketRecord;
pub(crate) use counter::Counts;
pub use idempotency::{Begun, IdempotencyAnswer, IdempotencyRecord, IdempotencyState, NewIdempotency};
pub use key::KeyRecord;
pub use meta::{MetaChange, MetaKind, MetaLog, OrphanRecord};
pub use place_write::{Fence, PlaceWrite};
pub use preset::PresetRecord;
pub use schedule::ScheduleRecord;
pub use spare_copy::{CopyState, SpareCopy};
pub use store_lists::{StoreFilter, StoreUsage};
pub use upload::{UploadChange, UploadRecord, UploadStatus};
pub use upload_lists::UploadFilter;
pub use usage::{BucketUsage, TypeUsage, VariantUsage};
pub use variant::{VariantIdentity, VariantRecord, VariantResult, VariantStatus};
