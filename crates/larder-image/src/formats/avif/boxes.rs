//! Boxes of an ISO base media file (ISO/IEC 14496-12, section 4.2).

use crate::Error;
use crate::formats::Format;
use crate::formats::reader::{u16_be, u32_be};

pub(super) fn damaged(reason: &str) -> Error {
    Error::undecodable(Format::Avif, reason)
}

/// A box: its four letters and its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    pub kind: [u8; 4],
    pub content: &'a [u8],
}

/// The boxes in `bytes`, one after another; ends after the first that is cut.
pub(super) fn blocks(bytes: &[u8]) -> impl Iterator<Item = Result<Block<'_>, Error>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let block = first(rest);
        rest = match &block {
            Some((_, length)) => &rest[*length..],
            None => &[],
        };
        Some(block.map(|(block, _)| block).ok_or_else(|| damaged("a box is cut")))
    })
}

fn first(bytes: &[u8]) -> Option<(Block<'_>, usize)> {
    let kind = *bytes.get(4..)?.first_chunk()?;
    let (header, length) = match u32_be(bytes, 0)? {
        // Without a length, the box goes on to the end of what holds it.
        0 => (8, bytes.len()),
        1 => {
            let long = u64::from(u32_be(bytes, 8)?) << 32 | u64::from(u32_be(bytes, 12)?);
            (16, usize::try_from(long).ok()?)
        }
        length => (8, length as usize),
    };
    let content = bytes.get(header..length)?;
    Some((Block { kind, content }, length))
}

/// Reads the numbers of a box's content in order.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn new(content: &'a [u8]) -> Self {
        Self { rest: content }
    }

    /// Version and flags, with which a full box begins.
    pub fn version(&mut self) -> Result<(u8, u32), Error> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0xFF_FFFF))
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| damaged("a box is cut"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    pub fn u16(&mut self) -> Result<u16, Error> {
        u16_be(self.take(2)?, 0).ok_or_else(|| damaged("a box is cut"))
    }

    pub fn u32(&mut self) -> Result<u32, Error> {
        u32_be(self.take(4)?, 0).ok_or_else(|| damaged("a box is cut"))
    }

    /// A number of 0, 4 or 8 bytes, as box `iloc` has them.
    pub fn sized(&mut self, bytes: u8) -> Result<u64, Error> {
        match bytes {
            0 => Ok(0),
            4 => self.u32().map(u64::from),
            8 => Ok(u64::from(self.u32()?) << 32 | u64::from(self.u32()?)),
            _ => Err(damaged("a number of impossible length")),
        }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_reaches_beyond_its_holder_is_an_error_and_the_end() {
        let bytes = b"\0\0\0\x0Cabcd1234\0\0\0\x09efgh";
        let found: Vec<_> = blocks(bytes).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].as_ref().unwrap().content, b"1234");
        assert!(found[1].is_err());
    }

    #[test]
    fn lengths_shorter_than_the_header_are_refused() {
        for length in 2..8_u8 {
            let bytes = [0, 0, 0, length, b'a', b'b', b'c', b'd'];
            assert!(blocks(&bytes).next().unwrap().is_err(), "{length}");
        }
    }

    #[test]
    fn long_and_open_lengths_are_read() {
        let long = b"\0\0\0\x01abcd\0\0\0\0\0\0\0\x11x";
        assert_eq!(blocks(long).next().unwrap().unwrap().content, b"x");
        let open = b"\0\0\0\0abcdxyz";
        assert_eq!(blocks(open).next().unwrap().unwrap().content, b"xyz");
    }
}
