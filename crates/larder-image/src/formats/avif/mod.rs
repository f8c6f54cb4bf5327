//! AVIF: the container by our own reader, AV1 decoded by rav1d, encoded by rav1e, both in Rust, or encoded by
//! libaom, where it is built with that.

mod boxes;
mod cell;
mod container;
#[cfg(feature = "libaom")]
mod libaom;
#[cfg(not(feature = "libaom"))]
mod ravif;
mod sequence;
mod yuv;

use std::sync::Arc;

use moxcms::{CicpColorPrimaries, CicpProfile, ColorProfile, MatrixCoefficients, TransferCharacteristics};
use re_rav1d::dav1d::{Decoder, Picture as Frame, Settings};

#[cfg(feature = "libaom")]
use self::libaom as encoder;
#[cfg(not(feature = "libaom"))]
use self::ravif as encoder;
use super::{Encode, Format, FormatKind};
use crate::picture::{Channels, Picture};
use crate::{Deadline, Error, Inspection, icc};
use boxes::damaged;
use container::{Cicp, Container};

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Avif,
    name: "avif",
    content_type: "image/avif",
    extension: "avif",
    doc: "In: the still picture, 8 to 12 bits, every sampling, transparency. Out: 8 bits, up to 2.1 \
          million pixels.",
    size: |head| Ok(container::size(head)),
    inspect,
    decode,
    scaled: None,
    animate: None,
    strip: None,
    encode: Some(Encode {
        version: encoder::VERSION,
        alpha: true,
        side_max_px: 16_383,
        pixels_max: Some(ENCODED_PIXELS_MAX),
        quality: Some(60),
        lossless: false,
        profile: false,
        grey: false,
        animate: None,
        negotiated: Some(1),
        slow: encoder::SLOW,
        memory_bytes: encoder::memory_bytes,
        still: encoder::encode,
        planar: encoder::PLANAR,
    }),
};

/// Pixels of a picture that is encoded. The encoder cannot be interrupted; at this size, that of a
/// 1920x1080 screen, it takes some seconds and 200 MB without assembler.
const ENCODED_PIXELS_MAX: u64 = 2_100_000;

fn inspect(bytes: &[u8]) -> Result<Inspection, Error> {
    let container = container::read(bytes)?;
    let mut inspection = Inspection::still(Format::Avif, (container.width, container.height));
    inspection.orientation = container.orientation;
    inspection.has_alpha = container.alpha.is_some();
    inspection.has_icc = container.icc.is_some();
    inspection.has_gps = container.has_gps;
    let mut per_pixel = decode_bytes_per_pixel(&container.color, &container)? + 4;
    if let Some(alpha) = &container.alpha {
        // The second decode begins when the first has given its planes back.
        per_pixel = per_pixel.max(decode_bytes_per_pixel(alpha, &container)? + 8);
    }
    let streams = container.color.len() + container.alpha.as_ref().map_or(0, |alpha| alpha.len());
    inspection.decode_memory_bytes =
        (bytes.len() + streams) as u64 + inspection.pixels() * per_pixel + (16 << 20);
    Ok(inspection)
}

/// Bytes that the decoder takes for a pixel: its planes, a copy of them with film grain, and the
/// description of the blocks. The header of the bitstream must agree with the container.
fn decode_bytes_per_pixel(stream: &[u8], container: &Container<'_>) -> Result<u64, Error> {
    let sequence = sequence::read(stream)?;
    if (sequence.width, sequence.height) != (container.width, container.height) {
        return Err(damaged("container and bitstream disagree about the size"));
    }
    let planes = if sequence.grey { 1 } else { 3 };
    let bytes = if sequence.deep { 2 } else { 1 };
    Ok(planes * bytes * 2 + 4)
}

fn decode(bytes: &[u8], _inspection: &Inspection, deadline: Deadline) -> Result<Picture, Error> {
    let container = container::read(bytes)?;
    let size = (container.width, container.height);
    // What the container says holds before what the bitstream says (AVIF 1.1, section 2.2.1).
    let color_numbers = container.cicp.unwrap_or(sequence::read(&container.color)?.cicp);
    let alpha_numbers = container.alpha.as_deref().map(sequence::read).transpose()?;
    let premultiplied = container.premultiplied;
    let color: Arc<[u8]> = container.color.into();
    let alpha: Option<Arc<[u8]>> = container.alpha.map(Into::into);
    let icc = container.icc.map(<[u8]>::to_vec);
    let (channels, pixels) = cell::run(deadline, move || {
        let frame = frame(&color, size)?;
        let (channels, pixels) = if yuv::is_grey(&frame) {
            (Channels::Grey, yuv::luma(&frame, color_numbers))
        } else {
            (Channels::Rgb, yuv::rgb(&frame, color_numbers)?)
        };
        drop(frame);
        let Some((alpha, numbers)) = alpha.zip(alpha_numbers) else { return Ok((channels, pixels)) };
        let alpha = yuv::luma(&self::frame(&alpha, size)?, numbers.cicp);
        Ok((Channels::Rgba, with_alpha(&pixels, channels, &alpha, premultiplied)))
    })?;
    let profile = icc::usable(icc, channels).or_else(|| cicp_profile(color_numbers, channels));
    Ok(Picture::new(size.0, size.1, channels, pixels).with_profile(profile).without_idle_alpha())
}

/// The one frame of a bitstream.
fn frame(stream: &Arc<[u8]>, size: (u32, u32)) -> Result<Frame, Error> {
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    // Of a picture in layers, only the best is wanted.
    settings.set_all_layers(false);
    settings.set_frame_size_limit(size.0.saturating_mul(size.1));
    let refused = |error: re_rav1d::dav1d::Error| damaged(&format!("its bitstream is damaged: {error}"));
    let mut decoder = Decoder::with_settings(&settings).map_err(refused)?;
    let mut pending = match decoder.send_data(stream.to_vec(), None, None, None) {
        Ok(()) => false,
        Err(error) if error.is_again() => true,
        Err(error) => return Err(refused(error)),
    };
    loop {
        match decoder.get_picture() {
            Ok(frame) if (frame.width(), frame.height()) == size => return Ok(frame),
            Ok(_) => return Err(damaged("container and frame disagree about the size")),
            Err(error) if error.is_again() && pending => {
                pending = match decoder.send_pending_data() {
                    Ok(()) => false,
                    Err(error) if error.is_again() => true,
                    Err(error) => return Err(refused(error)),
                };
            }
            Err(error) => return Err(refused(error)),
        }
    }
}

fn with_alpha(pixels: &[u8], channels: Channels, alpha: &[u8], premultiplied: bool) -> Vec<u8> {
    let mut rgba = Vec::with_capacity(alpha.len() * 4);
    for (pixel, &alpha) in pixels.chunks_exact(channels.count()).zip(alpha) {
        let color = if channels == Channels::Grey { [pixel[0]; 3] } else { [pixel[0], pixel[1], pixel[2]] };
        let divided = |value: u8| match alpha {
            0 => 0,
            _ => ((u32::from(value) * 255 + u32::from(alpha) / 2) / u32::from(alpha)).min(255) as u8,
        };
        rgba.extend(if premultiplied { color.map(divided) } else { color });
        rgba.push(alpha);
    }
    rgba
}

/// A profile for colours that are told by numbers and are not sRGB's. Pictures in high dynamic range
/// (PQ, HLG) are left as they are: without a display's limits there is no one right conversion.
fn cicp_profile(cicp: Cicp, channels: Channels) -> Option<Arc<[u8]>> {
    let wide = !matches!(cicp.primaries, 1 | 2);
    if !wide || channels == Channels::Grey || matches!(cicp.transfer, 16 | 18) {
        return None;
    }
    let profile = ColorProfile::new_from_cicp(CicpProfile {
        color_primaries: CicpColorPrimaries::try_from(u8::try_from(cicp.primaries).ok()?).ok()?,
        transfer_characteristics: TransferCharacteristics::try_from(u8::try_from(cicp.transfer).ok()?)
            .ok()?,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    });
    icc::usable(profile.encode().ok(), channels)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::formats::Coding;
    use crate::recipe::{Effort, Quality};

    pub(super) fn later() -> Deadline {
        Deadline::after(Duration::from_secs(300))
    }

    pub(super) fn coding(quality: u8) -> Coding {
        Coding { quality: Quality::Lossy(quality), effort: Effort::Normal }
    }

    /// Colours, and the alpha of four channels, that change slowly.
    pub(super) fn picture((width, height): (u32, u32), channels: Channels) -> Picture {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels = places.flat_map(|(x, y)| {
            let pixel = [200 - x, 40 + 2 * y, 90 + x / 2, 255 - 3 * y].map(|value| value as u8);
            pixel.into_iter().take(channels.count())
        });
        Picture::new(width, height, channels, pixels.collect())
    }

    pub(super) fn decoded(file: &[u8]) -> Picture {
        decode(file, &inspect(file).unwrap(), later()).unwrap()
    }

    /// The mean difference of samples.
    pub(super) fn difference(one: &Picture, other: &Picture) -> f64 {
        assert_eq!((one.width(), one.height()), (other.width(), other.height()));
        assert_eq!(one.channels(), other.channels());
        let pairs = one.pixels().iter().zip(other.pixels());
        let sum: u64 = pairs.map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
        sum as f64 / one.pixels().len() as f64
    }

    #[test]
    fn pictures_of_every_size_come_back_with_their_colours_and_alpha() {
        for size in [(64, 48), (63, 47), (17, 64), (2, 1), (1, 2), (1, 1)] {
            for channels in [Channels::Rgb, Channels::Rgba] {
                let picture = picture(size, channels);
                let file = encoder::encode(&picture, coding(90), later()).unwrap();
                let difference = difference(&picture.clone().without_idle_alpha(), &decoded(&file));
                assert!(difference < 3.0, "{size:?} {channels:?}: {difference}");
            }
        }
    }

    #[test]
    fn grey_comes_back_without_a_tint() {
        let grey = picture((40, 30), Channels::Grey);
        let file = encoder::encode(&grey, coding(90), later()).unwrap();
        let difference = difference(&grey.into_rgb(), &decoded(&file));
        assert!(difference < 3.0, "{difference}");
    }

    #[test]
    fn every_quality_is_encoded_and_the_highest_is_the_closest() {
        let picture = picture((32, 24), Channels::Rgba);
        let differences: Vec<f64> = (1..=100)
            .map(|quality| {
                let file = encoder::encode(&picture, coding(quality), later()).unwrap();
                difference(&picture, &decoded(&file))
            })
            .collect();
        assert!(differences[99] < 2.0, "{differences:?}");
        assert!(differences[99] <= differences[0], "{differences:?}");
    }

    #[test]
    fn only_the_encoder_in_rust_is_one_to_go_without() {
        assert_eq!(Format::Avif.is_slow(), cfg!(not(feature = "libaom")));
        assert!(!Format::Webp.is_slow());
    }

    #[test]
    fn lossless_is_refused() {
        let picture = picture((2, 2), Channels::Rgb);
        assert!(matches!(encoder::encode(&picture, Coding::LOSSLESS, later()), Err(Error::Recipe { .. })));
    }
}
