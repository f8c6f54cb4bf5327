//! Arguments of `larder db`: a SQLite database in a bucket.
//!
//! A URL is `s3://BUCKET/PREFIX`, reached as the store's settings say, or a folder. Where none is given it is
//! `s3://$BUCKET_NAME/org-data/$ORG_ID`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use larder_core::{Timestamp, text::Span};

use super::values;

/// Carry a SQLite database to and from a bucket.
#[derive(Debug, Subcommand)]
pub enum Db {
    /// Push a local database: the pages that changed become the next version. It may be in use
    Push {
        /// The file, and where it goes: s3://BUCKET/PREFIX or a folder (default: s3://$BUCKET_NAME/org-data/$ORG_ID)
        #[arg(required = true, num_args = 1..=2, value_names = ["FILE", "URL"])]
        places: Vec<String>,
        /// Let this file win over what others pushed since it was pulled
        #[arg(long)]
        force: bool,
        /// How it writes
        #[command(flatten)]
        writing: Writing,
    },
    /// Pull a version into a local file: only pages that differ are fetched. It may be in use
    Pull {
        /// Where it lies (default: s3://$BUCKET_NAME/org-data/$ORG_ID), and the file
        #[arg(required = true, num_args = 1..=2, value_names = ["URL", "FILE"])]
        places: Vec<String>,
        /// Which version
        #[command(flatten)]
        version: DbVersion,
        /// Give up what was changed in the file and not pushed
        #[arg(long)]
        force: bool,
    },
    /// Run a program on a database: take it, pull it, replicate while the program runs, push the rest, let it go
    Run(DbRun),
    /// Replicate a local database: each interval in which something was committed becomes a version
    Replicate(DbReplicate),
    /// Keep a version whatever its age, at once and without moving data; or put a plain copy elsewhere
    Backup(DbBackup),
    /// Make a local file a version, which may be older than it is
    Restore {
        /// Where it lies (default: s3://$BUCKET_NAME/org-data/$ORG_ID), and the file
        #[arg(required = true, num_args = 1..=2, value_names = ["URL", "FILE"])]
        places: Vec<String>,
        /// Which version
        #[command(flatten)]
        version: DbVersion,
        /// Let SQLite look through the restored file
        #[arg(long, value_enum, value_name = "HOW")]
        verify: Option<Check>,
        /// Give up what was changed in the file and not pushed
        #[arg(long)]
        force: bool,
    },
    /// Show what is there: the newest version, who writes it, backups, what can be restored
    Ls {
        /// Where it lies (default: s3://$BUCKET_NAME/org-data/$ORG_ID)
        url: Option<String>,
        /// Every version that can be restored
        #[arg(long)]
        versions: bool,
    },
    /// Read every object, check every digest, restore into a scratch file and look through it
    Verify {
        /// Where it lies (default: s3://$BUCKET_NAME/org-data/$ORG_ID)
        url: Option<String>,
        /// Folder of the scratch file (default: that of temporary files)
        #[arg(long, value_name = "DIR")]
        scratch: Option<PathBuf>,
    },
    /// Remove versions that are not kept any more
    Gc {
        /// Where it lies (default: s3://$BUCKET_NAME/org-data/$ORG_ID)
        url: Option<String>,
        /// What is kept
        #[command(flatten)]
        keeping: Keeping,
        /// Touch no object that is younger: a reader or writer that stands still for longer may fail
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = values::span)]
        min_age: Span,
        /// Only count
        #[arg(long)]
        dry_run: bool,
        /// How it writes
        #[command(flatten)]
        writing: Writing,
    },
    /// Take the database from a writer that has died, at once. One that lives is fenced by it
    Unlock {
        /// Where it lies (default: s3://$BUCKET_NAME/org-data/$ORG_ID)
        url: Option<String>,
    },
    /// Write a version as a plain SQLite file, into a local file or back into a store
    Export {
        /// Where it lies (default: s3://$BUCKET_NAME/org-data/$ORG_ID), and the file, s3://BUCKET/KEY or path
        #[arg(required = true, num_args = 1..=2, value_names = ["URL", "TARGET"])]
        places: Vec<String>,
        /// Which version
        #[command(flatten)]
        version: DbVersion,
    },
}

/// How a database is written.
#[derive(Debug, Clone, Copy, Args)]
pub struct Writing {
    /// Use a store that does not honour If-None-Match. Two writers would overwrite each other there
    #[arg(long)]
    pub single_writer: bool,
}

/// Which versions are kept, besides the newest and backups.
#[derive(Debug, Clone, Copy, Args)]
pub struct Keeping {
    /// Keep all versions of this time
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = values::span)]
    pub keep: Span,
    /// Keep the last version of each of so many days
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    pub daily: usize,
    /// Keep the last version of each of so many weeks
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    pub weekly: usize,
}

/// What a writer that holds a database for long removes from time to time.
#[derive(Debug, Clone, Copy, Args)]
pub struct Collecting {
    /// Remove no versions; leave that to `larder db gc`, which can't while this one holds the database
    #[arg(long)]
    pub no_gc: bool,
    /// What is kept
    #[command(flatten)]
    pub keeping: Keeping,
}

/// Which version.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub struct DbVersion {
    /// The newest that is not newer than this, such as 2026-03-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub at: Option<Timestamp>,
    /// This one
    #[arg(long, value_name = "NUMBER")]
    pub seq: Option<u64>,
    /// That of a backup
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// How a restored file is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// PRAGMA quick_check.
    Quick,
    /// PRAGMA integrity_check, which compares indexes with their tables, too.
    Full,
}

/// Run a program on a database.
#[derive(Debug, Args)]
pub struct DbRun {
    /// Where it lies (default: s3://$BUCKET_NAME/org-data/$ORG_ID), and the file
    #[arg(required = true, num_args = 1..=2, value_names = ["URL", "FILE"])]
    pub places: Vec<String>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub command: Vec<OsString>,
    /// There may be none yet: the program makes it
    #[arg(long)]
    pub create: bool,
    /// Push nothing of a program that fails; by default what it committed is pushed
    #[arg(long)]
    pub discard_on_failure: bool,
    /// Time between two looks while the program runs
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = values::span)]
    pub interval: Span,
    /// How it writes
    #[command(flatten)]
    pub writing: Writing,
    /// What goes
    #[command(flatten)]
    pub collecting: Collecting,
}

/// Replicate a local database.
#[derive(Debug, Args)]
pub struct DbReplicate {
    /// The file, and where it goes (default: s3://$BUCKET_NAME/org-data/$ORG_ID)
    #[arg(required = true, num_args = 1..=2, value_names = ["FILE", "URL"])]
    pub places: Vec<String>,
    /// Time between two looks
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = values::span)]
    pub interval: Span,
    /// How it writes
    #[command(flatten)]
    pub writing: Writing,
    /// What goes
    #[command(flatten)]
    pub collecting: Collecting,
    /// A program to run meanwhile; its end is the end
    #[arg(last = true, value_name = "PROGRAM")]
    pub command: Vec<OsString>,
}

/// Keep a version, or put a plain copy elsewhere.
#[derive(Debug, Args)]
pub struct DbBackup {
    /// Where it lies (default: s3://$BUCKET_NAME/org-data/$ORG_ID)
    pub url: Option<String>,
    /// Name (default: backup-YYYYmmdd-HHMMSS, in UTC)
    #[arg(long)]
    pub name: Option<String>,
    /// This version instead of the newest
    #[arg(long, value_name = "NUMBER")]
    pub seq: Option<u64>,
    /// Put an independent plain SQLite file there: s3://BUCKET/PREFIX/ or a folder (default: backups/ of the same
    /// bucket or folder)
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    pub to: Option<String>,
    /// Then remove all but so many of the newest backups that were given no name
    #[arg(long, value_name = "NUMBER")]
    pub keep_last: Option<usize>,
    /// Give up the backup of this name instead
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "seq", "to", "keep_last"])]
    pub remove: Option<String>,
}
