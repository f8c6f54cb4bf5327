//! TIFF: the first picture of a file, by the tiff crate; in only.

mod jpeg;
mod samples;

use ::tiff::decoder::{Decoder, DecodingResult, Limits};
use ::tiff::tags::{IfdPointer, Tag, Type, ValueBuffer};
use ::tiff::{ColorType, TiffError};

use super::{Format, FormatKind};
use crate::deadline::DeadlineReader;
use crate::picture::{Channels, Picture};
use crate::{Deadline, Error, Inspection, Orientation, icc};
use samples::Samples;

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Tiff,
    name: "tiff",
    content_type: "image/tiff",
    extension: "tif",
    doc: "In: the first picture; strips and tiles; bilevel, grey, palette, RGB, CMYK; 1 to 16 bits; \
          uncompressed, LZW, Deflate, PackBits, fax, JPEG.",
    size: |_| Ok(None), // The directory lies anywhere in the file, usually at its end.
    inspect,
    decode,
    scaled: None,
    animate: None,
    strip: None,
    encode: None,
};

/// Bytes of one value of the directory: 4 MiB, the largest profile that is used.
const VALUE_BYTES_MAX: usize = icc::PROFILE_BYTES_MAX;

/// An XMP packet (XMP specification, part 3, section 1.2.1).
const XMP: Tag = Tag::Unknown(700);

type Reader<'a> = Decoder<DeadlineReader<'a>>;

/// Opens the file; `raw_bytes` bounds what one read of pixels may take.
fn open(bytes: &[u8], deadline: Deadline, raw_bytes: u64) -> Result<Reader<'_>, Error> {
    let mut limits = Limits::default();
    limits.ifd_value_size = VALUE_BYTES_MAX;
    limits.decoding_buffer_size = usize::try_from(raw_bytes).unwrap_or(usize::MAX);
    limits.intermediate_buffer_size = limits.decoding_buffer_size.saturating_add(1 << 20);
    let reader = DeadlineReader::new(bytes, deadline);
    Ok(Decoder::new(reader).map_err(refusal)?.with_limits(limits))
}

/// The time that reading a directory may take; it has at most 65,535 entries.
const DIRECTORY_TIME: std::time::Duration = std::time::Duration::from_secs(10);

fn inspect(bytes: &[u8]) -> Result<Inspection, Error> {
    let deadline = Deadline::after(DIRECTORY_TIME);
    // No pixels are read, but lists of values count as well.
    let mut decoder = open(bytes, deadline, VALUE_BYTES_MAX as u64)?;
    let mut inspection = Inspection::still(Format::Tiff, decoder.dimensions().map_err(refusal)?);
    let color = decoder.colortype().map_err(refusal)?;
    inspection.has_alpha = Alpha::of(&mut decoder, color) != Alpha::None;
    let orientation = decoder.find_tag_unsigned::<u16>(Tag::Orientation).ok().flatten();
    inspection.orientation = orientation.and_then(Orientation::from_exif).unwrap_or_default();
    inspection.has_icc = decoder.image_ifd().find_entry(Tag::IccProfile).is_some();
    inspection.has_gps = tells_place(&mut decoder);
    let raw = raw_bytes(inspection.pixels(), color);
    let packed = if jpeg::is_in(&mut decoder) { jpeg::checked(&mut decoder, bytes, deadline)? } else { 0 };
    // As stored, as the crate unpacks it, a row of tiles wider than the picture, and as it is kept.
    inspection.decode_memory_bytes = (bytes.len() as u64 + (1 << 20) + inspection.pixels() * 4)
        .saturating_add(raw * 2)
        .saturating_add(chunk_row_bytes(&mut decoder, color))
        .saturating_add(packed);
    Ok(inspection)
}

/// Whether the first directory names a place, itself or in an XMP packet. What can't be read may.
fn tells_place(decoder: &mut Reader<'_>) -> bool {
    let gps = match decoder.find_tag(Tag::GpsDirectory) {
        Ok(None) => false,
        // An empty directory, which some cameras write, tells no place.
        Ok(Some(pointer)) => pointer.into_u64().is_ok_and(|pointer| {
            decoder.read_directory(IfdPointer(pointer)).is_ok_and(|directory| !directory.is_empty())
        }),
        Err(_) => true,
    };
    gps || match value_bytes(decoder, XMP) {
        Ok(packet) => packet.is_some_and(|packet| crate::metadata::xmp_tells_place(&packet)),
        Err(_) => true,
    }
}

/// The bytes of a value. The crate's other doors make an enum of each byte, 32 times the memory.
fn value_bytes(decoder: &mut Reader<'_>, tag: Tag) -> Result<Option<Vec<u8>>, Error> {
    let mut buffer = ValueBuffer::empty(Type::BYTE);
    let found = decoder.image_ifd().find_tag_buf(tag, &mut buffer).map_err(refusal)?;
    Ok(found.map(|_| buffer.as_bytes().to_vec()))
}

/// Bytes of a row of a strip or tile, which the crate may keep beside what it is unpacked into. A tile
/// may claim to be far wider than the picture.
fn chunk_row_bytes(decoder: &mut Reader<'_>, color: ColorType) -> u64 {
    let stored = decoder.find_tag_unsigned::<u16>(Tag::SamplesPerPixel).ok().flatten();
    let samples = stored.unwrap_or(1).max(color.num_samples());
    let pixel = u64::from(samples) * u64::from(color.bit_depth().div_ceil(8));
    u64::from(decoder.chunk_dimensions().0).saturating_mul(pixel)
}

/// Bytes of all samples as the crate gives them, with rows rounded up to whole bytes.
fn raw_bytes(pixels: u64, color: ColorType) -> u64 {
    pixels * u64::from(color.num_samples()) * u64::from(color.bit_depth().next_power_of_two().max(8)) / 8
}

fn decode(bytes: &[u8], inspection: &Inspection, deadline: Deadline) -> Result<Picture, Error> {
    let mut decoder = open(bytes, deadline, inspection.decode_memory_bytes)?;
    let color = decoder.colortype().map_err(refusal)?;
    let alpha = Alpha::of(&mut decoder, color);
    let profile = value_bytes(&mut decoder, Tag::IccProfile).ok().flatten();
    let mut raw = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut raw).map_err(refusal)?;
    deadline.check()?;
    let size = (inspection.width_px, inspection.height_px);
    let samples = Samples::new(&raw, &layout, size, color)?;
    let (channels, pixels) = match color {
        ColorType::Gray(_) => (Channels::Grey, samples.all(1, deadline)?),
        // Grey with further samples.
        ColorType::Multiband { .. } if alpha == Alpha::None => (Channels::Grey, samples.all(1, deadline)?),
        ColorType::Multiband { .. } => {
            let mut pairs = samples.all(2, deadline)?;
            drop(raw);
            if alpha == Alpha::Associated {
                pairs.as_chunks_mut::<2>().0.iter_mut().for_each(|[tone, alpha]| divide(tone, *alpha));
            }
            let picture = icc::grey_with_alpha(size, pairs.as_chunks::<2>().0, profile)?;
            return Ok(picture.without_idle_alpha());
        }
        ColorType::RGB(_) => (Channels::Rgb, samples.all(3, deadline)?),
        ColorType::RGBA(_) => {
            let mut pixels = samples.all(4, deadline)?;
            if alpha == Alpha::Associated {
                for [r, g, b, alpha] in pixels.as_chunks_mut::<4>().0 {
                    for channel in [r, g, b] {
                        divide(channel, *alpha);
                    }
                }
            }
            (Channels::Rgba, pixels)
        }
        ColorType::YCbCr(8) => (Channels::Rgb, rgb_of_ycbcr(samples.all(3, deadline)?)),
        ColorType::CMYK(_) | ColorType::CMYKA(_) => {
            (Channels::Rgb, icc::cmyk_to_srgb(&samples.all(4, deadline)?, profile.as_deref())?)
        }
        ColorType::Palette(bits @ 1..=8) => {
            let palette = palette(&mut decoder, bits)?;
            (Channels::Rgb, samples.indices().flat_map(|index| palette[usize::from(index)]).collect())
        }
        other => return Err(Error::unsupported(format!("TIFF with {other:?} pixels"))),
    };
    drop(raw);
    let picture = Picture::new(size.0, size.1, channels, pixels);
    Ok(picture.with_profile(icc::usable(profile, channels)).without_idle_alpha())
}

/// What the first sample beyond the colours is (TIFF 6.0, section 18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alpha {
    None,
    /// The colours are as they are.
    Straight,
    /// The colours are multiplied by it.
    Associated,
}

impl Alpha {
    fn of(decoder: &mut Reader<'_>, color: ColorType) -> Self {
        let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).ok().flatten();
        match (color, extra.and_then(|extra| extra.first().copied())) {
            (ColorType::RGBA(_) | ColorType::Multiband { .. }, Some(1)) => Self::Associated,
            (ColorType::RGBA(_) | ColorType::Multiband { .. }, Some(2)) => Self::Straight,
            // Four samples for three colours, of which nothing is said.
            (ColorType::RGBA(_), _) => Self::Straight,
            _ => Self::None,
        }
    }
}

/// A channel without the alpha that it was multiplied by.
fn divide(channel: &mut u8, alpha: u8) {
    let whole = (u32::from(*channel) * 255 + u32::from(alpha) / 2).checked_div(alpha.into());
    *channel = whole.unwrap_or(0).min(255) as u8;
}

/// The colour table: all reds, all greens, all blues, 16 bits each (TIFF 6.0, section 5).
fn palette(decoder: &mut Reader<'_>, bits: u8) -> Result<Vec<[u8; 3]>, Error> {
    let table = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(refusal)?;
    let count = 1_usize << bits;
    if table.len() != 3 * count {
        return Err(Error::undecodable(Format::Tiff, "its colour table has the wrong length"));
    }
    let channel = |n: usize, color: usize| (table[n * count + color] >> 8) as u8;
    Ok((0..count).map(|color| [channel(0, color), channel(1, color), channel(2, color)]).collect())
}

/// YCbCr of ITU-R BT.601 with full range, as JPEG has it.
fn rgb_of_ycbcr(mut pixels: Vec<u8>) -> Vec<u8> {
    for pixel in pixels.as_chunks_mut::<3>().0 {
        let [y, cb, cr] = pixel.map(f32::from);
        let (cb, cr) = (cb - 128.0, cr - 128.0);
        let rgb = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
        *pixel = rgb.map(|value| value.round().clamp(0.0, 255.0) as u8);
    }
    pixels
}

fn refusal(error: TiffError) -> Error {
    match error {
        TiffError::UnsupportedError(what) => Error::unsupported(format!("TIFF: {what}")),
        TiffError::IoError(error) => Error::from_io(Format::Tiff, &error),
        TiffError::LimitsExceeded => {
            Error::undecodable(Format::Tiff, "its directory or strips are too large")
        }
        other => Error::undecodable(Format::Tiff, other),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::tiff::encoder::{TiffEncoder, colortype};
    use ::tiff::tags::ExtraSamples;

    use super::*;
    use crate::formats::Coding;

    fn decoded(bytes: &[u8]) -> Result<Picture, Error> {
        let inspection = inspect(bytes)?;
        decode(bytes, &inspection, Deadline::after(Duration::from_secs(60)))
    }

    #[test]
    fn sixteen_bits_become_eight_by_rounding() {
        let mut file = std::io::Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).unwrap();
        encoder.write_image::<colortype::Gray16>(3, 1, &[0, 0x81FF, 0xFFFF]).unwrap();
        assert_eq!(decoded(file.get_ref()).unwrap().pixels(), [0, 0x81, 255]);
    }

    /// A file of one strip of `strip` bytes, 16 by 16 pixels of three components, with tables if given.
    fn of_jpeg(strip: &[u8], tables: &[u8]) -> Vec<u8> {
        let mut data = 8 + 2 + 10 * 12 + 4;
        let mut entries: Vec<(u16, u16, u32, u32)> =
            vec![(256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 6)];
        entries.push((273, 4, 1, data));
        entries.extend([(277, 3, 1, 3), (278, 4, 1, 16), (279, 4, 1, strip.len() as u32)]);
        data += strip.len() as u32;
        // Without tables, an entry that nobody asks for.
        let tag = if tables.is_empty() { 65_000 } else { 347 };
        entries.push((tag, 7, tables.len() as u32, data));
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
            bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
        }
        [&bytes[..], &[0; 4], strip, tables].concat()
    }

    #[test]
    fn a_place_is_found_in_xmp() {
        let with_xmp = |packet: &[u8]| {
            let mut file = std::io::Cursor::new(Vec::new());
            let mut encoder = TiffEncoder::new_big(&mut file).unwrap();
            let mut image = encoder.new_image::<colortype::Gray8>(2, 1).unwrap();
            image.encoder().write_tag(XMP, packet).unwrap();
            image.write_data(&[1, 2]).unwrap();
            inspect(file.get_ref()).unwrap().has_gps
        };
        assert!(with_xmp(b"<x exif:GPSLatitude=''>"));
        assert!(!with_xmp(b"<x>"));
    }

    #[test]
    fn a_gps_directory_of_a_bigtiff_is_found() {
        let mut file = std::io::Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new_big(&mut file).unwrap();
        let mut gps = encoder.extra_directory().unwrap();
        gps.write_tag(Tag::Unknown(1), "N").unwrap();
        let offset = gps.finish_with_offsets().unwrap();
        let mut image = encoder.new_image::<colortype::Gray8>(2, 1).unwrap();
        image.encoder().write_tag(Tag::GpsDirectory, offset.pointer.0).unwrap();
        image.write_data(&[1, 2]).unwrap();
        assert!(inspect(file.get_ref()).unwrap().has_gps);
    }

    fn jpeg_strip() -> Vec<u8> {
        let picture = Picture::filled(16, 16, Channels::Rgb, &[200, 30, 60]);
        let still = Format::Jpeg.kind().encode.as_ref().unwrap().still;
        let coding = Coding { quality: crate::Quality::Lossy(90), effort: crate::Effort::Normal };
        still(&picture, coding, Deadline::after(Duration::from_secs(60))).unwrap()
    }

    fn frame_of(jpeg: &[u8]) -> usize {
        jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap()
    }

    #[test]
    fn a_jpeg_strip_is_decoded_with_and_without_shared_tables() {
        let strip = jpeg_strip();
        let whole = decoded(&of_jpeg(&strip, &[])).unwrap();
        for (channel, expected) in whole.pixel(8, 8).iter().zip([200, 30, 60]) {
            assert!(u8::abs_diff(*channel, expected) < 6, "{:?}", whole.pixel(8, 8));
        }
        let frame = frame_of(&strip);
        let tables = [&strip[..frame], &[0xFF, 0xD9]].concat();
        let bare = [&[0xFF, 0xD8], &strip[frame..]].concat();
        assert_eq!(decoded(&of_jpeg(&bare, &tables)).unwrap(), whole);
    }

    #[test]
    fn a_jpeg_strip_that_claims_more_than_the_directory_is_refused_at_the_header() {
        let mut strip = jpeg_strip();
        let frame = frame_of(&strip);
        strip[frame + 5..frame + 9].copy_from_slice(&[0x3E, 0x80, 0x3E, 0x80]);
        assert!(matches!(inspect(&of_jpeg(&strip, &[])), Err(Error::Undecodable { .. })));
        // The same frame among the tables, and behind a mark that decoders read differently.
        let tables = [&strip[..frame + 19], &[0xFF, 0xD9]].concat();
        assert!(inspect(&of_jpeg(&jpeg_strip(), &tables)).is_err());
        let hidden = [&[0xFF, 0xD8, 0xFF, 0x01, 0, 4], &jpeg_strip()[2..]].concat();
        assert!(inspect(&of_jpeg(&hidden, &[])).is_err());
    }

    #[test]
    fn a_jpeg_strip_that_is_cut_is_refused() {
        let strip = jpeg_strip();
        assert!(inspect(&of_jpeg(&strip[..strip.len() - 2], &[])).is_err());
    }

    /// A file with samples beyond its colours, of this kind.
    fn with_extra<C: colortype::ColorType<Inner = u8>>(extra: ExtraSamples, samples: &[u8]) -> Picture {
        let mut file = std::io::Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).unwrap();
        let mut image = encoder.new_image::<C>(1, 1).unwrap();
        image.extra_samples(&[extra]).unwrap();
        image.write_data(samples).unwrap();
        decoded(file.get_ref()).unwrap()
    }

    #[test]
    fn colours_are_divided_by_the_alpha_that_is_multiplied_in() {
        use ExtraSamples::{AssociatedAlpha, UnassociatedAlpha, Unspecified};
        let rgb = |extra| with_extra::<colortype::RGB8>(extra, &[64, 32, 0, 128]);
        assert_eq!(rgb(AssociatedAlpha).pixels(), [128, 64, 0, 128]);
        assert_eq!(rgb(UnassociatedAlpha).pixels(), [64, 32, 0, 128]);
        assert_eq!(rgb(Unspecified).pixels(), [64, 32, 0]);
        let grey = |extra| with_extra::<colortype::Gray8>(extra, &[64, 128]);
        assert_eq!(grey(AssociatedAlpha).pixels(), [128, 128, 128, 128]);
        assert_eq!(grey(UnassociatedAlpha).pixels(), [64, 64, 64, 128]);
        assert_eq!(grey(Unspecified).pixels(), [64]);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let mut file = std::io::Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).unwrap();
        encoder.write_image::<colortype::RGB8>(7, 5, &[9; 105]).unwrap();
        let bytes = file.into_inner();
        assert!(decoded(&bytes).is_ok());
        for end in 8..bytes.len() {
            assert!(decoded(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
