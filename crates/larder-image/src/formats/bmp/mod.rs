//! BMP: a decoder of our own; in only.

mod header;
mod runs;

use super::{Format, FormatKind};
use crate::picture::{Channels, Picture};
use crate::{Deadline, Error, Inspection};
use header::{Header, Packing};

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Bmp,
    name: "bmp",
    content_type: "image/bmp",
    extension: "bmp",
    doc: "In: 1, 4, 8, 16, 24 and 32 bits, palette, masks, runs (RLE4, RLE8), rows from the top or the bottom.",
    size: |head| Ok(header::size(head)?.map(|(width, height, _)| (width, height))),
    inspect,
    decode,
    scaled: None,
    animate: None,
    strip: None,
    encode: None,
};

fn damaged(reason: &str) -> Error {
    Error::undecodable(Format::Bmp, reason)
}

fn inspect(bytes: &[u8]) -> Result<Inspection, Error> {
    let header = header::read(bytes)?;
    let mut inspection = Inspection::still(Format::Bmp, (header.width, header.height));
    inspection.has_alpha = matches!(header.packing, Packing::Masks([_, _, _, alpha]) if alpha != 0);
    let channels = if inspection.has_alpha { 7 } else { 3 };
    let indices = u64::from(matches!(header.packing, Packing::Rle4 | Packing::Rle8));
    inspection.decode_memory_bytes =
        bytes.len() as u64 + inspection.pixels() * (channels + indices) + (1 << 14);
    Ok(inspection)
}

fn decode(bytes: &[u8], _inspection: &Inspection, deadline: Deadline) -> Result<Picture, Error> {
    let header = header::read(bytes)?;
    let data = bytes.get(header.pixels_at..).ok_or_else(|| damaged("it is cut before its pixels"))?;
    let picture = match header.packing {
        Packing::Rle8 | Packing::Rle4 => {
            let indices = runs::unpack(data, &header, deadline)?;
            let row = header.width as usize;
            from_rows(&header, &indices, row, deadline, |row, x| color(&header, row[x]))?
        }
        Packing::Plain if header.bits == 24 => {
            from_rows(&header, data, stride(&header), deadline, |row, x| {
                let pixel = &row[x * 3..][..3];
                Ok([pixel[2], pixel[1], pixel[0]])
            })?
        }
        Packing::Plain => from_rows(&header, data, stride(&header), deadline, |row, x| {
            color(&header, index(row, x, header.bits))
        })?,
        Packing::Masks(masks) => return masked(&header, data, masks, deadline),
    };
    Ok(picture)
}

/// Bytes of a row, which is filled up to four.
fn stride(header: &Header) -> usize {
    (header.width as usize * usize::from(header.bits)).div_ceil(32) * 4
}

/// The index at `x` in a row of 1, 2, 4 or 8 bits, most significant first.
fn index(row: &[u8], x: usize, bits: u16) -> u8 {
    let bits = usize::from(bits);
    let bit = x * bits;
    let byte = row[bit / 8];
    if bits == 8 { byte } else { byte >> (8 - bits - bit % 8) & ((1 << bits) - 1) }
}

fn color(header: &Header, index: u8) -> Result<[u8; 3], Error> {
    let color = header.palette.get(usize::from(index));
    color.copied().ok_or_else(|| damaged("a pixel names a colour that is not there"))
}

/// Rows of the picture from the top, whatever their order in the file. The last row may lack its
/// filling.
fn rows<'a>(header: &Header, data: &'a [u8], stride: usize) -> Result<impl Iterator<Item = &'a [u8]>, Error> {
    let height = header.height as usize;
    // Unpacked runs have a byte a pixel.
    let bits = if matches!(header.packing, Packing::Rle4 | Packing::Rle8) { 8 } else { header.bits };
    let used = (header.width as usize * usize::from(bits)).div_ceil(8);
    let needed = stride * (height - 1) + used;
    if data.len() < needed {
        return Err(damaged("it is cut within its pixels"));
    }
    let top_down = header.top_down;
    Ok((0..height).map(move |y| {
        let row = if top_down { y } else { height - 1 - y };
        &data[row * stride..][..used]
    }))
}

fn from_rows(
    header: &Header,
    data: &[u8],
    stride: usize,
    deadline: Deadline,
    pixel: impl Fn(&[u8], usize) -> Result<[u8; 3], Error>,
) -> Result<Picture, Error> {
    let rows = rows(header, data, stride)?;
    let mut pixels = Vec::with_capacity(header.width as usize * header.height as usize * 3);
    for row in rows {
        deadline.check()?;
        for x in 0..header.width as usize {
            pixels.extend(pixel(row, x)?);
        }
    }
    Ok(Picture::new(header.width, header.height, Channels::Rgb, pixels))
}

/// Pixels of 16 or 32 bits whose channels are cut out by masks.
fn masked(header: &Header, data: &[u8], masks: [u32; 4], deadline: Deadline) -> Result<Picture, Error> {
    let size = usize::from(header.bits) / 8;
    let rows = rows(header, data, stride(header))?;
    let channels = if masks[3] == 0 { Channels::Rgb } else { Channels::Rgba };
    let masks = &masks[..channels.count()];
    let mut pixels = Vec::with_capacity(header.width as usize * header.height as usize * channels.count());
    for row in rows {
        deadline.check()?;
        for pixel in row.chunks_exact(size) {
            let value = pixel.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
            pixels.extend(masks.iter().map(|&mask| channel(value, mask)));
        }
    }
    let picture = Picture::new(header.width, header.height, channels, pixels);
    // Files that announce alpha and leave it at 0 everywhere mean none.
    let unused = picture.has_alpha() && picture.pixels().as_chunks::<4>().0.iter().all(|pixel| pixel[3] == 0);
    Ok(if unused { picture.into_rgb() } else { picture.without_idle_alpha() })
}

/// A channel of any number of bits as eight.
fn channel(value: u32, mask: u32) -> u8 {
    if mask == 0 {
        return 0;
    }
    let shift = mask.trailing_zeros();
    let (value, top) = (u64::from((value & mask) >> shift), u64::from(mask >> shift));
    ((value * 255 + top / 2) / top) as u8
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A file with a header of 40 bytes.
    fn file(size: (i32, i32), bits: u16, compression: u32, tables: &[u8], data: &[u8]) -> Vec<u8> {
        let at = 54 + tables.len() as u32;
        let mut bytes = b"BM\0\0\0\0\0\0\0\0".to_vec();
        for number in [at, 40, size.0.cast_unsigned(), size.1.cast_unsigned()] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([1, 0]);
        bytes.extend(bits.to_le_bytes());
        for number in [compression, 0, 0, 0, 0, 0] {
            bytes.extend(number.to_le_bytes());
        }
        [&bytes, tables, data].concat()
    }

    fn decoded(bytes: &[u8]) -> Result<Picture, Error> {
        let inspection = inspect(bytes)?;
        decode(bytes, &inspection, Deadline::after(Duration::from_secs(60)))
    }

    const TWO_COLORS: &[u8] = &[0, 0, 255, 0, 255, 0, 0, 0];

    #[test]
    fn rows_go_from_the_bottom_unless_the_height_is_negative() {
        let data = [1, 2, 3, 0, 4, 5, 6, 0];
        assert_eq!(decoded(&file((1, 2), 24, 0, &[], &data)).unwrap().pixels(), [6, 5, 4, 3, 2, 1]);
        assert_eq!(decoded(&file((1, -2), 24, 0, &[], &data)).unwrap().pixels(), [3, 2, 1, 6, 5, 4]);
    }

    #[test]
    fn one_bit_picks_one_of_two_colours() {
        let picture = decoded(&file((3, 1), 1, 0, TWO_COLORS, &[0b0100_0000, 0, 0, 0])).unwrap();
        assert_eq!(picture.pixels(), [255, 0, 0, 0, 0, 255, 255, 0, 0]);
    }

    #[test]
    fn five_bits_are_stretched_to_eight() {
        let picture = decoded(&file((2, 1), 16, 0, &[], &[0xFF, 0x7F, 0x10, 0])).unwrap();
        assert_eq!(picture.pixels(), [255, 255, 255, 0, 0, 132]);
    }

    #[test]
    fn runs_are_unpacked() {
        // Three of colour 1, end of row, a literal run of three, end.
        let data = [3, 1, 0, 0, 0, 3, 0, 1, 0, 0, 0, 1];
        let picture = decoded(&file((3, 2), 8, 1, TWO_COLORS, &data)).unwrap();
        assert_eq!(picture.row(1), [0, 0, 255, 0, 0, 255, 0, 0, 255]);
        assert_eq!(picture.row(0), [255, 0, 0, 0, 0, 255, 255, 0, 0]);
        // Nibbles: two of colours 0 and 1, then a literal one.
        let data = [2, 0x01, 0, 3, 0x10, 0x10, 0, 1];
        let picture = decoded(&file((5, 1), 4, 2, TWO_COLORS, &data)).unwrap();
        assert_eq!(
            picture.pixels().chunks(3).map(|pixel| pixel[2] / 255).collect::<Vec<_>>(),
            [0, 1, 1, 0, 1]
        );
    }

    #[test]
    fn pixels_that_no_run_reaches_are_refused() {
        let early = [2, 1, 0, 0, 3, 1, 0, 1];
        let gap = [1, 1, 0, 2, 1, 0, 1, 1, 0, 0, 3, 1, 0, 1];
        for data in [&early[..], &gap] {
            assert!(decoded(&file((3, 2), 8, 1, TWO_COLORS, data)).is_err());
        }
    }

    #[test]
    fn what_is_cut_or_points_outside_is_refused() {
        let data = [1, 2, 3, 0, 4, 5, 6, 0];
        let whole = file((1, 2), 24, 0, &[], &data);
        for end in 26..whole.len() - 1 {
            assert!(decoded(&whole[..end]).is_err(), "cut at {end}");
        }
        assert!(decoded(&file((1, 1), 8, 0, TWO_COLORS, &[2, 0, 0, 0])).is_err(), "no such colour");
        assert!(decoded(&file((3, 2), 8, 1, TWO_COLORS, &[3, 1])).is_err(), "runs without an end");
        assert!(decoded(&file((3, 2), 8, 1, TWO_COLORS, &[9, 1, 0, 1])).is_err(), "a run beyond its row");
        assert!(decoded(&file((0, 2), 24, 0, &[], &data)).is_err());
        assert!(decoded(&file((1, i32::MIN), 24, 0, &[], &data)).is_err());
    }

    #[test]
    fn masks_with_holes_or_overlaps_are_refused() {
        let masks = |numbers: [u32; 3]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
        let good = file((1, 1), 16, 3, &masks([0xF800, 0x07E0, 0x001F]), &[0x1F, 0xF8, 0, 0]);
        assert_eq!(decoded(&good).unwrap().pixels(), [255, 0, 255]);
        assert!(decoded(&file((1, 1), 16, 3, &masks([0xF800, 0x0FE0, 0x001F]), &[0; 4])).is_err());
        assert!(decoded(&file((1, 1), 16, 3, &masks([0xF801, 0, 0]), &[0; 4])).is_err());
    }
}
