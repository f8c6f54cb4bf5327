//! Long work of Larder as a progress bar.

use larder_assets::Follow;

use super::Progress;

/// Shows long work as a bar whose end moves when more turns out to be done.
#[derive(Debug, Clone)]
pub struct Following {
    progress: Progress,
}

impl Following {
    /// Shows it by this bar.
    pub fn new(progress: Progress) -> Self {
        Self { progress }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.progress.finish();
    }
}

impl Follow for Following {
    fn expect(&self, more: u64) {
        self.progress.expect(more);
    }

    fn advance(&self, by: u64) {
        self.progress.advance(by);
    }
}
