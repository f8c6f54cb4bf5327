//! JPEG: decoded by larder-jpeg into planes, and by zune-jpeg in its strict mode where there are none or
//! single pixels are cut; encoded by larder-jpeg.

mod encode;
pub(crate) mod header;
mod scaled;
mod strip;

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Encode, Format, FormatKind};
use crate::deadline::DeadlineReader;
use crate::icc;
use crate::picture::{Channels, Picture};
use crate::{Deadline, Error, Inspection};
use header::{Header, Read};
use scaled::scaled;

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Jpeg,
    name: "jpeg",
    content_type: "image/jpeg",
    extension: "jpg",
    doc: "In: baseline and progressive, every sampling, grey, RGB, CMYK. Out: baseline, 4:2:0.",
    size,
    inspect,
    decode,
    scaled: Some(scaled),
    animate: None,
    strip: Some(strip::strip),
    encode: Some(Encode {
        version: "larder-jpeg 1",
        alpha: false,
        side_max_px: 65_535,
        pixels_max: None,
        quality: Some(85),
        lossless: false,
        profile: true,
        grey: true,
        animate: None,
        negotiated: None,
        slow: false,
        memory_bytes: encode::memory_bytes,
        still: encode::interleaved,
        planar: Some(encode::planar),
    }),
};

/// Scans of a progressive file. Encoders write about ten; each costs a pass over the picture.
const SCANS_MAX: usize = 100;

fn size(head: &[u8]) -> Result<Option<(u32, u32)>, Error> {
    match header::read(head) {
        Read::Whole(header) | Read::Cut(header) => {
            Ok((header.width > 0).then_some((header.width, header.height)))
        }
        Read::Damaged(reason) => Err(Error::undecodable(Format::Jpeg, reason)),
    }
}

fn header(bytes: &[u8]) -> Result<Header<'_>, Error> {
    match header::read(bytes) {
        Read::Whole(header) => Ok(header),
        Read::Cut(_) => Err(Error::undecodable(Format::Jpeg, "it is cut within its header")),
        Read::Damaged(reason) => Err(Error::undecodable(Format::Jpeg, reason)),
    }
}

fn inspect(bytes: &[u8]) -> Result<Inspection, Error> {
    let header = header(bytes)?;
    let mut inspection = Inspection::still(Format::Jpeg, (header.width, header.height));
    inspection.orientation = header.exif.orientation;
    inspection.has_icc = header.has_icc();
    inspection.has_gps = header.exif.has_gps || header.has_xmp_gps;
    inspection.decode_memory_bytes = memory_bytes(&header, bytes.len() as u64, inspection.pixels());
    Ok(inspection)
}

/// The file, the pixels, and what the decoder holds meanwhile: coefficients of two bytes for all
/// samples where scans follow one another, else some rows of them.
fn memory_bytes(header: &Header<'_>, file: u64, pixels: u64) -> u64 {
    let components = header.sampling.len() as u64;
    // CMYK is decoded with its four channels first and then converted to three.
    let output = pixels * if components >= 4 { 7 } else { components };
    let coefficients = if header.progressive || header.waits { header.samples() * 2 } else { 0 };
    // Rows of coefficients and their upsampled copies: at most 32 lines of four bytes a component.
    let rows = u64::from(header.width).next_multiple_of(64) * components * 128;
    file + output + coefficients + rows + (1 << 20)
}

fn decode(bytes: &[u8], inspection: &Inspection, deadline: Deadline) -> Result<Picture, Error> {
    scaled::check(bytes, inspection, deadline)?;
    let header = header(bytes)?;
    // The decoder does not ask for the end mark, without which the file may be cut in its last scan.
    if header::scans(bytes, header.scans_at).is_none() {
        return Err(Error::undecodable(Format::Jpeg, "it has no end mark: it is cut"));
    }
    let colors = match (header.sampling.len(), header.adobe_transform) {
        (1, _) => ColorSpace::Luma,
        (4, Some(2)) => ColorSpace::YCCK,
        (4, _) => ColorSpace::CMYK,
        (3, _) => ColorSpace::RGB,
        (count, _) => return Err(Error::unsupported(format!("JPEG with {count} components"))),
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(inspection.width_px as usize)
        .set_max_height(inspection.height_px as usize)
        .jpeg_set_max_scans(SCANS_MAX)
        .jpeg_set_out_colorspace(colors);
    let mut decoder = JpegDecoder::new_with_options(DeadlineReader::new(bytes, deadline), options);
    let samples = decoder.decode().map_err(|error| refusal(&error, deadline))?;
    deadline.check()?;
    let (width, height) = (inspection.width_px, inspection.height_px);
    let profile = header.icc();
    match colors {
        ColorSpace::Luma => Ok(picture(width, height, Channels::Grey, samples, profile)),
        ColorSpace::RGB => Ok(picture(width, height, Channels::Rgb, samples, profile)),
        _ => {
            let ink = ink(samples, &header);
            Ok(Picture::new(width, height, Channels::Rgb, icc::cmyk_to_srgb(&ink, profile.as_deref())?))
        }
    }
}

fn picture(
    width: u32,
    height: u32,
    channels: Channels,
    samples: Vec<u8>,
    profile: Option<Vec<u8>>,
) -> Picture {
    Picture::new(width, height, channels, samples).with_profile(icc::usable(profile, channels))
}

/// What is stored, as amounts of ink.
///
/// Files with an Adobe marker store CMYK inverted; with transform 2 the first three channels are
/// YCbCr of the inverted ink (Adobe technical note 5116).
fn ink(mut stored: Vec<u8>, header: &Header<'_>) -> Vec<u8> {
    if header.adobe_transform == Some(2) {
        for pixel in stored.as_chunks_mut::<4>().0 {
            let [y, cb, cr] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
            let (cb, cr) = (cb - 128.0, cr - 128.0);
            let channels = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
            for (channel, value) in pixel.iter_mut().zip(channels) {
                *channel = value.round().clamp(0.0, 255.0) as u8;
            }
            pixel[3] = 255 - pixel[3];
        }
    } else if header.adobe_transform.is_some() {
        stored.iter_mut().for_each(|value| *value = 255 - *value);
    }
    stored
}

fn refusal(error: &DecodeErrors, deadline: Deadline) -> Error {
    if deadline.expired() {
        return Error::TimedOut;
    }
    match error {
        DecodeErrors::Unsupported(scheme) => Error::unsupported(format!("JPEG with {scheme:?}")),
        other => Error::undecodable(Format::Jpeg, format!("{other:?}")),
    }
}
