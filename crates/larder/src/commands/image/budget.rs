//! Memory that all decodes together may take.

use std::sync::{Condvar, Mutex, PoisonError};

/// A number of bytes from which decodes borrow.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    free: Mutex<u64>,
    returned: Condvar,
}

/// Borrowed bytes; given back when dropped.
#[derive(Debug)]
pub struct Loan<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of `total` bytes.
    pub fn of(total: u64) -> Self {
        Self { total, free: Mutex::new(total), returned: Condvar::new() }
    }

    /// Waits until `bytes` are free and takes them. More than the whole budget counts as all of it,
    /// so that such a decode runs alone.
    pub fn borrow(&self, bytes: u64) -> Loan<'_> {
        let bytes = bytes.min(self.total);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            self.returned.wait_while(free, |free| *free < bytes).unwrap_or_else(PoisonError::into_inner);
        *free -= bytes;
        Loan { budget: self, bytes }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        *self.budget.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.budget.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn loans_never_exceed_the_budget() {
        let budget = Budget::of(10);
        let (lent, peak) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for bytes in [3, 4, 5, 6, 7, 99] {
                let (budget, lent, peak) = (&budget, &lent, &peak);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let loan = budget.borrow(bytes);
                        let now = lent.fetch_add(loan.bytes, Ordering::SeqCst) + loan.bytes;
                        peak.fetch_max(now, Ordering::SeqCst);
                        lent.fetch_sub(loan.bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(peak.into_inner() <= 10);
    }
}
