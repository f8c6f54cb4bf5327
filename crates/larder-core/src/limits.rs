//! Named maxima. Every loop over strangers' bytes has one here; each is a setting.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an image may cost before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLimits {
    /// Pixels of one frame. 100 million: twice the largest phone sensors of 2026, a third of the
    /// decode memory budget.
    pub pixels_max: u64,
    /// Pixels a side; what JPEG can express.
    pub side_max_px: u32,
    /// Frames of an animation.
    pub frames_max: u32,
    /// Pixels over all frames.
    pub total_pixels_max: u64,
    /// Time for one decode, in milliseconds.
    pub decode_time_max_ms: u64,
    /// Bytes of memory that all decodes of the process may take together.
    pub decode_memory_bytes: u64,
}

impl ImageLimits {
    /// Time for one decode.
    pub fn decode_time_max(&self) -> Duration {
        Duration::from_millis(self.decode_time_max_ms)
    }

    /// Whichever limit is lower, one by one: what holds where two sets of limits apply.
    #[must_use]
    pub fn lower(&self, other: &Self) -> Self {
        Self {
            pixels_max: self.pixels_max.min(other.pixels_max),
            side_max_px: self.side_max_px.min(other.side_max_px),
            frames_max: self.frames_max.min(other.frames_max),
            total_pixels_max: self.total_pixels_max.min(other.total_pixels_max),
            decode_time_max_ms: self.decode_time_max_ms.min(other.decode_time_max_ms),
            decode_memory_bytes: self.decode_memory_bytes.min(other.decode_memory_bytes),
        }
    }
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            pixels_max: 100_000_000,
            side_max_px: 65_535,
            frames_max: 8_192,
            total_pixels_max: 250_000_000,
            decode_time_max_ms: 10_000,
            decode_memory_bytes: 400_000_000,
        }
    }
}

/// Bytes of one upload unless the bucket says otherwise: 100 MiB.
pub const UPLOAD_BYTES_MAX: u64 = 104_857_600;

/// Bytes of one artwork: 10 MiB.
pub const ARTWORK_BYTES_MAX: u64 = 10_485_760;

/// Files in one request, and items of one batch operation.
pub const BATCH_ITEMS_MAX: usize = 100;

/// Bytes of a JSON body: 1 MiB.
pub const JSON_BYTES_MAX: usize = 1_048_576;

/// Bytes of user metadata of one asset, as JSON text.
pub const METADATA_BYTES_MAX: usize = 16_384;

/// Time within which a client must have sent its request's head.
pub const HEADERS_WITHIN: Duration = Duration::from_secs(30);

/// Time within which the next bytes of a request body must arrive.
pub const BODY_IDLE_MAX: Duration = Duration::from_secs(30);

/// Longest life of a signed URL.
pub const SIGNED_URL_LIFE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Life of a signed URL unless asked otherwise.
pub const SIGNED_URL_LIFE: Duration = Duration::from_secs(3_600);

/// Time that deleted bytes can be brought back.
pub const TRASH_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// Time that ended jobs and uploads stay listed.
pub const HISTORY_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Time after which an upload that never became an asset expires.
pub const UPLOAD_LIFE: Duration = Duration::from_secs(86_400);

/// Time that an answer is replayed for its idempotency key.
pub const IDEMPOTENCY_LIFE: Duration = Duration::from_secs(86_400);

/// Longest `?wait=` of an upload.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
