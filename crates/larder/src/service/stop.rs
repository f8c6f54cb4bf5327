//! SIGTERM and SIGINT: the first stops gracefully, the second at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::{Exit, Failure};

/// Exit code of a process that was told twice to stop: as if the second signal had ended it.
const AT_ONCE: i32 = Exit::Interrupted.code() as i32;

/// A token that is cancelled by the first signal; the second ends the process.
///
/// # Errors
/// Signals can't be received.
pub fn on_signals() -> Result<CancellationToken, Failure> {
    let refused = |error| Failure::configuration(format!("signals can't be received: {error}"), "");
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let stopping = CancellationToken::new();
    let told = stopping.clone();
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        told.cancel();
        tracing::info!("stopping: requests and jobs that run may end; a second signal stops at once");
        either(&mut terminate, &mut interrupt).await;
        std::process::exit(AT_ONCE);
    });
    Ok(stopping)
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
