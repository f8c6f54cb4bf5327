//! How much a file may ask for.

use crate::Error;

/// How much a file may ask for. Each is checked before the memory or the time is spent.
///
/// ```
/// let limits = larder_jpeg::Limits { max_pixels: 50_000_000, ..Default::default() };
/// assert_eq!(limits.max_scans, 100);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width times height as coded, at whatever scale. Default 268,435,456 (2^28): more than any camera.
    pub max_pixels: u64,
    /// Bytes held at once, the output included and the input not; see
    /// [`Header::memory_bytes`](crate::Header::memory_bytes). Default 1 GiB: a progressive file of
    /// 100 megapixels with all its coefficients.
    pub max_memory_bytes: u64,
    /// Scans. Default 100: encoders write about ten, optimisers up to some 40, and each is a pass over the
    /// picture.
    pub max_scans: usize,
    /// Blocks of 8x8 samples decoded, summed over all scans. A few bytes can stand for 32,767 blocks, so
    /// that the size of a file does not bound the work. Default 2^28: some seconds.
    pub max_block_visits: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 1 << 28, max_memory_bytes: 1 << 30, max_scans: 100, max_block_visits: 1 << 28 }
    }
}

/// `Err(LimitExceeded)` if `found` is more than `limit`.
pub(crate) fn check(what: &'static str, found: u64, limit: u64) -> Result<(), Error> {
    if found > limit { Err(Error::LimitExceeded { what, found, limit }) } else { Ok(()) }
}
