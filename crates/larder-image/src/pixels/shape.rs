//! Pictures that differ from pixel to pixel in one value only, as text does: that value is resampled alone,
//! and the pixels are made of it.

use fast_image_resize::pixels::{U8, U16};

use super::line::Line;
use crate::picture::{Channels, Picture};

/// What differs, a sample for each pixel, and what its pixels are.
pub(super) enum Shape {
    /// Alpha, over the one colour of all that can be seen.
    Alpha([u8; 3], Vec<U8>),
    /// Red, green and blue, which are the same.
    Tone(Vec<U8>),
    /// The place between two colours.
    Between(Line, Vec<U16>),
}

impl Shape {
    /// Photos are told by their first few pixels, or a few hundred of them.
    pub fn of(source: &Picture) -> Option<Self> {
        match source.channels() {
            Channels::Grey => None,
            Channels::Rgb => {
                let pixels = source.pixels().as_chunks::<3>().0;
                let grey = |[r, g, b]: [u8; 3]| (r == g && g == b).then_some(U8::new(r));
                if let Some(tones) = values(pixels, grey) {
                    return Some(Self::Tone(tones));
                }
                let line = Line::of(pixels)?;
                let positions = line.plane();
                let plane = values(pixels, |color| positions.of(color))?;
                Some(Self::Between(line, plane))
            }
            Channels::Rgba => {
                let pixels = source.pixels().as_chunks::<4>().0;
                let &[r, g, b, _] = pixels.iter().find(|pixel| pixel[3] > 0)?;
                let alpha = |[red, green, blue, a]: [u8; 4]| {
                    (a == 0 || [red, green, blue] == [r, g, b]).then_some(U8::new(a))
                };
                values(pixels, alpha).map(|alphas| Self::Alpha([r, g, b], alphas))
            }
        }
    }
}

/// Pixels that are compared at once with the one before them, which most of such a picture are equal to.
const GROUP: usize = 8;

/// The value of each pixel; `None` as soon as one has none.
fn values<const CHANNELS: usize, T: Copy>(
    pixels: &[[u8; CHANNELS]],
    value: impl Fn([u8; CHANNELS]) -> Option<T>,
) -> Option<Vec<T>> {
    let mut last = *pixels.first()?;
    let mut known = value(last)?;
    let mut values = Vec::with_capacity(pixels.len());
    let mut run = [last; GROUP];
    let (groups, rest) = pixels.as_chunks::<GROUP>();
    for group in groups {
        if group.as_flattened() == run.as_flattened() {
            values.extend_from_slice(&[known; GROUP]);
            continue;
        }
        for &pixel in group {
            if pixel != last {
                (last, known) = (pixel, value(pixel)?);
            }
            values.push(known);
        }
        run = [last; GROUP];
    }
    for &pixel in rest {
        values.push(value(pixel)?);
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_has_its_own_value_and_one_without_is_enough() {
        for count in [1, 7, 8, 9, 40, 61] {
            // Runs of every length, across the groups.
            let mut pixels: Vec<[u8; 3]> = (0..count).map(|n: u32| [(n * n / 23) as u8, 1, 2]).collect();
            let found = values(&pixels, |[value, ..]| Some(value)).unwrap();
            assert!(found.iter().zip(&pixels).all(|(value, pixel)| *value == pixel[0]), "{count}");
            assert_eq!(found.len(), pixels.len());
            for place in [0, pixels.len() / 2, pixels.len() - 1] {
                let kept = std::mem::replace(&mut pixels[place], [0, 9, 2]);
                assert!(values(&pixels, |[_, green, _]| (green != 9).then_some(())).is_none());
                pixels[place] = kept;
            }
        }
        assert!(values(&[], |_: [u8; 4]| Some(())).is_none());
    }
}
