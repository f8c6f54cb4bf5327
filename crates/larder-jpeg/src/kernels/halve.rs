//! Colour differences at half the width, or half of both sides: means, rounded up and down in turn from
//! sample to sample as libjpeg does, so that the whole becomes neither lighter nor darker.

/// Means of two samples of a row.
pub(super) fn across(row: &[u8], out: &mut [u8]) {
    for (index, (out, pair)) in out.iter_mut().zip(row.as_chunks::<2>().0).enumerate() {
        let [a, b] = pair.map(u16::from);
        *out = ((a + b + (index as u16 & 1)) >> 1) as u8;
    }
}

/// Means of two samples of each of two rows.
pub(super) fn both(rows: [&[u8]; 2], out: &mut [u8]) {
    let pairs = rows.map(|row| row.as_chunks::<2>().0);
    for (index, ((out, upper), lower)) in out.iter_mut().zip(pairs[0]).zip(pairs[1]).enumerate() {
        let ([a, b], [c, d]) = (upper.map(u16::from), lower.map(u16::from));
        *out = ((a + b + c + d + 1 + (index as u16 & 1)) >> 2) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kernels;
    use super::super::tests::Random;

    #[test]
    fn every_choice_of_kernels_halves_rows_of_every_width_alike() {
        let (plain, fast) = (Kernels::scalar(), Kernels::detect());
        let mut random = Random(77);
        for width in (0..200).step_by(2) {
            let rows = [(); 2].map(|()| (0..width).map(|_| random.next() as u8).collect::<Vec<_>>());
            let rows = rows.each_ref().map(Vec::as_slice);
            let [mut expected, mut found] = [vec![9; width / 2], vec![8; width / 2]];
            (plain.halve_across)(rows[0], &mut expected);
            (fast.halve_across)(rows[0], &mut found);
            assert_eq!(expected, found, "width {width}");
            (plain.halve_both)(rows, &mut expected);
            (fast.halve_both)(rows, &mut found);
            assert_eq!(expected, found, "width {width}");
        }
    }

    #[test]
    fn halves_are_rounded_down_and_up_in_turn() {
        let mut out = [0; 4];
        (Kernels::scalar().halve_across)(&[1, 2, 1, 2, 1, 2, 1, 2], &mut out);
        assert_eq!(out, [1, 2, 1, 2]);
        (Kernels::scalar().halve_both)([&[1, 2, 1, 2, 1, 2, 1, 2], &[1, 2, 1, 2, 1, 2, 1, 2]], &mut out);
        assert_eq!(out, [1, 2, 1, 2]);
    }
}
