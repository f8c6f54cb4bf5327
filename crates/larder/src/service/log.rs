//! The log: lines on standard error.

use tracing_subscriber::EnvFilter;

use crate::{
    config::{Config, ConfigError, LogConfig, LogFormat},
    failure::Failure,
};

/// Starts the log of a serving process.
///
/// # Errors
/// `log.level` can't be read.
pub fn start(config: &LogConfig) -> Result<(), Failure> {
    install(config, &config.level)
}

/// Starts the log of a command, which says what it does itself: only warnings.
///
/// # Errors
/// `log.level` can't be read.
pub fn start_quiet(config: &LogConfig) -> Result<(), Failure> {
    install(config, if config.level == "info" { "warn" } else { &config.level })
}

/// Starts the log of a command that talks to a store for long: warnings, and each request that is sent again.
///
/// # Errors
/// `log.level` can't be read.
pub fn start_steps(config: &LogConfig) -> Result<(), Failure> {
    let with_attempts = "warn,larder_store::s3=debug";
    install(config, if config.level == "info" { with_attempts } else { &config.level })
}

/// Logs what is worth a line at start, for whoever does not see the banner.
pub fn notices(config: &Config) {
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
}

fn install(config: &LogConfig, directives: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(directives).map_err(|error| {
        ConfigError::new(
            format!("log.level \"{directives}\": {error}"),
            "use error, warn, info, debug or trace, or directives such as info,larder_http=debug",
        )
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(true)
        // It would tell them on standard error too, and panic in the task that logs where nobody reads
        // that any more.
        .log_internal_errors(false);
    let installed = match config.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).compact().try_init()
        }
    };
    // A second log in one process would be a defect of ours, and is harmless.
    drop(installed);
    Ok(())
}
