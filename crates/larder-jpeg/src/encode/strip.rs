//! Some neighbouring MCUs, transformed: as many blocks as the nearest cache holds.

use super::geometry::Geometry;
use super::quantiser::Divisors;
use super::source::PlaneView;
use super::tokens::{Statistics, Tokens};
use crate::kernels::Kernels;

/// MCUs of a strip: an even number, since blocks are transformed in pairs.
pub(super) const MCUS: usize = 8;

/// Blocks of a row of a component: two in each MCU.
const ROW: usize = 2 * MCUS;

/// Two rows of luma, and one of each colour difference.
const ROWS: usize = 4;

/// Transformed blocks and what is needed to code them.
pub(super) struct Strip {
    kernels: Kernels,
    /// For luma, and for colour differences.
    divisors: [Divisors; 2],
    coefficients: Box<[[[i16; 64]; ROW]; ROWS]>,
    /// Which coefficients are other than zero.
    present: [[u64; ROW]; ROWS],
    /// DC of the last block of each component.
    predictions: [i16; 3],
}

impl Strip {
    pub fn new(steps: &[[u8; 64]; 2], kernels: &Kernels) -> Self {
        Self {
            kernels: *kernels,
            divisors: steps.each_ref().map(Divisors::new),
            coefficients: Box::new([[[0; 64]; ROW]; ROWS]),
            present: [[0; ROW]; ROWS],
            predictions: [0; 3],
        }
    }

    /// Encodes MCUs from number `first` of a row whose planes these are.
    pub fn encode(
        &mut self,
        planes: &[PlaneView<'_>; 3],
        first: usize,
        geometry: &Geometry,
        tokens: &mut Tokens,
        statistics: &mut [Statistics; 2],
    ) {
        let count = MCUS.min(geometry.mcus().0 - first);
        for (component, plane) in planes.iter().enumerate().take(geometry.components) {
            let (across, down) = geometry.factors_of(component);
            let blocks = count.saturating_mul(across).min(geometry.blocks(component).0 - first * across);
            for y in (0..down).filter(|y| 8 * y < plane.height) {
                self.transform(plane, (first * across, y), blocks, component);
            }
        }
        for mcu in 0..count {
            for (component, plane) in planes.iter().enumerate().take(geometry.components) {
                let (across, down) = geometry.factors_of(component);
                let left = geometry.blocks(component).0 - first * across;
                for (y, x) in (0..down).flat_map(|y| (0..across).map(move |x| (y, mcu * across + x))) {
                    let statistics = &mut statistics[usize::from(component > 0)];
                    if x < left && 8 * y < plane.height {
                        let block = &self.coefficients[row_of(component, y)][x];
                        let difference = i32::from(block[0]) - i32::from(self.predictions[component]);
                        let present = self.present[row_of(component, y)][x];
                        tokens.push(difference, block, present, statistics);
                        self.predictions[component] = block[0];
                    } else {
                        tokens.push_same(statistics);
                    }
                }
            }
        }
    }

    /// Transforms neighbouring blocks; `position` is the first one's, in blocks.
    fn transform(&mut self, plane: &PlaneView<'_>, (x, y): (usize, usize), blocks: usize, component: usize) {
        let row = row_of(component, y);
        let divisors = &self.divisors[usize::from(component > 0)];
        let pairs = self.coefficients[row].as_chunks_mut::<2>().0.iter_mut();
        let pairs = pairs.zip(self.present[row].as_chunks_mut::<2>().0).take(blocks.div_ceil(2));
        for (index, (coefficients, present)) in pairs.enumerate() {
            let left = 8 * (x + 2 * index);
            *present = if left + 16 <= plane.width {
                let rows = std::array::from_fn(|row| sixteen(row_or_last(plane, 8 * y + row), left));
                (self.kernels.forward8)(rows, divisors, coefficients)
            } else {
                let rows: [_; 8] =
                    std::array::from_fn(|row| last_sixteen(row_or_last(plane, 8 * y + row), left));
                (self.kernels.forward8)(rows.each_ref(), divisors, coefficients)
            };
        }
    }
}

/// Where the blocks of a component lie.
fn row_of(component: usize, y: usize) -> usize {
    if component == 0 { y } else { component + 1 }
}

/// A row of samples; below the picture its last one.
#[inline(always)]
fn row_or_last<'s>(plane: &PlaneView<'s>, y: usize) -> &'s [u8] {
    plane.row(y.min(plane.height - 1))
}

/// The samples from `left`, which are there.
#[inline(always)]
fn sixteen(row: &[u8], left: usize) -> &[u8; 16] {
    match row[left..].first_chunk() {
        Some(samples) => samples,
        None => unreachable!("fewer than sixteen samples"),
    }
}

/// The samples from `left` to the end of the row, and its last one as often as it takes.
fn last_sixteen(row: &[u8], left: usize) -> [u8; 16] {
    std::array::from_fn(|x| row[(left + x).min(row.len() - 1)])
}
