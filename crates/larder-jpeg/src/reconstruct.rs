//! From quantised coefficients to samples in a plane (T.81, sections A.3.3 and A.3.4).

use crate::Scale;
use crate::kernels::{InversePair, Kernels};
use crate::planes::Plane;
use crate::quantisation::QuantisationTable;

/// Blocks that wait to be transformed together: 8 KiB, which the nearest cache holds.
const WAITING_MAX: usize = 64;

/// Where a waiting block goes.
#[derive(Debug, Clone, Copy)]
struct Target {
    component: usize,
    /// Column and row among the component's blocks; `None` for one that only fills an MCU.
    position: Option<(usize, usize)>,
    /// In zig-zag order, none is other than zero behind it.
    last: usize,
}

/// Collects blocks and transforms them two at a time, whatever components they belong to.
pub(crate) struct Reconstructor {
    scale: Scale,
    inverse: InversePair,
    /// For each component of the frame.
    tables: [QuantisationTable; 4],
    blocks: Box<[[i16; 64]; WAITING_MAX]>,
    targets: Vec<Target>,
}

impl Reconstructor {
    pub fn new(scale: Scale, kernels: &Kernels) -> Self {
        Self {
            scale,
            inverse: kernels.inverse(scale),
            tables: [[1; 64]; 4],
            blocks: Box::new([[0; 64]; WAITING_MAX]),
            targets: Vec::with_capacity(WAITING_MAX),
        }
    }

    /// Decides the table of a component, before any of its blocks comes.
    pub fn set_table(&mut self, component: usize, table: QuantisationTable) {
        self.tables[component] = table;
    }

    /// The block to decode into, all zeros.
    #[inline(always)]
    pub fn next_block(&mut self, planes: &mut [Plane]) -> &mut [i16; 64] {
        if self.targets.len() >= WAITING_MAX {
            self.flush(planes);
        }
        &mut self.blocks[self.targets.len()]
    }

    /// Says where the block that was decoded goes; its last coefficient's place is in zig-zag order.
    #[inline(always)]
    pub fn push(&mut self, component: usize, position: Option<(usize, usize)>, last: usize) {
        self.targets.push(Target { component, position, last });
    }

    /// Transforms what waits.
    pub fn flush(&mut self, planes: &mut [Plane]) {
        let (mut samples, mut first) = ([[0; 64]; 2], None);
        for (index, target) in self.targets.iter().enumerate() {
            let Some(position) = target.position else { continue };
            if target.last == 0 {
                let sample = dc_sample(self.blocks[index][0], self.tables[target.component][0]);
                fill(&mut planes[target.component], self.scale, position, sample);
                continue;
            }
            let Some(before) = first.replace(index) else { continue };
            first = None;
            let pair = [before, index];
            let tables = pair.map(|index| &self.tables[self.targets[index].component]);
            (self.inverse)(pair.map(|index| &self.blocks[index]), tables, &mut samples);
            for (samples, index) in samples.iter().zip(pair) {
                self.targets[index].store(planes, self.scale, samples);
            }
        }
        if let Some(index) = first {
            let target = self.targets[index];
            let table = &self.tables[target.component];
            (self.inverse)([&self.blocks[index]; 2], [table; 2], &mut samples);
            target.store(planes, self.scale, &samples[0]);
        }
        self.blocks[..self.targets.len()].fill([0; 64]);
        self.targets.clear();
    }

    /// Transforms a row of blocks of one component, and gives the largest magnitude of their DC coefficients.
    pub fn transform_row(&self, blocks: &[[i16; 64]], component: usize, y: usize, plane: &mut Plane) -> u16 {
        let mut dc_max = 0;
        let table = &self.tables[component];
        let mut samples = [[0; 64]; 2];
        let (pairs, rest) = blocks.as_chunks::<2>();
        for (index, pair) in pairs.iter().enumerate() {
            let x = 2 * index;
            dc_max = dc_max.max(pair[0][0].unsigned_abs()).max(pair[1][0].unsigned_abs());
            if pair.iter().all(is_flat) {
                for (offset, block) in pair.iter().enumerate() {
                    fill(plane, self.scale, (x + offset, y), dc_sample(block[0], table[0]));
                }
                continue;
            }
            (self.inverse)([&pair[0], &pair[1]], [table; 2], &mut samples);
            store(plane, self.scale, (x, y), &samples[0]);
            store(plane, self.scale, (x + 1, y), &samples[1]);
        }
        if let [block] = rest {
            dc_max = dc_max.max(block[0].unsigned_abs());
            (self.inverse)([block; 2], [table; 2], &mut samples);
            store(plane, self.scale, (blocks.len() - 1, y), &samples[0]);
        }
        dc_max
    }
}

impl Target {
    #[inline(always)]
    fn store(&self, planes: &mut [Plane], scale: Scale, samples: &[u8; 64]) {
        if let Some(position) = self.position {
            store(&mut planes[self.component], scale, position, samples);
        }
    }
}

/// Whether a block has no AC coefficient.
fn is_flat(block: &[i16; 64]) -> bool {
    // Without leaving the loop early this becomes a few vector instructions.
    block[1..].iter().fold(0, |any, &coefficient| any | coefficient) == 0
}

/// The one sample of all that a block without AC coefficients has, at every scale: the inverse transforms
/// of all sizes come to this.
#[inline(always)]
pub(crate) fn dc_sample(coefficient: i16, step: i16) -> u8 {
    let value = i32::from(coefficient.wrapping_mul(step));
    (((value + 4) >> 3) + 128).clamp(0, 255) as u8
}

#[inline(always)]
fn fill(plane: &mut Plane, scale: Scale, position: (usize, usize), sample: u8) {
    store(plane, scale, position, &[sample; 64]);
}

/// Puts a block, whose rows follow one another without gaps, into its plane.
#[inline(always)]
fn store(plane: &mut Plane, scale: Scale, position: (usize, usize), samples: &[u8; 64]) {
    match scale {
        Scale::Eighth => store_rows::<1>(plane, position, samples),
        Scale::Quarter => store_rows::<2>(plane, position, samples),
        Scale::Half => store_rows::<4>(plane, position, samples),
        Scale::Full => store_rows::<8>(plane, position, samples),
    }
}

#[inline(always)]
fn store_rows<const SIDE: usize>(plane: &mut Plane, (x, y): (usize, usize), samples: &[u8; 64]) {
    let stride = plane.stride;
    let rows = &mut plane.samples[y * SIDE * stride + x * SIDE..];
    for (row, samples) in samples.as_chunks::<SIDE>().0.iter().take(SIDE).enumerate() {
        rows[row * stride..][..SIDE].copy_from_slice(samples);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantisation::DC_MAX;

    #[test]
    fn a_flat_block_is_what_the_whole_transform_makes_of_it() {
        let mut samples = [[0; 64]; 2];
        for scale in Scale::ALL {
            let inverse = Kernels::scalar().inverse(scale);
            for coefficient in -DC_MAX..=DC_MAX {
                let mut block = [0; 64];
                block[0] = coefficient;
                inverse([&block; 2], [&[1; 64]; 2], &mut samples);
                let expected = [dc_sample(block[0], 1); 64];
                let count = scale.block_side().pow(2);
                assert_eq!(samples[0][..count], expected[..count], "{coefficient} at {scale:?}");
            }
        }
    }
}
