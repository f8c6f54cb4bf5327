//! Pictures for tests, made by arithmetic: BMP files, which need no encoder.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::time::Duration;

use larder_image::{Deadline, Error, ImageLimits, Recipe, Rendition, Source};

/// A picture with a disc, stripes and slopes, different in every corner; transparent to the left if
/// asked.
pub fn bmp(width: i32, height: i32, alpha: bool) -> Vec<u8> {
    let mut bytes = b"BM\0\0\0\0\0\0\0\0".to_vec();
    for number in [122, 108, width, -height] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([1, 0, 32, 0, 3, 0, 0, 0]);
    bytes.extend([0; 20]);
    for mask in [0xFF_0000_u32, 0xFF00, 0xFF, if alpha { 0xFF00_0000 } else { 0 }] {
        bytes.extend(mask.to_le_bytes());
    }
    bytes.resize(122, 0);
    for y in 0..height {
        for x in 0..width {
            bytes.extend(pixel(x as f32 / width as f32, y as f32 / height as f32));
        }
    }
    bytes
}

/// Blue, green, red and alpha at a place, as BMP orders them.
fn pixel(u: f32, v: f32) -> [u8; 4] {
    let disc = (u - 0.3).powi(2) + (v - 0.35).powi(2) < 0.03;
    let stripe = v > 0.7 && (u * 16.0) as i32 % 2 == 0;
    let [r, g, b] = match (disc, stripe) {
        (true, _) => [0.9, 0.3, 0.1],
        (_, true) => [0.95, 0.9, 0.2],
        _ => [0.1 + 0.4 * u, 0.2 + 0.3 * v, 0.6 - 0.3 * u * v],
    };
    let byte = |value: f32| (value * 255.0) as u8;
    [byte(b), byte(g), byte(r), byte((u * 1.5).min(1.0))]
}

pub fn later() -> Deadline {
    Deadline::after(Duration::from_secs(120))
}

/// Opens, decodes and renders with the default limits.
pub fn render(source: &[u8], recipe: &str) -> Result<Rendition, Error> {
    let recipe: Recipe = recipe.parse()?;
    let source = Source::open(source, &ImageLimits::default())?;
    let decoded = source.decode(std::slice::from_ref(&recipe), later())?;
    decoded.render(&[recipe], later()).remove(0)
}

/// The file that a recipe makes.
pub fn made(source: &[u8], recipe: &str) -> Vec<u8> {
    render(source, recipe).unwrap().bytes
}

/// The perceptual hash of a file.
pub fn hash(bytes: &[u8]) -> u64 {
    let source = Source::open(bytes, &ImageLimits::default()).unwrap();
    source.decode(&[], later()).unwrap().describe().unwrap().perceptual_hash
}

/// An animated GIF with all ways of disposal.
pub fn gif() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder =
        gif::Encoder::new(&mut bytes, 20, 16, &[255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]).unwrap();
    encoder.set_repeat(gif::Repeat::Infinite).unwrap();
    let ways = [gif::DisposalMethod::Keep, gif::DisposalMethod::Background, gif::DisposalMethod::Previous];
    for (n, dispose) in ways.into_iter().enumerate() {
        let (width, height) = (20 - 3 * n as u16, 16 - 2 * n as u16);
        let pixels = (0..usize::from(width * height)).map(|i| ((i / 5 + n) % 4) as u8).collect::<Vec<_>>();
        let mut frame = gif::Frame::from_indexed_pixels(width, height, pixels, Some(3));
        (frame.dispose, frame.left, frame.interlaced, frame.delay) = (dispose, n as u16, n == 0, 10);
        encoder.write_frame(&frame).unwrap();
    }
    drop(encoder);
    bytes
}
