//! A clock for spans that goes on while the machine sleeps.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since the machine started, sleep included. The monotonic clock of the standard library stands still while a
/// virtual machine is paused, and a writer would think that its lease had just begun.
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
