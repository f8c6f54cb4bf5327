//! JPEG files of a wanted size, made on the spot.

use anyhow::{Context, Result};
use jpeg_encoder::{ColorType, Encoder};

/// A JPEG of `bytes` bytes, to within the length of its comments; `number` makes it differ from
/// every other.
pub fn jpeg(bytes: usize, number: u64) -> Result<Vec<u8>> {
    // What a pixel takes is found from a sample; comments fill what is left.
    let per_pixel = encode(256)?.len() as f64 / (256.0 * 256.0);
    let mut side = (bytes as f64 * 0.97 / per_pixel).sqrt() as u16;
    let mut picture = encode(side)?;
    while picture.len() > bytes {
        side = side.checked_sub(8).context("no picture is that small")?;
        picture = encode(side)?;
    }
    Ok(with_comments(&picture, bytes - picture.len(), number))
}

/// Noise over stripes, which takes more bytes than any photo: files are as large as wanted at few
/// pixels.
fn encode(side: u16) -> Result<Vec<u8>> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let samples = usize::from(side) * usize::from(side) * 3;
    let pixels: Vec<u8> = (0..samples)
        .map(|place| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (place / 768 % 190) as u8 + (state >> 58) as u8
        })
        .collect();
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, 85).encode(&pixels, side, side, ColorType::Rgb)?;
    Ok(bytes)
}

/// Longest content of one segment: its length field counts itself (ITU-T T.81, B.1.1.4).
const SEGMENT_BYTES_MAX: usize = 65_533;

/// Puts comment segments of `length` bytes together behind the start of the file.
fn with_comments(picture: &[u8], length: usize, number: u64) -> Vec<u8> {
    let (start, rest) = picture.split_at(2);
    let mut bytes = start.to_vec();
    let mut left = length.max(12);
    while left > 4 {
        let content = (left - 4).min(SEGMENT_BYTES_MAX);
        bytes.extend_from_slice(&[0xFF, 0xFE]);
        bytes.extend_from_slice(&(content as u16 + 2).to_be_bytes());
        let text = number.to_be_bytes().into_iter().chain(std::iter::repeat(b' ')).take(content);
        bytes.extend(text);
        left -= content + 4;
    }
    bytes.extend_from_slice(rest);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_image::{Deadline, ImageLimits, Source};
    use std::time::Duration;

    #[test]
    fn pictures_are_as_large_as_wanted_distinct_and_whole() {
        for bytes in [100_000, 1_000_000] {
            let picture = jpeg(bytes, 1).unwrap();
            assert!(picture.len().abs_diff(bytes) < 16, "{}", picture.len());
            assert_ne!(picture, jpeg(bytes, 2).unwrap());
            let source = Source::open(&picture, &ImageLimits::default()).unwrap();
            source.decode(&[], Deadline::after(Duration::from_secs(20))).unwrap();
        }
    }
}
