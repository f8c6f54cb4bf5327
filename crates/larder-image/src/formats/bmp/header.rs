//! The headers of a BMP file (Windows: `BITMAPFILEHEADER`, then one of the `BITMAP…HEADER`s).

use crate::Error;
use crate::formats::Format;
use crate::formats::reader::{u16_le, u32_le};

/// How pixels are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// One after another, in as many bits as there are.
    Plain,
    /// Runs of 8 bit indices.
    Rle8,
    /// Runs of 4 bit indices.
    Rle4,
    /// One after another, channels by mask: red, green, blue, alpha.
    Masks([u32; 4]),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub width: u32,
    pub height: u32,
    /// Whether the first row is the top one.
    pub top_down: bool,
    pub bits: u16,
    pub packing: Packing,
    /// Colours in the order red, green, blue; only for 8 bits and fewer.
    pub palette: Vec<[u8; 3]>,
    /// Where the pixels begin.
    pub pixels_at: usize,
}

fn damaged(reason: &str) -> Error {
    Error::undecodable(Format::Bmp, reason)
}

/// Width, height, and whether rows go from the top; `None` if there are too few bytes.
pub(super) fn size(bytes: &[u8]) -> Result<Option<(u32, u32, bool)>, Error> {
    let (width, height) = if u32_le(bytes, 14) == Some(12) {
        let Some((width, height)) = u16_le(bytes, 18).zip(u16_le(bytes, 20)) else { return Ok(None) };
        (i32::from(width), i32::from(height))
    } else {
        let Some((width, height)) = u32_le(bytes, 18).zip(u32_le(bytes, 22)) else { return Ok(None) };
        (width.cast_signed(), height.cast_signed())
    };
    if width <= 0 || height == 0 || height == i32::MIN {
        return Err(damaged("its header names no possible size"));
    }
    Ok(Some((width.unsigned_abs(), height.unsigned_abs(), height < 0)))
}

pub(super) fn read(bytes: &[u8]) -> Result<Header, Error> {
    let cut = || damaged("it is cut within its header");
    let (width, height, top_down) = size(bytes)?.ok_or_else(cut)?;
    let length = u32_le(bytes, 14).ok_or_else(cut)? as usize;
    let old = length == 12;
    if !matches!(length, 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124) {
        return Err(Error::unsupported(format!("BMP with a header of {length} bytes")));
    }
    let (planes, bits) = u16_le(bytes, if old { 22 } else { 26 })
        .zip(u16_le(bytes, if old { 24 } else { 28 }))
        .ok_or_else(cut)?;
    if planes != 1 {
        return Err(damaged("it has more than one plane"));
    }
    let compression = if length >= 20 { u32_le(bytes, 30).ok_or_else(cut)? } else { 0 };
    let packing = match (compression, bits) {
        (0, 1 | 4 | 8 | 24) => Packing::Plain,
        (0, 16) => Packing::Masks([0x7C00, 0x03E0, 0x001F, 0]),
        (0, 32) => Packing::Masks([0xFF_0000, 0xFF00, 0xFF, 0]),
        (1, 8) => Packing::Rle8,
        (2, 4) => Packing::Rle4,
        (3 | 6, 16 | 32) => Packing::Masks(masks(bytes, length, compression, bits)?),
        // 4 and 5 are JPEG and PNG within BMP, for printers alone.
        (0..=6, _) => {
            return Err(Error::unsupported(format!("BMP with {bits} bits and compression {compression}")));
        }
        _ => return Err(damaged("its compression is unknown")),
    };
    if top_down && matches!(packing, Packing::Rle4 | Packing::Rle8) {
        return Err(damaged("runs can't go from the top"));
    }
    let tables_at = 14
        + length
        + if length == 40 && compression == 3 {
            12
        } else if length == 40 && compression == 6 {
            16
        } else {
            0
        };
    let pixels_at = u32_le(bytes, 10).ok_or_else(cut)? as usize;
    let used = if length >= 36 { u32_le(bytes, 46).ok_or_else(cut)? } else { 0 };
    let palette = if bits <= 8 { palette(bytes, tables_at, pixels_at, bits, used, old)? } else { Vec::new() };
    if pixels_at < tables_at.min(14 + length) || pixels_at > bytes.len() {
        return Err(damaged("its pixels begin outside it"));
    }
    Ok(Header { width, height, top_down, bits, packing, palette, pixels_at })
}

/// The masks lie behind a header of 40 bytes, or within the longer ones, at the same place.
fn masks(bytes: &[u8], length: usize, compression: u32, bits: u16) -> Result<[u32; 4], Error> {
    let mask = |n: usize| u32_le(bytes, 54 + 4 * n).ok_or_else(|| damaged("it is cut within its masks"));
    let has_alpha = length >= 56 || compression == 6;
    let masks = [mask(0)?, mask(1)?, mask(2)?, if has_alpha { mask(3)? } else { 0 }];
    if bits == 16 && masks[3] != 0 {
        // Few programs write these and fewer agree on what they show.
        return Err(Error::unsupported("BMP with 16 bits and alpha"));
    }
    for (n, mask) in masks.iter().enumerate() {
        let contiguous =
            mask.checked_shr(mask.trailing_zeros()).is_none_or(|ones| ones & ones.wrapping_add(1) == 0);
        if !contiguous || masks[..n].iter().any(|other| other & mask != 0) {
            return Err(damaged("its masks overlap or have holes"));
        }
    }
    Ok(masks)
}

fn palette(
    bytes: &[u8],
    at: usize,
    pixels_at: usize,
    bits: u16,
    used: u32,
    old: bool,
) -> Result<Vec<[u8; 3]>, Error> {
    let size = if old { 3 } else { 4 };
    let most = 1_usize << bits;
    if used as usize > most {
        return Err(damaged("it has more colours than its pixels can name"));
    }
    let announced = if used == 0 { most } else { used as usize };
    // The colours end where the pixels begin, whatever the header says.
    let room = pixels_at.saturating_sub(at) / size;
    let count = announced.min(room);
    let table = bytes.get(at..at + count * size).ok_or_else(|| damaged("it is cut within its colours"))?;
    if count == 0 {
        return Err(damaged("it has no colours"));
    }
    Ok(table.chunks_exact(size).map(|color| [color[2], color[1], color[0]]).collect())
}
