//! The inner loops that vector instructions speed up, each in a plain twin and chosen at run time.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod forward8;
#[cfg(target_arch = "x86_64")]
mod forward8_avx2;
mod halve;
#[cfg(target_arch = "x86_64")]
mod halve_avx2;
mod inverse1;
mod inverse2;
#[cfg(target_arch = "x86_64")]
mod inverse2_avx2;
mod inverse4;
#[cfg(target_arch = "x86_64")]
mod inverse4_avx2;
mod inverse8;
#[cfg(target_arch = "x86_64")]
mod inverse8_avx2;
mod rgb;
#[cfg(target_arch = "x86_64")]
mod rgb_avx2;
mod ycc;
#[cfg(target_arch = "x86_64")]
mod ycc_avx2;

use crate::Scale;
use crate::encode::quantiser::Divisors;

/// Dequantises and transforms two blocks, each with its table. The samples of a block follow one another
/// row by row from the start of its 64 bytes; smaller scales leave the rest as it was.
pub(crate) type InversePair = fn([&[i16; 64]; 2], [&[i16; 64]; 2], &mut [[u8; 64]; 2]);

/// Converts a row of Y, Cb, Cr to interleaved RGB. All four have the same number of pixels.
pub(crate) type YccRow = fn(&[u8], &[u8], &[u8], &mut [u8]);

/// Transforms and quantises two blocks that lie side by side in eight rows. Their coefficients come in
/// zig-zag order; bit `n` of a block's result tells that coefficient `n` is other than zero.
pub(crate) type ForwardPair = fn([&[u8; 16]; 8], &Divisors, &mut [[i16; 64]; 2]) -> [u64; 2];

/// Converts a row of interleaved RGB to Y, Cb, Cr. All four have the same number of pixels.
pub(crate) type RgbRow = fn(&[u8], &mut [u8], &mut [u8], &mut [u8]);

/// Means of pairs of a row with an even number of samples.
pub(crate) type HalveAcross = fn(&[u8], &mut [u8]);

/// Means of two by two samples of two rows with the same even number of samples.
pub(crate) type HalveBoth = fn([&[u8]; 2], &mut [u8]);

/// One choice of all kernels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernels {
    inverse2: InversePair,
    inverse4: InversePair,
    inverse8: InversePair,
    pub ycc_row: YccRow,
    pub forward8: ForwardPair,
    pub rgb_row: RgbRow,
    pub halve_across: HalveAcross,
    pub halve_both: HalveBoth,
}

impl Kernels {
    /// Those that any machine can run.
    pub fn scalar() -> Self {
        Self {
            inverse2: inverse2::pair,
            inverse4: inverse4::pair,
            inverse8: inverse8::pair,
            ycc_row: ycc::row,
            forward8: forward8::pair,
            rgb_row: rgb::row,
            halve_across: halve::across,
            halve_both: halve::both,
        }
    }

    /// The fastest that this machine can run.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Self {
                inverse2: inverse2_avx2::pair,
                inverse4: inverse4_avx2::pair,
                inverse8: inverse8_avx2::pair,
                ycc_row: ycc_avx2::row,
                forward8: forward8_avx2::pair,
                rgb_row: rgb_avx2::row,
                halve_across: halve_avx2::across,
                halve_both: halve_avx2::both,
            };
        }
        Self::scalar()
    }

    pub fn inverse(&self, scale: Scale) -> InversePair {
        match scale {
            Scale::Eighth => inverse1::pair,
            Scale::Quarter => self.inverse2,
            Scale::Half => self.inverse4,
            Scale::Full => self.inverse8,
        }
    }
}

/// Fractional bits of the constants.
const CONST_BITS: u32 = 13;

/// Fractional bits that are kept between the two passes.
const PASS1_BITS: u32 = 2;

/// `value` divided by a power of two, rounded to nearest.
#[inline(always)]
fn rounded(value: i32, bits: u32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

/// The same within 16 bits, as packing instructions have it.
#[inline(always)]
fn descale(value: i32, bits: u32) -> i16 {
    rounded(value, bits).clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// What the first pass makes of a coefficient that is alone in its column, where that holds for all columns.
/// libjpeg-turbo shifts instead of multiplying and dividing then, and only then this wraps at 16 bits: from
/// 8,192 on, which only damaged files reach.
#[inline(always)]
fn alone(coefficient: i16) -> i16 {
    coefficient << PASS1_BITS
}

/// A sample of a value around zero.
#[inline(always)]
fn sample(value: i16) -> u8 {
    (value.clamp(-128, 127) as u8).wrapping_add(128)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator (xorshift), so that tests repeat themselves.
    pub(super) struct Random(pub u64);

    impl Random {
        pub fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        /// Coefficients that grow rarer with their frequency, or wild ones, some of them in the first row only.
        fn block(&mut self, wild: bool) -> [i16; 64] {
            let end = if wild && self.next().is_multiple_of(4) { 8 } else { 64 };
            std::array::from_fn(|index| match (wild, self.next()) {
                _ if index >= end => 0,
                (true, bits) if bits.is_multiple_of(5) => {
                    [i16::MIN, i16::MAX, -1, 1, 1024][bits as usize / 5 % 5]
                }
                (true, bits) => (bits >> 40) as i16,
                (false, bits) if bits % 64 < index as u64 => 0,
                (false, bits) => ((bits >> 40) as i16) >> (5 + index / 8),
            })
        }
    }

    #[test]
    fn every_choice_of_kernels_gives_the_same_samples() {
        let (plain, fast) = (Kernels::scalar(), Kernels::detect());
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for round in 0..20_000 {
            let blocks = [random.block(round % 2 == 0), random.block(round % 3 == 0)];
            let tables = [random.block(round % 7 == 0), [1 + round as i16 % 50; 64]];
            for scale in Scale::ALL {
                let [mut expected, mut found] = [[[7; 64]; 2]; 2];
                plain.inverse(scale)(blocks.each_ref(), tables.each_ref(), &mut expected);
                fast.inverse(scale)(blocks.each_ref(), tables.each_ref(), &mut found);
                let count = scale.block_side().pow(2);
                for (expected, found) in expected.iter().zip(&found) {
                    assert_eq!(expected[..count], found[..count], "round {round} at {scale:?}");
                }
            }
        }
    }

    #[test]
    fn coefficients_far_too_large_wrap_as_those_of_libjpeg_turbo() {
        // Samples that libjpeg-turbo 3.2 makes of these, with AVX2. Coefficients by their places row by row.
        let block = |coefficients: &[(usize, i16)]| {
            let mut block = [0; 64];
            coefficients.iter().for_each(|&(place, value)| block[place] = value);
            block
        };
        let top_row = (block(&[(0, 10), (1, 1_000), (2, -300)]), [10; 64]);
        let column = (block(&[(0, 3), (8, 600)]), [40; 64]);
        for kernels in [Kernels::scalar(), Kernels::detect()] {
            let samples = |(block, table): &([i16; 64], [i16; 64]), scale| {
                let mut samples = [[0; 64]; 2];
                kernels.inverse(scale)([block; 2], [table; 2], &mut samples);
                samples[0]
            };
            let full = samples(&top_row, Scale::Full);
            assert!(full.as_chunks::<8>().0.iter().all(|row| *row == [0, 0, 0, 255, 255, 255, 255, 255]));
            assert_eq!(samples(&top_row, Scale::Half)[..16], [0, 63, 255, 255].repeat(4));
            assert_eq!(samples(&top_row, Scale::Quarter)[..4], [255, 0].repeat(2));
            assert_eq!(samples(&column, Scale::Quarter)[..4], [0, 0, 255, 255]);
        }
    }

    #[test]
    fn every_choice_of_kernels_converts_every_colour_alike() {
        let (plain, fast) = (Kernels::scalar(), Kernels::detect());
        let every: Vec<u8> = (0..=255).collect();
        let [mut expected, mut found] = [[0; 768]; 2];
        for blue in 0..=255 {
            for luma in (0..=255).step_by(5) {
                let row = [[luma; 256], [blue; 256]];
                (plain.ycc_row)(&row[0], &row[1], &every, &mut expected);
                (fast.ycc_row)(&row[0], &row[1], &every, &mut found);
                assert_eq!(expected, found, "luma {luma}, blue {blue}");
            }
        }
    }

    #[test]
    fn rows_of_every_width_are_converted_to_their_end() {
        for width in 0..70 {
            let row: Vec<u8> = (0..width).map(|x| x as u8 * 3).collect();
            let [mut expected, mut found] = [vec![0; 3 * width], vec![0; 3 * width]];
            (Kernels::scalar().ycc_row)(&row, &row, &row, &mut expected);
            (Kernels::detect().ycc_row)(&row, &row, &row, &mut found);
            assert_eq!(expected, found, "width {width}");
        }
    }
}
