//! Marker segments (T.81, annex B.1.1).

use crate::{Error, Location};

pub(crate) const SOF0: u8 = 0xC0;
pub(crate) const SOF2: u8 = 0xC2;
pub(crate) const DHT: u8 = 0xC4;
pub(crate) const JPG: u8 = 0xC8;
pub(crate) const DAC: u8 = 0xCC;
pub(crate) const SOF15: u8 = 0xCF;
pub(crate) const RST0: u8 = 0xD0;
pub(crate) const RST7: u8 = 0xD7;
pub(crate) const SOI: u8 = 0xD8;
pub(crate) const EOI: u8 = 0xD9;
pub(crate) const SOS: u8 = 0xDA;
pub(crate) const DQT: u8 = 0xDB;
pub(crate) const DNL: u8 = 0xDC;
pub(crate) const DRI: u8 = 0xDD;
pub(crate) const DHP: u8 = 0xDE;
pub(crate) const EXP: u8 = 0xDF;
pub(crate) const APP0: u8 = 0xE0;
pub(crate) const APP15: u8 = 0xEF;
const TEM: u8 = 0x01;
const RES0: u8 = 0x02;
const RES189: u8 = 0xBF;
const JPG0: u8 = 0xF0;
const JPG13: u8 = 0xFD;

/// A marker and what belongs to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub marker: u8,
    /// Where its content begins.
    pub offset: usize,
    /// Without marker and length; empty for a marker that stands alone.
    pub content: &'a [u8],
}

/// Walks from marker to marker.
#[derive(Debug, Clone)]
pub(crate) struct Markers<'a> {
    pub bytes: &'a [u8],
    /// Of the next byte to look at.
    pub position: usize,
}

impl<'a> Markers<'a> {
    /// Behind the SOI that every file begins with, and that the next marker follows at once: what else begins
    /// with these two bytes, or has a damaged third one, is no JPEG to whoever looks at the first bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        match bytes {
            [0xFF, SOI] | [0xFF, SOI, 0xFF, ..] => Ok(Self { bytes, position: 2 }),
            [0xFF, SOI, ..] => Err(Error::corrupt("no marker follows SOI", 2)),
            _ => Err(Error::NotJpeg),
        }
    }

    /// The next segment. Bytes between segments that are no marker are skipped, as every decoder does, and
    /// so are restart markers, which some encoders write behind the last MCU too. Reserved markers (table B.1)
    /// are damage: no encoder writes them, and what an extension would mean by them is not known.
    pub fn next_segment(&mut self) -> Result<Segment<'a>, Error> {
        loop {
            let marker = self.next_marker()?;
            let offset = self.position;
            match marker {
                0x00 | TEM | RST0..=RST7 => {}
                EOI => return Ok(Segment { marker, offset, content: &[] }),
                SOI => return Err(Error::corrupt("a second SOI", offset)),
                RES0..=RES189 | JPG | JPG0..=JPG13 => {
                    return Err(Error::corrupt("a reserved marker", offset));
                }
                _ => {
                    let length = self.bytes.get(offset..).and_then(|rest| rest.first_chunk());
                    let length = usize::from(u16::from_be_bytes(*length.ok_or_else(|| self.cut())?));
                    if length < 2 {
                        return Err(Error::corrupt("a segment is shorter than its own length", offset));
                    }
                    let content = self.bytes.get(offset + 2..offset + length).ok_or_else(|| self.cut())?;
                    self.position = offset + length;
                    return Ok(Segment { marker, offset: offset + 2, content });
                }
            }
        }
    }

    fn next_marker(&mut self) -> Result<u8, Error> {
        while *self.bytes.get(self.position).ok_or_else(|| self.cut())? != 0xFF {
            self.position += 1;
        }
        // Any number of FF may precede a marker (B.1.1.2).
        while self.bytes.get(self.position) == Some(&0xFF) {
            self.position += 1;
        }
        let marker = *self.bytes.get(self.position).ok_or_else(|| self.cut())?;
        self.position += 1;
        Ok(marker)
    }

    fn cut(&self) -> Error {
        Error::Truncated(Location::at(self.bytes.len()))
    }

    /// Passes over entropy-coded data, restart markers included, up to the marker that ends the scan.
    pub fn skip_entropy_coded(&mut self) -> Result<(), Error> {
        loop {
            self.position = find_ff(self.bytes, self.position);
            match self.bytes.get(self.position + 1) {
                None => return Err(self.cut()),
                Some(0x00 | RST0..=RST7) => self.position += 2,
                Some(0xFF) => self.position += 1,
                Some(_) => return Ok(()),
            }
        }
    }
}

/// The position of the first FF at or after `from`, or the length of `bytes`.
fn find_ff(bytes: &[u8], from: usize) -> usize {
    let mut position = from.min(bytes.len());
    // Comparing 32 bytes without leaving the loop in between becomes a vector instruction or two.
    for chunk in bytes[position..].as_chunks::<32>().0 {
        if chunk.iter().fold(false, |found, &byte| found | (byte == 0xFF)) {
            break;
        }
        position += 32;
    }
    position + bytes[position..].iter().position(|&byte| byte == 0xFF).unwrap_or(bytes.len() - position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_bytes_and_lone_markers_are_passed_over() {
        let bytes = [0xFF, SOI, 0xFF, 0xFF, RST0, 0x00, 0xFF, DRI, 0, 4, 1, 2, 0xFF, EOI];
        let mut markers = Markers::new(&bytes).unwrap();
        let segment = markers.next_segment().unwrap();
        assert_eq!((segment.marker, segment.content, segment.offset), (DRI, &[1, 2][..], 10));
        assert_eq!(markers.next_segment().unwrap().marker, EOI);
        assert!(matches!(markers.next_segment(), Err(Error::Truncated(_))));
    }

    #[test]
    fn a_marker_follows_soi_at_once() {
        assert!(Markers::new(&[0xFF, SOI]).is_ok());
        let error = Markers::new(&[0xFF, SOI, 0xFE, APP0]).unwrap_err();
        assert_eq!(error, Error::corrupt("no marker follows SOI", 2));
        assert_eq!(Markers::new(&[0xFF, EOI, 0xFF]).unwrap_err(), Error::NotJpeg);
    }

    #[test]
    fn reserved_markers_are_damage() {
        for marker in 0..=0xFF {
            let bytes = [0xFF, SOI, 0xFF, marker, 0, 2, 0xFF, EOI];
            let is_reserved = matches!(marker, 0x02..=0xBF | 0xC8 | 0xF0..=0xFD);
            let found = Markers::new(&bytes).unwrap().next_segment();
            let refused =
                matches!(found, Err(Error::Corrupt { what: "a reserved marker", at }) if at.offset == 4);
            assert_eq!(refused, is_reserved, "{marker:02x}: {found:?}");
        }
    }

    #[test]
    fn entropy_coded_data_ends_at_the_first_marker_that_is_no_restart() {
        for length in 0..70 {
            let mut bytes = vec![0xFF, SOI, 0xFF];
            bytes.extend(std::iter::repeat_n(0x55, length));
            bytes.extend([0xFF, 0x00, 0xFF, RST7, 1, 0xFF, 0xFF, EOI]);
            let mut markers = Markers::new(&bytes).unwrap();
            markers.position = 3;
            markers.skip_entropy_coded().unwrap();
            assert_eq!(&bytes[markers.position..], [0xFF, EOI]);
        }
    }
}
