//! Arguments of the commands that handle files: `put`, `get`, `ls`, `rm`, `url`, `image`.

use std::path::PathBuf;

use clap::Args;
use larder_core::text::Span;

use super::values::{self, KeyValue};

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
    /// Delete the files by themselves after this time, such as 30d; what is skipped keeps its own
    #[arg(long, value_name = "DURATION", value_parser = values::span)]
    pub expires: Option<Span>,
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
    /// Only one level of keys: those without this text behind the prefix, and the common prefixes of the
    /// others; `/` is the one that works
    #[arg(short, long, value_name = "/")]
    pub delimiter: Option<String>,
    /// Go on behind the page that ended with this (`next` of its answer)
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
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

/// Bring deleted assets back, as long as their bucket keeps them in the trash.
#[derive(Debug, Args)]
pub struct Restore {
    /// Id, or bucket and key as in media/a/b.jpg for what was deleted last under that key; may be
    /// repeated
    #[arg(required = true, value_name = "ID|BUCKET/KEY")]
    pub assets: Vec<String>,
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
/// reason, and the exit code is 3, or 1 if no picture was made.
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
