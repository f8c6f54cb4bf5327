//! Samples as the crate gives them, brought to 8 bits.

use ::tiff::ColorType;
use ::tiff::decoder::{BufferLayoutPreference, DecodingResult};

use crate::formats::Format;
use crate::{Deadline, Error};

/// Samples as the crate gives them: rows of packed bits, bytes or words, in one plane or several.
pub(super) struct Samples<'a> {
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
    pub fn new(
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
    pub fn all(&self, count: usize, deadline: Deadline) -> Result<Vec<u8>, Error> {
        let mut pixels = Vec::with_capacity(self.width * self.height * count);
        let sign = usize::from(matches!(self.raw, Raw::SignedWords(_)));
        let top = u32::from(u16::MAX) >> (16 - self.bits.min(16) + sign);
        for y in 0..self.height {
            deadline.check()?;
            for x in 0..self.width {
                for n in 0..count {
                    let (plane, place) = if self.planes > 1 { (n, x) } else { (0, x * self.samples + n) };
                    let value = u32::from(self.stored(plane, y, place));
                    pixels.push(((value * 255 + top / 2) / top) as u8);
                }
            }
        }
        Ok(pixels)
    }

    /// The one sample of every pixel as it is stored.
    pub fn indices(&self) -> impl Iterator<Item = u16> + '_ {
        (0..self.height).flat_map(move |y| (0..self.width).map(move |x| self.stored(0, y, x)))
    }
}
