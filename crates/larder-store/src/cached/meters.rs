//! What the cache counts, under the label `store`.

use std::sync::Arc;

/// A layer of the cache.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layer {
    Memory,
    Disk,
}

impl Layer {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

/// Where a page that a reader got came from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    Layer(Layer),
    /// The store behind, asked for this reader.
    Store,
    /// The store behind, asked for another reader a moment before.
    Joined,
}

impl Origin {
    fn name(self) -> &'static str {
        match self {
            Self::Layer(layer) => layer.name(),
            Self::Store => "store",
            Self::Joined => "joined",
        }
    }
}

/// The figures of one cache.
#[derive(Debug, Clone)]
pub(super) struct Meters {
    store: Arc<str>,
}

impl Meters {
    pub(super) fn new(store: Arc<str>) -> Self {
        Self { store }
    }

    /// A reader got a page.
    pub(super) fn got(&self, from: Origin, bytes: usize) {
        let counter = |name: &'static str| metrics::counter!(name, "store" => Arc::clone(&self.store), "from" => from.name());
        counter("larder_cache_pages_total").increment(1);
        counter("larder_cache_bytes_total").increment(bytes as u64);
    }

    /// Pages had to go.
    pub(super) fn evicted(&self, layer: Layer, pages: usize) {
        if pages > 0 {
            metrics::counter!(
                "larder_cache_evictions_total", "store" => Arc::clone(&self.store), "layer" => layer.name()
            )
            .increment(pages as u64);
        }
    }

    /// What a layer holds now.
    pub(super) fn holds(&self, layer: Layer, bytes: u64) {
        metrics::gauge!(
            "larder_cache_held_bytes", "store" => Arc::clone(&self.store), "layer" => layer.name()
        )
        .set(bytes as f64);
    }

    /// A page was not written, since too many waited for the disk.
    pub(super) fn left_out(&self) {
        metrics::counter!("larder_cache_unwritten_total", "store" => Arc::clone(&self.store)).increment(1);
    }

    /// A page on the disk was not whole.
    pub(super) fn damaged(&self) {
        metrics::counter!("larder_cache_damaged_total", "store" => Arc::clone(&self.store)).increment(1);
    }
}
