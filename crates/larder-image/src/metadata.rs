//! Originals without their metadata, not a pixel changed.

use larder_core::FileType;

use crate::formats::jpeg::header as jpeg;
use crate::formats::reader::u16_be;
use crate::formats::webp::riff::{self, Chunk};
use crate::formats::{Format, png};
use crate::{Error, Orientation, exif};

/// A copy of a JPEG, PNG or WebP file without EXIF, XMP, IPTC, comments and whatever follows the
/// picture. The colour profile stays; so does the orientation, as a minimal EXIF block of its own.
/// `None` if the file has nothing to strip.
///
/// Made without decoding, so a file that does not decode may come out as damaged as it went in.
///
/// # Errors
/// [`Error::Unsupported`] for other formats, [`Error::Undecodable`] for a damaged structure.
pub fn strip_metadata(bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let head = &bytes[..bytes.len().min(larder_core::file_type::SNIFF_BYTES)];
    let stripped = match FileType::sniff(head).and_then(|file_type| Format::named(file_type.name)) {
        Some(Format::Jpeg) => strip_jpeg(bytes)?,
        Some(Format::Png) => strip_png(bytes)?,
        Some(Format::Webp) => strip_webp(bytes)?,
        Some(other) => return Err(Error::unsupported(format!("stripping the metadata of {other}"))),
        None => return Err(Error::unsupported("a file of unknown type")),
    };
    Ok((stripped != bytes).then_some(stripped))
}

/// Whether an XMP packet tells a place: `exif:GPSLatitude` as attribute or element (XMP
/// specification, part 2, section 2.3).
pub(crate) fn xmp_tells_place(packet: &[u8]) -> bool {
    const NAME: &[u8] = b"GPSLatitude";
    packet.windows(NAME.len()).any(|window| window == NAME)
}

fn cut(format: Format) -> Error {
    Error::undecodable(format, "it is cut")
}

/// Copies the segments that pictures need up to the first scan, and everything from there to the
/// end mark.
fn strip_jpeg(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut kept = vec![0xFF, 0xD8];
    let mut orientation = Orientation::UPRIGHT;
    let mut segments = Vec::new();
    let mut position = 2;
    let scans_at = loop {
        while bytes.get(position).is_some_and(|&byte| byte != 0xFF) {
            position += 1;
        }
        while bytes.get(position) == Some(&0xFF) {
            position += 1;
        }
        let marker = *bytes.get(position).ok_or_else(|| cut(Format::Jpeg))?;
        position += 1;
        if matches!(marker, 0x00 | 0x01 | 0xD0..=0xD9) {
            continue;
        }
        let length = usize::from(u16_be(bytes, position).ok_or_else(|| cut(Format::Jpeg))?);
        let segment = bytes.get(position..position + length).ok_or_else(|| cut(Format::Jpeg))?;
        let content = segment.get(2..).ok_or_else(|| cut(Format::Jpeg))?;
        if marker == 0xDA {
            break position - 2;
        }
        position += length;
        if marker == 0xE1 && content.starts_with(b"Exif\0") {
            orientation = exif::read(content.get(6..).unwrap_or_default()).orientation;
        }
        if jpeg_keeps(marker, content) {
            segments.push((marker, segment));
        }
    };
    if orientation != Orientation::UPRIGHT {
        let block = exif::orientation_only(orientation);
        kept.extend([0xFF, 0xE1]);
        kept.extend(((block.len() + 8) as u16).to_be_bytes());
        kept.extend(b"Exif\0\0");
        kept.extend(block);
    }
    for (marker, segment) in segments {
        kept.extend([0xFF, marker]);
        kept.extend(segment);
    }
    // Whatever follows the end mark (previews, films, further pictures) has metadata of its own.
    kept.extend(jpeg::scans(bytes, scans_at).ok_or_else(|| cut(Format::Jpeg))?);
    Ok(kept)
}

/// Kept: what decodes the picture, JFIF, the colour profile and Adobe's colour transform. Not the
/// index of further pictures (MPF), as those are cut off.
fn jpeg_keeps(marker: u8, content: &[u8]) -> bool {
    match marker {
        0xE0 => content.starts_with(b"JFIF\0"),
        0xE2 => content.starts_with(b"ICC_PROFILE\0"),
        0xEE => content.starts_with(b"Adobe"),
        0xE1..=0xEF | 0xFE => false,
        _ => true,
    }
}

/// The four letters of the chunks that say how a picture looks (PNG third edition, section 11, and
/// the animation chunks of it). Everything else (text, time, EXIF, private chunks) goes.
const PNG_KEEPS: &[&[u8; 4]] = &[
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP",
    b"mDCV", b"cLLI", b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT",
];

fn strip_png(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut kept = bytes.get(..8).ok_or_else(|| cut(Format::Png))?.to_vec();
    let mut ended = false;
    let chunks: Vec<_> = png::chunks(bytes).collect();
    let exif = chunks.iter().find(|(kind, _)| *kind == b"eXIf").map(|(_, content)| exif::read(content));
    let orientation = exif.unwrap_or_default().orientation;
    for (kind, content) in chunks {
        // The orientation must come before the pixels.
        if kind == b"IDAT" && !ended && orientation != Orientation::UPRIGHT {
            png_chunk(&mut kept, *b"eXIf", &exif::orientation_only(orientation));
            ended = true;
        }
        if PNG_KEEPS.contains(&kind) {
            png_chunk(&mut kept, *kind, content);
        }
        if kind == b"IEND" {
            return Ok(kept);
        }
    }
    Err(cut(Format::Png))
}

fn png_chunk(file: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) {
    file.extend((content.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(kind);
    file.extend(content);
    let checksum = crc32(&file[start..]);
    file.extend(checksum.to_be_bytes());
}

/// The checksum of PNG (third edition, annex D), a bit at a time: chunks are copied, not computed in
/// a loop that matters.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let (mut value, mut bit) = (n as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[n] = value;
            n += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

fn strip_webp(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let chunks: Vec<Chunk<'_>> = riff::chunks(bytes)?.collect::<Result<_, _>>()?;
    let Some(header) = chunks.iter().find(|chunk| &chunk.name == b"VP8X") else {
        // The simple form has no place for metadata; only what follows its one chunk goes.
        return riff::write(chunks.into_iter().filter(|chunk| matches!(&chunk.name, b"VP8 " | b"VP8L")));
    };
    let orientation = chunks.iter().find(|chunk| &chunk.name == b"EXIF").map(|chunk| {
        exif::read(chunk.content.strip_prefix(b"Exif\0\0").unwrap_or(chunk.content)).orientation
    });
    let turned = orientation.filter(|&orientation| orientation != Orientation::UPRIGHT);
    let mut extended = header.content.to_vec();
    let flags = extended.first_mut().ok_or_else(|| cut(Format::Webp))?;
    *flags &= !(riff::FLAG_EXIF | riff::FLAG_XMP);
    if turned.is_some() {
        *flags |= riff::FLAG_EXIF;
    }
    let block = turned.map(exif::orientation_only).unwrap_or_default();
    let kept = chunks.iter().filter_map(|chunk| match &chunk.name {
        b"VP8X" => Some(Chunk { name: *b"VP8X", content: &extended }),
        b"ICCP" | b"ANIM" | b"ANMF" | b"ALPH" | b"VP8 " | b"VP8L" => Some(*chunk),
        _ => None,
    });
    let exif = turned.map(|_| Chunk { name: *b"EXIF", content: &block });
    riff::write(kept.chain(exif))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::picture::{Channels, Picture};
    use crate::recipe::Quality;
    use crate::{Deadline, ImageLimits, inspect};

    fn encoded(format: Format) -> Vec<u8> {
        let picture = Picture::new(20, 10, Channels::Rgb, (0..600).map(|n| (n * 7 % 256) as u8).collect());
        let still = format.kind().encode.as_ref().unwrap().still;
        still(&picture, Quality::Lossy(80), Deadline::after(Duration::from_secs(60))).unwrap()
    }

    /// An EXIF block with orientation 6 and a place.
    fn block() -> Vec<u8> {
        let mut block = b"II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0".to_vec();
        block.extend(b"\x25\x88\x04\0\x01\0\0\0\x26\0\0\0\0\0\0\0");
        block.extend(b"\x01\0\x01\0\x02\0\x02\0\0\0N\0\0\0\0\0\0\0");
        block
    }

    fn check(dirty: &[u8], secret: &[u8]) {
        let limits = ImageLimits::default();
        let before = inspect(dirty, &limits).unwrap();
        assert!(before.has_gps && before.orientation.exif() == 6);
        let clean = strip_metadata(dirty).unwrap().unwrap();
        let after = inspect(&clean, &limits).unwrap();
        assert!(!after.has_gps);
        assert_eq!(after.orientation, before.orientation);
        assert!(!clean.windows(secret.len()).any(|window| window == secret));
        let pixels = |bytes: &[u8]| {
            let source = crate::Source::open(bytes, &limits).unwrap();
            let decoded = source.decode(&[], Deadline::after(Duration::from_secs(60))).unwrap();
            decoded.picture().pixels().to_vec()
        };
        assert_eq!(pixels(&clean), pixels(dirty));
        assert_eq!(strip_metadata(&clean).unwrap(), None, "stripping twice changes nothing");
    }

    #[test]
    fn a_jpeg_keeps_pixels_and_orientation_and_nothing_else() {
        let plain = encoded(Format::Jpeg);
        let segment = |marker: u8, content: &[u8]| {
            [&[0xFF, marker], &(content.len() as u16 + 2).to_be_bytes()[..], content].concat()
        };
        let exif = segment(0xE1, &[b"Exif\0\0", &block()[..]].concat());
        let comment = segment(0xFE, b"my secret");
        let dirty = [&plain[..2], &exif, &comment, &plain[2..], b"trailing my secret"].concat();
        check(&dirty, b"my secret");
    }

    #[test]
    fn a_png_keeps_pixels_and_orientation_and_nothing_else() {
        let plain = encoded(Format::Png);
        let mut extra = Vec::new();
        png_chunk(&mut extra, *b"eXIf", &block());
        png_chunk(&mut extra, *b"tEXt", b"Comment\0my secret");
        check(&[&plain[..33], &extra, &plain[33..], b"my secret"].concat(), b"my secret");
    }

    #[test]
    fn a_webp_keeps_pixels_and_orientation_and_nothing_else() {
        let plain = encoded(Format::Webp);
        let header =
            riff::Extended { flags: riff::FLAG_EXIF | riff::FLAG_XMP, width: 20, height: 10 }.write();
        let block = block();
        let picture: Vec<Chunk<'_>> = riff::chunks(&plain).unwrap().map(Result::unwrap).collect();
        let dirty =
            riff::write([Chunk { name: *b"VP8X", content: &header }].into_iter().chain(picture).chain([
                Chunk { name: *b"EXIF", content: &block },
                Chunk { name: *b"XMP ", content: b"my secret" },
            ]));
        check(&dirty.unwrap(), b"my secret");
    }

    #[test]
    fn what_has_no_metadata_is_left_alone() {
        for format in [Format::Jpeg, Format::Png, Format::Webp] {
            assert_eq!(strip_metadata(&encoded(format)), Ok(None), "{format}");
        }
    }

    #[test]
    fn cut_files_and_other_formats_are_refused() {
        assert!(strip_metadata(&encoded(Format::Png)[..40]).is_err());
        assert!(strip_metadata(&encoded(Format::Jpeg)[..40]).is_err());
        assert!(strip_metadata(&encoded(Format::Webp)[..40]).is_err());
        assert!(matches!(strip_metadata(b"GIF89a"), Err(Error::Unsupported { .. })));
    }
}
