//! Huffman tables as a file defines them (T.81, sections B.2.4.2 and C.2).

use crate::marker::Segment;
use crate::{Damage, Error};

/// A code of 1 to 16 bits and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code {
    pub length: u32,
    /// The code in the lowest `length` bits.
    pub bits: u32,
    pub symbol: u8,
}

/// A canonical Huffman code.
#[derive(Debug, Clone)]
pub(crate) struct HuffmanTable {
    symbols: [u8; 256],
    /// For each length, how many codes have it.
    counts: [u8; 16],
    /// For each length, the first 16 bits that no code up to it begins with.
    limits: [u32; 16],
    /// For each length, what to add to a code for the place of its symbol.
    offsets: [i32; 16],
}

impl HuffmanTable {
    /// `symbols` has as many bytes as `counts` says, at most 256.
    fn new(counts: [u8; 16], symbols: &[u8]) -> Result<Self, Damage> {
        let mut table = Self { symbols: [0; 256], counts, limits: [0; 16], offsets: [0; 16] };
        table.symbols[..symbols.len()].copy_from_slice(symbols);
        let (mut code, mut place) = (0_u32, 0_i32);
        for length in 1..=16_usize {
            table.offsets[length - 1] = place - code as i32;
            code += u32::from(counts[length - 1]);
            place += i32::from(counts[length - 1]);
            // The code of all ones is none: its place is what longer ones begin with, and what fills the last
            // byte (section K.2, figure K.3).
            if code >= 1 << length {
                return Err(Damage("a Huffman table has more codes than there can be"));
            }
            table.limits[length - 1] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    /// The first 16 bits that begin with no code of up to `length`.
    pub fn limit(&self, length: u32) -> u32 {
        self.limits[length as usize - 1]
    }

    /// The code that 16 bits begin with.
    pub fn find(&self, bits: u32) -> Option<Code> {
        let length = 1 + self.limits.iter().position(|&limit| bits < limit)?;
        let code = bits >> (16 - length);
        let symbol = self.symbols[(code as i32 + self.offsets[length - 1]) as usize & 255];
        Some(Code { length: length as u32, bits: code, symbol })
    }

    /// All codes, shortest first.
    pub fn codes(&self) -> impl Iterator<Item = Code> {
        let (mut bits, mut place) = (0, 0);
        (1..=16_u32).flat_map(move |length| {
            let count = u32::from(self.counts[length as usize - 1]);
            let (first, first_place) = (bits, place);
            (bits, place) = ((bits + count) << 1, place + count);
            (0..count).map(move |index| Code {
                length,
                bits: first + index,
                symbol: self.symbols[(first_place + index) as usize],
            })
        })
    }
}

/// The places for tables: four for DC, four for AC.
#[derive(Debug, Clone, Default)]
pub(crate) struct HuffmanTables {
    pub dc: [Option<HuffmanTable>; 4],
    pub ac: [Option<HuffmanTable>; 4],
}

impl HuffmanTables {
    /// Puts the tables of a DHT segment into their places.
    pub fn read(&mut self, segment: &Segment<'_>) -> Result<(), Error> {
        let corrupt = |what| Error::corrupt(what, segment.offset);
        let mut rest = segment.content;
        while let Some((&head, after_head)) = rest.split_first() {
            let (counts, symbols) =
                after_head.split_first_chunk::<16>().ok_or_else(|| corrupt("a Huffman table is cut"))?;
            let count = counts.iter().map(|&count| usize::from(count)).sum();
            if count > 256 {
                return Err(corrupt("a Huffman table has more than 256 codes"));
            }
            let (symbols, after) =
                symbols.split_at_checked(count).ok_or_else(|| corrupt("a Huffman table is cut"))?;
            let place = match (head >> 4, &mut self.dc, &mut self.ac) {
                (0, dc, _) => dc.get_mut(usize::from(head)),
                (1, _, ac) => ac.get_mut(usize::from(head & 15)),
                _ => None,
            };
            let place = place.ok_or_else(|| corrupt("a Huffman table's class or place is impossible"))?;
            // Differences of 8-bit samples have at most 11 bits; tables may still name the categories of
            // processes with more precision.
            if head < 16 && symbols.iter().any(|&symbol| symbol > 15) {
                return Err(corrupt("a DC difference has more bits than there can be"));
            }
            *place = Some(HuffmanTable::new(*counts, symbols).map_err(|damage| corrupt(damage.0))?);
            rest = after;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::marker::DHT;

    /// A table of these symbols for each length from 1 bit.
    pub(crate) fn table(symbols: &[&[u8]]) -> HuffmanTable {
        let mut counts = [0; 16];
        for (count, symbols) in counts.iter_mut().zip(symbols) {
            *count = symbols.len() as u8;
        }
        HuffmanTable::new(counts, &symbols.concat()).unwrap()
    }

    #[test]
    fn codes_are_assigned_in_order_of_length() {
        let table = table(&[&[], &[1, 2, 3], &[4], &[5]]);
        let codes: Vec<_> = table.codes().map(|code| (code.length, code.bits, code.symbol)).collect();
        assert_eq!(codes, [(2, 0b00, 1), (2, 0b01, 2), (2, 0b10, 3), (3, 0b110, 4), (4, 0b1110, 5)]);
        for code in table.codes() {
            let rest = (1 << (16 - code.length)) - 1;
            assert_eq!(table.find(code.bits << (16 - code.length)), Some(code));
            assert_eq!(table.find(code.bits << (16 - code.length) | rest), Some(code));
        }
        assert_eq!(table.find(0xFFFF), None);
    }

    #[test]
    fn impossible_tables_are_damage() {
        let read = |content: &[u8]| {
            HuffmanTables::default().read(&Segment { marker: DHT, offset: 0, content }).is_err()
        };
        let with = |head: u8, first: u8, symbols: &[u8]| [&[head, first], &[0; 15][..], symbols].concat();
        assert!(!read(&with(0, 1, &[7])));
        assert!(read(&with(0, 3, &[0, 1, 2])), "three codes of one bit");
        assert!(read(&with(0, 2, &[0, 1])), "a code of all ones");
        assert!(read(&with(0, 1, &[])), "no symbols");
        assert!(read(&with(4, 1, &[0])), "place 4");
        assert!(read(&with(0x20, 1, &[0])), "class 2");
        assert!(read(&with(0, 1, &[16])), "a difference of 16 bits");
        assert!(read(&[0x10, 1]), "cut");
    }
}
