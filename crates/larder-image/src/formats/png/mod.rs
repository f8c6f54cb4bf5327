//! PNG: every kind in (16 bits become 8); out as small as it goes without loss.

mod colors;
mod encode;
pub(crate) mod strip;

use png::{BitDepth, ColorType, Decoder, DecodingError, Transformations};

use crate::deadline::DeadlineReader;
use crate::exif;
use crate::formats::reader::u32_be;
use crate::formats::{Encode, Format, FormatKind};
use crate::icc;
use crate::picture::{Channels, Picture};
use crate::{Deadline, Error, Inspection};

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Png,
    name: "png",
    content_type: "image/png",
    extension: "png",
    doc: "In: every bit depth, palette, interlaced; the default image of an animated PNG. Out: what \
          holds every pixel of 8 bits: grey, a palette of up to 256 colours, or full colour.",
    size,
    inspect,
    decode,
    scaled: None,
    animate: None,
    strip: Some(strip::strip),
    encode: Some(Encode {
        version: "png 0.18",
        alpha: true,
        side_max_px: 65_535,
        pixels_max: None,
        quality: None,
        lossless: true,
        profile: true,
        grey: true,
        animate: None,
        negotiated: None,
        slow: false,
        // What it writes, and the pixels as they are stored: packed, or places in a palette.
        memory_bytes: |load| load.pixels * 10 + (1 << 20),
        still: encode::encode,
        planar: None,
    }),
};

/// Bytes that chunks beside the pixels (profile, text) may take, decompressed. 16 MiB: four times the
/// largest profile that is used.
const CHUNKS_BYTES_MAX: usize = 16 << 20;

/// The header chunk is first and has a fixed place (PNG third edition, section 11.2.1).
fn size(head: &[u8]) -> Result<Option<(u32, u32)>, Error> {
    if head.len() >= 16 && head.get(12..16) != Some(b"IHDR") {
        return Err(Error::undecodable(Format::Png, "it does not begin with its header"));
    }
    Ok(u32_be(head, 16).zip(u32_be(head, 20)))
}

fn inspect(bytes: &[u8]) -> Result<Inspection, Error> {
    let cut = || Error::undecodable(Format::Png, "it is cut within its header");
    let size = size(bytes)?.ok_or_else(cut)?;
    let mut inspection = Inspection::still(Format::Png, size);
    let (depth, color) = (*bytes.get(24).ok_or_else(cut)?, *bytes.get(25).ok_or_else(cut)?);
    inspection.has_alpha = matches!(color, 4 | 6);
    let mut turned = false;
    for (kind, content) in chunks(bytes) {
        match kind {
            b"tRNS" => inspection.has_alpha = true,
            b"iCCP" => inspection.has_icc = true,
            b"eXIf" => {
                let exif = exif::read(content);
                if !turned {
                    inspection.orientation = exif.orientation;
                }
                turned = true;
                inspection.has_gps |= exif.has_gps;
            }
            b"tEXt" | b"zTXt" | b"iTXt" => inspection.has_gps |= text_may_tell_place(kind, content),
            _ => {}
        }
    }
    let channels = match color {
        0 if !inspection.has_alpha => 1,
        2 | 3 if !inspection.has_alpha => 3,
        _ => 4,
    };
    // Grey with alpha and 16 bits pass through a wider copy before they are what is kept.
    let wide = if depth == 16 || color == 4 || (color == 0 && channels == 4) { channels * 2 } else { 0 };
    let row = u64::from(size.0) * 8 * 4;
    inspection.decode_memory_bytes =
        bytes.len() as u64 + inspection.pixels() * (channels + wide) + row + (1 << 18);
    Ok(inspection)
}

/// Keywords of texts that hold a whole EXIF block or XMP packet in hexadecimal, as ImageMagick and
/// ExifTool write them.
const RAW_PROFILES: &[&[u8]] =
    &[b"Raw profile type exif", b"Raw profile type APP1", b"Raw profile type app1", b"Raw profile type xmp"];

/// Whether a text is metadata that tells a place, or that is packed and may: nothing is unpacked for
/// the answer.
fn text_may_tell_place(kind: &[u8; 4], content: &[u8]) -> bool {
    let Some(end) = content.iter().position(|&byte| byte == 0) else { return false };
    let (keyword, text) = content.split_at(end);
    match keyword {
        b"XML:com.adobe.xmp" if kind == b"iTXt" && text.get(1) == Some(&0) => {
            crate::metadata::xmp_tells_place(text)
        }
        b"XML:com.adobe.xmp" => true,
        _ => RAW_PROFILES.contains(&keyword),
    }
}

/// Kind and content of the chunks, as far as they are whole.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut position = 8;
    std::iter::from_fn(move || {
        let length = u32_be(bytes, position)? as usize;
        let kind = bytes.get(position + 4..)?.first_chunk()?;
        let content = bytes.get(position + 8..)?.get(..length)?;
        position = (position + 8 + length).checked_add(4)?;
        Some((kind, content))
    })
}

fn decode(bytes: &[u8], inspection: &Inspection, deadline: Deadline) -> Result<Picture, Error> {
    let mut decoder = Decoder::new_with_limits(
        DeadlineReader::new(bytes, deadline),
        png::Limits { bytes: CHUNKS_BYTES_MAX },
    );
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(refusal)?;
    let profile = reader.info().icc_profile.as_ref().map(|profile| profile.to_vec());
    let (color, depth) = reader.output_color_type();
    if depth != BitDepth::Eight {
        return Err(Error::internal("PNG was not brought to 8 bits"));
    }
    let (width, height) = (inspection.width_px, inspection.height_px);
    if (reader.info().width, reader.info().height) != (width, height) {
        return Err(Error::undecodable(Format::Png, "it has two headers"));
    }
    let length = reader.output_buffer_size().ok_or_else(|| Error::internal("PNG larger than memory"))?;
    let mut samples = vec![0; length];
    reader.next_frame(&mut samples).map_err(refusal)?;
    // The end is read too: a file cut after its last row is still cut.
    reader.finish().map_err(refusal)?;
    deadline.check()?;
    let (channels, samples) = match color {
        ColorType::Grayscale => (Channels::Grey, samples),
        ColorType::Rgb => (Channels::Rgb, samples),
        ColorType::Rgba => (Channels::Rgba, samples),
        ColorType::GrayscaleAlpha => {
            let pairs = samples.as_chunks::<2>().0;
            return Ok(icc::grey_with_alpha((width, height), pairs, profile)?.without_idle_alpha());
        }
        ColorType::Indexed => return Err(Error::internal("PNG palette was not expanded")),
    };
    let picture = Picture::new(width, height, channels, samples);
    Ok(picture.with_profile(icc::usable(profile, channels)).without_idle_alpha())
}

fn refusal(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(error) => Error::from_io(Format::Png, &error),
        DecodingError::LimitsExceeded => {
            Error::undecodable(Format::Png, "its metadata takes too much memory")
        }
        other => Error::undecodable(Format::Png, other),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::encode::encode;
    use super::*;
    use crate::formats::Coding;

    fn later() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    /// Whether a PNG with these chunks before its pixels counts as telling a place.
    fn tells_place(extra: &[(&[u8; 4], &[u8])]) -> bool {
        let plain = encode(&Picture::filled(4, 4, Channels::Grey, &[9]), Coding::LOSSLESS, later()).unwrap();
        let mut bytes = plain[..33].to_vec();
        for (kind, content) in extra {
            bytes.extend((content.len() as u32).to_be_bytes());
            bytes.extend([&kind[..], content, &[0; 4]].concat());
        }
        bytes.extend(&plain[33..]);
        inspect(&bytes).unwrap().has_gps
    }

    #[test]
    fn a_place_is_found_wherever_it_may_be_written() {
        let place = b"II*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0\x1A\0\0\0\0\0\0\0\x01\0";
        let nothing = exif::orientation_only(crate::Orientation::UPRIGHT);
        assert!(tells_place(&[(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0GPSLatitude"), (b"eXIf", &nothing)]));
        assert!(tells_place(&[(b"eXIf", place), (b"eXIf", &nothing)]));
        assert!(tells_place(&[(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0packed")]));
        assert!(tells_place(&[(b"zTXt", b"Raw profile type exif\0\0packed")]));
        assert!(tells_place(&[(b"tEXt", b"Raw profile type APP1\0exif")]));
        assert!(!tells_place(&[(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<rdf>")]));
        assert!(!tells_place(&[(b"tEXt", b"Comment\0GPSLatitude"), (b"eXIf", &nothing)]));
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let picture = Picture::new(20, 20, Channels::Grey, (0..400).map(|n| (n * 31 % 256) as u8).collect());
        let bytes = encode(&picture, Coding::LOSSLESS, later()).unwrap();
        let inspection = inspect(&bytes).unwrap();
        for end in 33..bytes.len() {
            assert!(decode(&bytes[..end], &inspection, later()).is_err(), "cut at {end}");
        }
    }
}
