//! How long to wait before a failed job is tried again.

use std::time::Duration;

use larder_core::Ambient;

/// Exponential backoff with full jitter: before attempt `n + 1` a random time between zero and
/// `base * factor^(n - 1)`, at most `cap`.
///
/// Full jitter spreads jobs that failed together over the whole time, so that a store which comes
/// back is not hit by all of them at once. 1 s, 4 s, 16 s … 10 min: the first repetition cures a
/// hiccup, and no job waits longer than people are ready to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Longest wait after the first failure.
    pub base: Duration,
    /// How much longer the longest wait gets with each failure.
    pub factor: u32,
    /// Longest wait of all.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), factor: 4, cap: Duration::from_secs(600) }
    }
}

impl Backoff {
    /// The longest possible wait after `failures` failures in a row, which is at least 1.
    pub fn longest(&self, failures: u32) -> Duration {
        let growth = self.factor.checked_pow(failures.saturating_sub(1));
        growth.and_then(|growth| self.base.checked_mul(growth)).unwrap_or(self.cap).min(self.cap)
    }

    /// A wait after `failures` failures in a row.
    pub fn wait(&self, failures: u32, ambient: &Ambient) -> Duration {
        self.longest(failures).mul_f64(ambient.random_unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_grows_to_its_cap() {
        let backoff = Backoff::default();
        let seconds: Vec<u64> = (1..=8).map(|failures| backoff.longest(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 4, 16, 64, 256, 600, 600, 600]);
        assert_eq!(backoff.longest(u32::MAX), backoff.cap);
    }

    #[test]
    fn waits_are_spread_over_the_whole_time() {
        let ambient = Ambient::system();
        let waits: Vec<Duration> = (0..200).map(|_| Backoff::default().wait(4, &ambient)).collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(64)));
        assert!(waits.iter().any(|wait| *wait < Duration::from_secs(16)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(48)));
    }
}
