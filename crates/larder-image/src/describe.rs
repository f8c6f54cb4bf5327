//! What a catalogue keeps of a picture: placeholders, main colour, perceptual hash.
//!
//! All of it is computed on a small upright copy in sRGB on white, so that it costs next to nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fast_image_resize::Resizer;

use crate::picture::{Picture, Pixels};
use crate::pixels::{compose, orient, resize::resize};
use crate::plan::Region;
use crate::planar::Sampling;
use crate::{Error, Orientation, icc};

/// What a catalogue keeps of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// BlurHash of 4 x 3 components (3 x 4 for upright pictures).
    pub blurhash: String,
    /// ThumbHash, in base64 (RFC 4648, section 4, with padding).
    pub thumbhash: String,
    /// The main colour as `#rrggbb`.
    pub dominant_color: String,
    /// DCT hash of 64 bits: the more bits differ, the more the pictures do. Up to about 8 of 64 is
    /// the same picture at another size or quality.
    pub perceptual_hash: u64,
}

/// Longest side of the copy that is looked at. BlurHash and ThumbHash keep less than this shows, and
/// ThumbHash takes at most 100.
const COPY_SIDE_PX: u32 = 64;

pub(crate) fn describe(pixels: &Pixels, orientation: Orientation) -> Result<Description, Error> {
    let mut resizer = Resizer::new();
    let small = match pixels {
        Pixels::Interleaved(picture) => {
            let size = (picture.width(), picture.height());
            resize(&mut resizer, picture, Region::new(0, 0, size.0, size.1), shrunk(size))?
        }
        Pixels::Planar(planes) => {
            let size = planes.size();
            let whole = Region::new(0, 0, size.0, size.1);
            planes.scaled(whole, shrunk(size), Orientation::UPRIGHT, Sampling::Full).to_picture()?
        }
    };
    let small = orient::orient(icc::to_srgb(small)?, orientation);
    let (width, height) = (small.width(), small.height());
    let rgba = small.into_rgba();
    let opaque = compose::flatten(rgba.clone(), [255; 3]);
    let thumbhash =
        STANDARD.encode(thumbhash::rgba_to_thumb_hash(width as usize, height as usize, rgba.pixels()));
    let (across, down) = if width >= height { (4, 3) } else { (3, 4) };
    let blurhash = blurhash::encode(across, down, width, height, opaque.clone().into_rgba().pixels())
        .map_err(|error| Error::internal(format!("BlurHash: {error:?}")))?;
    Ok(Description {
        blurhash,
        thumbhash,
        dominant_color: dominant_color(&rgba),
        perceptual_hash: perceptual_hash(&mut resizer, &opaque)?,
    })
}

/// The size of the copy.
fn shrunk((width, height): (u32, u32)) -> (u32, u32) {
    let longest = width.max(height);
    let side = |side: u32| match longest {
        0..=COPY_SIDE_PX => side,
        _ => (side * COPY_SIDE_PX / longest).max(1),
    };
    (side(width), side(height))
}

/// The mean of the most frequent of 4,096 colour cells: the colour that is there most, not the grey
/// that the average of everything gives. Transparent pixels do not count.
fn dominant_color(rgba: &Picture) -> String {
    let mut cells = vec![[0_u32; 4]; 4_096];
    for &[r, g, b, alpha] in rgba.pixels().as_chunks::<4>().0 {
        if alpha < 128 {
            continue;
        }
        let cell = usize::from(r >> 4) << 8 | usize::from(g >> 4) << 4 | usize::from(b >> 4);
        let [count, red, green, blue] = &mut cells[cell];
        *count += 1;
        *red += u32::from(r);
        *green += u32::from(g);
        *blue += u32::from(b);
    }
    // Of equal ones the first, so that the answer does not depend on anything but the picture.
    let fullest = cells.iter().rev().max_by_key(|cell| cell[0]);
    match fullest {
        Some(&[count, r, g, b]) if count > 0 => {
            format!("#{:02x}{:02x}{:02x}", r / count, g / count, b / count)
        }
        _ => "#ffffff".into(),
    }
}

/// Sides of the grey picture whose cosine transform is hashed, and of the part of it that counts.
const HASHED_SIDE: usize = 32;
const HASH_SIDE: usize = 8;

/// The sign of the 64 lowest frequencies against their median ("pHash").
fn perceptual_hash(resizer: &mut Resizer, opaque: &Picture) -> Result<u64, Error> {
    let side = HASHED_SIDE as u32;
    let whole = Region::new(0, 0, opaque.width(), opaque.height());
    let square = resize(resizer, opaque, whole, (side, side))?;
    let luma = |pixel: &[u8; 3]| {
        0.299 * f64::from(pixel[0]) + 0.587 * f64::from(pixel[1]) + 0.114 * f64::from(pixel[2])
    };
    let light: Vec<f64> = square.pixels().as_chunks::<3>().0.iter().map(luma).collect();
    let wave = |frequency: usize, place: usize| {
        let turn = (2 * place + 1) as f64 * frequency as f64 / (2 * HASHED_SIDE) as f64;
        (turn * std::f64::consts::PI).cos()
    };
    // Rows first, then columns; frequency 0, the mere brightness, is left out.
    let mut rows = [[0.0; HASH_SIDE]; HASHED_SIDE];
    for (row, light) in rows.iter_mut().zip(light.chunks_exact(HASHED_SIDE)) {
        for (u, sum) in row.iter_mut().enumerate() {
            *sum = light.iter().enumerate().map(|(x, light)| light * wave(u + 1, x)).sum();
        }
    }
    let mut frequencies = Vec::with_capacity(HASH_SIDE * HASH_SIDE);
    for v in 0..HASH_SIDE {
        for u in 0..HASH_SIDE {
            let sum: f64 = rows.iter().enumerate().map(|(y, row)| row[u] * wave(v + 1, y)).sum();
            frequencies.push(sum);
        }
    }
    let mut sorted = frequencies.clone();
    sorted.sort_by(f64::total_cmp);
    let median = f64::midpoint(sorted[31], sorted[32]);
    Ok(frequencies.iter().fold(0, |hash, frequency| hash << 1 | u64::from(*frequency > median)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe_picture(picture: &Picture, orientation: Orientation) -> Result<Description, Error> {
        describe(&Pixels::Interleaved(picture.clone()), orientation)
    }
    use crate::picture::Channels;

    fn scene(width: u32, height: u32) -> Picture {
        let pixels = (0..height)
            .flat_map(|y| {
                (0..width).flat_map(move |x| {
                    let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
                    let disc = (u - 0.3).powi(2) + (v - 0.4).powi(2) < 0.04;
                    if disc { [220, 60, 40] } else { [30, (60.0 + 60.0 * v) as u8, (90.0 + 80.0 * u) as u8] }
                })
            })
            .collect();
        Picture::new(width, height, Channels::Rgb, pixels)
    }

    fn distance(a: u64, b: u64) -> u32 {
        (a ^ b).count_ones()
    }

    #[test]
    fn the_hash_of_a_smaller_copy_is_near_and_of_another_picture_far() {
        let large = describe_picture(&scene(900, 600), Orientation::UPRIGHT).unwrap();
        let small = describe_picture(&scene(150, 100), Orientation::UPRIGHT).unwrap();
        assert!(distance(large.perceptual_hash, small.perceptual_hash) <= 6);
        let turned = describe_picture(&scene(900, 600), Orientation::turn(2)).unwrap();
        assert!(distance(large.perceptual_hash, turned.perceptual_hash) >= 20);
    }

    #[test]
    fn the_main_colour_is_the_one_that_is_there_most() {
        let mut pixels = [[200, 10, 10]; 30].concat();
        pixels.extend([[10, 10, 200]; 70].concat());
        let picture = Picture::new(10, 10, Channels::Rgb, pixels);
        assert_eq!(describe_picture(&picture, Orientation::UPRIGHT).unwrap().dominant_color, "#0a0ac8");
    }

    #[test]
    fn an_invisible_picture_is_described_too() {
        let picture = Picture::filled(3, 3, Channels::Rgba, &[1, 2, 3, 0]);
        assert_eq!(describe_picture(&picture, Orientation::UPRIGHT).unwrap().dominant_color, "#ffffff");
    }

    #[test]
    fn one_pixel_and_extreme_shapes_are_described() {
        for size in [(1, 1), (1, 2_000), (2_000, 1)] {
            let description = describe_picture(&scene(size.0, size.1), Orientation::UPRIGHT).unwrap();
            assert!(!description.blurhash.is_empty() && !description.thumbhash.is_empty());
        }
    }
}
