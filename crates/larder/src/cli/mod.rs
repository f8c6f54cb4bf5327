//! The command line, as clap knows it. What a command does lies in [`crate::commands`].
//!
//! `docs/cli.md` is generated from these types by `larder docs --write`.

mod db;
mod files;
mod integrity;
mod operation;
mod page;
mod process;
mod store;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::{
    db::{Check, Collecting, Db, DbBackup, DbReplicate, DbRun, DbVersion, Keeping, Writing},
    files::{Get, Image, Link, Ls, Put, Restore, Rm},
    integrity::{Adopt, Reindex, Scrub},
    operation::{Bucket, Catalog, Gc, GcWhat, Jobs, Key, Migrate, Preset, ShowConfig, Stats},
    page::command_line_page,
    process::{Role, Serve, Worker},
    store::{Doctor, StoreCommand, StoreSetup},
    values::KeyValue,
};

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
    /// File of NAME=value lines, laid under the environment: what is set there wins
    #[arg(long, global = true, env = "LARDER_ENV_FILE", value_name = "FILE", help_heading = "Everywhere")]
    pub env_file: Option<PathBuf>,
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
    /// Bring deleted assets back
    Restore(Restore),
    /// Make a public or signed link to an asset or one of its variants
    #[command(alias = "sign")]
    Url(Link),
    /// Make pictures offline, with the same recipes and presets
    Image(Image),
    /// Count objects and bytes
    Stats(Stats),
    /// Collect what is no longer needed: expired uploads, trash, variants
    Gc(Gc),
    /// Make assets of files that lie in the store already, where they lie
    Adopt(Adopt),
    /// Rebuild a lost catalogue from what lies in the store
    Reindex(Reindex),
    /// Compare catalogue and store in both directions, and mend what differs
    Scrub(Scrub),
    /// Move what lies in one store to another, while everything is served
    Migrate(Migrate),
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
    /// Show every setting, where it came from, and which store that makes and why; secrets are masked
    Config(ShowConfig),
    /// Set up and check the bucket of an S3 store
    #[command(subcommand)]
    Store(StoreCommand),
    /// Carry a SQLite database to and from a bucket
    #[command(subcommand)]
    Db(Db),
    /// Check everything that Larder stands on: settings, disk, store, catalogue, workers, public address
    Doctor(Doctor),
    /// Print version and build
    Version,
    /// Write or check the generated pages of the documentation
    #[command(hide = true)]
    Docs(Docs),
}

/// Write or check the generated pages of the documentation.
#[derive(Debug, Args)]
pub struct Docs {
    /// Write the pages
    #[arg(long, required_unless_present = "check", conflicts_with = "check")]
    pub write: bool,
    /// Fail if a page differs from what would be written
    #[arg(long)]
    pub check: bool,
    /// Folder of the pages
    #[arg(long, default_value = "docs", value_name = "DIR")]
    pub dir: PathBuf,
}
