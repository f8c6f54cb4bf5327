//! Out: 8 bits, with a palette where at most 256 colours occur.

use std::borrow::Cow;
use std::collections::HashMap;

use png::{BitDepth, ColorType, Compression, Encoder};

use crate::picture::{Channels, Picture};
use crate::recipe::Quality;
use crate::{Deadline, Error};

pub(super) fn encode(picture: &Picture, _quality: Quality, _deadline: Deadline) -> Result<Vec<u8>, Error> {
    let mut info = png::Info::with_size(picture.width(), picture.height());
    info.bit_depth = BitDepth::Eight;
    info.icc_profile = picture.profile.as_ref().map(|profile| Cow::Owned(profile.to_vec()));
    let samples;
    if let Some(indexed) = indexed(picture) {
        info.color_type = ColorType::Indexed;
        info.bit_depth = indexed.depth;
        info.palette = Some(indexed.palette.into());
        info.trns = (!indexed.alphas.is_empty()).then(|| indexed.alphas.into());
        samples = Cow::Owned(indexed.samples);
    } else {
        info.color_type = match picture.channels() {
            Channels::Grey => ColorType::Grayscale,
            Channels::Rgb => ColorType::Rgb,
            Channels::Rgba => ColorType::Rgba,
        };
        samples = Cow::Borrowed(picture.pixels());
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::with_info(&mut bytes, info).map_err(failure)?;
    encoder.set_compression(Compression::Balanced);
    let mut writer = encoder.write_header().map_err(failure)?;
    writer.write_image_data(&samples).map_err(failure)?;
    writer.finish().map_err(failure)?;
    Ok(bytes)
}

fn failure(error: png::EncodingError) -> Error {
    Error::internal(format!("PNG encoder: {error}"))
}

struct Indexed {
    depth: BitDepth,
    palette: Vec<u8>,
    alphas: Vec<u8>,
    samples: Vec<u8>,
}

/// The picture with a palette, if it has at most 256 colours: half the bytes for text and drawings.
fn indexed(picture: &Picture) -> Option<Indexed> {
    if picture.channels() == Channels::Grey {
        return None;
    }
    let mut places: HashMap<[u8; 4], u8> = HashMap::new();
    let mut colors: Vec<[u8; 4]> = Vec::new();
    let mut indices = Vec::with_capacity(picture.pixels().len() / picture.channels().count());
    let mut last = None;
    for pixel in picture.pixels().chunks_exact(picture.channels().count()) {
        let color = [pixel[0], pixel[1], pixel[2], pixel.get(3).copied().unwrap_or(255)];
        let index = match last {
            Some((same, index)) if same == color => index,
            _ => match places.get(&color) {
                Some(&index) => index,
                None => {
                    let index = u8::try_from(colors.len()).ok()?;
                    places.insert(color, index);
                    colors.push(color);
                    index
                }
            },
        };
        last = Some((color, index));
        indices.push(index);
    }
    // Colours with alpha come first, so that the list of alphas can end after them.
    let mut order: Vec<usize> = (0..colors.len()).collect();
    order.sort_by_key(|&index| colors[index][3] == 255);
    let mut renamed = vec![0_u8; colors.len()];
    for (new, &old) in order.iter().enumerate() {
        renamed[old] = new as u8;
    }
    let alphas = order.iter().map(|&index| colors[index][3]).take_while(|&alpha| alpha < 255).collect();
    let palette = order.iter().flat_map(|&index| colors[index][..3].to_vec()).collect();
    indices.iter_mut().for_each(|index| *index = renamed[usize::from(*index)]);
    let (depth, bits) = match colors.len() {
        0..=2 => (BitDepth::One, 1),
        3..=4 => (BitDepth::Two, 2),
        5..=16 => (BitDepth::Four, 4),
        _ => (BitDepth::Eight, 8),
    };
    Some(Indexed { depth, palette, alphas, samples: packed(&indices, picture.width() as usize, bits) })
}

/// Rows of indices with several in a byte, each row from a new byte.
fn packed(indices: &[u8], width: usize, bits: usize) -> Vec<u8> {
    let per_byte = 8 / bits;
    let pack = |group: &[u8]| {
        (0..per_byte).fold(0, |byte, place| {
            let index = group.get(place).copied().unwrap_or(0);
            byte | index << (8 - bits * (place + 1))
        })
    };
    indices.chunks_exact(width).flat_map(|row| row.chunks(per_byte).map(pack)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{decode, inspect};
    use super::*;

    fn later() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    fn round_trip(picture: &Picture) -> Picture {
        let bytes = encode(picture, Quality::Lossless, later()).unwrap();
        let inspection = inspect(&bytes).unwrap();
        decode(&bytes, &inspection, later()).unwrap()
    }

    #[test]
    fn every_pixel_comes_back_with_and_without_a_palette() {
        for colors in [1, 2, 3, 5, 17, 256, 257, 4_000] {
            let pixels: Vec<u8> = (0..90 * 70_u32)
                .flat_map(|n| {
                    let n = n % colors;
                    [n as u8, (n >> 8) as u8, 77, if n % 3 == 1 { 40 } else { 255 }]
                })
                .collect();
            let picture = Picture::new(90, 70, Channels::Rgba, pixels).without_idle_alpha();
            assert_eq!(round_trip(&picture), picture, "{colors} colours");
        }
    }

    #[test]
    fn few_colours_make_a_small_file() {
        let picture = Picture::new(64, 64, Channels::Rgb, [[0, 0, 0], [255, 0, 0]].concat().repeat(32 * 64));
        let bytes = encode(&picture, Quality::Lossless, later()).unwrap();
        assert_eq!(bytes[24], 1, "bits of a sample");
        assert_eq!(bytes[25], 3, "palette");
    }

    #[test]
    fn a_kept_profile_is_embedded() {
        let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
        let picture =
            Picture::filled(9, 9, Channels::Rgb, &[1, 2, 3]).with_profile(Some(profile.clone().into()));
        assert_eq!(round_trip(&picture).profile.as_deref(), Some(&profile[..]));
    }
}
