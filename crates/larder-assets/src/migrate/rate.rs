//! A limit of bytes per second over everything that a move copies.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Lets bytes through at a rate. A chunk that comes early waits; one that comes late is no credit for
/// more than [`BURST`].
#[derive(Debug)]
pub(super) struct Rate {
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

/// How long a pause may be caught up with: as short as not to be noticed on the wire.
const BURST: Duration = Duration::from_millis(100);

impl Rate {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), free_at: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes may go.
    pub(super) async fn pass(&self, bytes: usize) {
        let until = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let from = (*free_at).max(now.checked_sub(BURST).unwrap_or(now));
            *free_at = from + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
            *free_at
        };
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_of_all_who_pass_share_the_rate() {
        let rate = Rate::new(1_000);
        let began = Instant::now();
        futures::future::join_all((0..10).map(|_| rate.pass(500))).await;
        let took = began.elapsed();
        assert!(took > Duration::from_millis(4_800) && took < Duration::from_millis(5_100), "{took:?}");
    }
}
