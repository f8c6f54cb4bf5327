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

/// Where a block of an MCU lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    component: usize,
    /// Which row of blocks of the strip.
    row: usize,
    /// The column within the MCU.
    x: usize,
    /// Columns of an MCU.
    across: usize,
}

/// Transformed blocks and what is needed to code them.
pub(super) struct Strip {
    kernels: Kernels,
    /// For luma, and for colour differences.
    divisors: [Divisors; 2],
    /// The blocks of an MCU in the order of coding (T.81, section A.2.3).
    places: Vec<Place>,
    coefficients: Box<[[[i16; 64]; ROW]; ROWS]>,
    /// Which coefficients are other than zero.
    present: [[u64; ROW]; ROWS],
    /// Blocks of each row that hold something of the picture; others only fill MCUs.
    filled: [usize; ROWS],
    /// DC of the last block of each component.
    predictions: [i16; 3],
}

impl Strip {
    pub fn new(steps: &[[u8; 64]; 2], geometry: &Geometry, kernels: &Kernels) -> Self {
        let places = (0..geometry.components).flat_map(|component| {
            let (across, down) = geometry.factors_of(component);
            let place = move |x, y| Place { component, row: row_of(component, y), x, across };
            (0..down).flat_map(move |y| (0..across).map(move |x| place(x, y)))
        });
        Self {
            kernels: *kernels,
            divisors: steps.each_ref().map(Divisors::new),
            places: places.collect(),
            coefficients: Box::new([[[0; 64]; ROW]; ROWS]),
            present: [[0; ROW]; ROWS],
            filled: [0; ROWS],
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
            let left = first * across;
            let blocks = (count * across).min(geometry.blocks(component).0 - left);
            for y in 0..down {
                let is_there = 8 * y < plane.height;
                self.filled[row_of(component, y)] = if is_there { blocks } else { 0 };
                if is_there {
                    self.transform(plane, (left, y), blocks, component);
                }
            }
        }
        for mcu in 0..count {
            for &Place { component, row, x, across } in &self.places {
                let x = mcu * across + x;
                let statistics = &mut statistics[usize::from(component > 0)];
                if x < self.filled[row] {
                    let block = &self.coefficients[row][x];
                    let difference = i32::from(block[0]) - i32::from(self.predictions[component]);
                    tokens.push(difference, block, self.present[row][x], statistics);
                    self.predictions[component] = block[0];
                } else {
                    tokens.push_same(statistics);
                }
            }
        }
    }

    /// Transforms neighbouring blocks; `position` is the first one's, in blocks.
    fn transform(
        &mut self,
        plane: &PlaneView<'_>,
        position: (usize, usize),
        blocks: usize,
        component: usize,
    ) {
        let (x, y) = position;
        let row = row_of(component, y);
        let divisors = &self.divisors[usize::from(component > 0)];
        // Below the picture its last row is repeated.
        let rows: [_; 8] = std::array::from_fn(|row| plane.row((8 * y + row).min(plane.height - 1)));
        let pairs = self.coefficients[row].as_chunks_mut::<2>().0.iter_mut();
        let pairs = pairs.zip(self.present[row].as_chunks_mut::<2>().0).take(blocks.div_ceil(2));
        for (index, (coefficients, present)) in pairs.enumerate() {
            let left = 8 * (x + 2 * index);
            *present = if left + 16 <= plane.width {
                (self.kernels.forward8)(rows.map(|row| sixteen(row, left)), divisors, coefficients)
            } else {
                let rows = rows.map(|row| last_sixteen(row, left));
                (self.kernels.forward8)(rows.each_ref(), divisors, coefficients)
            };
        }
    }
}

/// Where the blocks of a component lie.
fn row_of(component: usize, y: usize) -> usize {
    if component == 0 { y } else { component + 1 }
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
