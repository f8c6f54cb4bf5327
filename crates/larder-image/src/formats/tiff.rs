//! TIFF: the first picture of a file, by the tiff crate; in only.

use ::tiff::decoder::{BufferLayoutPreference, Decoder, DecodingResult, Limits};
use ::tiff::tags::Tag;
use ::tiff::{ColorType, TiffError};

use super::{Format, FormatKind};
use crate::deadline::DeadlineReader;
use crate::picture::{Channels, Picture};
use crate::{Deadline, Error, Inspection, Orientation, exif, icc};

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
    animate: None,
    strip: None,
    encode: None,
};

/// Bytes of one value of the directory: 4 MiB, the largest profile that is used.
const VALUE_BYTES_MAX: usize = icc::PROFILE_BYTES_MAX;

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
    let mut decoder = open(bytes, Deadline::after(DIRECTORY_TIME), 0)?;
    let mut inspection = Inspection::still(Format::Tiff, decoder.dimensions().map_err(refusal)?);
    let color = decoder.colortype().map_err(refusal)?;
    inspection.has_alpha = matches!(color, ColorType::RGBA(_) | ColorType::GrayA(_) | ColorType::CMYKA(_));
    let orientation = decoder.find_tag_unsigned::<u16>(Tag::Orientation).ok().flatten();
    inspection.orientation = orientation.and_then(Orientation::from_exif).unwrap_or_default();
    inspection.has_icc = matches!(decoder.find_tag(Tag::IccProfile), Ok(Some(_)));
    inspection.has_gps = exif::read(bytes).has_gps;
    let raw = raw_bytes(inspection.pixels(), color);
    // As stored, as the crate unpacks it, and as it is kept.
    inspection.decode_memory_bytes = bytes.len() as u64 + raw * 2 + inspection.pixels() * 4 + (1 << 20);
    Ok(inspection)
}

/// Bytes of all samples as the crate gives them, with rows rounded up to whole bytes.
fn raw_bytes(pixels: u64, color: ColorType) -> u64 {
    pixels * u64::from(color.num_samples()) * u64::from(color.bit_depth().next_power_of_two().max(8)) / 8
}

fn decode(bytes: &[u8], inspection: &Inspection, deadline: Deadline) -> Result<Picture, Error> {
    let mut decoder = open(bytes, deadline, inspection.decode_memory_bytes)?;
    let color = decoder.colortype().map_err(refusal)?;
    let profile = decoder.get_tag_u8_vec(Tag::IccProfile).ok();
    let mut raw = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut raw).map_err(refusal)?;
    deadline.check()?;
    let size = (inspection.width_px, inspection.height_px);
    let samples = Samples::new(&raw, &layout, size, color)?;
    let (channels, pixels) = match color {
        ColorType::Gray(_) => (Channels::Grey, samples.all(1)),
        ColorType::GrayA(_) => {
            let both = samples.all(2);
            let pixels = both.as_chunks::<2>().0.iter();
            (Channels::Rgba, pixels.flat_map(|&[tone, alpha]| [tone, tone, tone, alpha]).collect())
        }
        ColorType::RGB(_) => (Channels::Rgb, samples.all(3)),
        ColorType::RGBA(_) => (Channels::Rgba, samples.all(4)),
        ColorType::YCbCr(8) => (Channels::Rgb, rgb_of_ycbcr(samples.all(3))),
        ColorType::CMYK(_) => (Channels::Rgb, icc::cmyk_to_srgb(&samples.all(4), profile.as_deref())?),
        ColorType::Palette(bits @ 1..=8) => {
            let palette = palette(&mut decoder, bits)?;
            (Channels::Rgb, samples.indices().flat_map(|index| palette[usize::from(index)]).collect())
        }
        other => return Err(Error::unsupported(format!("TIFF with {other:?} pixels"))),
    };
    let picture = Picture::new(size.0, size.1, channels, pixels);
    Ok(picture.with_profile(icc::usable(profile, channels)).without_idle_alpha())
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

/// Samples as the crate gives them: rows of packed bits, bytes or words, in one plane or several.
struct Samples<'a> {
    raw: Raw<'a>,
    bits: usize,
    width: usize,
    height: usize,
    samples: usize,
    planes: usize,
    /// Samples (or bytes, where they are packed) of a row and of a plane.
    row: usize,
    plane: usize,
}

enum Raw<'a> {
    Bytes(&'a [u8]),
    Words(&'a [u16]),
    /// Signed words, of which the negative ones are blacker than black.
    SignedWords(&'a [i16]),
}

impl<'a> Samples<'a> {
    fn new(
        raw: &'a DecodingResult,
        layout: &BufferLayoutPreference,
        size: (u32, u32),
        color: ColorType,
    ) -> Result<Self, Error> {
        let (raw, unit) = match raw {
            DecodingResult::U8(bytes) => (Raw::Bytes(bytes), 1),
            DecodingResult::U16(words) => (Raw::Words(words), 2),
            DecodingResult::I16(words) => (Raw::SignedWords(words), 2),
            _ => return Err(Error::unsupported("TIFF with samples of more than 16 bits, or real")),
        };
        let length = match &raw {
            Raw::Bytes(bytes) => bytes.len(),
            Raw::Words(words) => words.len() * 2,
            Raw::SignedWords(words) => words.len() * 2,
        };
        if length < layout.complete_len {
            return Err(Error::undecodable(Format::Tiff, "planes are missing"));
        }
        let planes = layout.planes;
        let in_plane = if planes > 1 { 1 } else { usize::from(color.num_samples()) };
        let needed = usize::from(color.num_samples());
        if planes > 1 && planes < needed {
            return Err(Error::undecodable(Format::Tiff, "planes are missing"));
        }
        let stride = layout.row_stride.map_or(0, std::num::NonZeroUsize::get);
        let bits = usize::from(color.bit_depth());
        if !matches!(bits, 1..=8 | 16) || stride * 8 < size.0 as usize * in_plane * bits {
            return Err(Error::unsupported(format!("TIFF with {bits} bits a sample")));
        }
        Ok(Self {
            raw,
            bits,
            width: size.0 as usize,
            height: size.1 as usize,
            samples: in_plane,
            planes,
            row: stride / unit,
            plane: layout.plane_stride.map_or(0, std::num::NonZeroUsize::get) / unit,
        })
    }

    /// A sample as it is stored.
    fn stored(&self, plane: usize, y: usize, place: usize) -> u16 {
        let start = plane * self.plane + y * self.row;
        match &self.raw {
            Raw::Words(words) => words[start + place],
            Raw::SignedWords(words) => words[start + place].max(0).unsigned_abs(),
            Raw::Bytes(bytes) if self.bits == 8 => bytes[start + place].into(),
            Raw::Bytes(bytes) => (0..self.bits).fold(0, |value, n| {
                let bit = place * self.bits + n;
                value << 1 | u16::from(bytes[start + bit / 8] >> (7 - bit % 8) & 1)
            }),
        }
    }

    /// The first `count` samples of every pixel, interleaved, as 8 bits.
    fn all(&self, count: usize) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(self.width * self.height * count);
        let sign = usize::from(matches!(self.raw, Raw::SignedWords(_)));
        let top = u32::from(u16::MAX) >> (16 - self.bits.min(16) + sign);
        for y in 0..self.height {
            for x in 0..self.width {
                for n in 0..count {
                    let (plane, place) = if self.planes > 1 { (n, x) } else { (0, x * self.samples + n) };
                    let value = u32::from(self.stored(plane, y, place));
                    pixels.push(((value * 255 + top / 2) / top) as u8);
                }
            }
        }
        pixels
    }

    /// The one sample of every pixel as it is stored.
    fn indices(&self) -> impl Iterator<Item = u16> + '_ {
        (0..self.height).flat_map(move |y| (0..self.width).map(move |x| self.stored(0, y, x)))
    }
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

    use super::*;

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
