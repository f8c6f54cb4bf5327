//! Where decoding runs: as many threads as cores, and never more memory than the budget.
//!
//! Decoding never blocks the asynchronous runtime. A decode states its estimate, with what is rendered
//! from it, before it starts and waits until that fits; waiting is first come, first served, so a large picture is not starved by
//! small ones.

use std::{sync::Arc, time::Duration};

use larder_core::{Code, Fault};
use larder_image::{Decoded, Recipe};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::warm::{Warm, WarmPictures};

/// The budget is counted in units of this many bytes, since semaphores count in 32 bits.
const UNIT_BYTES: u64 = 64 * 1_024;

/// How long a decoded picture waits for its variants job. The job is woken at once; if it does not
/// come in this time, another process took it.
const WARM_FOR: Duration = Duration::from_secs(5);

/// How long a reader waits for room for its copy: longer than most answers take.
const ROOM_WITHIN: Duration = Duration::from_secs(20);

/// Units of memory for copies that are being sent.
fn copies_of(units: u32) -> u32 {
    (units / 2).max(1)
}

/// The bounded place for work on pixels.
#[derive(Debug, Clone)]
pub struct PixelPool {
    slots: Arc<Semaphore>,
    // Apart from `slots`: a render holds memory that those in `slots` may wait for.
    renders: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    units: u32,
    // Apart from `memory`, which clients that read slowly would otherwise keep from decoding.
    copies: Arc<Semaphore>,
    warm: Arc<WarmPictures>,
}

/// A share of the memory budget, given back on drop.
#[derive(Debug)]
pub struct MemoryShare(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// The right to load and work on one file, given back on drop.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl PixelPool {
    /// A pool of `slots` workers that share `memory_bytes`.
    pub fn new(slots: usize, memory_bytes: u64) -> Self {
        let units = u32::try_from(memory_bytes / UNIT_BYTES).unwrap_or(u32::MAX >> 3).clamp(1, u32::MAX >> 3);
        Self {
            slots: Arc::new(Semaphore::new(slots.max(1))),
            renders: Arc::new(Semaphore::new(slots.max(1))),
            memory: Arc::new(Semaphore::new(units as usize)),
            units,
            copies: Arc::new(Semaphore::new(copies_of(units) as usize)),
            warm: Arc::new(WarmPictures::default()),
        }
    }

    /// Waits for a free place to load and decode. Take it before loading a file, so that no more
    /// files lie in memory than are worked on; and before [`memory`](Self::memory), never after.
    ///
    /// # Errors
    /// [`Code::ShuttingDown`].
    pub async fn slot(&self) -> Result<Slot, Fault> {
        self.slots.clone().acquire_owned().await.map(Slot).map_err(|_| stopping())
    }

    /// Waits for a free place to render from a decoded picture, whose memory is held already.
    ///
    /// # Errors
    /// [`Code::ShuttingDown`].
    pub async fn render_slot(&self) -> Result<Slot, Fault> {
        self.renders.clone().acquire_owned().await.map(Slot).map_err(|_| stopping())
    }

    /// Waits until `bytes` of the budget are free.
    ///
    /// # Errors
    /// [`Code::ImageLimitExceeded`] if they never can be; [`Code::ShuttingDown`].
    pub async fn memory(&self, bytes: u64) -> Result<MemoryShare, Fault> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        if units > self.units {
            let budget = u64::from(self.units) * UNIT_BYTES;
            return Err(Fault::new(
                Code::ImageLimitExceeded,
                format!("decoding needs about {bytes} bytes of memory, the budget is {budget}"),
            )
            .remedy("send a smaller picture, or raise limits.decode_memory"));
        }
        if let Ok(permit) = self.memory.clone().try_acquire_many_owned(units) {
            return Ok(MemoryShare(permit));
        }
        // Pictures that only wait for their variants give way.
        self.warm.clear();
        self.memory.clone().acquire_many_owned(units).await.map(MemoryShare).map_err(|_| stopping())
    }

    /// Waits a while until there is room for a copy of `bytes` that is made for a client and lies in
    /// memory until it was sent. All such copies share half as much as the budget of decoding, beside
    /// it; one that is larger than that gets all of it.
    ///
    /// # Errors
    /// [`Code::BackendUnavailable`] if others hold the room for too long.
    pub async fn room_for_copy(&self, bytes: u64) -> Result<MemoryShare, Fault> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(copies_of(self.units));
        let wanted = self.copies.clone().acquire_many_owned(units);
        match tokio::time::timeout(ROOM_WITHIN, wanted).await {
            Ok(permit) => permit.map(MemoryShare).map_err(|_| stopping()),
            Err(_) => {
                Err(Fault::new(Code::BackendUnavailable, "too many copies without metadata are being sent")
                    .remedy("try again, or ask for a variant"))
            }
        }
    }

    /// Runs `work` on a thread for blocking work.
    ///
    /// # Errors
    /// [`Code::UndecodableImage`] if `work` panicked: a codec that panics refuses one file and ends
    /// nothing else.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            Fault::new(Code::UndecodableImage, "the picture could not be processed")
                .remedy("save it again")
                .caused_by(error)
        })
    }

    /// Keeps a decoded picture for the variants job that was just enqueued.
    /// It was decoded to serve `recipes`.
    pub fn keep_warm(&self, sha256: &str, recipes: Vec<Recipe>, decoded: Decoded, share: MemoryShare) {
        self.warm.put(sha256, Warm { recipes, decoded, share });
        let warm = self.warm.clone();
        let sha256 = sha256.to_owned();
        tokio::spawn(async move {
            tokio::time::sleep(WARM_FOR).await;
            warm.take(&sha256);
        });
    }

    /// Takes a picture that was kept, if it is still there and serves all of `recipes`.
    pub fn take_warm(&self, sha256: &str, recipes: &[Recipe]) -> Option<(Decoded, MemoryShare)> {
        let warm = self.warm.take(sha256)?;
        let serves = recipes.iter().all(|recipe| warm.recipes.contains(recipe));
        serves.then_some((warm.decoded, warm.share))
    }
}

fn stopping() -> Fault {
    Fault::new(Code::ShuttingDown, "the process is stopping").remedy("try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_can_never_fit_is_refused_and_the_rest_waits_its_turn() {
        let pool = PixelPool::new(2, 1_000 * UNIT_BYTES);
        assert_eq!(pool.memory(1_001 * UNIT_BYTES).await.unwrap_err().code, Code::ImageLimitExceeded);
        let held = pool.memory(700 * UNIT_BYTES).await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(20), pool.memory(400 * UNIT_BYTES)).await;
        assert!(waiting.is_err(), "700 + 400 units do not fit into 1,000");
        drop(held);
        pool.memory(400 * UNIT_BYTES).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn copies_wait_for_room_of_their_own_and_not_for_ever() {
        let pool = PixelPool::new(1, 100 * UNIT_BYTES);
        let _decoding = pool.memory(100 * UNIT_BYTES).await.unwrap();
        let held = pool.room_for_copy(1_000 * UNIT_BYTES).await.unwrap();
        assert_eq!(pool.room_for_copy(1).await.unwrap_err().code, Code::BackendUnavailable);
        drop(held);
        pool.room_for_copy(1).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_refuses_one_file_and_ends_nothing_else() {
        let pool = PixelPool::new(1, UNIT_BYTES);
        let fault = pool.run(|| -> () { panic!("codec") }).await.unwrap_err();
        assert_eq!(fault.code, Code::UndecodableImage);
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }
}
