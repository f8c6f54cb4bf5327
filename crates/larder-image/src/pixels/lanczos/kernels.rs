//! The two inner loops, in a plain twin and, where the machine has it, with AVX2.

use super::weights::{BITS, LANES, Weights};

/// Fractional bits of a sample between the two directions: with the overshoot of the kernel, 255 stays
/// below 2^15.
pub(super) const BETWEEN_BITS: u32 = 6;

/// The weighted sum of rows, each weight for one row; all rows are as long as the output.
pub(super) type Down = fn(&[&[u8]], &[i16], &mut [i16]);

/// The weighted sums along a row, which has [`LANES`] zeros behind it.
pub(super) type Across = fn(&[i16], &Weights, &mut [u8]);

/// One choice of both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernels {
    pub down: Down,
    pub across: Across,
}

impl Kernels {
    /// Those that any machine can run.
    pub fn scalar() -> Self {
        Self {
            down: |rows, weights, out| down(rows, weights, 0, out),
            across: |row, weights, out| across(row, weights, 0, out),
        }
    }

    /// The fastest that this machine can run.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Self { down: super::avx2::down, across: super::avx2::across };
        }
        Self::scalar()
    }
}

/// From this column on.
pub(super) fn down(rows: &[&[u8]], weights: &[i16], from: usize, out: &mut [i16]) {
    for (x, out) in out.iter_mut().enumerate().skip(from) {
        let products = rows.iter().zip(weights).map(|(row, &weight)| i32::from(row[x]) * i32::from(weight));
        let sum = products.sum::<i32>() + (1 << (BITS - BETWEEN_BITS - 1));
        *out = (sum >> (BITS - BETWEEN_BITS)).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    }
}

/// From this output sample on.
pub(super) fn across(row: &[i16], weights: &Weights, from: usize, out: &mut [u8]) {
    for (x, out) in out.iter_mut().enumerate().skip(from) {
        let (first, weights) = weights.padded(x);
        let row = &row[first..][..weights.len() * LANES];
        let products = row
            .iter()
            .zip(weights.as_flattened())
            .map(|(&value, &weight)| i32::from(value) * i32::from(weight));
        *out = sample(products.sum());
    }
}

/// A sum with the fractional bits of both, as a sample.
fn sample(sum: i32) -> u8 {
    ((sum + (1 << (BITS + BETWEEN_BITS - 1))) >> (BITS + BETWEEN_BITS)).clamp(0, 255) as u8
}
