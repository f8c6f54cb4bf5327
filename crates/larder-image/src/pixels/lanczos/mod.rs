//! Resampling of a plane of samples with Lanczos3: 8 bits in and out, 14 between the two directions.
//!
//! Down first, since neighbouring columns are worked on alike; each output row then needs one row of
//! 16 bits, which is resampled across at once. [`crate::pixels::resize`] does the same for pixels with
//! their channels side by side, with 8 bits in between.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod kernels;
mod weights;

use larder_jpeg::Plane;

use kernels::Kernels;
pub(crate) use weights::Span;
use weights::Weights;

/// A part of a plane at another size. The part may have fractions of a sample and reach beyond the
/// plane, which ends there all the same: what would lie beyond weighs nothing.
pub(crate) fn resample(source: &Plane, across: Span, down: Span, size: (usize, usize)) -> Plane {
    resample_by(&Kernels::detect(), source, across, down, size)
}

fn resample_by(
    kernels: &Kernels,
    source: &Plane,
    across: Span,
    down: Span,
    (width, height): (usize, usize),
) -> Plane {
    if let Some(same) = cut(source, across, down, (width, height)) {
        return same;
    }
    let columns = Weights::new(across, width, source.width);
    let rows = Weights::new(down, height, source.height);
    let used = columns.used();
    // Weights come in whole vectors: the last ones are zero and meet zeros behind the row.
    let mut between = vec![0; used.len() + weights::LANES];
    let mut samples = vec![0; width * height];
    let mut inputs: Vec<&[u8]> = Vec::new();
    for (y, out) in samples.chunks_exact_mut(width).enumerate() {
        let (first, weights) = rows.of(y);
        inputs.clear();
        inputs.extend((first..first + weights.len()).map(|y| &source.row(y)[used.clone()]));
        (kernels.down)(&inputs, weights, &mut between[..used.len()]);
        (kernels.across)(&between, &columns, out);
    }
    Plane { width, height, stride: width, samples }
}

/// Whole samples that keep their size are copied.
fn cut(source: &Plane, across: Span, down: Span, (width, height): (usize, usize)) -> Option<Plane> {
    let (left, top) = (across.whole(width, source.width)?, down.whole(height, source.height)?);
    let mut samples = Vec::with_capacity(width * height);
    for y in top..top + height {
        samples.extend_from_slice(&source.row(y)[left..left + width]);
    }
    Some(Plane { width, height, stride: width, samples })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planar::plane;

    fn noise(width: usize, height: usize) -> Plane {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut samples = vec![0; width * height];
        for sample in &mut samples {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *sample = (state >> 33) as u8;
        }
        Plane { width, height, stride: width, samples }
    }

    fn whole(plane: &Plane) -> (Span, Span) {
        (Span::new(0.0, plane.width as f64), Span::new(0.0, plane.height as f64))
    }

    /// The definition: both directions at once, in `f64`.
    fn by_definition(source: &Plane, across: Span, down: Span, (width, height): (usize, usize)) -> Vec<f64> {
        let mut values = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let (mut sum, mut total) = (0.0, 0.0);
                for (row, by) in weights::exact(down, height, source.height, y) {
                    for (column, bx) in weights::exact(across, width, source.width, x) {
                        sum += f64::from(source.row(row)[column]) * bx * by;
                        total += bx * by;
                    }
                }
                values.push((sum / total).clamp(0.0, 255.0));
            }
        }
        values
    }

    #[test]
    fn samples_are_those_of_the_definition_within_a_rounding() {
        // Noise, and full contrast, whose overshoot must be cut and not wrapped.
        let stripes = plane(61, 47, |x, y| if (x / 4 + y / 4) % 2 == 0 { 255 } else { 0 });
        for source in [noise(61, 47), stripes] {
            agrees(&source);
        }
    }

    fn agrees(source: &Plane) {
        let (across, down) = whole(source);
        let part = (Span::new(3.25, 40.5), Span::new(-0.5, 30.75));
        for size in [(30, 20), (17, 47), (61, 9), (5, 3), (1, 1), (90, 70), (60, 46)] {
            for (across, down) in [(across, down), part] {
                let found = resample(source, across, down, size);
                let expected = by_definition(source, across, down, size);
                for (found, expected) in found.samples.iter().zip(expected) {
                    assert!((f64::from(*found) - expected).abs() < 0.6, "{size:?}: {found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn every_choice_of_kernels_gives_the_same_samples() {
        for (width, height) in [(1, 1), (31, 3), (32, 8), (33, 20), (200, 90), (515, 31)] {
            let source = noise(width, height);
            for (part, size) in
                [(1.0, (width.div_ceil(2), height.div_ceil(3))), (0.61, (7, 5)), (1.0, (40, 11))]
            {
                let across = Span::new(width as f64 * (1.0 - part) / 2.0, width as f64 * part);
                let down = Span::new(0.0, height as f64 * part);
                let plain = resample_by(&Kernels::scalar(), &source, across, down, size);
                let fast = resample_by(&Kernels::detect(), &source, across, down, size);
                assert_eq!(plain.samples, fast.samples, "{width}x{height} to {size:?}");
            }
        }
    }

    #[test]
    fn a_flat_plane_stays_flat() {
        for value in [0, 1, 127, 254, 255] {
            let source = plane(40, 30, |_, _| value);
            let (across, down) = whole(&source);
            for size in [(40, 30), (13, 7), (39, 29), (80, 61)] {
                let found = resample(&source, across, down, size);
                assert!(found.samples.iter().all(|&sample| sample == value), "{value} at {size:?}");
            }
        }
    }

    #[test]
    fn whole_samples_of_the_same_size_are_copied() {
        let source = noise(10, 8);
        let found = resample(&source, Span::new(3.0, 4.0), Span::new(2.0, 5.0), (4, 5));
        for y in 0..5 {
            assert_eq!(found.row(y), &source.row(y + 2)[3..7]);
        }
    }

    #[test]
    fn a_part_that_reaches_beyond_the_plane_keeps_its_scale() {
        // A ramp: samples of the same places stay the same.
        let source = plane(40, 40, |x, _| 100 + x as u8);
        let down = Span::new(0.0, 40.0);
        let within = resample(&source, Span::new(0.0, 40.0), down, (20, 20));
        let beyond = resample(&source, Span::new(-2.0, 42.0), down, (21, 20));
        assert_eq!(within.row(3)[4..16], beyond.row(3)[5..17]);
    }
}
