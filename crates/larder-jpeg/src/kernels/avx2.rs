//! What the AVX2 kernels share: two blocks side by side, one in each half of a register.
#![expect(unsafe_code, reason = "unaligned loads and stores are the one thing that has no safe intrinsic")]

use std::arch::x86_64::*;

/// Row `y` of two blocks, dequantised.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn row(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2], y: usize) -> __m256i {
    let halves = |pair: [&[i16; 64]; 2]| {
        let [first, second] = pair.map(|block| &block.as_chunks::<8>().0[y]);
        // SAFETY: each reference is to 16 bytes, and the loads need no alignment.
        unsafe { _mm256_loadu2_m128i(second.as_ptr().cast(), first.as_ptr().cast()) }
    };
    _mm256_mullo_epi16(halves(blocks), halves(tables))
}

/// Stores the two halves, each at the start of a block's samples.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_16(value: __m256i, samples: &mut [[u8; 64]; 2], at: usize) {
    let [first, second] = samples.each_mut().map(|samples| &mut samples.as_chunks_mut::<16>().0[at]);
    // SAFETY: each reference is to 16 bytes, and the stores need no alignment.
    unsafe { _mm256_storeu2_m128i(second.as_mut_ptr().cast(), first.as_mut_ptr().cast(), value) }
}

/// Pairs of constants for `madd`: the first multiplies the even places, the second the odd ones.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn constants(even: i32, odd: i32) -> __m256i {
    _mm256_set1_epi32((even & 0xFFFF) | (odd << 16))
}

/// The sums `a * even + b * odd` in 32 bits: for the first four places of each half, and for the last four.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn products(a: __m256i, b: __m256i, even: i32, odd: i32) -> [__m256i; 2] {
    let factors = constants(even, odd);
    [
        _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), factors),
        _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), factors),
    ]
}

/// Values times 2^13, 2^14 or 2^15 in 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn scaled<const RIGHT: i32>(value: __m256i) -> [__m256i; 2] {
    let zero = _mm256_setzero_si256();
    [
        _mm256_srai_epi32::<RIGHT>(_mm256_unpacklo_epi16(zero, value)),
        _mm256_srai_epi32::<RIGHT>(_mm256_unpackhi_epi16(zero, value)),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
    [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])]
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sub(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
    [_mm256_sub_epi32(a[0], b[0]), _mm256_sub_epi32(a[1], b[1])]
}

/// Divided by 2^SHIFT and rounded.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn rounded<const SHIFT: i32>(value: __m256i) -> __m256i {
    _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(value, _mm256_set1_epi32(1 << (SHIFT - 1))))
}

/// The same, and back in 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn descale<const SHIFT: i32>(value: [__m256i; 2]) -> __m256i {
    _mm256_packs_epi32(rounded::<SHIFT>(value[0]), rounded::<SHIFT>(value[1]))
}

/// The first row of two blocks, dequantised. Where it is the only one of its block, libjpeg-turbo only shifts it
/// in the first pass, by two bits within its 16; it must hold no more than the other 14 then (see
/// [`alone`](super::alone)).
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn top_row(
    blocks: [&[i16; 64]; 2],
    tables: [&[i16; 64]; 2],
    is_alone: fn(&[i16; 64]) -> bool,
) -> __m256i {
    let top = row(blocks, tables, 0);
    let wrapped = wrapped(top);
    let difference = _mm256_xor_si256(top, wrapped);
    if _mm256_testz_si256(difference, difference) == 1 {
        return top;
    }
    wrap_alone(top, blocks, is_alone)
}

/// The lowest 14 bits with their sign.
#[inline]
#[target_feature(enable = "avx2")]
fn wrapped(row: __m256i) -> __m256i {
    const BITS: i32 = super::PASS1_BITS as i32;
    _mm256_srai_epi16::<BITS>(_mm256_slli_epi16::<BITS>(row))
}

/// Only damaged files come here.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn wrap_alone(top: __m256i, blocks: [&[i16; 64]; 2], is_alone: fn(&[i16; 64]) -> bool) -> __m256i {
    let [first, second] = blocks.map(|block| -i64::from(is_alone(block)));
    let mask = _mm256_setr_epi64x(first, first, second, second);
    _mm256_blendv_epi8(top, wrapped(top), mask)
}

/// Samples of values around zero, in 8 bits.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn samples(first: __m256i, second: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_packs_epi16(first, second), _mm256_set1_epi8(-128))
}

/// Rows to columns, in each half.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
    let mut pairs = rows;
    for (index, pair) in rows.as_chunks::<2>().0.iter().enumerate() {
        pairs[2 * index] = _mm256_unpacklo_epi16(pair[0], pair[1]);
        pairs[2 * index + 1] = _mm256_unpackhi_epi16(pair[0], pair[1]);
    }
    let [a, b, c, d, e, f, g, h] = pairs;
    let quads = [
        _mm256_unpacklo_epi32(a, c),
        _mm256_unpackhi_epi32(a, c),
        _mm256_unpacklo_epi32(b, d),
        _mm256_unpackhi_epi32(b, d),
        _mm256_unpacklo_epi32(e, g),
        _mm256_unpackhi_epi32(e, g),
        _mm256_unpacklo_epi32(f, h),
        _mm256_unpackhi_epi32(f, h),
    ];
    let mut columns = rows;
    for index in 0..4 {
        columns[2 * index] = _mm256_unpacklo_epi64(quads[index], quads[index + 4]);
        columns[2 * index + 1] = _mm256_unpackhi_epi64(quads[index], quads[index + 4]);
    }
    columns
}
