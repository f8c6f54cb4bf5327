//! AV1 by rav1e, which is written in Rust: it needs neither cmake nor an assembler.

use ravif::{BitDepth, Encoder, Img, RGB8, RGBA8};

use crate::formats::{Coding, EncodePlanar, Load};
use crate::picture::Picture;
use crate::recipe::Quality;
use crate::{Deadline, Error};

pub(super) const VERSION: &str = "ravif 0.13 speed 10";

/// Some 0.3 s at 800 pixels: ten times as long as WebP.
pub(super) const SLOW: bool = true;

/// It wants pixels, and codes colour as finely as light.
pub(super) const PLANAR: Option<EncodePlanar> = None;

/// rav1e's fastest: each step below doubles the time for a few per cent of the bytes.
const SPEED: u8 = 10;

pub(super) fn memory_bytes(load: &Load) -> u64 {
    load.pixels * 110 + (16 << 20)
}

/// There is nothing faster than what this does anyway.
pub(super) fn encode(picture: &Picture, coding: Coding, _deadline: Deadline) -> Result<Vec<u8>, Error> {
    let Quality::Lossy(quality) = coding.quality else {
        return Err(Error::recipe("quality:lossless is not possible with format:avif"));
    };
    let encoder = Encoder::new()
        .with_quality(quality.into())
        .with_alpha_quality(quality.into())
        .with_speed(SPEED)
        .with_bit_depth(BitDepth::Eight)
        .with_num_threads(Some(1));
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let encoded = if picture.has_alpha() {
        let pixels: Vec<RGBA8> =
            picture.pixels().as_chunks::<4>().0.iter().map(|&[r, g, b, a]| RGBA8 { r, g, b, a }).collect();
        encoder.encode_rgba(Img::new(&pixels[..], width, height))
    } else {
        let rgb = picture.clone().into_rgb();
        let pixels: Vec<RGB8> =
            rgb.pixels().as_chunks::<3>().0.iter().map(|&[r, g, b]| RGB8 { r, g, b }).collect();
        encoder.encode_rgb(Img::new(&pixels[..], width, height))
    };
    encoded
        .map(|encoded| encoded.avif_file)
        .map_err(|error| Error::internal(format!("AVIF encoder: {error}")))
}
