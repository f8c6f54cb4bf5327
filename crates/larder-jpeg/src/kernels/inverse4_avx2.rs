//! Inverse transform to 4x4 samples of two blocks at once: the twin of `inverse4`, step for step.
#![expect(unsafe_code, reason = "calls a function that needs AVX2")]

use std::arch::x86_64::*;

use super::avx2::{
    add, constants, descale, products, row, samples as to_samples, scaled, store_16, sub, top_row,
};
use super::inverse4::*;

/// Must only be called where AVX2 was detected.
pub(super) fn pair(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2], samples: &mut [[u8; 64]; 2]) {
    // SAFETY: `Kernels::detect` hands this function out only after it has found AVX2.
    unsafe { transform(blocks, tables, samples) }
}

#[target_feature(enable = "avx2")]
fn transform(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2], samples: &mut [[u8; 64]; 2]) {
    let rows = columns_pass(blocks, tables);
    // Columns come in pairs then: four values of the one, four of the other.
    let (low01, low23) = (_mm256_unpacklo_epi16(rows[0], rows[1]), _mm256_unpacklo_epi16(rows[2], rows[3]));
    let (high01, high23) = (_mm256_unpackhi_epi16(rows[0], rows[1]), _mm256_unpackhi_epi16(rows[2], rows[3]));
    let columns01 = _mm256_unpacklo_epi32(low01, low23);
    let columns23 = _mm256_unpackhi_epi32(low01, low23);
    let columns45 = _mm256_unpacklo_epi32(high01, high23);
    let columns67 = _mm256_unpackhi_epi32(high01, high23);

    let even0 = _mm256_srai_epi32::<2>(_mm256_unpacklo_epi16(_mm256_setzero_si256(), columns01));
    let columns26 = _mm256_unpacklo_epi16(columns23, columns67);
    let even2 = _mm256_madd_epi16(columns26, constants(FIX_1_847, -FIX_0_765));
    let (outer, inner) = (_mm256_add_epi32(even0, even2), _mm256_sub_epi32(even0, even2));
    let columns75 = _mm256_unpackhi_epi16(columns67, columns45);
    let columns31 = _mm256_unpackhi_epi16(columns23, columns01);
    let odd0 = _mm256_add_epi32(
        _mm256_madd_epi16(columns75, constants(-FIX_0_211, FIX_1_451)),
        _mm256_madd_epi16(columns31, constants(-FIX_2_172, FIX_1_061)),
    );
    let odd2 = _mm256_add_epi32(
        _mm256_madd_epi16(columns75, constants(-FIX_0_509, -FIX_0_601)),
        _mm256_madd_epi16(columns31, constants(FIX_0_899, FIX_2_562)),
    );
    let left = [_mm256_add_epi32(outer, odd2), _mm256_add_epi32(inner, odd0)];
    let right = [_mm256_sub_epi32(inner, odd0), _mm256_sub_epi32(outer, odd2)];
    const SHIFT: i32 = PASS2_SHIFT as i32;
    let by_column = to_samples(descale::<SHIFT>(left), descale::<SHIFT>(right));
    let to_rows =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    store_16(_mm256_shuffle_epi8(by_column, to_rows), samples, 0);
}

/// The first dimension, for each of the eight columns of a half; the fifth has no part later.
#[inline]
#[target_feature(enable = "avx2")]
fn columns_pass(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2]) -> [__m256i; 4] {
    const SHIFT: i32 = PASS1_SHIFT as i32;
    let even0 = scaled::<2>(top_row(blocks, tables, has_only_top_row));
    let even2 = products(row(blocks, tables, 2), row(blocks, tables, 6), FIX_1_847, -FIX_0_765);
    let (outer, inner) = (add(even0, even2), sub(even0, even2));
    let (z7, z5) = (row(blocks, tables, 7), row(blocks, tables, 5));
    let (z3, z1) = (row(blocks, tables, 3), row(blocks, tables, 1));
    let odd0 = add(products(z7, z5, -FIX_0_211, FIX_1_451), products(z3, z1, -FIX_2_172, FIX_1_061));
    let odd2 = add(products(z7, z5, -FIX_0_509, -FIX_0_601), products(z3, z1, FIX_0_899, FIX_2_562));
    [
        descale::<SHIFT>(add(outer, odd2)),
        descale::<SHIFT>(add(inner, odd0)),
        descale::<SHIFT>(sub(inner, odd0)),
        descale::<SHIFT>(sub(outer, odd2)),
    ]
}
