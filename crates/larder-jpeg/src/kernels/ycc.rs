//! YCbCr to RGB (JFIF 1.02, after ITU-R BT.601 in full range), rounded as libjpeg rounds.

/// Multiples of 2^-16.
const RED_CR: i32 = 91881; // 1.40200
const GREEN_CB: i32 = -22554; // 0.34414
const GREEN_CR: i32 = -46802; // 0.71414
const BLUE_CB: i32 = 116130; // 1.77200

const HALF: i32 = 1 << 15;

pub(super) fn row(luma: &[u8], blue: &[u8], red: &[u8], rgb: &mut [u8]) {
    for (((pixel, &y), &cb), &cr) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(luma).zip(blue).zip(red) {
        let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
        let channels = [
            y + ((RED_CR * cr + HALF) >> 16),
            y + ((GREEN_CB * cb + GREEN_CR * cr + HALF) >> 16),
            y + ((BLUE_CB * cb + HALF) >> 16),
        ];
        *pixel = channels.map(|channel| channel.clamp(0, 255) as u8);
    }
}
