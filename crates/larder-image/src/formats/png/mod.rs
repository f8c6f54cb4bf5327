//! PNG: every kind in (16 bits become 8); out as palette where the colours fit into one.

pub(crate) mod strip;

use std::borrow::Cow;
use std::collections::HashMap;

use png::{BitDepth, ColorType, Compression, Decoder, DecodingError, Encoder, Transformations};

use crate::deadline::DeadlineReader;
use crate::exif;
use crate::formats::reader::u32_be;
use crate::formats::{Encode, Format, FormatKind};
use crate::icc;
use crate::picture::{Channels, Picture};
use crate::recipe::Quality;
use crate::{Deadline, Error, Inspection};

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Png,
    name: "png",
    content_type: "image/png",
    extension: "png",
    doc: "In: every bit depth, palette, interlaced; the default image of an animated PNG. Out: 8 bits, \
          with a palette where at most 256 colours occur.",
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
        // What it writes, and the pixels as indices of a palette.
        memory_bytes: |load| load.pixels * 10 + (1 << 20),
        still: encode,
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

fn encode(picture: &Picture, _quality: Quality, _deadline: Deadline) -> Result<Vec<u8>, Error> {
    let mut info = png::Info::with_size(picture.width(), picture.height());
    info.bit_depth = BitDepth::Eight;
    info.icc_profile = picture.profile.as_ref().map(|profile| Cow::Owned(profile.to_vec()));
    let samples;
    if let Some(indexed) = indexed(picture) {
        info.color_type = ColorType::Indexed;
        info.bit_depth = indexed.depth;
        info.palette = Some(indexed.palette.into());
        info.trns = (!indexed.alphas.is_empty()).then(|| indexed.alphas.into());
        samples = Cow::Owned(indexed.samples);
    } else {
        info.color_type = match picture.channels() {
            Channels::Grey => ColorType::Grayscale,
            Channels::Rgb => ColorType::Rgb,
            Channels::Rgba => ColorType::Rgba,
        };
        samples = Cow::Borrowed(picture.pixels());
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::with_info(&mut bytes, info).map_err(failure)?;
    encoder.set_compression(Compression::Balanced);
    let mut writer = encoder.write_header().map_err(failure)?;
    writer.write_image_data(&samples).map_err(failure)?;
    writer.finish().map_err(failure)?;
    Ok(bytes)
}

fn failure(error: png::EncodingError) -> Error {
    Error::internal(format!("PNG encoder: {error}"))
}

struct Indexed {
    depth: BitDepth,
    palette: Vec<u8>,
    alphas: Vec<u8>,
    samples: Vec<u8>,
}

/// The picture with a palette, if it has at most 256 colours: half the bytes for text and drawings.
fn indexed(picture: &Picture) -> Option<Indexed> {
    if picture.channels() == Channels::Grey {
        return None;
    }
    let mut places: HashMap<[u8; 4], u8> = HashMap::new();
    let mut colors: Vec<[u8; 4]> = Vec::new();
    let mut indices = Vec::with_capacity(picture.pixels().len() / picture.channels().count());
    let mut last = None;
    for pixel in picture.pixels().chunks_exact(picture.channels().count()) {
        let color = [pixel[0], pixel[1], pixel[2], pixel.get(3).copied().unwrap_or(255)];
        let index = match last {
            Some((same, index)) if same == color => index,
            _ => match places.get(&color) {
                Some(&index) => index,
                None => {
                    let index = u8::try_from(colors.len()).ok()?;
                    places.insert(color, index);
                    colors.push(color);
                    index
                }
            },
        };
        last = Some((color, index));
        indices.push(index);
    }
    // Colours with alpha come first, so that the list of alphas can end after them.
    let mut order: Vec<usize> = (0..colors.len()).collect();
    order.sort_by_key(|&index| colors[index][3] == 255);
    let mut renamed = vec![0_u8; colors.len()];
    for (new, &old) in order.iter().enumerate() {
        renamed[old] = new as u8;
    }
    let alphas = order.iter().map(|&index| colors[index][3]).take_while(|&alpha| alpha < 255).collect();
    let palette = order.iter().flat_map(|&index| colors[index][..3].to_vec()).collect();
    indices.iter_mut().for_each(|index| *index = renamed[usize::from(*index)]);
    let (depth, bits) = match colors.len() {
        0..=2 => (BitDepth::One, 1),
        3..=4 => (BitDepth::Two, 2),
        5..=16 => (BitDepth::Four, 4),
        _ => (BitDepth::Eight, 8),
    };
    Some(Indexed { depth, palette, alphas, samples: packed(&indices, picture.width() as usize, bits) })
}

/// Rows of indices with several in a byte, each row from a new byte.
fn packed(indices: &[u8], width: usize, bits: usize) -> Vec<u8> {
    let per_byte = 8 / bits;
    let pack = |group: &[u8]| {
        (0..per_byte).fold(0, |byte, place| {
            let index = group.get(place).copied().unwrap_or(0);
            byte | index << (8 - bits * (place + 1))
        })
    };
    indices.chunks_exact(width).flat_map(|row| row.chunks(per_byte).map(pack)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn later() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    fn round_trip(picture: &Picture) -> Picture {
        let bytes = encode(picture, Quality::Lossless, later()).unwrap();
        let inspection = inspect(&bytes).unwrap();
        decode(&bytes, &inspection, later()).unwrap()
    }

    #[test]
    fn every_pixel_comes_back_with_and_without_a_palette() {
        for colors in [1, 2, 3, 5, 17, 256, 257, 4_000] {
            let pixels: Vec<u8> = (0..90 * 70_u32)
                .flat_map(|n| {
                    let n = n % colors;
                    [n as u8, (n >> 8) as u8, 77, if n % 3 == 1 { 40 } else { 255 }]
                })
                .collect();
            let picture = Picture::new(90, 70, Channels::Rgba, pixels).without_idle_alpha();
            assert_eq!(round_trip(&picture), picture, "{colors} colours");
        }
    }

    #[test]
    fn few_colours_make_a_small_file() {
        let picture = Picture::new(64, 64, Channels::Rgb, [[0, 0, 0], [255, 0, 0]].concat().repeat(32 * 64));
        let bytes = encode(&picture, Quality::Lossless, later()).unwrap();
        assert_eq!(bytes[24], 1, "bits of a sample");
        assert_eq!(bytes[25], 3, "palette");
    }

    #[test]
    fn a_kept_profile_is_embedded() {
        let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
        let picture =
            Picture::filled(9, 9, Channels::Rgb, &[1, 2, 3]).with_profile(Some(profile.clone().into()));
        assert_eq!(round_trip(&picture).profile.as_deref(), Some(&profile[..]));
    }

    /// Whether a PNG with these chunks before its pixels counts as telling a place.
    fn tells_place(extra: &[(&[u8; 4], &[u8])]) -> bool {
        let plain = encode(&Picture::filled(4, 4, Channels::Grey, &[9]), Quality::Lossless, later()).unwrap();
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
        let bytes = encode(&picture, Quality::Lossless, later()).unwrap();
        let inspection = inspect(&bytes).unwrap();
        for end in 33..bytes.len() {
            assert!(decode(&bytes[..end], &inspection, later()).is_err(), "cut at {end}");
        }
    }
}
