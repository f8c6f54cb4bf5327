//! Files to send.

use bytes::Bytes;

/// A JPEG with a colour gradient.
pub fn jpeg(width: u16, height: u16) -> Bytes {
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.encode(&gradient(width, height), width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes.into()
}

/// A PNG with the same picture.
pub fn png(width: u16, height: u16) -> Bytes {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width.into(), height.into());
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&gradient(width, height)).unwrap();
    bytes.into()
}

fn gradient(width: u16, height: u16) -> Vec<u8> {
    let pixel = |x: u16, y: u16| [(x * 7) as u8, (y * 5) as u8, (x ^ y) as u8];
    (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect()
}
