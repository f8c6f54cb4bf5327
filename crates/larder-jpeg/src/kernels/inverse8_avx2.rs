//! Inverse transform to 8x8 samples of two blocks at once: the twin of `inverse8`, step for step.
#![expect(unsafe_code, reason = "calls a function that needs AVX2")]

use std::arch::x86_64::*;

use super::avx2::{
    add, descale, products, row, samples as to_samples, scaled, store_16, sub, top_row, transpose,
};
use super::inverse8::*;

/// Must only be called where AVX2 was detected.
pub(super) fn pair(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2], samples: &mut [[u8; 64]; 2]) {
    // SAFETY: `Kernels::detect` hands this function out only after it has found AVX2.
    unsafe { transform(blocks, tables, samples) }
}

#[target_feature(enable = "avx2")]
fn transform(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2], samples: &mut [[u8; 64]; 2]) {
    let mut rows = [top_row(blocks, tables, has_only_top_row); 8];
    for (y, value) in rows.iter_mut().enumerate().skip(1) {
        *value = row(blocks, tables, y);
    }
    let rows = transpose(pass::<{ PASS1_SHIFT as i32 }>(rows));
    let rows = transpose(pass::<{ PASS2_SHIFT as i32 }>(rows));
    for (at, pair) in rows.as_chunks::<2>().0.iter().enumerate() {
        store_16(to_samples(pair[0], pair[1]), samples, at);
    }
}

/// One dimension, for each of the eight places of a half.
#[inline]
#[target_feature(enable = "avx2")]
fn pass<const SHIFT: i32>(z: [__m256i; 8]) -> [__m256i; 8] {
    let even0 = scaled::<3>(_mm256_add_epi16(z[0], z[4]));
    let even1 = scaled::<3>(_mm256_sub_epi16(z[0], z[4]));
    let even2 = products(z[2], z[6], FIX_0_541, FIX_0_541 - FIX_1_847);
    let even3 = products(z[2], z[6], FIX_0_541 + FIX_0_765, FIX_0_541);
    let sums = [add(even0, even3), add(even1, even2), sub(even1, even2), sub(even0, even3)];

    let (sum3, sum4) = (_mm256_add_epi16(z[7], z[3]), _mm256_add_epi16(z[5], z[1]));
    let odd3 = products(sum3, sum4, FIX_1_175 - FIX_1_961, FIX_1_175);
    let odd4 = products(sum3, sum4, FIX_1_175, FIX_1_175 - FIX_0_390);
    let odd = [
        add(products(z[7], z[1], -FIX_0_899, FIX_1_501 - FIX_0_899), odd4),
        add(products(z[5], z[3], -FIX_2_562, FIX_3_072 - FIX_2_562), odd3),
        add(products(z[5], z[3], FIX_2_053 - FIX_2_562, -FIX_2_562), odd4),
        add(products(z[7], z[1], FIX_0_298 - FIX_0_899, -FIX_0_899), odd3),
    ];
    [
        descale::<SHIFT>(add(sums[0], odd[0])),
        descale::<SHIFT>(add(sums[1], odd[1])),
        descale::<SHIFT>(add(sums[2], odd[2])),
        descale::<SHIFT>(add(sums[3], odd[3])),
        descale::<SHIFT>(sub(sums[3], odd[3])),
        descale::<SHIFT>(sub(sums[2], odd[2])),
        descale::<SHIFT>(sub(sums[1], odd[1])),
        descale::<SHIFT>(sub(sums[0], odd[0])),
    ]
}
