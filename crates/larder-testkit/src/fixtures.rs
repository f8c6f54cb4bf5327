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

/// A folder of an application that keeps covers and pages: places below the folder, and their bytes.
/// `media/series/{slug}/cover.{ext}` and `media/series/{slug}/vol{n}/ch{n}/{hash}.{ext}`.
pub fn covers_and_pages() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (number, slug) in ["one-piece", "naruto"].into_iter().enumerate() {
        let seed = number as u64 * 100;
        files.push((format!("media/series/{slug}/cover.jpg"), unlike(seed + 1, 300, 450)));
        for (volume, chapter) in [(1, 1), (1, 2), (2, 9)] {
            for page in 0..2 {
                let seed = seed + 10 * chapter + page;
                let name = format!("media/series/{slug}/vol{volume}/ch{chapter}/{seed:032x}.jpg");
                files.push((name, unlike(seed, 200, 300)));
            }
        }
    }
    files
}

/// A folder of an application that keeps each picture in five sizes:
/// `series/{h[0:2]}/{h[2:4]}/{id}/poster/{size}.webp`. `webp` makes a WebP of a JPEG, no larger than the given
/// box, if there is one.
pub fn posters_in_sizes(webp: impl Fn(&[u8], Option<(u32, u32)>) -> Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let sizes = [
        ("original", None),
        ("large", Some((1_920, 1_080))),
        ("medium", Some((1_280, 720))),
        ("small", Some((640, 360))),
        ("thumbnail", Some((300, 169))),
    ];
    let mut files = Vec::new();
    for id in [7_u64, 123] {
        let original = unlike(id, 800, 1_200);
        for (size, within) in sizes {
            let place = format!("series/{:02x}/{:02x}/{id}/poster/{size}.webp", id % 256, (id * 31) % 256);
            files.push((place, webp(&original, within)));
        }
    }
    files
}

/// Writes files below a folder.
///
/// # Panics
/// The folder can't be written.
pub fn write_tree(folder: &std::path::Path, files: &[(String, Vec<u8>)]) {
    for (place, bytes) in files {
        let path = folder.join(place);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        std::fs::write(path, bytes).expect("a writable folder");
    }
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
