//! The least that all objects are made of: little-endian integers, variable-length ones, and a digest at the end.

use crate::hash::{Digest, ShortHash};

/// Why bytes are not an object of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// What is wrong.
    Because(&'static str),
    /// It is of another version.
    Version(u16),
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Because(why) => f.write_str(why),
            Self::Version(version) => write!(f, "it is of format {version}"),
        }
    }
}

/// Writes an object.
#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// LEB128: seven bits a byte, the lowest first, the top bit set in all but the last.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    /// Text of up to 65,535 bytes, cut at a character if it has more.
    pub fn text(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
        self.u16(text.len() as u16);
        self.bytes(text.as_bytes());
    }

    /// Appends the digest of all that is there.
    pub fn seal(mut self) -> Vec<u8> {
        let digest = Digest::of(&self.0);
        self.bytes(&digest.0);
        self.0
    }
}

/// Reads an object. Never takes more memory than there are bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes before the digest at their end, if it is theirs; with the digest.
    pub fn sealed(bytes: &'a [u8]) -> Result<(Self, Digest), Malformed> {
        let cut = bytes.len().checked_sub(32).ok_or(Malformed::Because("it is cut off"))?;
        let digest = Digest::of(&bytes[..cut]);
        match digest.0 == bytes[cut..] {
            true => Ok((Self::new(&bytes[..cut]), digest)),
            false => Err(Malformed::Because("its digest is not that of its bytes")),
        }
    }

    pub fn left(&self) -> usize {
        self.rest.len()
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Malformed::Because("it is cut off"))?;
        self.rest = rest;
        Ok(head)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn digest(&mut self) -> Result<Digest, Malformed> {
        Ok(Digest(self.array()?))
    }

    pub fn short_hash(&mut self) -> Result<ShortHash, Malformed> {
        Ok(ShortHash(self.array()?))
    }

    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Because("a number is too large"))
    }

    pub fn varint_u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.varint()?).map_err(|_| Malformed::Because("a number is too large"))
    }

    /// A count of things that take at least `least` bytes each.
    pub fn count(&mut self, least: usize) -> Result<usize, Malformed> {
        let count = self.varint_u32()? as usize;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.left() => Ok(count),
            _ => Err(Malformed::Because("it is cut off")),
        }
    }

    pub fn text(&mut self) -> Result<String, Malformed> {
        let length = usize::from(self.u16()?);
        let text = std::str::from_utf8(self.bytes(length)?);
        text.map(str::to_owned).map_err(|_| Malformed::Because("a text is not UTF-8"))
    }

    /// Nothing may follow.
    pub fn end(self) -> Result<(), Malformed> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(Malformed::Because("something follows its end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_length_numbers_come_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut writer = Writer::default();
            writer.varint(value);
            let mut reader = Reader::new(&writer.0);
            assert_eq!(reader.varint(), Ok(value));
            reader.end().unwrap();
        }
        assert!(Reader::new(&[0xff; 10]).varint().is_err());
        assert!(Reader::new(&[0x80; 3]).varint().is_err());
    }

    #[test]
    fn a_seal_finds_every_flipped_bit_and_every_cut() {
        let mut writer = Writer::default();
        writer.text("Grüße");
        writer.u64(7);
        let sealed = writer.seal();
        let (mut reader, _) = Reader::sealed(&sealed).unwrap();
        assert_eq!((reader.text().unwrap().as_str(), reader.u64()), ("Grüße", Ok(7)));
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Reader::sealed(&flipped).is_err(), "{bit}");
        }
        for length in 0..sealed.len() {
            assert!(Reader::sealed(&sealed[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_count_never_promises_more_than_there_is() {
        let mut writer = Writer::default();
        writer.varint(1_000_000);
        assert!(Reader::new(&writer.0).count(16).is_err());
    }
}
