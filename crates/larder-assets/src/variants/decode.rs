//! From stored bytes to a decoded picture, within the limits.

use larder_core::{Fault, limits::ImageLimits};
use larder_image::{Deadline, Decoded, Inspection, Recipe, Source};
use larder_store::{OpenOptions, Place};

use crate::{fail_point, larder::Larder, pixels::MemoryShare};

/// A decoded picture with its share of the memory budget.
pub(crate) struct Loaded {
    pub(crate) decoded: Decoded,
    pub(crate) inspection: Inspection,
    pub(crate) share: MemoryShare,
}

impl Larder {
    /// Loads and decodes a file, in full and strictly, once for all `recipes`.
    ///
    /// `suspect` says that a process ended while it worked on this file: then it is first tried in a
    /// child process.
    ///
    /// A worker's slot is taken before the file is loaded and the memory estimate, for the decode and
    /// for rendering `recipes` from it, is waited for before it is decoded, so at most as many files lie in memory as there are slots.
    pub(crate) async fn decode(
        &self,
        at: &Place,
        limits: ImageLimits,
        recipes: Vec<Recipe>,
        suspect: bool,
    ) -> Result<Loaded, Fault> {
        let slot = self.pixels().slot().await?;
        let opened = self.store().open(at, OpenOptions::default()).await?;
        let limit = opened.stat.size_bytes;
        let bytes = opened.body.read_all(limit).await?;
        let limits = self.settings().image.lower(&limits);
        let (bytes, recipes, inspection, memory_bytes) = self
            .pixels()
            .run(move || {
                let source = Source::open(&bytes, &limits)?;
                let (inspection, memory_bytes) = (source.inspection().clone(), source.memory_bytes(&recipes));
                Ok::<_, larder_image::Error>((bytes, recipes, inspection, memory_bytes))
            })
            .await??;
        let share = self.pixels().memory(memory_bytes).await?;
        if suspect {
            self.try_in_isolation(&bytes, &limits, &recipes).await?;
        }
        let decoded = self
            .pixels()
            .run(move || {
                let _slot = slot;
                fail_point::reached("decode.begun");
                let source = Source::open(&bytes, &limits)?;
                source.decode(&recipes, Deadline::after(limits.decode_time_max()))
            })
            .await??;
        Ok(Loaded { decoded, inspection, share })
    }
}
