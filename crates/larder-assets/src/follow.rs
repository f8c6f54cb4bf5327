//! Following long work from outside: a progress bar, or a job's record.

use larder_core::Fault;

use crate::jobs::JobContext;

/// Is told how far long work is, and may stop it.
pub trait Follow: Send + Sync {
    /// So many things more are to be done.
    fn expect(&self, more: u64);
    /// So many more are done.
    fn advance(&self, by: u64);
    /// Called between steps.
    ///
    /// # Errors
    /// The work is to stop; it ends with this fault.
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// Nobody follows.
#[derive(Debug, Clone, Copy)]
pub struct Unfollowed;

impl Follow for Unfollowed {
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
}

/// Follows work by the record of the job that does it.
#[derive(Debug)]
pub(crate) struct ByJob {
    context: JobContext,
    what: &'static str,
    done: std::sync::atomic::AtomicU64,
    total: std::sync::atomic::AtomicU64,
}

impl ByJob {
    /// `what` are the things that are counted.
    pub(crate) fn new(context: JobContext, what: &'static str) -> Self {
        Self { context, what, done: Default::default(), total: Default::default() }
    }
}

impl Follow for ByJob {
    fn expect(&self, more: u64) {
        self.total.fetch_add(more, std::sync::atomic::Ordering::Relaxed);
    }

    fn advance(&self, by: u64) {
        let done = self.done.fetch_add(by, std::sync::atomic::Ordering::Relaxed) + by;
        let total = self.total.load(std::sync::atomic::Ordering::Relaxed).max(done);
        self.context.progress(done as f64 / total.max(1) as f64, &format!("{done} of {total} {}", self.what));
    }

    fn check(&self) -> Result<(), Fault> {
        self.context.check()
    }
}
