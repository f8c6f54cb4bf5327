//! Inverse transform to 8x8 samples: the accurate integer method of libjpeg ("islow", after Loeffler,
//! Ligtenberg and Moschytz, ICASSP 1989), sample for sample.

use super::{CONST_BITS, PASS1_BITS, alone, descale, sample};

/// Multiples of 2^-13.
pub(super) const FIX_0_298: i32 = 2446;
pub(super) const FIX_0_390: i32 = 3196;
pub(super) const FIX_0_541: i32 = 4433;
pub(super) const FIX_0_765: i32 = 6270;
pub(super) const FIX_0_899: i32 = 7373;
pub(super) const FIX_1_175: i32 = 9633;
pub(super) const FIX_1_501: i32 = 12299;
pub(super) const FIX_1_847: i32 = 15137;
pub(super) const FIX_1_961: i32 = 16069;
pub(super) const FIX_2_053: i32 = 16819;
pub(super) const FIX_2_562: i32 = 20995;
pub(super) const FIX_3_072: i32 = 25172;

/// What the first pass drops of its fractional bits.
pub(super) const PASS1_SHIFT: u32 = CONST_BITS - PASS1_BITS;

/// What the second pass drops: the transform is scaled by 8.
pub(super) const PASS2_SHIFT: u32 = CONST_BITS + PASS1_BITS + 3;

pub(super) fn pair(blocks: [&[i16; 64]; 2], tables: [&[i16; 64]; 2], samples: &mut [[u8; 64]; 2]) {
    for ((block, table), samples) in blocks.into_iter().zip(tables).zip(samples) {
        one(block, table, samples);
    }
}

fn one(block: &[i16; 64], table: &[i16; 64], samples: &mut [u8; 64]) {
    let mut between = [0; 64];
    let has_only_top_row = has_only_top_row(block);
    for x in 0..8 {
        let column = std::array::from_fn(|y| block[8 * y + x].wrapping_mul(table[8 * y + x]));
        if has_only_top_row {
            between.as_chunks_mut::<8>().0.iter_mut().for_each(|row| row[x] = alone(column[0]));
            continue;
        }
        for (y, value) in pass(column).into_iter().enumerate() {
            between[8 * y + x] = descale(value, PASS1_SHIFT);
        }
    }
    for (row, samples) in between.as_chunks::<8>().0.iter().zip(samples.as_chunks_mut::<8>().0) {
        *samples = pass(*row).map(|value| sample(descale(value, PASS2_SHIFT)));
    }
}

/// Whether the rows of coefficients below the first are all zeros.
#[inline(always)]
pub(super) fn has_only_top_row(block: &[i16; 64]) -> bool {
    block[8..].iter().fold(0, |any, &coefficient| any | coefficient) == 0
}

/// One dimension. Sums of two inputs wrap at 16 bits and sums of products at 32, as in vector registers;
/// neither happens with coefficients that an encoder wrote.
fn pass(input: [i16; 8]) -> [i32; 8] {
    let [_, z1, z2, z3, _, z5, z6, z7] = input.map(i32::from);
    let add = |a: i16, b: i16| i32::from(a.wrapping_add(b));
    let even0 = i32::from(input[0].wrapping_add(input[4])) << CONST_BITS;
    let even1 = i32::from(input[0].wrapping_sub(input[4])) << CONST_BITS;
    let even2 = z2 * FIX_0_541 + z6 * (FIX_0_541 - FIX_1_847);
    let even3 = z2 * (FIX_0_541 + FIX_0_765) + z6 * FIX_0_541;
    let sums = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];

    let (sum3, sum4) = (add(input[7], input[3]), add(input[5], input[1]));
    let odd3 = sum3 * (FIX_1_175 - FIX_1_961) + sum4 * FIX_1_175;
    let odd4 = sum3 * FIX_1_175 + sum4 * (FIX_1_175 - FIX_0_390);
    let odd = [
        (z7 * -FIX_0_899 + z1 * (FIX_1_501 - FIX_0_899)).wrapping_add(odd4),
        (z5 * -FIX_2_562 + z3 * (FIX_3_072 - FIX_2_562)).wrapping_add(odd3),
        (z5 * (FIX_2_053 - FIX_2_562) + z3 * -FIX_2_562).wrapping_add(odd4),
        (z7 * (FIX_0_298 - FIX_0_899) + z1 * -FIX_0_899).wrapping_add(odd3),
    ];
    std::array::from_fn(|index| match index {
        0..4 => sums[index].wrapping_add(odd[index]),
        _ => sums[7 - index].wrapping_sub(odd[7 - index]),
    })
}
