//! The inner loops with AVX2: the twins of those in `kernels`, value for value.
#![expect(unsafe_code, reason = "calls functions that need AVX2; unaligned loads and stores")]

use std::arch::x86_64::*;

use super::kernels::{self, BETWEEN_BITS};
use super::weights::{BITS, LANES, Weights};

/// Columns that are summed at once.
const COLUMNS: usize = 32;

/// Must only be called where AVX2 was detected.
pub(super) fn down(rows: &[&[u8]], weights: &[i16], out: &mut [i16]) {
    let whole = out.len() / COLUMNS * COLUMNS;
    for (index, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        // SAFETY: `Kernels::detect` hands this function out only after it has found AVX2.
        unsafe { columns(rows, weights, index, out) }
    }
    kernels::down(rows, weights, whole, out);
}

/// Must only be called where AVX2 was detected.
pub(super) fn across(row: &[i16], weights: &Weights, out: &mut [u8]) {
    let (eights, _) = out.as_chunks_mut::<8>();
    let whole = eights.len() * 8;
    for (index, out) in eights.iter_mut().enumerate() {
        // SAFETY: `Kernels::detect` hands this function out only after it has found AVX2.
        unsafe { eight(row, weights, index * 8, out) }
    }
    kernels::across(row, weights, whole, out);
}

#[target_feature(enable = "avx2")]
fn columns(rows: &[&[u8]], weights: &[i16], index: usize, out: &mut [i16; COLUMNS]) {
    let half = _mm256_set1_epi32(1 << (BITS - BETWEEN_BITS - 1));
    let mut sums = [half; 4];
    let (pairs, last) = rows.as_chunks::<2>();
    let (pair_weights, last_weight) = weights.as_chunks::<2>();
    for (rows, &[even, odd]) in pairs.iter().zip(pair_weights) {
        add_pair(rows.map(|row| bytes(row, index)), even, odd, &mut sums);
    }
    if let (&[row], &[weight]) = (last, last_weight) {
        add_pair([bytes(row, index), _mm256_setzero_si256()], weight, 0, &mut sums);
    }
    let sums = sums.map(|sum| _mm256_srai_epi32::<{ (BITS - BETWEEN_BITS) as i32 }>(sum));
    // Unpacking has left columns 0 to 7 and 16 to 23 in the first, the others in the second.
    let (first, second) = (_mm256_packs_epi32(sums[0], sums[1]), _mm256_packs_epi32(sums[2], sums[3]));
    let (low, high) = out.as_chunks_mut::<16>().0.split_at_mut(1);
    store(_mm256_permute2x128_si256::<0x20>(first, second), &mut low[0]);
    store(_mm256_permute2x128_si256::<0x31>(first, second), &mut high[0]);
}

/// Adds two rows, each by its weight: a pair of neighbours in 16 bits becomes a sum in 32.
#[inline]
#[target_feature(enable = "avx2")]
fn add_pair([first, second]: [__m256i; 2], even: i16, odd: i16, sums: &mut [__m256i; 4]) {
    let weights = _mm256_set1_epi32(i32::from(even as u16) | (i32::from(odd) << 16));
    let zero = _mm256_setzero_si256();
    let (low, high) = (_mm256_unpacklo_epi8(first, second), _mm256_unpackhi_epi8(first, second));
    let wide = [
        _mm256_unpacklo_epi8(low, zero),
        _mm256_unpackhi_epi8(low, zero),
        _mm256_unpacklo_epi8(high, zero),
        _mm256_unpackhi_epi8(high, zero),
    ];
    for (sum, wide) in sums.iter_mut().zip(wide) {
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(wide, weights));
    }
}

/// Eight outputs from one on.
#[target_feature(enable = "avx2")]
fn eight(row: &[i16], weights: &Weights, from: usize, out: &mut [u8; 8]) {
    let mut sums = [_mm256_setzero_si256(); 8];
    for (index, sum) in sums.iter_mut().enumerate() {
        let (first, weights) = weights.padded(from + index);
        let row = row[first..][..weights.len() * LANES].as_chunks::<LANES>().0;
        for (values, weights) in row.iter().zip(weights) {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(load(values), load(weights)));
        }
    }
    // Eight vectors of eight become one with their sums: two steps within halves, then across them.
    let pair = |a, b| _mm256_hadd_epi32(sums[a], sums[b]);
    let (low, high) = (_mm256_hadd_epi32(pair(0, 1), pair(2, 3)), _mm256_hadd_epi32(pair(4, 5), pair(6, 7)));
    let sum = _mm256_add_epi32(
        _mm256_permute2x128_si256::<0x20>(low, high),
        _mm256_permute2x128_si256::<0x31>(low, high),
    );
    let half = _mm256_set1_epi32(1 << (BITS + BETWEEN_BITS - 1));
    let sum = _mm256_srai_epi32::<{ (BITS + BETWEEN_BITS) as i32 }>(_mm256_add_epi32(sum, half));
    let words = _mm256_packs_epi32(sum, sum);
    let words = _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(words));
    *out = _mm_cvtsi128_si64(_mm_packus_epi16(words, words)).to_le_bytes();
}

#[inline]
#[target_feature(enable = "avx2")]
fn bytes(row: &[u8], index: usize) -> __m256i {
    let bytes = &row.as_chunks::<COLUMNS>().0[index];
    // SAFETY: the reference is to 32 bytes, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(values: &[i16; LANES]) -> __m256i {
    // SAFETY: the reference is to 32 bytes, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(value: __m256i, values: &mut [i16; LANES]) {
    // SAFETY: the reference is to 32 bytes, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), value) }
}
