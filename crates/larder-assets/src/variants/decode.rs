//! From stored bytes to a decoded picture, within the limits.

use std::sync::Arc;

use larder_core::{Code, Fault, limits::ImageLimits};
use larder_image::{Deadline, Decoded, Inspection, Recipe, Source};
use larder_store::{OpenOptions, Place, Store};

use crate::{fail_point, larder::Larder, pixels::MemoryShare};

/// A decoded picture with its share of the memory budget.
pub(crate) struct Loaded {
    pub(crate) decoded: Decoded,
    pub(crate) inspection: Inspection,
    pub(crate) share: MemoryShare,
}

/// What is known of a file before it is decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// It was decoded in full when it came.
    pub(crate) sound: bool,
    /// A process ended while it worked on it: it is first tried in a child process.
    pub(crate) suspect: bool,
}

impl Larder {
    /// Loads and decodes a file once for all `recipes`: strictly, and in full unless it is known to be
    /// sound.
    ///
    /// A worker's slot is taken before the file is loaded, and the memory estimate, for the decode and
    /// for rendering `recipes` from it, is waited for before it is decoded, so at most as many files lie
    /// in memory as there are slots.
    ///
    /// # Errors
    /// [`Code::Conflict`] if the bytes at the place do not have this fingerprint: they were replaced
    /// since their record was read. Those of the decode.
    pub(crate) async fn decode(
        &self,
        (store, at, fingerprint): (&Arc<dyn Store>, &Place, &str),
        limits: ImageLimits,
        recipes: Vec<Recipe>,
        known: Known,
    ) -> Result<Loaded, Fault> {
        let slot = self.pixels().slot().await?;
        let opened = store.open(at, OpenOptions::default()).await?;
        if opened.stat.fingerprint.as_str() != fingerprint {
            return Err(Fault::new(Code::Conflict, format!("the bytes at {at} are not those of the record"))
                .remedy("ask again"));
        }
        let limit = opened.stat.size_bytes;
        let bytes = opened.exact().body.read_all(limit).await?;
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
        if known.suspect {
            self.try_in_isolation(&bytes, &limits, &recipes).await?;
        }
        // The share goes with the work: a caller that goes away must not free memory that is in use.
        let (decoded, share) = self
            .pixels()
            .run(move || {
                let _slot = slot;
                fail_point::reached("decode.begun");
                let source = Source::open(&bytes, &limits)?;
                let source = if known.sound { source.trusted() } else { source };
                let decoded = source.decode(&recipes, Deadline::after(limits.decode_time_max()))?;
                Ok::<_, larder_image::Error>((decoded, share))
            })
            .await??;
        Ok(Loaded { decoded, inspection, share })
    }
}
