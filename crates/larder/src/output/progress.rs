//! Progress bars, on a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far a command is. Draws on standard error, at most ten times a second.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(shown: bool, total: u64, what: &'static str) -> Self {
        let target =
            if shown { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = match what {
            "bytes" => "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}",
            _ => "{bar:30} {pos}/{len} {elapsed} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// What is worked on now.
    pub fn at(&self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    /// There is more to do.
    pub fn expect(&self, more: u64) {
        self.bar.inc_length(more);
    }

    /// More is done.
    pub fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    /// Runs `print` without the bar in its way.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
