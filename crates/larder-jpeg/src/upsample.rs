//! Upsampling of subsampled planes, row by row.
//!
//! A component at half the width, half the height or both is interpolated linearly between the centres of
//! its samples ("fancy" or triangular upsampling): each output sample is 3/4 of the nearer and 1/4 of the
//! farther input sample in each direction, rounded as libjpeg-turbo rounds. Other ratios repeat samples.

use crate::planes::Plane;

/// How a plane relates to the picture in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ratio {
    Same,
    Half,
    /// The numerator and denominator of picture over plane.
    Other(usize, usize),
}

impl Ratio {
    fn of(factor: u8, most: u8) -> Self {
        match (usize::from(factor), usize::from(most)) {
            (factor, most) if factor == most => Self::Same,
            (factor, most) if 2 * factor == most => Self::Half,
            (factor, most) => Self::Other(most, factor),
        }
    }
}

/// Gives the rows of a plane at the width of the picture.
#[derive(Debug)]
pub(crate) struct Upsampler<'p> {
    plane: &'p Plane,
    horizontal: Ratio,
    vertical: Ratio,
    /// A row of the plane, weighted with its neighbour: four times the samples.
    blended: Vec<u16>,
    row: Vec<u8>,
}

impl<'p> Upsampler<'p> {
    /// Of a plane with `sampling` factors where the largest are `most`.
    pub fn new(plane: &'p Plane, sampling: (u8, u8), most: (u8, u8), width: usize) -> Self {
        let horizontal = match Ratio::of(sampling.0, most.0) {
            // As in libjpeg: a plane of one or two columns is repeated, not interpolated.
            Ratio::Half if plane.width <= 2 => Ratio::Other(2, 1),
            ratio => ratio,
        };
        let vertical = match (Ratio::of(sampling.1, most.1), horizontal) {
            // Interpolated only with a ratio of one or a half across.
            (Ratio::Half, Ratio::Other(..)) => Ratio::Other(2, 1),
            (ratio, _) => ratio,
        };
        let horizontal = match (horizontal, vertical) {
            (Ratio::Half, Ratio::Other(..)) => Ratio::Other(2, 1),
            (ratio, _) => ratio,
        };
        let blended = if vertical == Ratio::Half { vec![0; plane.width] } else { Vec::new() };
        // An interpolated row may have a sample more than the picture.
        Self { plane, horizontal, vertical, blended, row: vec![0; width.next_multiple_of(2)] }
    }

    /// The row for row `y` of the picture, at least as wide as the picture.
    pub fn row(&mut self, y: usize) -> &[u8] {
        let near = match self.vertical {
            Ratio::Same => y,
            Ratio::Half => y / 2,
            Ratio::Other(numerator, denominator) => y * denominator / numerator,
        };
        let near = near.min(self.plane.height - 1);
        if self.vertical == Ratio::Half {
            let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { near + 1 };
            blend(self.plane.row(near), self.plane.row(far.min(self.plane.height - 1)), &mut self.blended);
        }
        match (self.horizontal, self.vertical) {
            (Ratio::Same, Ratio::Half) => halve(&self.blended, y % 2, &mut self.row),
            (Ratio::Same, _) => return self.plane.row(near),
            (Ratio::Half, Ratio::Half) => widen_blended(&self.blended, &mut self.row),
            (Ratio::Half, _) => widen(self.plane.row(near), &mut self.row),
            (Ratio::Other(numerator, denominator), _) => {
                repeat(self.plane.row(near), numerator, denominator, &mut self.row);
            }
        }
        &self.row
    }
}

/// Three times the nearer row and once the farther.
fn blend(near: &[u8], far: &[u8], out: &mut [u16]) {
    for ((out, &near), &far) in out.iter_mut().zip(near).zip(far) {
        *out = 3 * u16::from(near) + u16::from(far);
    }
}

/// The blended row as samples; the rounding alternates between rows.
fn halve(blended: &[u16], odd: usize, out: &mut [u8]) {
    let bias = 1 + odd as u16;
    for (out, &sum) in out.iter_mut().zip(blended) {
        *out = ((sum + bias) >> 2) as u8;
    }
}

/// Twice as many samples; the rounding alternates between columns.
fn widen(row: &[u8], out: &mut [u8]) {
    let pairs = out.as_chunks_mut::<2>().0;
    let last = row.len() - 1;
    for (pair, window) in pairs[1..].iter_mut().zip(row.windows(3)) {
        let [left, middle, right] = [window[0], window[1], window[2]].map(u16::from);
        *pair = [((3 * middle + left + 1) >> 2) as u8, ((3 * middle + right + 2) >> 2) as u8];
    }
    let [first, second] = [row[0], row[1]].map(u16::from);
    pairs[0] = [row[0], ((3 * first + second + 2) >> 2) as u8];
    let [before, end] = [row[last - 1], row[last]].map(u16::from);
    pairs[last] = [((3 * end + before + 1) >> 2) as u8, row[last]];
}

/// Twice as many samples of a blended row, and back from sixteenths.
fn widen_blended(row: &[u16], out: &mut [u8]) {
    let pairs = out.as_chunks_mut::<2>().0;
    let last = row.len() - 1;
    for (pair, window) in pairs[1..].iter_mut().zip(row.windows(3)) {
        let [left, middle, right] = [window[0], window[1], window[2]];
        *pair = [((3 * middle + left + 8) >> 4) as u8, ((3 * middle + right + 7) >> 4) as u8];
    }
    pairs[0] = [((row[0] * 4 + 8) >> 4) as u8, ((row[0] * 3 + row[1] + 7) >> 4) as u8];
    pairs[last] = [((row[last] * 3 + row[last - 1] + 8) >> 4) as u8, ((row[last] * 4 + 7) >> 4) as u8];
}

fn repeat(row: &[u8], numerator: usize, denominator: usize, out: &mut [u8]) {
    for (x, out) in out.iter_mut().enumerate() {
        *out = row[(x * denominator / numerator).min(row.len() - 1)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(width: usize, height: usize, sample: impl Fn(usize, usize) -> u8) -> Plane {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Plane { width, height, stride: width, samples: places.map(|(x, y)| sample(x, y)).collect() }
    }

    #[test]
    fn a_row_of_half_the_width_is_interpolated_between_centres() {
        let plane = plane(3, 1, |x, _| [0, 100, 200][x]);
        let mut rows = Upsampler::new(&plane, (1, 1), (2, 1), 6);
        assert_eq!(rows.row(0), [0, 25, 75, 125, 175, 200]);
        // An odd picture has no use for the last.
        assert_eq!(Upsampler::new(&plane, (1, 1), (2, 1), 5).row(0)[..5], [0, 25, 75, 125, 175]);
    }

    #[test]
    fn rows_of_half_the_height_are_interpolated_and_the_outer_ones_repeated() {
        let plane = plane(3, 2, |_, y| [0, 100][y]);
        let mut rows = Upsampler::new(&plane, (1, 1), (1, 2), 3);
        let column: Vec<_> = (0..4).map(|y| rows.row(y)[0]).collect();
        assert_eq!(column, [0, 25, 75, 100]);
        let mut rows = Upsampler::new(&plane, (1, 1), (2, 2), 6);
        let column: Vec<_> = (0..4).map(|y| rows.row(y)[3]).collect();
        assert_eq!(column, [0, 25, 75, 100]);
    }

    #[test]
    fn other_ratios_repeat_samples() {
        let plane = plane(2, 1, |x, _| [10, 20][x]);
        assert_eq!(Upsampler::new(&plane, (1, 1), (4, 1), 8).row(0), [10, 10, 10, 10, 20, 20, 20, 20]);
        assert_eq!(Upsampler::new(&plane, (2, 1), (3, 1), 3).row(0)[..3], [10, 10, 20]);
        assert_eq!(
            Upsampler::new(&plane, (1, 1), (2, 1), 4).row(0),
            [10, 10, 20, 20],
            "too narrow to interpolate"
        );
    }

    #[test]
    fn a_flat_plane_stays_flat_at_every_ratio() {
        for value in [0, 1, 127, 254, 255] {
            for (factor, most) in (1..=4).flat_map(|most| (1..=most).map(move |factor| (factor, most))) {
                let plane = plane(5, 5, |_, _| value);
                let width = 5 * usize::from(most) / usize::from(factor);
                let mut rows = Upsampler::new(&plane, (factor, factor), (most, most), width);
                assert!((0..width).all(|y| rows.row(y)[..width].iter().all(|&sample| sample == value)));
            }
        }
    }
}
