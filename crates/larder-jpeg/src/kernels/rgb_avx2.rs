//! RGB to YCbCr, sixteen pixels at a time: the twin of `rgb`, value for value.
#![expect(unsafe_code, reason = "calls a function that needs AVX2; unaligned loads and stores")]

use std::arch::x86_64::*;

use super::rgb::*;

/// Must only be called where AVX2 was detected.
pub(super) fn row(rgb: &[u8], luma: &mut [u8], blue: &mut [u8], red: &mut [u8]) {
    let (rgb, rgb_rest) = rgb.as_chunks::<48>();
    let (luma, luma_rest) = luma.as_chunks_mut::<16>();
    let (blue, blue_rest) = blue.as_chunks_mut::<16>();
    let (red, red_rest) = red.as_chunks_mut::<16>();
    for (((pixels, y), cb), cr) in rgb.iter().zip(luma).zip(blue).zip(red) {
        // SAFETY: `Kernels::detect` hands this function out only after it has found AVX2.
        unsafe { sixteen(pixels, [y, cb, cr]) }
    }
    super::rgb::row(rgb_rest, luma_rest, blue_rest, red_rest);
}

#[target_feature(enable = "avx2")]
fn sixteen(rgb: &[u8; 48], out: [&mut [u8; 16]; 3]) {
    let [r, g, b] = channels(rgb);
    // 38470 does not fit into 16 bits: green is taken twice.
    let y = weighted([r, g, b, g], [LUMA_RED, LUMA_GREEN - 16384, LUMA_BLUE, 16384], HALF);
    // Half of a channel is not a product either: -32768 is, of the channel's negative.
    let zero = _mm256_setzero_si256();
    let minus = |channel| _mm256_sub_epi16(zero, channel);
    let cb = weighted([r, g, minus(b), zero], [CB_RED, CB_GREEN, -HALF, 0], MIDDLE);
    let cr = weighted([b, g, minus(r), zero], [CR_BLUE, CR_GREEN, -HALF, 0], MIDDLE);
    for (out, value) in out.into_iter().zip([y, cb, cr]) {
        let bytes = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi16(value, zero));
        // SAFETY: the reference is to 16 bytes, and the store needs no alignment.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes)) }
    }
}

/// `(sum of values * factors + offset) / 2^16`, rounded down.
#[inline]
#[target_feature(enable = "avx2")]
fn weighted(values: [__m256i; 4], factors: [i32; 4], offset: i32) -> __m256i {
    let pair = |even: i32, odd: i32| _mm256_set1_epi32((even & 0xFFFF) | (odd << 16));
    let (first, second) = (pair(factors[0], factors[1]), pair(factors[2], factors[3]));
    let sum = |ab, cd| {
        let products = _mm256_add_epi32(_mm256_madd_epi16(ab, first), _mm256_madd_epi16(cd, second));
        _mm256_srli_epi32::<16>(_mm256_add_epi32(products, _mm256_set1_epi32(offset)))
    };
    let [a, b, c, d] = values;
    _mm256_packus_epi32(
        sum(_mm256_unpacklo_epi16(a, b), _mm256_unpacklo_epi16(c, d)),
        sum(_mm256_unpackhi_epi16(a, b), _mm256_unpackhi_epi16(c, d)),
    )
}

/// The three channels of sixteen pixels, in 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn channels(rgb: &[u8; 48]) -> [__m256i; 3] {
    let mut channels = [_mm_setzero_si128(); 3];
    for (bytes, masks) in rgb.as_chunks::<16>().0.iter().zip(&MASKS) {
        let bytes = load(bytes);
        for (channel, mask) in channels.iter_mut().zip(masks) {
            *channel = _mm_or_si128(*channel, _mm_shuffle_epi8(bytes, load(mask)));
        }
    }
    let [r, g, b] = channels;
    [_mm256_cvtepu8_epi16(r), _mm256_cvtepu8_epi16(g), _mm256_cvtepu8_epi16(b)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the reference is to 16 bytes, and the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// For each 16 bytes of input and each channel: which byte a pixel's is, or 128 if it is elsewhere.
static MASKS: [[[u8; 16]; 3]; 3] = {
    let mut masks = [[[128; 16]; 3]; 3];
    let mut at = 0;
    while at < 48 {
        masks[at / 16][at % 3][at / 3] = (at % 16) as u8;
        at += 1;
    }
    masks
};
