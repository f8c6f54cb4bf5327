//! What each input sample weighs in each output sample, in one direction.

use std::f64::consts::PI;
use std::ops::Range;

/// Fractional bits of a weight: 1 is 2^14, and no weight reaches 2.
pub(super) const BITS: u32 = 14;

/// Weights are stored in multiples of this many, a vector of 16 bits each.
pub(super) const LANES: usize = 16;

/// Half the width of the kernel, in samples of the coarser side.
const LOBES: f64 = 3.0;

/// A stretch of a row or column of samples: where it begins and how long it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    start: f64,
    length: f64,
}

impl Span {
    pub(crate) fn new(start: f64, length: f64) -> Self {
        Self { start, length }
    }

    /// Where the stretch begins, if it is just `count` of the `available` samples.
    pub(super) fn whole(self, count: usize, available: usize) -> Option<usize> {
        let fits = self.start >= 0.0 && self.start.fract() == 0.0 && self.length == count as f64;
        (fits && self.start as usize + count <= available).then_some(self.start as usize)
    }

    /// The input samples that an output sample sees, as far as there are any.
    fn seen(self, outputs: usize, inputs: usize, index: usize) -> (f64, f64, Range<usize>) {
        let scale = self.length / outputs as f64;
        // Enlarging interpolates with the kernel at its own width.
        let stretch = scale.max(1.0);
        let centre = self.start + (index as f64 + 0.5) * scale;
        let reach = LOBES * stretch;
        let last = inputs - 1;
        let first = (centre - reach).floor().max(0.0).min(last as f64) as usize;
        let end = ((centre + reach).ceil().max(1.0) as usize).clamp(first + 1, inputs);
        (centre, stretch, first..end)
    }
}

/// The kernel (sinc windowed by its own middle lobe), not yet normalised.
fn lanczos3(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
    if x.abs() < LOBES { sinc(x) * sinc(x / LOBES) } else { 0.0 }
}

/// Input samples and weights of an output sample, not yet normalised.
pub(super) fn exact(span: Span, outputs: usize, inputs: usize, index: usize) -> Vec<(usize, f64)> {
    let (centre, stretch, seen) = span.seen(outputs, inputs, index);
    let weigh = |input: usize| (input, lanczos3((input as f64 + 0.5 - centre) / stretch));
    seen.map(weigh).collect()
}

/// The weights of all output samples of one direction.
#[derive(Debug)]
pub(super) struct Weights {
    /// Of each output sample: the first input sample, and how many weigh something.
    seen: Vec<(usize, usize)>,
    /// Weights kept for each output sample, a multiple of [`LANES`]; behind those that count are zeros.
    stride: usize,
    weights: Vec<i16>,
    used: Range<usize>,
}

impl Weights {
    pub fn new(span: Span, outputs: usize, inputs: usize) -> Self {
        let mut seen = Vec::with_capacity(outputs);
        let mut used = inputs..0;
        let mut most = 0;
        for index in 0..outputs {
            let range = span.seen(outputs, inputs, index).2;
            used = used.start.min(range.start)..used.end.max(range.end);
            most = most.max(range.len());
            seen.push((range.start, range.len()));
        }
        let stride = most.next_multiple_of(LANES);
        let mut weights = vec![0; stride * outputs];
        for (index, weights) in weights.chunks_exact_mut(stride).enumerate() {
            normalised(&exact(span, outputs, inputs, index), weights);
        }
        Self { seen, stride, weights, used }
    }

    /// The first input sample of an output sample, and the weights from there on.
    pub fn of(&self, index: usize) -> (usize, &[i16]) {
        let (first, count) = self.seen[index];
        (first, &self.weights[index * self.stride..][..count])
    }

    /// Input samples that any output sample sees.
    pub fn used(&self) -> Range<usize> {
        self.used.clone()
    }

    /// The same as [`Self::of`] in whole vectors, of which the first is counted from the start of what
    /// is used. The last vector may reach [`LANES`] beyond the end of it.
    pub fn padded(&self, index: usize) -> (usize, &[[i16; LANES]]) {
        let (first, count) = self.seen[index];
        let weights = &self.weights[index * self.stride..][..count.next_multiple_of(LANES)];
        (first - self.used.start, weights.as_chunks().0)
    }
}

/// Rounds weights so that their sum is exactly 1: a flat plane stays as it is.
fn normalised(exact: &[(usize, f64)], weights: &mut [i16]) {
    let one = f64::from(1_u32 << BITS);
    let total: f64 = exact.iter().map(|(_, weight)| weight).sum();
    let mut sum = 0;
    let mut largest = 0;
    for (index, (_, weight)) in exact.iter().enumerate() {
        weights[index] = (weight / total * one).round() as i16;
        sum += i32::from(weights[index]);
        if weights[index] > weights[largest] {
            largest = index;
        }
    }
    weights[largest] = (i32::from(weights[largest]) + (1 << BITS) - sum) as i16;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_of_every_output_are_one_in_sum() {
        for (start, length, outputs, inputs) in [
            (0.0, 100.0, 37, 100),
            (-1.5, 101.5, 50, 100),
            (20.3, 33.1, 64, 100),
            (0.0, 1.0, 9, 1),
            (0.0, 9e3, 1, 9_000),
        ] {
            let weights = Weights::new(Span::new(start, length), outputs, inputs);
            for index in 0..outputs {
                let (first, own) = weights.of(index);
                assert!(first + own.len() <= inputs);
                assert_eq!(own.iter().map(|&weight| i32::from(weight)).sum::<i32>(), 1 << BITS);
                assert_eq!(weights.padded(index).1.as_flattened()[..own.len()], *own);
            }
        }
    }

    #[test]
    fn a_stretch_of_whole_samples_is_known() {
        assert_eq!(Span::new(2.0, 5.0).whole(5, 7), Some(2));
        assert_eq!(Span::new(2.0, 5.0).whole(5, 6), None);
        assert_eq!(Span::new(2.5, 5.0).whole(5, 9), None);
        assert_eq!(Span::new(-1.0, 5.0).whole(5, 9), None);
        assert_eq!(Span::new(0.0, 5.0).whole(4, 9), None);
    }
}
