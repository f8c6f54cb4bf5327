//! The blocks of a GIF file, without unpacking a pixel (GIF89a specification, sections 17 to 27).

use crate::Error;
use crate::formats::Format;
use crate::formats::reader::u16_le;

/// What the blocks say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub frames: u32,
    /// How often the animation plays; 0 = for ever.
    pub loops: u32,
    /// Pixels of the largest frame, which may be larger than the screen.
    pub largest_frame: u64,
    pub has_icc: bool,
    pub has_gps: bool,
}

fn damaged(reason: &str) -> Error {
    Error::undecodable(Format::Gif, reason)
}

/// Walks through all blocks up to the trailer.
pub(super) fn summarise(bytes: &[u8]) -> Result<Summary, Error> {
    let mut walk = Walk { bytes, position: 13 + table_bytes(bytes.get(10).copied()) };
    // An animation without a loop block plays once.
    let mut summary = Summary { loops: 1, ..Summary::default() };
    loop {
        match walk.byte()? {
            0x2C => {
                let descriptor = walk.take(9)?;
                let (width, height) = (u16_le(descriptor, 4), u16_le(descriptor, 6));
                let area = u64::from(width.unwrap_or(0)) * u64::from(height.unwrap_or(0));
                summary.largest_frame = summary.largest_frame.max(area);
                summary.frames = summary.frames.saturating_add(1);
                walk.take(table_bytes(descriptor.last().copied()))?;
                walk.byte()?; // Bits of the smallest code.
                walk.skip_sub_blocks()?;
            }
            0x21 => {
                if walk.byte()? == 0xFF {
                    walk.application(&mut summary)?;
                } else {
                    walk.skip_sub_blocks()?;
                }
            }
            0x3B => return Ok(summary),
            _ => return Err(damaged("a block of unknown kind")),
        }
    }
}

/// The size of the canvas: the screen, or what the first frame takes where that is larger, as
/// browsers show it. `None` if the bytes end before the first frame.
pub(super) fn canvas(bytes: &[u8]) -> Result<Option<(u32, u32)>, Error> {
    let mut walk = Walk { bytes, position: 13 + table_bytes(bytes.get(10).copied()) };
    let Some((width, height)) = u16_le(bytes, 6).zip(u16_le(bytes, 8)) else { return Ok(None) };
    while let Ok(kind) = walk.byte() {
        match kind {
            0x2C => {
                let Ok(descriptor) = walk.take(9) else { return Ok(None) };
                let end = |from: usize, length: usize| {
                    let number = |at| u16_le(descriptor, at).map_or(0, u32::from);
                    number(from) + number(length)
                };
                return Ok(Some((end(0, 4).max(width.into()), end(2, 6).max(height.into()))));
            }
            0x21 => {
                if walk.byte().and_then(|_| walk.skip_sub_blocks()).is_err() {
                    return Ok(None);
                }
            }
            0x3B => return Err(damaged("it has no frame")),
            _ => return Err(damaged("a block of unknown kind")),
        }
    }
    Ok(None)
}

/// Bytes of the colour table that flags announce.
fn table_bytes(flags: Option<u8>) -> usize {
    match flags {
        Some(flags) if flags & 0x80 != 0 => 3 << ((flags & 7) + 1),
        _ => 0,
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Walk<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let taken = self.bytes.get(self.position..).and_then(|rest| rest.get(..length));
        self.position += length;
        taken.ok_or_else(|| damaged("it is cut"))
    }

    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    /// The next sub-block; `None` after the last.
    fn sub_block(&mut self) -> Result<Option<&'a [u8]>, Error> {
        let length = usize::from(self.byte()?);
        if length == 0 { Ok(None) } else { self.take(length).map(Some) }
    }

    fn skip_sub_blocks(&mut self) -> Result<(), Error> {
        while self.sub_block()?.is_some() {}
        Ok(())
    }

    fn application(&mut self, summary: &mut Summary) -> Result<(), Error> {
        let name = self.sub_block()?.unwrap_or_default();
        summary.has_icc |= name.starts_with(b"ICCRGBG1");
        let mut xmp = Vec::new();
        while let Some(block) = self.sub_block()? {
            if name.starts_with(b"NETSCAPE2.0") && block.first() == Some(&1) {
                // The number tells how often it is repeated after the first time.
                let repeats = u16_le(block, 1).map(u32::from);
                summary.loops = repeats.map_or(summary.loops, |n| if n == 0 { 0 } else { n + 1 });
            } else if name.starts_with(b"XMP Data") && xmp.len() < 1 << 20 {
                // XMP lies there as plain text that only happens to parse as sub-blocks: the byte
                // that counts belongs to the text.
                xmp.push(block.len() as u8);
                xmp.extend(block);
            }
        }
        summary.has_gps |= crate::metadata::xmp_tells_place(&xmp);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: &[u8] = b"GIF89a\x02\0\x03\0\x80\0\0\0\0\0\xff\xff\xff";
    const FRAME: &[u8] = b",\0\0\0\0\x02\0\x03\0\0\x02\x03\x44\x00\x05\x00";

    #[test]
    fn frames_are_counted_and_the_loop_is_read() {
        let forever = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0";
        let bytes = [SCREEN, forever, FRAME, FRAME, b";"].concat();
        let summary = summarise(&bytes).unwrap();
        assert_eq!((summary.frames, summary.loops, summary.largest_frame), (2, 0, 6));
        assert_eq!(summarise(&[SCREEN, FRAME, b";"].concat()).unwrap().loops, 1);
        let twice_more = b"!\xff\x0bNETSCAPE2.0\x03\x01\x02\0\0";
        assert_eq!(summarise(&[SCREEN, twice_more, FRAME, b";"].concat()).unwrap().loops, 3);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let bytes = [SCREEN, FRAME, b";"].concat();
        for end in 13..bytes.len() {
            assert!(summarise(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
