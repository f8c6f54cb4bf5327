//! Small files made on the spot, so that no test needs a binary in the repository.

use jpeg_encoder::{ColorType, Encoder};

/// A colourful JPEG of this size: gradients with stripes, so that it neither compresses to nothing
/// nor looks the same after a turn.
///
/// # Panics
/// For a side of 0 or more than 65,535 pixels.
pub fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (w, h) =
        (u16::try_from(width).expect("a JPEG's side"), u16::try_from(height).expect("a JPEG's side"));
    Encoder::new(&mut bytes, 85).encode(&rgb(width, height), w, h, ColorType::Rgb).expect("a JPEG");
    bytes
}

/// A JPEG of this size that no other call gives: its pixels depend on `seed`.
///
/// # Panics
/// As [`jpeg`].
pub fn unlike(seed: u64, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (w, h) =
        (u16::try_from(width).expect("a JPEG's side"), u16::try_from(height).expect("a JPEG's side"));
    let mut pixels = rgb(width, height);
    for (index, pixel) in pixels.iter_mut().enumerate() {
        let bit = (seed >> ((index / 24) % 64)) & 1;
        *pixel = pixel.wrapping_add(bit as u8 * 90);
    }
    Encoder::new(&mut bytes, 85).encode(&pixels, w, h, ColorType::Rgb).expect("a JPEG");
    bytes
}

/// The same JPEG with an EXIF block that says where it was taken (Exif 2.32, section 4.6.6): north.
///
/// # Panics
/// If `jpeg` is shorter than its start marker.
pub fn with_gps(jpeg: &[u8]) -> Vec<u8> {
    /// The first directory: one entry, GPS IFD, a LONG that says where the other directory begins.
    const FIRST: &[u8] = b"II*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0";
    /// The GPS directory: one entry, GPSLatitudeRef.
    const GPS: &[u8] = b"\x01\0\x01\0\x02\0\x02\0\0\0N\0\0\0\0\0\0\0";
    let block = [b"Exif\0\0", FIRST, GPS].concat();
    let length = u16::try_from(block.len() + 2).expect("a short block").to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &block, &jpeg[2..]].concat()
}

fn rgb(width: u32, height: u32) -> Vec<u8> {
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let stripe = if (x / 16 + y / 8) % 2 == 0 { 40 } else { 0 };
            pixels.push((x * 255 / width.max(1)) as u8);
            pixels.push((y * 255 / height.max(1)) as u8);
            pixels.push(stripe + ((x + y) % 128) as u8);
        }
    }
    pixels
}
