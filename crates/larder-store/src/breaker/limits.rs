//! When a store counts as away, and for how long it is left alone.

use std::time::Duration;

/// Limits of a [`BreakerStore`](super::BreakerStore). The defaults leave a client that repeats requests
/// by itself the time to do so: they end what hangs, not what is slow.
#[derive(Debug, Clone)]
pub struct BreakerLimits {
    /// Failures in a row that open the circuit. 5: a few at once happen when a server restarts.
    pub failures_in_a_row: u32,
    /// Of this many operations, the last ones, half must have failed to open the circuit all the same; at
    /// most 64. 20: a store that answers every other request is none to rely on.
    pub rate_of: u32,
    /// First pause after the circuit opened. Each pause is shortened by up to a quarter at random, so that
    /// several processes do not ask at the same moment.
    pub pause_min: Duration,
    /// Longest pause. 30 s is what a user waits at most once the store is back.
    pub pause_max: Duration,
    /// Longest pause if the store itself names one (`Retry-After`).
    pub retry_after_max: Duration,
    /// Time after which a probe that has not ended is joined by another.
    pub probe_within: Duration,
    /// Time for `stat`, `settle`, `remove`, and for `open` up to its first byte.
    pub answer_within: Duration,
    /// Time for one page of `list`.
    pub list_within: Duration,
    /// Time for `copy`, `rename` and `remove_unfinished`, and for the end of a `put` after its last byte:
    /// large objects are copied and put together by the store, in minutes.
    pub move_within: Duration,
    /// Time in which a body must get on, while it is the store's turn.
    pub idle_within: Duration,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self {
            failures_in_a_row: 5,
            rate_of: 20,
            pause_min: Duration::from_secs(1),
            pause_max: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(300),
            probe_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(30),
            list_within: Duration::from_secs(60),
            move_within: Duration::from_secs(300),
            idle_within: Duration::from_secs(60),
        }
    }
}
