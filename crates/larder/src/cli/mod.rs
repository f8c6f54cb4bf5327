//! The command line, as clap knows it. What a command does lies in [`crate::commands`].
//!
//! `docs/cli.md` is generated from these types by `larder docs --write`.

mod page;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use larder_assets::Scope;
use larder_core::text::Span;

pub use self::{page::command_line_page, values::KeyValue};

/// Media storage for applications with pictures: takes files in, checks them, makes the sizes that
/// pages need, keeps them and serves them.
#[derive(Debug, Parser)]
#[command(name = "larder", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub shared: Shared,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Shared {
    /// Configuration file (default: ./larder.toml where it exists)
    #[arg(long, global = true, env = "LARDER_CONFIG", value_name = "FILE", help_heading = "Everywhere")]
    pub config: Option<PathBuf>,
    /// Data directory; overrides the file and LARDER_DATA_DIR
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub data_dir: Option<PathBuf>,
    /// Speak to this server instead of opening the data directory, such as http://127.0.0.1:8000
    #[arg(long, global = true, env = "LARDER_SERVER", value_name = "URL", help_heading = "Everywhere")]
    pub server: Option<String>,
    /// Key for --server
    #[arg(
        long = "api-key",
        global = true,
        env = "LARDER_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = "Everywhere"
    )]
    pub api_key: Option<String>,
    /// Answer as JSON: one value, or one a line where things come one by one; errors too
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// Whether to colour the answer
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", help_heading = "Everywhere")]
    pub color: Colour,
}

/// When the answer is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(Serve),
    /// Run jobs without answering HTTP
    Worker(Worker),
    /// Bring files or folders into a bucket
    Put(Put),
    /// Fetch an asset and check its digest
    Get(Get),
    /// List buckets, or the assets of one
    Ls(Ls),
    /// Delete assets; they can be brought back until the bucket's trash time is over
    Rm(Rm),
    /// Make a public or signed link to an asset or one of its variants
    #[command(alias = "sign")]
    Url(Link),
    /// Make pictures offline, with the same recipes and presets
    Image(Image),
    /// Count objects and bytes
    Stats(Stats),
    /// Collect what is no longer needed: expired uploads, trash, variants
    Gc(Gc),
    /// Watch, retry and cancel jobs
    #[command(subcommand)]
    Jobs(Jobs),
    /// Create, list, rotate and revoke API keys
    #[command(subcommand)]
    Key(Key),
    /// List and change presets
    #[command(subcommand)]
    Preset(Preset),
    /// List and change buckets
    #[command(subcommand)]
    Bucket(Bucket),
    /// Look at and migrate the catalogue
    #[command(subcommand)]
    Catalog(Catalog),
    /// Print version and build
    Version,
    /// Write or check the generated pages of the documentation
    #[command(hide = true)]
    Docs(Docs),
}

/// Run the server.
#[derive(Debug, Args)]
pub struct Serve {
    /// What this process does: answer HTTP and run jobs, or answer HTTP alone
    #[arg(long, value_enum, default_value_t = Role::All)]
    pub role: Role,
    /// Address and port; overrides the file and LARDER_LISTEN
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
}

/// What a serving process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Answer HTTP and run jobs.
    All,
    /// Answer HTTP alone; jobs wait for `larder worker`.
    Api,
}

/// Run jobs without answering HTTP.
#[derive(Debug, Args)]
pub struct Worker {
    /// Queues to serve, separated by commas (default: all)
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub queues: Vec<String>,
    /// Jobs at a time (default: one a processor)
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
}

/// Bring files or folders into a bucket.
///
/// The key of a file is its name, or its path below the folder that was given, behind --prefix.
/// Files that the bucket already holds with the same bytes are skipped, so that a command that
/// broke off can simply be given again.
#[derive(Debug, Args)]
pub struct Put {
    /// Files and folders; folders are taken in recursively, hidden files left out
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Bucket
    #[arg(short, long, default_value = "media")]
    pub bucket: String,
    /// Key of the one file
    #[arg(short, long, conflicts_with_all = ["prefix", "auto_key"])]
    pub key: Option<String>,
    /// Text before every key, such as albums/2026/
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// Let the bucket's template make the keys; nothing is skipped then
    #[arg(long, conflicts_with = "prefix")]
    pub auto_key: bool,
    /// Replace assets that hold other bytes under the same key (default: refuse)
    #[arg(long)]
    pub replace: bool,
    /// Owner to record
    #[arg(long)]
    pub owner: Option<String>,
    /// Tag to record; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// User metadata to record; may be repeated
    #[arg(long = "metadata", value_name = "NAME=VALUE")]
    pub metadata: Vec<KeyValue>,
    /// Return when the bytes are stored, without waiting for the variants
    #[arg(long)]
    pub no_wait: bool,
}

/// Fetch an asset and check its digest.
#[derive(Debug, Args)]
pub struct Get {
    /// Bucket and key, as in media/a/b.jpg
    #[arg(value_name = "BUCKET/KEY")]
    pub asset: String,
    /// File or folder to write to; `-` is standard output (default: the key's last part, here)
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(short, long)]
    pub force: bool,
}

/// List buckets, or the assets of one.
#[derive(Debug, Default, Args)]
pub struct Ls {
    /// Bucket, or bucket and prefix as in media/2026/ (default: list the buckets)
    #[arg(value_name = "BUCKET[/PREFIX]")]
    pub place: Option<String>,
    /// Only of this owner
    #[arg(long)]
    pub owner: Option<String>,
    /// Only with this tag
    #[arg(long)]
    pub tag: Option<String>,
    /// Only of this status: processing, ready, deleted
    #[arg(long)]
    pub status: Option<String>,
    /// More columns
    #[arg(short, long)]
    pub long: bool,
    /// All pages, not only the first 1,000
    #[arg(short, long)]
    pub all: bool,
}

/// Delete assets; they can be brought back until the bucket's trash time is over.
#[derive(Debug, Args)]
pub struct Rm {
    /// Bucket and key, as in media/a/b.jpg; may be repeated
    #[arg(required = true, value_name = "BUCKET/KEY")]
    pub assets: Vec<String>,
    /// Take the argument as a prefix: delete every asset whose key begins with it
    #[arg(long)]
    pub prefix: bool,
    /// Delete for good, without trash
    #[arg(long)]
    pub purge: bool,
    /// Only say what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Make a public or signed link to an asset or one of its variants.
#[derive(Debug, Args)]
pub struct Link {
    /// Bucket and key, as in media/a/b.jpg
    #[arg(value_name = "BUCKET/KEY")]
    pub asset: String,
    /// The variant of this preset
    #[arg(long, conflicts_with = "recipe")]
    pub preset: Option<String>,
    /// The variant of this recipe, such as resize:cover:200x200,format:webp
    #[arg(long)]
    pub recipe: Option<String>,
    /// How long a signed link is good for, at most 7d (default: 1h)
    #[arg(long, value_name = "DURATION", value_parser = values::span)]
    pub expires: Option<Span>,
}

/// Make pictures offline, with the same recipes and presets.
///
/// Each file is decoded once, for all of its pictures. Files that are refused are listed with the
/// reason, and the exit code is 3.
#[derive(Debug, Args)]
pub struct Image {
    /// Files and folders; folders are walked recursively
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Preset or named set (artwork, keep, design); may be repeated
    #[arg(short, long = "preset", value_name = "NAME")]
    pub presets: Vec<String>,
    /// Recipe, such as resize:inside:800x600,format:webp,quality:80; may be repeated
    #[arg(short, long = "recipe", value_name = "RECIPE")]
    pub recipes: Vec<String>,
    /// Folder to write to; created when missing
    #[arg(short, long, value_name = "DIR")]
    pub out: PathBuf,
    /// Pictures at a time (default: one a processor)
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Overwrite existing files
    #[arg(short, long)]
    pub force: bool,
}

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

/// Create, list, rotate and revoke API keys.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Create a key; its secret is shown this once
    Create {
        /// What it is for, for people
        #[arg(long)]
        name: String,
        /// What it may do: BUCKETS[:PREFIXES[:ACTIONS]], or admin. Each part is a list with commas; `*`
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

/// Write or check the generated pages of the documentation.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Docs {
    /// Write the pages
    #[arg(long)]
    pub write: bool,
    /// Fail if a page differs from what would be written
    #[arg(long)]
    pub check: bool,
    /// Folder of the pages
    #[arg(long, default_value = "docs", value_name = "DIR")]
    pub dir: PathBuf,
}
