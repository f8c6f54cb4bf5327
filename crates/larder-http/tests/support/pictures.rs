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

/// A grey TIFF of one pixel with a GPS directory.
pub fn tiff_with_a_place() -> Bytes {
    let entries: [(u16, u16, u32, u32); 9] = [
        (256, 3, 1, 1),
        (257, 3, 1, 1),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 140),
        (278, 3, 1, 1),
        (279, 4, 1, 1),
        (34_853, 4, 1, 122),
    ];
    let mut bytes = b"II*\0\x08\0\0\0\x09\0".to_vec();
    for (tag, kind, count, value) in entries {
        bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    bytes.extend([0; 4]);
    // At 122, the GPS directory with one entry; at 140, the pixel.
    bytes.extend([1, 0]);
    bytes.extend([1, 0, 2, 0, 2, 0, 0, 0, b'N', 0, 0, 0]);
    bytes.extend([0; 4]);
    bytes.push(77);
    bytes.into()
}

fn gradient(width: u16, height: u16) -> Vec<u8> {
    let pixel = |x: u16, y: u16| [(x * 7) as u8, (y * 5) as u8, (x ^ y) as u8];
    (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect()
}

/// A JPEG that tells where it was taken.
pub fn jpeg_with_gps(width: u16, height: u16) -> Bytes {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0".to_vec();
    // One entry: the GPS directory lies at offset 26. It holds one entry, a latitude reference.
    exif.extend_from_slice(b"\x01\0\x25\x88\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0");
    exif.extend_from_slice(b"\x01\0\x01\0\x02\0\x02\0\0\0N\0\0\0\0\0\0\0");
    let plain = jpeg(width, height);
    let mut bytes = plain[..2].to_vec();
    bytes.extend_from_slice(b"\xFF\xE1");
    bytes.extend_from_slice(&u16::try_from(exif.len() + 2).unwrap().to_be_bytes());
    bytes.extend_from_slice(&exif);
    bytes.extend_from_slice(&plain[2..]);
    bytes.into()
}
