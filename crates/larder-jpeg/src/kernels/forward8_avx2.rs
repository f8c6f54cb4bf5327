//! Forward transform and quantisation of two blocks at once: the twin of `forward8`, step for step.
#![expect(unsafe_code, reason = "calls a function that needs AVX2; unaligned loads and stores")]

use std::arch::x86_64::*;

use super::PASS1_BITS;
use super::avx2::{add, descale, products, transpose};
use super::forward8::*;
use super::inverse8::*;
use crate::encode::quantiser::Divisors;
use crate::quantisation::ZIGZAG;

/// Must only be called where AVX2 was detected.
pub(super) fn pair(rows: [&[u8; 16]; 8], divisors: &Divisors, coefficients: &mut [[i16; 64]; 2]) -> [u64; 2] {
    // SAFETY: `Kernels::detect` hands this function out only after it has found AVX2.
    unsafe { transform(rows, divisors, coefficients) }
}

#[target_feature(enable = "avx2")]
fn transform(rows: [&[u8; 16]; 8], divisors: &Divisors, coefficients: &mut [[i16; 64]; 2]) -> [u64; 2] {
    let mut values = [_mm256_setzero_si256(); 8];
    for (value, row) in values.iter_mut().zip(rows) {
        // SAFETY: the reference is to 16 bytes, and the load needs no alignment.
        *value = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(row.as_ptr().cast()) });
    }
    let level =
        |sum| _mm256_slli_epi16::<{ PASS1_BITS as i32 }>(_mm256_sub_epi16(sum, _mm256_set1_epi16(LEVEL)));
    let scaled = |value| _mm256_slli_epi16::<{ PASS1_BITS as i32 }>(value);
    let columns = pass::<{ ROWS_SHIFT as i32 }>(transpose(values), level, scaled);
    let rounded = |value| {
        let half = _mm256_set1_epi16(1 << (PASS1_BITS - 1));
        _mm256_srai_epi16::<{ PASS1_BITS as i32 }>(_mm256_add_epi16(value, half))
    };
    let mut values = pass::<{ COLUMNS_SHIFT as i32 }>(transpose(columns), rounded, rounded);
    for (y, value) in values.iter_mut().enumerate() {
        *value = divide(*value, divisors, y);
    }
    zigzag(values, coefficients)
}

/// One dimension, for each of the eight places of a half; `sum` and `difference` scale outputs 0 and 4.
#[inline]
#[target_feature(enable = "avx2")]
fn pass<const SHIFT: i32>(
    z: [__m256i; 8],
    sum: impl Fn(__m256i) -> __m256i,
    difference: impl Fn(__m256i) -> __m256i,
) -> [__m256i; 8] {
    let mut sums = [_mm256_setzero_si256(); 4];
    let mut odd = sums;
    for place in 0..4 {
        sums[place] = _mm256_add_epi16(z[place], z[7 - place]);
        odd[place] = _mm256_sub_epi16(z[place], z[7 - place]);
    }
    let (outer, inner) = (_mm256_add_epi16(sums[0], sums[3]), _mm256_add_epi16(sums[1], sums[2]));
    let (even0, even1) = (_mm256_sub_epi16(sums[0], sums[3]), _mm256_sub_epi16(sums[1], sums[2]));

    let (sum3, sum4) = (_mm256_add_epi16(odd[3], odd[1]), _mm256_add_epi16(odd[2], odd[0]));
    let z3 = products(sum3, sum4, FIX_1_175 - FIX_1_961, FIX_1_175);
    let z4 = products(sum3, sum4, FIX_1_175, FIX_1_175 - FIX_0_390);
    [
        sum(_mm256_add_epi16(outer, inner)),
        descale::<SHIFT>(add(products(odd[3], odd[0], -FIX_0_899, FIX_1_501 - FIX_0_899), z4)),
        descale::<SHIFT>(products(even0, even1, FIX_0_541 + FIX_0_765, FIX_0_541)),
        descale::<SHIFT>(add(products(odd[2], odd[1], -FIX_2_562, FIX_3_072 - FIX_2_562), z3)),
        difference(_mm256_sub_epi16(outer, inner)),
        descale::<SHIFT>(add(products(odd[2], odd[1], FIX_2_053 - FIX_2_562, -FIX_2_562), z4)),
        descale::<SHIFT>(products(even0, even1, FIX_0_541, FIX_0_541 - FIX_1_847)),
        descale::<SHIFT>(add(products(odd[3], odd[0], FIX_0_298 - FIX_0_899, -FIX_0_899), z3)),
    ]
}

/// Row `y` of both blocks, quantised.
#[inline]
#[target_feature(enable = "avx2")]
fn divide(value: __m256i, divisors: &Divisors, y: usize) -> __m256i {
    let row = |table: &[u16; 64]| {
        // SAFETY: the reference is to 16 bytes, and the load needs no alignment.
        _mm256_broadcastsi128_si256(unsafe {
            _mm_loadu_si128((&raw const table.as_chunks::<8>().0[y]).cast())
        })
    };
    let corrected = _mm256_add_epi16(_mm256_abs_epi16(value), row(&divisors.correction));
    let product = _mm256_mulhi_epu16(corrected, row(&divisors.reciprocal));
    _mm256_sign_epi16(_mm256_mulhi_epu16(product, row(&divisors.scale)), value)
}

/// Stores both blocks in zig-zag order, and tells by a bit for each place which are other than zero.
#[inline]
#[target_feature(enable = "avx2")]
fn zigzag(rows: [__m256i; 8], coefficients: &mut [[i16; 64]; 2]) -> [u64; 2] {
    let [first, second] = coefficients;
    let (first, second) = (first.as_chunks_mut::<8>().0, second.as_chunks_mut::<8>().0);
    let mut present = [0; 2];
    let mut low = _mm256_setzero_si256();
    for part in 0..8 {
        let mut value = _mm256_setzero_si256();
        for (y, row) in rows.iter().enumerate() {
            if let Some(mask) = &PICKS[part][y] {
                // SAFETY: the reference is to 16 bytes, and the load needs no alignment.
                let mask = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(mask.as_ptr().cast()) });
                value = _mm256_or_si256(value, _mm256_shuffle_epi8(*row, mask));
            }
        }
        // SAFETY: each reference is to 16 bytes, and the stores need no alignment.
        unsafe { _mm256_storeu2_m128i((&raw mut second[part]).cast(), (&raw mut first[part]).cast(), value) }
        let zeros = _mm256_cmpeq_epi16(value, _mm256_setzero_si256());
        if part % 2 == 0 {
            low = zeros;
        } else {
            let bits = !(_mm256_movemask_epi8(_mm256_packs_epi16(low, zeros)) as u32);
            present[0] |= u64::from(bits & 0xFFFF) << (8 * (part - 1));
            present[1] |= u64::from(bits >> 16) << (8 * (part - 1));
        }
    }
    present
}

/// For each eight places in zig-zag order and each row: which bytes of the row go there, if any do.
const PICKS: [[Option<[u8; 16]>; 8]; 8] = {
    let mut picks = [[None; 8]; 8];
    let mut index = 0;
    while index < 64 {
        let (x, y) = (ZIGZAG[index] % 8, (ZIGZAG[index] / 8) as usize);
        let pick = &mut picks[index / 8][y];
        let mut mask = match *pick {
            Some(mask) => mask,
            None => [128; 16],
        };
        mask[2 * (index % 8)] = 2 * x;
        mask[2 * (index % 8) + 1] = 2 * x + 1;
        *pick = Some(mask);
        index += 1;
    }
    picks
};
