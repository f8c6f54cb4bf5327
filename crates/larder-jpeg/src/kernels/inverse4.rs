//! Inverse transform to 4x4 samples, sample for sample as libjpeg's (`jidctred`): the lowest four
//! frequencies in each direction decide, the higher ones fold in.

use super::{CONST_BITS, PASS1_BITS, alone, descale, sample};

/// Multiples of 2^-13.
pub(super) const FIX_0_211: i32 = 1730;
pub(super) const FIX_0_509: i32 = 4176;
pub(super) const FIX_0_601: i32 = 4926;
pub(super) const FIX_0_765: i32 = 6270;
pub(super) const FIX_0_899: i32 = 7373;
pub(super) const FIX_1_061: i32 = 8697;
pub(super) const FIX_1_451: i32 = 11893;
pub(super) const FIX_1_847: i32 = 15137;
pub(super) const FIX_2_172: i32 = 17799;
pub(super) const FIX_2_562: i32 = 20995;

pub(super) const PASS1_SHIFT: u32 = CONST_BITS - PASS1_BITS + 1;
pub(super) const PASS2_SHIFT: u32 = CONST_BITS + PASS1_BITS + 3 + 1;

pub(super) fn pair(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2], samples: &mut [[u8; 64]; 2]) {
    for ((block, table), samples) in blocks.into_iter().zip(tables).zip(samples) {
        one(block, table, samples);
    }
}

fn one(block: &[i16; 64], table: &[i16; 64], samples: &mut [u8; 64]) {
    let mut between = [[0; 8]; 4];
    let has_only_top_row = has_only_top_row(block);
    for x in [0, 1, 2, 3, 5, 6, 7] {
        let column = std::array::from_fn(|y| block[8 * y + x].wrapping_mul(table[8 * y + x]));
        if has_only_top_row {
            between.iter_mut().for_each(|row| row[x] = alone(column[0]));
            continue;
        }
        for (row, value) in between.iter_mut().zip(pass(column)) {
            row[x] = descale(value, PASS1_SHIFT);
        }
    }
    for (row, samples) in between.iter().zip(samples.as_chunks_mut::<4>().0) {
        *samples = pass(*row).map(|value| sample(descale(value, PASS2_SHIFT)));
    }
}

/// Whether the rows of coefficients below the first that have a part are all zeros.
#[inline(always)]
pub(super) fn has_only_top_row(block: &[i16; 64]) -> bool {
    let (rows, _) = block.as_chunks::<8>();
    [1, 2, 3, 5, 6, 7].iter().flat_map(|&y| rows[y]).fold(0, |any, coefficient| any | coefficient) == 0
}

/// One dimension; the fifth input has no part. Sums wrap at 32 bits, as in vector registers, which does not
/// happen with coefficients that an encoder wrote.
fn pass(input: [i16; 8]) -> [i32; 4] {
    let [z0, z1, z2, z3, _, z5, z6, z7] = input.map(i32::from);
    let even0 = z0 << (CONST_BITS + 1);
    let even2 = z2 * FIX_1_847 + z6 * -FIX_0_765;
    let (outer, inner) = (even0.wrapping_add(even2), even0.wrapping_sub(even2));
    let odd0 = (z7 * -FIX_0_211 + z5 * FIX_1_451).wrapping_add(z3 * -FIX_2_172 + z1 * FIX_1_061);
    let odd2 = (z7 * -FIX_0_509 + z5 * -FIX_0_601).wrapping_add(z3 * FIX_0_899 + z1 * FIX_2_562);
    [outer.wrapping_add(odd2), inner.wrapping_add(odd0), inner.wrapping_sub(odd0), outer.wrapping_sub(odd2)]
}
