//! Inverse transform to one sample: the DC coefficient.

use crate::reconstruct::dc_sample;

pub(super) fn pair(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2], samples: &mut [[u8; 64]; 2]) {
    for ((block, table), samples) in blocks.into_iter().zip(tables).zip(samples) {
        samples[0] = dc_sample(block[0], table[0]);
    }
}
