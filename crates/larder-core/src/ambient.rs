//! Clock and randomness as handles, so that tests decide what time it is and which ids appear.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::RngCore;

use crate::time::Timestamp;

/// Tells the time of day.
pub trait Clock: Send + Sync {
    /// The present instant. Not monotonic: measure spans with `std::time::Instant`.
    fn now(&self) -> Timestamp;
}

/// Gives random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `target` with random bytes; fit for secrets in production.
    fn fill(&self, target: &mut [u8]);
}

/// What a component may know of the world besides its arguments: the time and randomness.
#[derive(Clone)]
pub struct Ambient {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Ambient {
    /// The clock of the machine and the operating system's randomness.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
    }

    /// Handles of one's own choice, for tests.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// A world that repeats itself: the given clock and randomness counted up from `seed`.
    pub fn repeatable(clock: Arc<ManualClock>, seed: u64) -> Self {
        Self { clock, entropy: Arc::new(CountedEntropy(AtomicU64::new(seed))) }
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// `N` random bytes.
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// A number in `0.0..1.0`, for jitter.
    pub fn random_unit(&self) -> f64 {
        let bits = u64::from_le_bytes(self.random_bytes()) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ambient").finish_non_exhaustive()
    }
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the replacement")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(since_epoch.as_millis() as i64)
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the replacement")]
    fn fill(&self, target: &mut [u8]) {
        rand::rng().fill_bytes(target);
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(start.as_millis())))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

struct CountedEntropy(AtomicU64);

impl Entropy for CountedEntropy {
    fn fill(&self, target: &mut [u8]) {
        for chunk in target.chunks_mut(8) {
            let count = self.0.fetch_add(1, Ordering::SeqCst);
            // SplitMix64's finaliser spreads the counter over all bits.
            let mut word = count.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeatable_world_repeats() {
        let clock = ManualClock::at(Timestamp::from_millis(5));
        let one = Ambient::repeatable(clock.clone(), 7);
        let two = Ambient::repeatable(clock.clone(), 7);
        assert_eq!(one.random_bytes::<20>(), two.random_bytes::<20>());
        clock.advance(Duration::from_millis(3));
        assert_eq!(one.now(), Timestamp::from_millis(8));
    }

    #[test]
    fn a_random_unit_lies_between_zero_and_one() {
        let world = Ambient::system();
        for _ in 0..1_000 {
            assert!((0.0..1.0).contains(&world.random_unit()));
        }
    }
}
