//! A WebP file without its metadata.

use std::borrow::Cow;

use super::damaged;
use super::riff::{self, Chunk};
use crate::{Error, Orientation, exif};

/// Bytes of the extended header, of the animation's settings and of a frame's (RFC 9649, section 2.7).
const EXTENDED_BYTES: usize = 10;
const ANIMATION_BYTES: usize = 6;
const FRAME_BYTES: usize = 16;

/// Copies the chunks that pictures need, those within frames too.
pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let chunks: Vec<Chunk<'_>> = riff::chunks(bytes)?.collect::<Result<_, _>>()?;
    let Some(header) = chunks.iter().find(|chunk| &chunk.name == b"VP8X") else {
        // The simple form has no place for metadata; only what follows its one chunk goes.
        return riff::write(chunks.into_iter().filter(|chunk| matches!(&chunk.name, b"VP8 " | b"VP8L")));
    };
    let orientation = chunks.iter().find(|chunk| &chunk.name == b"EXIF").map(|chunk| {
        exif::read(chunk.content.strip_prefix(b"Exif\0\0").unwrap_or(chunk.content)).orientation
    });
    let turned = orientation.filter(|&orientation| orientation != Orientation::UPRIGHT);
    let mut extended = first(header.content, EXTENDED_BYTES).to_vec();
    let flags = extended.first_mut().ok_or_else(|| damaged("it is cut"))?;
    *flags &= !(riff::FLAG_EXIF | riff::FLAG_XMP);
    if turned.is_some() {
        *flags |= riff::FLAG_EXIF;
    }
    let mut kept: Vec<([u8; 4], Cow<'_, [u8]>)> = Vec::new();
    for chunk in &chunks {
        let content = match &chunk.name {
            b"VP8X" => Cow::Borrowed(&extended[..]),
            b"ANIM" => first(chunk.content, ANIMATION_BYTES).into(),
            b"ANMF" => Cow::Owned(frame(chunk.content)?),
            b"ICCP" | b"ALPH" | b"VP8 " | b"VP8L" => chunk.content.into(),
            _ => continue,
        };
        kept.push((chunk.name, content));
    }
    if let Some(orientation) = turned {
        kept.push((*b"EXIF", exif::orientation_only(orientation).into()));
    }
    riff::write(kept.iter().map(|(name, content)| Chunk { name: *name, content }))
}

/// A frame with its settings and pixels alone.
fn frame(content: &[u8]) -> Result<Vec<u8>, Error> {
    let (settings, data) = content.split_at_checked(FRAME_BYTES).ok_or_else(|| damaged("a frame is cut"))?;
    // What is cut after the pixels goes as well.
    let chunks = riff::nested(data).map_while(Result::ok);
    let pixels = chunks.filter(|chunk| matches!(&chunk.name, b"ALPH" | b"VP8 " | b"VP8L"));
    let mut kept = settings.to_vec();
    for chunk in pixels {
        riff::append(&mut kept, chunk)?;
    }
    Ok(kept)
}

fn first(content: &[u8], bytes: usize) -> &[u8] {
    &content[..content.len().min(bytes)]
}
