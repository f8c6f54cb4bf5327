//! YCbCr to RGB, sixteen pixels at a time: the twin of `ycc`, value for value.
#![expect(unsafe_code, reason = "calls a function that needs AVX2; unaligned loads and stores")]

use std::arch::x86_64::*;

/// Must only be called where AVX2 was detected.
pub(super) fn row(luma: &[u8], blue: &[u8], red: &[u8], rgb: &mut [u8]) {
    let (luma, luma_rest) = luma.as_chunks::<16>();
    let (blue, blue_rest) = blue.as_chunks::<16>();
    let (red, red_rest) = red.as_chunks::<16>();
    let (rgb, rgb_rest) = rgb.split_at_mut(48 * luma.len());
    for (((y, cb), cr), pixels) in luma.iter().zip(blue).zip(red).zip(rgb.as_chunks_mut::<48>().0) {
        // SAFETY: `Kernels::detect` hands this function out only after it has found AVX2.
        unsafe { sixteen(y, cb, cr, pixels) }
    }
    super::ycc::row(luma_rest, blue_rest, red_rest, rgb_rest);
}

#[target_feature(enable = "avx2")]
fn sixteen(luma: &[u8; 16], blue: &[u8; 16], red: &[u8; 16], rgb: &mut [u8; 48]) {
    let [y, cb, cr] = [wide(luma), wide(blue), wide(red)];
    let middle = _mm256_set1_epi16(128);
    let (cb, cr) = (_mm256_sub_epi16(cb, middle), _mm256_sub_epi16(cr, middle));
    // 1.402 is 1 and 26345 / 2^16; 1.772 is 2 less 14942 / 2^16; what is left fits into 16 bits.
    let r = _mm256_add_epi16(_mm256_add_epi16(y, cr), rounded(cr, 26345));
    let b = _mm256_add_epi16(_mm256_add_epi16(y, _mm256_add_epi16(cb, cb)), rounded(cb, -14942));
    let g = _mm256_add_epi16(_mm256_sub_epi16(y, cr), green(cb, cr));
    let zero = _mm256_setzero_si256();
    let packed = |value: __m256i| {
        _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi16(value, zero)))
    };
    store(packed(r), packed(g), packed(b), rgb);
}

#[inline]
#[target_feature(enable = "avx2")]
fn wide(samples: &[u8; 16]) -> __m256i {
    // SAFETY: the reference is to 16 bytes, and the load needs no alignment.
    _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(samples.as_ptr().cast()) })
}

/// `value * factor / 2^16`, rounded to nearest: half of twice the product's upper half and one.
#[inline]
#[target_feature(enable = "avx2")]
fn rounded(value: __m256i, factor: i16) -> __m256i {
    let twice = _mm256_mulhi_epi16(_mm256_add_epi16(value, value), _mm256_set1_epi16(factor));
    _mm256_srai_epi16::<1>(_mm256_add_epi16(twice, _mm256_set1_epi16(1)))
}

/// `(-22554 * cb + 18734 * cr) / 2^16`, rounded to nearest: 46802 is 2^16 less 18734.
#[inline]
#[target_feature(enable = "avx2")]
fn green(cb: __m256i, cr: __m256i) -> __m256i {
    let factors = _mm256_set1_epi32((-22554 & 0xFFFF) | (18734 << 16));
    let half = _mm256_set1_epi32(1 << 15);
    let low = _mm256_madd_epi16(_mm256_unpacklo_epi16(cb, cr), factors);
    let high = _mm256_madd_epi16(_mm256_unpackhi_epi16(cb, cr), factors);
    _mm256_packs_epi32(
        _mm256_srai_epi32::<16>(_mm256_add_epi32(low, half)),
        _mm256_srai_epi32::<16>(_mm256_add_epi32(high, half)),
    )
}

/// Interleaves three channels of sixteen.
#[inline]
#[target_feature(enable = "avx2")]
fn store(r: __m128i, g: __m128i, b: __m128i, rgb: &mut [u8; 48]) {
    for (part, bytes) in rgb.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        // Byte 16 * part + i is of channel (16 * part + i) % 3 and pixel (16 * part + i) / 3.
        let [red, green, blue] = MASKS[part];
        let value = _mm_or_si128(
            _mm_or_si128(_mm_shuffle_epi8(r, mask(&red)), _mm_shuffle_epi8(g, mask(&green))),
            _mm_shuffle_epi8(b, mask(&blue)),
        );
        // SAFETY: the reference is to 16 bytes, and the store needs no alignment.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn mask(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the reference is to 16 bytes, and the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// For each 16 bytes of output and each channel: which pixel a byte is, or 128 if it is of another channel.
static MASKS: [[[u8; 16]; 3]; 3] = {
    let mut masks = [[[128; 16]; 3]; 3];
    let mut at = 0;
    while at < 48 {
        masks[at / 16][at % 3][at % 16] = (at / 3) as u8;
        at += 1;
    }
    masks
};
