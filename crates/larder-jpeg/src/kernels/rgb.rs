//! RGB to YCbCr (JFIF 1.02, after ITU-R BT.601 in full range), rounded as libjpeg rounds.

/// Multiples of 2^-16.
pub(super) const LUMA_RED: i32 = 19595; // 0.29900
pub(super) const LUMA_GREEN: i32 = 38470; // 0.58700
pub(super) const LUMA_BLUE: i32 = 7471; // 0.11400
pub(super) const CB_RED: i32 = -11059; // 0.16874
pub(super) const CB_GREEN: i32 = -21709; // 0.33126
pub(super) const CR_GREEN: i32 = -27439; // 0.41869
pub(super) const CR_BLUE: i32 = -5329; // 0.08131

pub(super) const HALF: i32 = 1 << 15;

/// Zero of a colour difference, and a rounding that keeps the highest one within 255.
pub(super) const MIDDLE: i32 = (128 << 16) + HALF - 1;

pub(super) fn row(rgb: &[u8], luma: &mut [u8], blue: &mut [u8], red: &mut [u8]) {
    for (((pixel, y), cb), cr) in rgb.as_chunks::<3>().0.iter().zip(luma).zip(blue).zip(red) {
        let [r, g, b] = pixel.map(i32::from);
        *y = ((LUMA_RED * r + LUMA_GREEN * g + LUMA_BLUE * b + HALF) >> 16) as u8;
        *cb = ((CB_RED * r + CB_GREEN * g + HALF * b + MIDDLE) >> 16) as u8;
        *cr = ((HALF * r + CR_GREEN * g + CR_BLUE * b + MIDDLE) >> 16) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kernels;

    #[test]
    fn every_choice_of_kernels_converts_every_colour_alike() {
        let (plain, fast) = (Kernels::scalar(), Kernels::detect());
        let [mut expected, mut found] = [[[0; 256]; 3]; 2];
        for red in 0..=255_u8 {
            for green in (0..=255_u8).step_by(3) {
                let rgb: Vec<u8> = (0..=255).flat_map(|blue| [red, green, blue]).collect();
                for (kernels, [y, cb, cr]) in [(plain, &mut expected), (fast, &mut found)] {
                    (kernels.rgb_row)(&rgb, y, cb, cr);
                }
                assert_eq!(expected, found, "red {red}, green {green}");
            }
        }
    }

    #[test]
    fn rows_of_every_width_are_converted_to_their_end() {
        for width in 0..70 {
            let rgb: Vec<u8> = (0..3 * width).map(|at| (at * 7) as u8).collect();
            let [mut expected, mut found] =
                [[vec![9; width], vec![9; width], vec![9; width]], Default::default()];
            found.clone_from(&expected);
            for (kernels, [y, cb, cr]) in
                [(Kernels::scalar(), &mut expected), (Kernels::detect(), &mut found)]
            {
                (kernels.rgb_row)(&rgb, y, cb, cr);
            }
            assert_eq!(expected, found, "width {width}");
        }
    }

    #[test]
    fn grey_and_the_primaries_come_to_their_values() {
        let rgb = [0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 255];
        let [mut y, mut cb, mut cr] = [[0; 4]; 3];
        (Kernels::scalar().rgb_row)(&rgb, &mut y, &mut cb, &mut cr);
        assert_eq!((y, cb, cr), ([0, 255, 76, 29], [128, 128, 85, 255], [128, 128, 255, 107]));
    }
}
