//! Records in the store: what the store can't hold beside the bytes, written there as well, so that a
//! catalogue that is lost can be rebuilt.
//!
//! Below `.larder/meta/` lie
//!
//! - `owner.json`: which catalogue writes here;
//! - `log/<first>-<last>.jsonl`: batches of what changed, by the numbers of their records;
//! - `base/<number>/<part>.jsonl` and `base/<number>/complete.json`: all there was at that number.
//!
//! A write of a record leaves a mark in its own transaction ([`larder_catalog::MetaKind`]); a
//! [`Recorder`] writes what is marked every two seconds and when the process stops. Nobody waits for it:
//! what was acknowledged less than that long ago may be missing here. Of the records of one thing the one
//! with the highest number counts, in whichever file it lies, so that files may overlap and be written
//! twice. What is gone has a record that says so, until the next base.
//!
//! A catalogue writes nothing where another one is the owner: a new, empty catalogue over an old store
//! must not write over what the rebuilding needs.

mod batch;
mod compact;
mod owner;
mod places;
mod read;
mod record;
mod recorder;
mod write;

pub use compact::Compacted;
pub use read::Unreadable;
pub use recorder::Recorder;
pub use write::Recorded;

pub(crate) use owner::Ownership;
pub(crate) use read::{MetaFiles, read_file};
pub(crate) use record::{About, MetaRecord};
