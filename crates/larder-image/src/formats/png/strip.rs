//! A PNG without its metadata.

use super::chunks;
use crate::formats::Format;
use crate::{Error, Orientation, exif};

/// The four letters of the chunks that say how a picture looks (PNG third edition, section 11, and
/// the animation chunks of it). Everything else (text, time, EXIF, private chunks) goes.
const PNG_KEEPS: &[&[u8; 4]] = &[
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP",
    b"mDCV", b"cLLI", b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT",
];

pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut kept = bytes.get(..8).ok_or_else(cut)?.to_vec();
    let mut ended = false;
    let there: Vec<_> = chunks(bytes).collect();
    let exif = there.iter().find(|(kind, _)| *kind == b"eXIf").map(|(_, content)| exif::read(content));
    let orientation = exif.unwrap_or_default().orientation;
    for (kind, content) in there {
        // The orientation must come before the pixels.
        if kind == b"IDAT" && !ended && orientation != Orientation::UPRIGHT {
            chunk(&mut kept, *b"eXIf", &exif::orientation_only(orientation));
            ended = true;
        }
        if PNG_KEEPS.contains(&kind) {
            chunk(&mut kept, *kind, content);
        }
        if kind == b"IEND" {
            return Ok(kept);
        }
    }
    Err(cut())
}

fn cut() -> Error {
    Error::undecodable(Format::Png, "it is cut")
}

/// Appends a chunk with its checksum.
pub(crate) fn chunk(file: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) {
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
