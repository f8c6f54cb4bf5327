//! How much memory an encode takes.

use super::geometry::{Geometry, Sampling};
use super::{bands, tokens, writer};

/// Bits of a block at most: a code of 16 bits with a magnitude of 11 for each coefficient.
const BLOCK_BITS: u64 = 64 * (16 + 11);

/// Bytes beside all that grows with the picture: tables, a strip of blocks, segments before the scan.
const FIXED_BYTES: u64 = 128 << 10;

/// Bytes that [`encode`](crate::encode) allocates at most at a time, its result included and its input not,
/// for a picture without a colour profile; a profile adds twice its length. `None` is grey.
///
/// This is for noise at the highest quality: about 9 bytes a sample. A photo takes a tenth, or less. Sides
/// that a file can't have count as the longest that it can.
///
/// ```
/// use larder_jpeg::{Sampling, encode_memory_bytes};
///
/// let megapixels_2 = encode_memory_bytes(1920, 1080, Some(Sampling::S420));
/// assert!(megapixels_2 < 28_000_000);
/// ```
pub fn encode_memory_bytes(width: usize, height: usize, sampling: Option<Sampling>) -> u64 {
    let sides = [width, height].map(|side| side.min(usize::from(u16::MAX)));
    let geometry = Geometry::new(sides[0], sides[1], sampling);
    let (across, down) = geometry.mcus();
    let blocks = across as u64 * down as u64 * geometry.blocks_per_mcu() as u64;
    // The bits themselves are written once it is known how many there are, but not how many stuffed zeros.
    let file = 2 * blocks * BLOCK_BITS / 8 + writer::SLACK as u64;
    file + tokens::bytes(blocks) + bands::bytes(sides[0]) + FIXED_BYTES
}
