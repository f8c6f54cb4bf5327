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
