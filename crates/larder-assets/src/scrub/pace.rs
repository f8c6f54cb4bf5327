//! How fast bytes may be read.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Lets so many bytes a second pass, over all that share it.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<u64>,
    since: Instant,
    passed: AtomicU64,
}

impl Pace {
    /// `None` for as fast as it goes.
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.map(|rate| rate.max(1)), since: Instant::now(), passed: AtomicU64::new(0) }
    }

    /// Waits until these bytes may have passed.
    pub(super) async fn pass(&self, bytes: u64) {
        let passed = self.passed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(rate) = self.rate {
            sleep_until(self.since + Duration::from_secs_f64(passed as f64 / rate as f64)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_at_the_rate_whoever_reads_them() {
        let (pace, begin) = (Pace::new(Some(1_000)), Instant::now());
        tokio::join!(pace.pass(2_000), pace.pass(3_000));
        assert_eq!(begin.elapsed().as_secs(), 5);
        let (free, begin) = (Pace::new(None), Instant::now());
        free.pass(u64::MAX / 2).await;
        assert!(begin.elapsed().is_zero());
    }
}
