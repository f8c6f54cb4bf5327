//! Inverse transform to 2x2 samples, sample for sample as libjpeg's (`jidctred`): DC and the odd
//! frequencies have a part.

use super::{CONST_BITS, PASS1_BITS, descale, rounded, sample};

/// Multiples of 2^-13.
pub(super) const FIX_0_720: i32 = 5906;
pub(super) const FIX_0_850: i32 = 6967;
pub(super) const FIX_1_272: i32 = 10426;
pub(super) const FIX_3_624: i32 = 29692;

pub(super) const PASS1_SHIFT: u32 = CONST_BITS - PASS1_BITS + 2;
pub(super) const PASS2_SHIFT: u32 = CONST_BITS + PASS1_BITS + 3 + 2;

pub(super) fn pair(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2], samples: &mut [[u8; 64]; 2]) {
    for ((block, table), samples) in blocks.into_iter().zip(tables).zip(samples) {
        one(block, table, samples);
    }
}

fn one(block: &[i16; 64], table: &[i16; 64], samples: &mut [u8; 64]) {
    let (mut first, mut between) = ([0; 2], [[0; 8]; 2]);
    for x in [0, 1, 3, 5, 7] {
        let column: [i16; 8] = std::array::from_fn(|y| block[8 * y + x].wrapping_mul(table[8 * y + x]));
        for (y, value) in pass(column[0].into(), column).into_iter().enumerate() {
            between[y][x] = descale(value, PASS1_SHIFT);
            if x == 0 {
                first[y] = rounded(value, PASS1_SHIFT);
            }
        }
    }
    for (y, samples) in samples.as_chunks_mut::<2>().0.iter_mut().take(2).enumerate() {
        *samples = pass(first[y], between[y]).map(|value| sample(descale(value, PASS2_SHIFT)));
    }
}

/// One dimension; inputs of even number have no part but the first, which libjpeg-turbo keeps in 32 bits from
/// pass to pass. Sums wrap at those, as in vector registers, which does not happen with coefficients that an
/// encoder wrote.
fn pass(z0: i32, input: [i16; 8]) -> [i32; 2] {
    let [_, z1, _, z3, _, z5, _, z7] = input.map(i32::from);
    let even = z0 << (CONST_BITS + 2);
    let odd = (z7 * -FIX_0_720 + z5 * FIX_0_850).wrapping_add(z3 * -FIX_1_272 + z1 * FIX_3_624);
    [even.wrapping_add(odd), even.wrapping_sub(odd)]
}
