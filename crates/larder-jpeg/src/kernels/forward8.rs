//! Forward transform of 8x8 samples, by the accurate integer method of libjpeg ("islow", after Loeffler,
//! Ligtenberg and Moschytz, ICASSP 1989), and quantisation, coefficient for coefficient.

use super::inverse8::*;
use super::{CONST_BITS, PASS1_BITS};
use crate::encode::quantiser::Divisors;
use crate::quantisation::ZIGZAG;

/// The same number for each sample is taken off: 128, eight times in a row's sum.
pub(super) const LEVEL: i16 = 8 * 128;

/// What the first pass drops of its fractional bits.
pub(super) const ROWS_SHIFT: u32 = CONST_BITS - PASS1_BITS;

/// What the second pass drops; the result is scaled by 8, which the divisors take out.
pub(super) const COLUMNS_SHIFT: u32 = CONST_BITS + PASS1_BITS;

pub(super) fn pair(rows: [&[u8; 16]; 8], divisors: &Divisors, coefficients: &mut [[i16; 64]; 2]) -> [u64; 2] {
    let mut present = [0; 2];
    for (half, (coefficients, present)) in coefficients.iter_mut().zip(&mut present).enumerate() {
        let transformed = one(rows.map(|row| row.as_chunks::<8>().0[half]));
        for (index, (coefficient, &place)) in coefficients.iter_mut().zip(&ZIGZAG).enumerate() {
            let place = usize::from(place);
            *coefficient = divisors.divide(transformed[place], place);
            *present |= u64::from(*coefficient != 0) << index;
        }
    }
    present
}

fn one(rows: [[u8; 8]; 8]) -> [i16; 64] {
    let mut block = [0; 64];
    for (row, samples) in block.as_chunks_mut::<8>().0.iter_mut().zip(rows) {
        let ([sum, difference], others) = pass(samples.map(i32::from));
        let [a, b, c, d, e, f] = others.map(|value| descale(value, ROWS_SHIFT));
        let scaled = |value: i32| (value << PASS1_BITS) as i16;
        *row = [scaled(sum - i32::from(LEVEL)), a, b, c, scaled(difference), d, e, f];
    }
    for x in 0..8 {
        let column = std::array::from_fn(|y| i32::from(block[8 * y + x]));
        let (outer, others) = pass(column);
        let [sum, difference] = outer.map(|value| descale(value, PASS1_BITS));
        let [a, b, c, d, e, f] = others.map(|value| descale(value, COLUMNS_SHIFT));
        for (y, value) in [sum, a, b, c, difference, d, e, f].into_iter().enumerate() {
            block[8 * y + x] = value;
        }
    }
    block
}

/// Divided by a power of two and rounded. Samples of 8 bits never need more than 16.
fn descale(value: i32, bits: u32) -> i16 {
    ((value + (1 << (bits - 1))) >> bits) as i16
}

/// One dimension: outputs 0 and 4 as they are, and 1, 2, 3, 5, 6, 7 as multiples of 2^-13.
fn pass(input: [i32; 8]) -> ([i32; 2], [i32; 6]) {
    let sum = |place: usize| input[place] + input[7 - place];
    let difference = |place: usize| input[place] - input[7 - place];
    let (outer, inner) = (sum(0) + sum(3), sum(1) + sum(2));
    let (even0, even1) = (sum(0) - sum(3), sum(1) - sum(2));
    let [odd0, odd1, odd2, odd3] = [0, 1, 2, 3].map(difference);

    let (sum3, sum4) = (odd3 + odd1, odd2 + odd0);
    let z3 = sum3 * (FIX_1_175 - FIX_1_961) + sum4 * FIX_1_175;
    let z4 = sum3 * FIX_1_175 + sum4 * (FIX_1_175 - FIX_0_390);
    let others = [
        odd3 * -FIX_0_899 + odd0 * (FIX_1_501 - FIX_0_899) + z4,
        even0 * (FIX_0_541 + FIX_0_765) + even1 * FIX_0_541,
        odd2 * -FIX_2_562 + odd1 * (FIX_3_072 - FIX_2_562) + z3,
        odd2 * (FIX_2_053 - FIX_2_562) + odd1 * -FIX_2_562 + z4,
        even0 * FIX_0_541 + even1 * (FIX_0_541 - FIX_1_847),
        odd3 * (FIX_0_298 - FIX_0_899) + odd0 * -FIX_0_899 + z3,
    ];
    ([outer + inner, outer - inner], others)
}

#[cfg(test)]
mod tests {
    use super::super::Kernels;
    use super::super::tests::Random;
    use super::*;
    use crate::encode::quantiser::steps;

    /// Noise, smooth slopes, and blocks of the two extremes, which give the largest coefficients.
    fn samples(random: &mut Random, kind: usize) -> [[u8; 16]; 8] {
        let slope = [random.next() as usize % 40, random.next() as usize % 40];
        std::array::from_fn(|y| {
            std::array::from_fn(|x| match kind % 3 {
                0 => random.next() as u8,
                1 => (x * slope[0] + y * slope[1]) as u8,
                _ => ((random.next() >> 20) as u8 & 1).wrapping_neg(),
            })
        })
    }

    #[test]
    fn every_choice_of_kernels_gives_the_same_coefficients() {
        let (plain, fast) = (Kernels::scalar(), Kernels::detect());
        let mut random = Random(0xD1B5_4A32_D192_ED03);
        for round in 0..20_000 {
            let rows = samples(&mut random, round);
            let divisors = Divisors::new(&steps(round % 2, 1 + (round % 100) as u8));
            let [mut expected, mut found] = [[[7; 64]; 2]; 2];
            let expected_present = (plain.forward8)(rows.each_ref(), &divisors, &mut expected);
            let found_present = (fast.forward8)(rows.each_ref(), &divisors, &mut found);
            assert_eq!((expected, expected_present), (found, found_present), "round {round}");
        }
    }

    #[test]
    fn waves_of_the_extremes_are_transformed_alike_and_fit_their_codes() {
        let (plain, fast) = (Kernels::scalar(), Kernels::detect());
        let divisors = Divisors::new(&[1; 64]);
        for wave in 0..64_usize {
            let cosine = |place: usize, frequency: usize| {
                ((2 * place + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0).cos()
            };
            let rows: [[u8; 16]; 8] = std::array::from_fn(|y| {
                std::array::from_fn(|x| {
                    let positive = cosine(x % 8, wave % 8) * cosine(y, wave / 8) > 0.0;
                    if positive == (x < 8) { 255 } else { 0 }
                })
            });
            let [mut expected, mut found] = [[[7; 64]; 2]; 2];
            (plain.forward8)(rows.each_ref(), &divisors, &mut expected);
            (fast.forward8)(rows.each_ref(), &divisors, &mut found);
            assert_eq!(expected, found, "wave {wave}");
            for block in found {
                assert!((-1024..1024).contains(&block[0]), "wave {wave}: {}", block[0]);
                assert!(block[1..].iter().all(|value| value.abs() < 1024), "wave {wave}");
            }
        }
    }

    #[test]
    fn coefficients_are_those_of_the_transform_in_real_numbers() {
        let mut random = Random(42);
        for round in 0..100 {
            let rows = samples(&mut random, round);
            let mut found = [[0; 64]; 2];
            pair(rows.each_ref(), &Divisors::new(&[1; 64]), &mut found);
            for (index, &place) in ZIGZAG.iter().enumerate() {
                let (u, v) = (usize::from(place % 8), usize::from(place / 8));
                let scale = |f: usize| if f == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
                let wave = |position: usize, f: usize| {
                    ((2 * position + 1) as f64 * f as f64 * std::f64::consts::PI / 16.0).cos()
                };
                let mut sum = 0.0;
                for (y, row) in rows.iter().enumerate() {
                    for (x, &sample) in row[..8].iter().enumerate() {
                        sum += (f64::from(sample) - 128.0) * wave(x, u) * wave(y, v);
                    }
                }
                let expected = sum * scale(u) * scale(v) / 4.0;
                assert!((expected - f64::from(found[0][index])).abs() < 1.0, "{u} {v}");
            }
        }
    }
}
