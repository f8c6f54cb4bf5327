//! A SQLite database in a store: a log of page changes that any number of machines may read, and one may write.
//!
//! Everything of one database lies below one prefix of a store. `log/<number>` are immutable entries; that one is created
//! where there was none is the commit of what it says, and what keeps two writers apart. An entry has the pages that
//! changed, compressed by frames, and the digest of all pages after it. `map/<number>` spares reading the log from its
//! beginning. `docs/database-format.md` describes the bytes.
//!
//! | file | idea |
//! |---|---|
//! | `format` | entries, maps, frames, notes: bytes to values and back |
//! | `hash` | digests of pages and databases |
//! | `remote` | the objects of one database |
//! | `history` | reading the log: the newest version, or an earlier one |
//! | `session` | a writer: claiming, committing, being fenced |
//! | `pages`, `live`, `wal` | the pages of a local database, once or again and again |
//! | `diff`, `upload` | what a local database has that a version does not |
//! | `fetch`, `apply` | making a local file a version |
//! | `sidecar`, `standing` | which version a local file is or began from |
//! | `push`, `pull`, `replicate` | the whole of each |
//! | `plain` | ordinary SQLite files in a store |
//! | `backup`, `scheduled`, `retention` | versions that are kept, by hand and by schedule, and for how long |
//! | `collect`, `verify` | versions that are not kept, and whether all is whole |
//!
//! Absent: row changes, copies of whole databases, anything that reads a database by other means than SQLite, and any
//! decision that compares the clocks of two machines.

mod apply;
mod aside;
mod backup;
mod clock;
mod collect;
mod diff;
mod error;
pub mod fail_point;
mod fetch;
pub mod format;
pub mod fuzzing;
mod hash;
mod history;
mod live;
mod lock;
mod pages;
pub mod plain;
mod progress;
mod pull;
mod push;
mod remote;
mod replicate;
mod retention;
mod scheduled;
mod session;
mod sidecar;
mod standing;
mod upload;
mod verify;
mod wal;

pub use self::{
    aside::set_aside,
    backup::{Backup, backup, backups, default_name, is_default_name, remove_backup},
    collect::{AGE_MIN, CollectOptions, CollectReport, collect, collect_unheld},
    error::{Error, Result},
    hash::{Digest, ShortHash},
    history::Along,
    lock::FileLock,
    plain::check_file,
    progress::{Event, Watch, unwatched},
    pull::{PullOptions, PullReport, Wanted, find, pull},
    push::{PushOptions, PushReport, push},
    remote::{FetchedEntry, Listed, Object, Remote},
    replicate::{CollectWhile, Finished, ReplicateOptions, Replicated, Replicator, Round},
    retention::Retention,
    scheduled::{Scheduled, back_up},
    session::{Committed, LEASE, Session, Waiting},
    sidecar::Sidecar,
    verify::{VerifyReport, verify},
};
