//! Arguments of the commands that stay: `serve` and `worker`.

use clap::{Args, ValueEnum};

/// Run the server.
#[derive(Debug, Args)]
pub struct Serve {
    /// What this process does: answer HTTP and run jobs, or answer HTTP alone
    #[arg(long, value_enum, default_value_t = Role::All)]
    pub role: Role,
    /// Address and port; overrides the file and LARDER_LISTEN
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// For development: where the S3 store that is configured can't be reached, start on the local disk with a
    /// warning. Bytes then lie in two places
    #[arg(long)]
    pub dev_fallback: bool,
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
    /// Queues to serve, separated by commas: intake, maintenance (default: all)
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub queues: Vec<String>,
    /// Jobs at a time (default: one more than processors)
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
}
