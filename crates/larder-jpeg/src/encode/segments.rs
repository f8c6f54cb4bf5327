//! The segments before a scan (T.81, annex B.2; JFIF 1.02; ICC.1, annex B.4).

use super::codes::{Definition, TablePair};
use super::error::EncodeError;
use super::geometry::Geometry;
use crate::marker;

/// Bytes of a profile in one segment: what the length leaves, less identifier, number and count.
const ICC_PIECE_BYTES: usize = 65_533 - ICC_IDENTIFIER.len() - 2;

const ICC_IDENTIFIER: &[u8] = b"ICC_PROFILE\0";

/// Where segments go.
#[derive(Debug)]
pub(super) struct Segments(Vec<u8>);

impl Segments {
    /// Begins a file: SOI, and that it is JFIF, which makes three components YCbCr; pixels are square.
    pub fn new() -> Self {
        let mut segments = Self(vec![0xFF, marker::SOI]);
        segments.add(marker::APP0, &[b"JFIF\0", &[1, 1, 0, 0, 1, 0, 1, 0, 0]]);
        segments
    }

    /// A segment of parts that are no longer than a segment may be.
    fn add(&mut self, marker: u8, parts: &[&[u8]]) {
        let length = 2 + parts.iter().map(|part| part.len()).sum::<usize>();
        debug_assert!(length <= usize::from(u16::MAX));
        self.0.extend([0xFF, marker]);
        self.0.extend((length as u16).to_be_bytes());
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
    }

    /// A colour profile, in as many segments as it takes.
    pub fn profile(&mut self, profile: &[u8]) -> Result<(), EncodeError> {
        let pieces = profile.chunks(ICC_PIECE_BYTES);
        let count = match u8::try_from(pieces.len()) {
            Ok(count) if count > 0 => count,
            _ => return Err(EncodeError::IccProfile { bytes: profile.len() }),
        };
        for (number, piece) in (1..=count).zip(pieces) {
            self.add(marker::APP0 + 2, &[ICC_IDENTIFIER, &[number, count], piece]);
        }
        Ok(())
    }

    /// A quantisation table, its steps in zig-zag order.
    pub fn quantisation(&mut self, place: usize, steps: &[u8; 64]) {
        self.add(marker::DQT, &[&[place as u8], steps]);
    }

    /// The frame header: identifiers from 1, as JFIF has them, and the second tables for colour differences.
    pub fn frame(&mut self, geometry: &Geometry) {
        let [width, height] = [geometry.width, geometry.height].map(|side| (side as u16).to_be_bytes());
        let head = [8, height[0], height[1], width[0], width[1], geometry.components as u8];
        let components = (0..geometry.components).map(|component| {
            let (horizontal, vertical) = geometry.factors_of(component);
            [component as u8 + 1, (horizontal << 4 | vertical) as u8, u8::from(component > 0)]
        });
        let components: Vec<u8> = components.flatten().collect();
        self.add(marker::SOF0, &[&head, &components]);
    }

    /// The Huffman tables of one place.
    pub fn tables(&mut self, place: u8, tables: &TablePair) {
        for (class, Definition { counts, symbols }) in [(0x00, &tables.dc), (0x10, &tables.ac)] {
            self.add(marker::DHT, &[&[class | place], counts, symbols]);
        }
    }

    /// The header of a scan of all components, and the end of what comes before its data.
    pub fn scan(mut self, geometry: &Geometry) -> Vec<u8> {
        let components = (0..geometry.components as u8).map(|component| {
            let table = u8::from(component > 0);
            [component + 1, table << 4 | table]
        });
        let components: Vec<u8> = components.flatten().collect();
        self.add(marker::SOS, &[&[geometry.components as u8], &components, &[0, 63, 0]]);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Header;
    use crate::encode::Sampling;

    #[test]
    fn a_profile_comes_in_pieces_and_is_put_together_again() {
        for bytes in [1, ICC_PIECE_BYTES, ICC_PIECE_BYTES + 1, 200_000] {
            let profile: Vec<u8> = (0..bytes).map(|at| (at / 7) as u8).collect();
            let geometry = Geometry::new(3, 2, Some(Sampling::S422));
            let mut segments = Segments::new();
            segments.profile(&profile).unwrap();
            segments.frame(&geometry);
            let file = segments.scan(&geometry);
            let header = Header::read(&file).unwrap();
            assert_eq!(header.icc_profile().as_deref(), Some(profile.as_slice()), "{bytes} bytes");
            assert!(header.has_jfif);
        }
    }

    #[test]
    fn a_profile_that_fits_no_segments_is_an_error() {
        for bytes in [0, 255 * ICC_PIECE_BYTES + 1] {
            let found = Segments::new().profile(&vec![0; bytes]);
            assert_eq!(found, Err(EncodeError::IccProfile { bytes }));
        }
        assert!(Segments::new().profile(&vec![0; 255 * ICC_PIECE_BYTES]).is_ok());
    }
}
