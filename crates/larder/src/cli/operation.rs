//! Arguments of the commands of an operator: `stats`, `gc`, `migrate`, `jobs`, `key`, `preset`, `bucket`,
//! `catalog`, `config`.

use clap::{Args, Subcommand, ValueEnum};
use larder_assets::Scope;
use larder_core::text::{ByteSize, Span};

use super::values::{self, KeyValue};

/// Count objects and bytes.
#[derive(Debug, Args)]
pub struct Stats {
    /// Bucket (default: all)
    pub bucket: Option<String>,
}

/// Collect what is no longer needed.
#[derive(Debug, Args)]
pub struct Gc {
    /// What to collect
    #[arg(value_enum, default_value_t = GcWhat::All)]
    pub what: GcWhat,
    /// Only count
    #[arg(long)]
    pub dry_run: bool,
}

/// What is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GcWhat {
    /// Everything below.
    All,
    /// Uploads that failed, were abandoned or expired, and their staged bytes.
    Uploads,
    /// Deleted assets whose time is over, and variants that are stale or unused for long.
    Trash,
    /// Assets that a retention rule of their bucket names, or whose own time is over.
    Retention,
}

/// Move what lies in one store to another, while everything is served.
///
/// Switch `store.backend` first and restart: new files go to the new store from then on, and this moves
/// the others. It can be stopped and given again, and given the other way round. What it leaves in the
/// old store stays there until `--cleanup`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Store that is left
    #[arg(long, value_name = "STORE")]
    pub from: String,
    /// Store that is gone to
    #[arg(long, value_name = "STORE")]
    pub to: String,
    /// Only this bucket
    #[arg(long)]
    pub bucket: Option<String>,
    /// Only keys that begin with this
    #[arg(long)]
    pub prefix: Option<String>,
    /// Copies at a time (default: 16)
    #[arg(long, value_name = "NUMBER")]
    pub concurrency: Option<usize>,
    /// Most bytes a second, such as 20MB (default: as fast as it goes)
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    pub rate: Option<ByteSize>,
    /// Move nothing, but remove the copies that earlier moves left in the store that is left
    #[arg(long)]
    pub cleanup: bool,
    /// With --cleanup: only copies that were left so long ago
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = values::span, requires = "cleanup")]
    pub grace: Span,
    /// With --cleanup: read the bytes in the other store in full before a copy of them is removed
    #[arg(long, requires = "cleanup")]
    pub verify: bool,
    /// Only count
    #[arg(long)]
    pub dry_run: bool,
}

/// Watch, retry and cancel jobs.
#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// List jobs, the newest first
    Ls {
        /// Only in this state: queued, running, done, dead, cancelled
        #[arg(long)]
        state: Option<String>,
        /// Only of this kind
        #[arg(long)]
        kind: Option<String>,
        /// Only of this queue
        #[arg(long)]
        queue: Option<String>,
        /// Show the list again every second until interrupted
        #[arg(short, long)]
        watch: bool,
    },
    /// Show one job with its history
    Show {
        /// Job
        id: String,
        /// Follow it until it ends
        #[arg(short, long)]
        watch: bool,
    },
    /// List the processes that run jobs
    Workers,
    /// Count jobs by queue and state
    Queues,
    /// Run a dead or cancelled job again
    Retry {
        /// Job
        id: String,
    },
    /// Cancel a job that waits or runs
    Cancel {
        /// Job
        id: String,
    },
}

impl Jobs {
    /// Whether it goes on until a signal ends it.
    pub fn watches(&self) -> bool {
        matches!(self, Self::Ls { watch: true, .. } | Self::Show { watch: true, .. })
    }
}

/// Create, list, rotate and revoke API keys.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Create a key; its secret is shown this once
    Create {
        /// What it is for, for people
        #[arg(long)]
        name: String,
        /// What it may do: `BUCKETS[:PREFIXES[:ACTIONS]]`, or `admin`. Each part is a list with commas; `*`
        /// is every bucket, no prefix every key; actions are read, list, write, delete, sign (all of
        /// them unless named)
        #[arg(long, value_name = "SCOPE", value_parser = values::scope)]
        scope: Scope,
        /// When it ends, from now
        #[arg(long, value_name = "DURATION", value_parser = values::span)]
        expires: Option<Span>,
    },
    /// List keys, without their secrets
    Ls,
    /// End a key at once
    Revoke {
        /// Key
        id: String,
    },
    /// Replace a key's secret; the old one stays good for a while
    Rotate {
        /// Key
        id: String,
        /// How long both secrets are good
        #[arg(long, default_value = "24h", value_name = "DURATION", value_parser = values::span)]
        overlap: Span,
    },
}

/// List and change presets.
#[derive(Debug, Subcommand)]
pub enum Preset {
    /// List presets
    Ls,
    /// Create or change a preset; variants of its old form are made anew in the background
    Set {
        /// Name
        name: String,
        /// Recipe, such as resize:inside:800x600,format:webp,quality:80
        recipe: String,
    },
    /// Remove a preset
    Rm {
        /// Name
        name: String,
    },
    /// Make the missing variants of a preset, in every bucket that makes it
    Backfill {
        /// Name
        name: String,
        /// Only count
        #[arg(long)]
        dry_run: bool,
    },
}

/// List and change buckets.
#[derive(Debug, Subcommand)]
pub enum Bucket {
    /// List buckets
    Ls,
    /// Show one bucket's policy
    Show {
        /// Name
        name: String,
    },
    /// Create or change a bucket
    Set {
        /// Name
        name: String,
        /// A field of its policy, such as visibility=public or presets=keep; may be repeated
        #[arg(value_name = "FIELD=VALUE")]
        fields: Vec<KeyValue>,
    },
    /// Make the variants that the bucket's assets lack
    Backfill {
        /// Name
        name: String,
        /// Only of this preset (default: all that the bucket makes)
        #[arg(long, value_name = "PRESET")]
        preset: Option<String>,
    },
    /// Remove an empty bucket
    Rm {
        /// Name
        name: String,
    },
}

/// Look at and migrate the catalogue.
#[derive(Debug, Subcommand)]
pub enum Catalog {
    /// Show schema version and pending migrations
    Status,
    /// Bring the schema to this program's version
    Migrate,
}

/// Show the effective configuration.
#[derive(Debug, Args)]
pub struct ShowConfig {
    /// Say only whether it is sound; exit code 2 if it is not
    #[arg(long)]
    pub check: bool,
}
