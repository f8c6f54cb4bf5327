//! Moving what lies in one store to another, while everything is served.
//!
//! New bytes go to the primary store, and every record says where its own lie: so the primary is
//! switched first, and what is in the old store is moved afterwards, asset by asset:
//!
//! 1. Copies of a page of records are noted as on their way ([`CopyState::Coming`]).
//! 2. The bytes are copied to the same place of the other store, hashed as they go. No turn is held,
//!    so no writer waits; nothing that lies there is overwritten.
//! 3. One transaction proves the turn of the key, switches the record if it is still the one that was
//!    read, and notes what it left ([`CopyState::Left`]); it does so for all copies that have landed by
//!    then.
//!
//! What was left stays until somebody asks for its removal (`cleanup`): readers that looked at the
//! record a moment ago find their bytes, and the way back is short. Killed anywhere, a move goes on
//! where it was, since records say how far it is; see `spare` for what it leaves.
//!
//! [`CopyState::Coming`]: larder_catalog::CopyState::Coming
//! [`CopyState::Left`]: larder_catalog::CopyState::Left

mod batch;
mod cleanup;
mod copying;
mod item;
mod one;
mod rate;
mod run;
mod switch;

use std::time::Duration;

use larder_catalog::StoreFilter;
use larder_core::{BucketName, Code, Fault, text::Span};
use serde::{Deserialize, Serialize};

pub use self::item::Moved;
use crate::larder::Larder;

/// Copies at a time unless told otherwise: enough to keep a store over a network busy.
pub const CONCURRENCY: usize = 16;

/// Most copies at a time: each holds a file and a buffer of up to 512 KiB.
pub const CONCURRENCY_MAX: usize = 256;

/// How long what was left stays at least, unless told otherwise: the longest that a reader takes who
/// began before the record was switched.
pub const GRACE: Duration = Duration::from_secs(600);

/// What to move, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrateOptions {
    /// Name of the store that is left.
    pub from: String,
    /// Name of the store that is gone to.
    pub to: String,
    /// Only this bucket.
    #[serde(default)]
    pub bucket: Option<BucketName>,
    /// Only keys that begin with this.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Copies at a time, 1 to [`CONCURRENCY_MAX`]; [`CONCURRENCY`] unless given.
    #[serde(default)]
    pub concurrency: Option<usize>,
    /// Bytes per second over all copies; as fast as it goes unless given.
    #[serde(default)]
    pub rate_bytes: Option<u64>,
    /// Instead of moving anything, remove what earlier moves left in `from`.
    #[serde(default)]
    pub cleanup: bool,
    /// For `cleanup`: how long ago it has to have been left. [`GRACE`] unless given.
    #[serde(default)]
    pub grace: Option<Span>,
    /// For `cleanup`: read the bytes in `to` in full before a copy of them is removed.
    #[serde(default)]
    pub verify: bool,
    /// Only count.
    #[serde(default)]
    pub dry_run: bool,
}

/// How much of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrateCount {
    /// Things.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Things that could not be moved for one reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MigrateFailure {
    /// The reason.
    pub code: Code,
    /// How many.
    pub objects: u64,
    /// The first of them, with what was wrong and what to do.
    pub first: Vec<MigrateFailed>,
}

/// One thing that could not be moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MigrateFailed {
    /// Bucket and key.
    pub name: String,
    /// Why.
    pub error: Fault,
}

/// What was, or would be, moved or removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MigrateReport {
    /// The store that was left.
    pub from: String,
    /// The store that was gone to.
    pub to: String,
    /// Whether nothing was done in fact.
    pub dry_run: bool,
    /// Whether copies were removed, and nothing moved.
    pub cleanup: bool,
    /// Assets.
    pub originals: MigrateCount,
    /// Assets in the trash.
    pub deleted: MigrateCount,
    /// Variants.
    pub variants: MigrateCount,
    /// How many of all these lay in `to` already, with the right bytes.
    pub adopted: u64,
    /// Things that were removed, or moved by somebody else, in the meantime.
    pub skipped: u64,
    /// What could not be moved or removed, by reason.
    pub failures: Vec<MigrateFailure>,
    /// What is in `from` afterwards: records that lie there, or with `cleanup` copies that stay.
    pub remaining: MigrateCount,
    /// Whether new bytes still go to `from`: the primary store is yet to be switched.
    pub from_is_primary: bool,
}

impl MigrateReport {
    /// How many could not be moved or removed.
    pub fn failed(&self) -> u64 {
        self.failures.iter().map(|failure| failure.objects).sum()
    }

    /// How many were.
    pub fn done(&self) -> MigrateCount {
        let all = [self.originals, self.deleted, self.variants];
        MigrateCount {
            objects: all.iter().map(|count| count.objects).sum(),
            bytes: all.iter().map(|count| count.bytes).sum(),
        }
    }

    /// The fault that tells that not everything could be moved, if it is so.
    pub fn incomplete(&self) -> Option<Fault> {
        let first = self.failures.first()?;
        let (failed, verb) = (self.failed(), if self.cleanup { "removed" } else { "moved" });
        let example = first.first.first().map(|one| format!(", such as {}: {}", one.name, one.error));
        Some(
            Fault::new(
                Code::MigrationIncomplete,
                format!("{failed} objects could not be {verb}{}", example.unwrap_or_default()),
            )
            .remedy("see to the causes, then run it again: what is done is not done twice"),
        )
    }
}

/// What happens while things are moved.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum MigrateEvent {
    /// So much lies in the store that is left.
    Begun {
        /// Things.
        objects: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// One is done.
    Done {
        /// What it is.
        kind: Moved,
        /// Bucket and key.
        name: String,
        /// Its bytes.
        bytes: u64,
    },
    /// There was nothing (more) to do for one.
    Skipped {
        /// Bucket and key.
        name: String,
    },
    /// One could not be moved or removed.
    Failed {
        /// Bucket and key.
        name: String,
        /// Why.
        error: Fault,
    },
}

/// Is told what happens; an error from it stops the move, after what is being copied.
pub type Watch<'a> = dyn Fn(&MigrateEvent) -> Result<(), Fault> + Send + Sync + 'a;

impl Larder {
    /// Moves what lies in one store to another, or removes what such moves left.
    ///
    /// What fails is counted and the others go on; see [`MigrateReport::incomplete`]. May be cut off
    /// anywhere and run again, by several processes at a time, and the other way round.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] for options that make no sense; the catalogue's; the first error of
    /// `watch`; [`Code::BackendUnavailable`] when a store does not answer any more.
    pub async fn migrate(&self, options: &MigrateOptions, watch: &Watch<'_>) -> Result<MigrateReport, Fault> {
        self.check_migration(options).await?;
        let filter = filter_of(options, &options.from);
        let mut report = match options.cleanup {
            true => self.remove_left(options, watch).await?,
            false => self.move_all(options, &filter, watch).await?,
        };
        report.from = options.from.clone();
        report.to = options.to.clone();
        report.dry_run = options.dry_run;
        report.cleanup = options.cleanup;
        report.from_is_primary = self.stores().primary_name() == options.from;
        Ok(report)
    }

    /// Fails if options make no sense here.
    ///
    /// # Errors
    /// As [`Larder::migrate`].
    pub async fn check_migration(&self, options: &MigrateOptions) -> Result<(), Fault> {
        let invalid =
            |detail: String, remedy: &str| Err(Fault::new(Code::InvalidRequest, detail).remedy(remedy));
        let known: Vec<&str> = self.stores().names().collect();
        for name in [&options.from, &options.to] {
            if !known.contains(&name.as_str()) {
                return invalid(
                    format!("there is no store \"{name}\" here, but {}", known.join(", ")),
                    "configure it beside the primary store, or correct the name",
                );
            }
        }
        if options.from == options.to {
            return invalid(format!("{} is both ends of the move", options.from), "name two stores");
        }
        if options.concurrency.is_some_and(|number| number == 0 || number > CONCURRENCY_MAX) {
            return invalid(
                format!("at most {CONCURRENCY_MAX} copies can be made at a time, and at least 1"),
                "choose another concurrency",
            );
        }
        if options.rate_bytes == Some(0) {
            return invalid("nothing moves at 0 bytes per second".to_owned(), "choose a higher rate");
        }
        if let Some(bucket) = &options.bucket {
            self.bucket(bucket).await?;
        }
        Ok(())
    }
}

pub(crate) fn filter_of(options: &MigrateOptions, store: &str) -> StoreFilter {
    StoreFilter {
        store: store.to_owned(),
        bucket: options.bucket.clone(),
        prefix: options.prefix.clone().filter(|prefix| !prefix.is_empty()),
    }
}
