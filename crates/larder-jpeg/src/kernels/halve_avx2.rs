//! Colour differences at half size, sixteen at a time: the twin of `halve`, value for value.
#![expect(unsafe_code, reason = "calls a function that needs AVX2; unaligned loads and stores")]

use std::arch::x86_64::*;

/// Must only be called where AVX2 was detected.
pub(super) fn across(row: &[u8], out: &mut [u8]) {
    let (row, row_rest) = row.as_chunks::<32>();
    let (out, out_rest) = out.as_chunks_mut::<16>();
    for (samples, out) in row.iter().zip(out) {
        // SAFETY: `Kernels::detect` hands this function out only after it has found AVX2.
        unsafe { means::<1>(sums(samples), _mm256_set1_epi32(1 << 16), out) }
    }
    super::halve::across(row_rest, out_rest);
}

/// Must only be called where AVX2 was detected.
pub(super) fn both(rows: [&[u8]; 2], out: &mut [u8]) {
    let [(upper, upper_rest), (lower, lower_rest)] = rows.map(<[u8]>::as_chunks::<32>);
    let (out, out_rest) = out.as_chunks_mut::<16>();
    for ((upper, lower), out) in upper.iter().zip(lower).zip(out) {
        // SAFETY: `Kernels::detect` hands this function out only after it has found AVX2.
        unsafe {
            let sums = _mm256_add_epi16(sums(upper), sums(lower));
            means::<2>(sums, _mm256_set1_epi32((2 << 16) + 1), out);
        }
    }
    super::halve::both([upper_rest, lower_rest], out_rest);
}

/// Of each two neighbours, in 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn sums(samples: &[u8; 32]) -> __m256i {
    // SAFETY: the reference is to 32 bytes, and the load needs no alignment.
    let samples = unsafe { _mm256_loadu_si256(samples.as_ptr().cast()) };
    _mm256_maddubs_epi16(samples, _mm256_set1_epi8(1))
}

/// `(sums + bias) / 2^SHIFT`, as bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn means<const SHIFT: i32>(sums: __m256i, bias: __m256i, out: &mut [u8; 16]) {
    let means = _mm256_srli_epi16::<SHIFT>(_mm256_add_epi16(sums, bias));
    let bytes = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi16(means, means));
    // SAFETY: the reference is to 16 bytes, and the store needs no alignment.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes)) }
}
