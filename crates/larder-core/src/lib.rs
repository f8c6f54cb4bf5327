//! The nouns that every crate of Larder shares: identifiers, keys, limits, faults, file types, and
//! the handles through which clock and randomness come in.
//!
//! Text from outside is parsed here once into a type ([`ObjectKey`], [`BucketName`]) and trusted
//! afterwards. Nothing in this crate does I/O.

pub mod ambient;
pub mod fault;
pub mod file_type;
pub mod id;
pub mod key;
pub mod limits;
pub mod text;
pub mod time;

pub use ambient::{Ambient, Clock, Entropy, ManualClock};
pub use fault::{Code, Fault, FaultKind};
pub use file_type::FileType;
pub use id::{AssetId, JobId, KeyId, UploadId, VariantId};
pub use key::{BucketName, KeyError, ObjectKey};
pub use time::Timestamp;
