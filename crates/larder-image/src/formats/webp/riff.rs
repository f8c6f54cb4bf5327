//! The container of a WebP file: chunks in a RIFF form (RFC 9649, section 2).

use crate::Error;
use crate::formats::Format;
use crate::formats::reader::{u24_le, u32_le};

/// A chunk: its four letters and its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    pub name: [u8; 4],
    pub content: &'a [u8],
}

/// Flags of the extended header (RFC 9649, section 2.7).
pub(crate) const FLAG_XMP: u8 = 0x04;
pub(crate) const FLAG_EXIF: u8 = 0x08;
pub(crate) const FLAG_ALPHA: u8 = 0x10;
pub(crate) const FLAG_ICC: u8 = 0x20;

fn damaged(reason: &str) -> Error {
    Error::undecodable(Format::Webp, reason)
}

/// The chunks of a whole file; an error where the file ends before a chunk does.
pub(crate) fn chunks(bytes: &[u8]) -> Result<Chunks<'_>, Error> {
    let length = u32_le(bytes, 4).ok_or_else(|| damaged("it is cut within its header"))? as usize;
    let end = length.checked_add(8).filter(|&end| length >= 4 && end <= bytes.len());
    let body = end.and_then(|end| bytes.get(12..end));
    Ok(Chunks { rest: body.ok_or_else(|| damaged("it is shorter than its header says"))? })
}

/// The chunks within a frame's content.
pub(crate) fn nested(content: &[u8]) -> Chunks<'_> {
    Chunks { rest: content }
}

/// Iterates over chunks; ends after the first that is cut.
#[derive(Debug, Clone)]
pub(crate) struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let name = self.rest.first_chunk().copied();
        let length = u32_le(self.rest, 4).map(|length| length as usize);
        let content = length.and_then(|length| self.rest.get(8..)?.get(..length));
        let Some(((name, length), content)) = name.zip(length).zip(content) else {
            self.rest = &[];
            return Some(Err(damaged("a chunk is cut")));
        };
        // Chunks of odd length are followed by a byte of padding, which some writers leave out at
        // the very end.
        self.rest = self.rest.get(8 + length + length % 2..).unwrap_or_default();
        Some(Ok(Chunk { name, content }))
    }
}

/// Writes chunks as a file.
pub(crate) fn write<'a>(chunks: impl IntoIterator<Item = Chunk<'a>>) -> Result<Vec<u8>, Error> {
    let mut bytes = b"RIFF\0\0\0\0WEBP".to_vec();
    for chunk in chunks {
        append(&mut bytes, chunk)?;
    }
    let length = u32::try_from(bytes.len() - 8).map_err(|_| Error::internal("a WebP file beyond 4 GiB"))?;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Appends a chunk, padded to an even length.
pub(crate) fn append(bytes: &mut Vec<u8>, Chunk { name, content }: Chunk<'_>) -> Result<(), Error> {
    let length = u32::try_from(content.len()).map_err(|_| Error::internal("a WebP chunk beyond 4 GiB"))?;
    bytes.extend(name);
    bytes.extend(length.to_le_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    Ok(())
}

/// The extended header (RFC 9649, section 2.7).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extended {
    pub flags: u8,
    pub width: u32,
    pub height: u32,
}

impl Extended {
    pub fn read(content: &[u8]) -> Option<Self> {
        let (width, height) = u24_le(content, 4).zip(u24_le(content, 7))?;
        Some(Self { flags: content[0], width: width + 1, height: height + 1 })
    }

    pub fn write(self) -> [u8; 10] {
        let mut content = [0; 10];
        content[0] = self.flags;
        content[4..7].copy_from_slice(&(self.width - 1).to_le_bytes()[..3]);
        content[7..10].copy_from_slice(&(self.height - 1).to_le_bytes()[..3]);
        content
    }
}

/// A frame of an animation (RFC 9649, section 2.7.1.1).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    pub duration_ms: u32,
    /// Laid over what is there, instead of put in its place.
    pub blends: bool,
    /// Made transparent after it was shown.
    pub clears: bool,
    /// Chunks with the frame's pixels.
    pub data: &'a [u8],
}

impl<'a> Frame<'a> {
    pub fn read(content: &'a [u8]) -> Option<Self> {
        let number = |offset| u24_le(content, offset);
        let flags = *content.get(15)?;
        Some(Self {
            x: number(0)? * 2,
            y: number(3)? * 2,
            width: number(6)? + 1,
            height: number(9)? + 1,
            duration_ms: number(12)?,
            blends: flags & 2 == 0,
            clears: flags & 1 != 0,
            data: &content[16..],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_that_are_written_read_back() {
        let there = [Chunk { name: *b"ABCD", content: b"odd" }, Chunk { name: *b"EFGH", content: b"even" }];
        let bytes = write(there).unwrap();
        let read: Vec<_> = chunks(&bytes).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, there);
    }

    #[test]
    fn a_cut_chunk_is_an_error_and_the_end() {
        let bytes = write([Chunk { name: *b"ABCD", content: b"four" }]).unwrap();
        assert!(chunks(&bytes[..bytes.len() - 1]).is_err());
        let mut inner = nested(&bytes[12..bytes.len() - 1]);
        assert!(inner.next().unwrap().is_err());
        assert!(inner.next().is_none());
    }

    #[test]
    fn the_extended_header_reads_back() {
        let header = Extended { flags: FLAG_ICC, width: 16_384, height: 1 };
        let read = Extended::read(&header.write()).unwrap();
        assert_eq!((read.flags, read.width, read.height), (FLAG_ICC, 16_384, 1));
    }
}
