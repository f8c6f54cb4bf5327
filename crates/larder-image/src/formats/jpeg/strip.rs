//! A JPEG without its metadata.

use crate::formats::Format;
use crate::formats::reader::u16_be;
use crate::{Error, Orientation, exif};

/// Bytes of a JFIF segment without its thumbnail (ITU-T T.871, section 10.1), and of an Adobe segment
/// (Adobe technical note 5116, section 18).
const JFIF_BYTES: usize = 14;
const ADOBE_BYTES: usize = 12;

/// Copies the segments that pictures need and the scans between them, up to the end mark. Whatever
/// follows that (previews, films, further pictures) has metadata of its own.
pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut kept = Vec::new();
    let mut orientation = None;
    let mut position = 2;
    let mut scanned = false;
    loop {
        let marker = next_marker(bytes, &mut position)?;
        if marker == 0xD9 && scanned {
            break;
        }
        if matches!(marker, 0x00 | 0x01 | 0xD0..=0xD9) {
            continue;
        }
        let length = usize::from(u16_be(bytes, position).ok_or_else(cut)?);
        let content = bytes.get(position + 2..position + length).ok_or_else(cut)?;
        position += length;
        if marker == 0xE1 && orientation.is_none() && content.starts_with(b"Exif\0") {
            orientation = Some(exif::read(content.get(6..).unwrap_or_default()).orientation);
        }
        match (marker, scanned) {
            // A colour profile counts before the first scan only.
            (0xE0 | 0xE2 | 0xEE, true) => {}
            (0xE0, false) => {
                if let Some(jfif) = content.get(..JFIF_BYTES).filter(|jfif| jfif.starts_with(b"JFIF\0")) {
                    let bare = [&jfif[..JFIF_BYTES - 2], &[0, 0]].concat();
                    write(&mut kept, marker, &bare);
                }
            }
            (0xE2, false) if content.starts_with(b"ICC_PROFILE\0") => write(&mut kept, marker, content),
            (0xEE, false) if content.starts_with(b"Adobe") => {
                write(&mut kept, marker, &content[..content.len().min(ADOBE_BYTES)]);
            }
            // Frames, tables, scans; not the index of further pictures (MPF), as those are cut off.
            (0xC0..=0xC7 | 0xC9..=0xCF | 0xDA..=0xDD, _) => write(&mut kept, marker, content),
            _ => {}
        }
        if marker == 0xDA {
            scanned = true;
            let end = end_of_scan(bytes, position).ok_or_else(cut)?;
            kept.extend(&bytes[position..end]);
            position = end;
        }
    }
    let turned = orientation.filter(|&orientation| orientation != Orientation::UPRIGHT);
    let mut file = vec![0xFF, 0xD8];
    if let Some(orientation) = turned {
        write(&mut file, 0xE1, &[b"Exif\0\0", &exif::orientation_only(orientation)[..]].concat());
    }
    file.extend(kept);
    file.extend([0xFF, 0xD9]);
    Ok(file)
}

/// Passes over bytes between segments, as every decoder does, and the next marker.
fn next_marker(bytes: &[u8], position: &mut usize) -> Result<u8, Error> {
    while bytes.get(*position).is_some_and(|&byte| byte != 0xFF) {
        *position += 1;
    }
    while bytes.get(*position) == Some(&0xFF) {
        *position += 1;
    }
    let marker = *bytes.get(*position).ok_or_else(cut)?;
    *position += 1;
    Ok(marker)
}

/// Where a scan's data ends: at the first mark that is neither a restart nor a byte of the data.
fn end_of_scan(bytes: &[u8], from: usize) -> Option<usize> {
    let mut position = from;
    loop {
        position += bytes.get(position..)?.iter().position(|&byte| byte == 0xFF)?;
        match bytes.get(position + 1)? {
            0x00 | 0xD0..=0xD7 => position += 2,
            0xFF => position += 1,
            _ => return Some(position),
        }
    }
}

fn write(file: &mut Vec<u8>, marker: u8, content: &[u8]) {
    file.extend([0xFF, marker]);
    file.extend((content.len() as u16 + 2).to_be_bytes());
    file.extend(content);
}

fn cut() -> Error {
    Error::undecodable(Format::Jpeg, "it is cut")
}
