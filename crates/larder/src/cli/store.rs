//! Arguments of the commands about the store and the surroundings: `store`, `doctor`.

use clap::{Args, Subcommand};

/// Set up and check the bucket of an S3 store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Make the bucket if it is missing, and set it up: lifecycle, CORS, encryption, versioning, access log, public
    /// reading. May be repeated; what is not asked for stays as it is
    Setup(StoreSetup),
    /// Ask the store everything that Larder needs to know of it, and say what is wrong and what to do
    Check,
    /// Print the least that the credentials must be allowed, as an IAM policy
    Policy {
        /// With what `larder store setup` needs
        #[arg(long)]
        setup: bool,
    },
}

/// Make and set up the bucket.
#[derive(Debug, Args)]
pub struct StoreSetup {
    /// Let everybody read the bucket, but for what lies below .larder/
    #[arg(long)]
    pub public: bool,
    /// Let pages of this origin (scheme and host) read and upload directly; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub cors: Vec<String>,
    /// Encrypt each object by default: AES256 or aws:kms (default: as store.s3.encryption says)
    #[arg(long, value_name = "HOW")]
    pub encryption: Option<String>,
    /// Keep old versions of objects
    #[arg(long)]
    pub versioning: bool,
    /// Write the server-access log into this bucket
    #[arg(long, value_name = "BUCKET")]
    pub log_bucket: Option<String>,
    /// Prefix of the log's objects
    #[arg(long, value_name = "PREFIX", default_value = "larder/", requires = "log_bucket")]
    pub log_prefix: String,
}

/// Check everything that Larder stands on.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Ask the public address as well, even if it is not this machine's (default: where public_url is set)
    #[arg(long, value_name = "URL")]
    pub public_url: Option<url::Url>,
}
