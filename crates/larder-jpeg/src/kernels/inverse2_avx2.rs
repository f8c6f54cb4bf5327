//! Inverse transform to 2x2 samples of two blocks at once: the twin of `inverse2`, step for step.
#![expect(unsafe_code, reason = "calls a function that needs AVX2")]

use std::arch::x86_64::*;

use super::CONST_BITS;
use super::avx2::{add, descale, products, rounded, row, samples as to_samples, scaled, sub};
use super::inverse2::*;

/// Must only be called where AVX2 was detected.
pub(super) fn pair(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2], samples: &mut [[u8; 64]; 2]) {
    // SAFETY: `Kernels::detect` hands this function out only after it has found AVX2.
    unsafe { transform(blocks, tables, samples) }
}

#[target_feature(enable = "avx2")]
fn transform(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2], samples: &mut [[u8; 64]; 2]) {
    const SHIFT1: i32 = PASS1_SHIFT as i32;
    const SHIFT2: i32 = PASS2_SHIFT as i32;
    let even = scaled::<1>(row(blocks, tables, 0));
    let odd = add(
        products(row(blocks, tables, 7), row(blocks, tables, 5), -FIX_0_720, FIX_0_850),
        products(row(blocks, tables, 3), row(blocks, tables, 1), -FIX_1_272, FIX_3_624),
    );
    let sums = [add(even, odd), sub(even, odd)];
    let [upper, lower] = sums.map(|sums| descale::<SHIFT1>(sums));

    // Along the rows: the products of the odd columns, and their sum in the first two places of a half.
    let (low, high) = (-FIX_1_272 << 16, -FIX_0_720 << 16);
    let factors = _mm256_setr_epi32(
        FIX_3_624 << 16,
        low,
        FIX_0_850 << 16,
        high,
        FIX_3_624 << 16,
        low,
        FIX_0_850 << 16,
        high,
    );
    let partial = _mm256_hadd_epi32(_mm256_madd_epi16(upper, factors), _mm256_madd_epi16(lower, factors));
    let odd = _mm256_hadd_epi32(partial, partial);
    let [upper, lower] = sums.map(|sums| rounded::<SHIFT1>(sums[0]));
    let even = _mm256_slli_epi32::<{ CONST_BITS as i32 + 2 }>(_mm256_unpacklo_epi32(upper, lower));
    let columns = descale::<SHIFT2>([_mm256_add_epi32(even, odd), _mm256_sub_epi32(even, odd)]);
    // Left upper and lower, two others, right upper and lower, two others.
    let bytes = to_samples(columns, columns);
    let halves = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
    for (samples, half) in samples.iter_mut().zip(halves) {
        let [left_upper, left_lower, _, _, right_upper, right_lower, ..] =
            _mm_cvtsi128_si64(half).to_le_bytes();
        samples[..4].copy_from_slice(&[left_upper, right_upper, left_lower, right_lower]);
    }
}
