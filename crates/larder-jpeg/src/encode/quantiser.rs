//! Quantisation tables of a quality (T.81, annex K.1), and division by their steps without dividing.

use crate::quantisation::ZIGZAG;

/// Steps of the example tables for luma and for colour differences, row by row (T.81, tables K.1 and K.2).
#[rustfmt::skip]
const EXAMPLES: [[u8; 64]; 2] = [
    [
        16, 11, 10, 16, 24, 40, 51, 61,
        12, 12, 14, 19, 26, 58, 60, 55,
        14, 13, 16, 24, 40, 57, 69, 56,
        14, 17, 22, 29, 51, 87, 80, 62,
        18, 22, 37, 56, 68, 109, 103, 77,
        24, 35, 55, 64, 81, 104, 113, 92,
        49, 64, 78, 87, 103, 121, 120, 101,
        72, 92, 95, 98, 112, 100, 103, 99,
    ],
    [
        17, 18, 24, 47, 99, 99, 99, 99,
        18, 21, 26, 66, 99, 99, 99, 99,
        24, 26, 56, 99, 99, 99, 99, 99,
        47, 66, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99,
    ],
];

/// The steps of a table at a quality of 1 to 100, row by row: the example table at 50, half its steps at
/// 75, twice at 25. This scale is libjpeg's, and what the world means by a JPEG's quality.
pub(crate) fn steps(table: usize, quality: u8) -> [u8; 64] {
    let quality = u32::from(quality);
    let percent = if quality < 50 { 5_000 / quality } else { 200 - 2 * quality };
    // Baseline has 8 bits for a step.
    EXAMPLES[table].map(|step| ((u32::from(step) * percent + 50) / 100).clamp(1, 255) as u8)
}

/// In the order in which a file has them.
pub(crate) fn zigzag(steps: &[u8; 64]) -> [u8; 64] {
    ZIGZAG.map(|place| steps[usize::from(place)])
}

/// What a transform that is scaled by 8 is divided by, as factors (after Alverson, "Integer Division Using
/// Reciprocals", ARITH 1991), row by row. The quotient of a magnitude is
/// `(magnitude + correction) * reciprocal / 2^16 * scale / 2^16`, rounded down twice.
#[derive(Debug, Clone)]
pub(crate) struct Divisors {
    pub reciprocal: [u16; 64],
    /// Half of the divisor, which rounds to nearest, and one more where the reciprocal was rounded down.
    pub correction: [u16; 64],
    pub scale: [u16; 64],
}

impl Divisors {
    pub fn new(steps: &[u8; 64]) -> Self {
        let mut divisors = Self { reciprocal: [0; 64], correction: [0; 64], scale: [0; 64] };
        for (place, &step) in steps.iter().enumerate() {
            let divisor = 8 * u32::from(step);
            let mut shift = 16 + divisor.ilog2();
            let (mut reciprocal, rest) = ((1 << shift) / divisor, (1 << shift) % divisor);
            let mut correction = divisor / 2;
            if rest == 0 {
                // A power of two: its reciprocal would be one bit too long.
                reciprocal /= 2;
                shift -= 1;
            } else if rest <= divisor / 2 {
                correction += 1;
            } else {
                reciprocal += 1;
            }
            divisors.reciprocal[place] = reciprocal as u16;
            divisors.correction[place] = correction as u16;
            divisors.scale[place] = 1 << (32 - shift);
        }
        divisors
    }

    /// The coefficient at a place, divided and rounded to nearest.
    #[inline(always)]
    pub fn divide(&self, coefficient: i16, place: usize) -> i16 {
        let corrected = u32::from(coefficient.unsigned_abs().wrapping_add(self.correction[place]));
        let product = (corrected * u32::from(self.reciprocal[place])) >> 16;
        let magnitude = ((product * u32::from(self.scale[place])) >> 16) as i16;
        if coefficient < 0 { -magnitude } else { magnitude }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quality_of_50_has_the_example_tables() {
        assert_eq!([0, 1].map(|table| steps(table, 50)), EXAMPLES);
        assert_eq!(steps(0, 100), [1; 64]);
        assert_eq!(steps(1, 1), [255; 64]);
        assert_eq!(steps(0, 85)[..8], [5, 3, 3, 5, 7, 12, 15, 18]);
    }

    #[test]
    fn factors_divide_and_round_to_nearest() {
        for step in 1..=255 {
            let divisors = Divisors::new(&[step; 64]);
            let divisor = 8 * i32::from(step);
            // The transform gives no more than 8 times 1,024 and some.
            for value in -10_000..=10_000_i32 {
                let expected = value.signum() * ((value.abs() + divisor / 2) / divisor);
                assert_eq!(i32::from(divisors.divide(value as i16, 9)), expected, "{value} / {divisor}");
            }
        }
    }
}
