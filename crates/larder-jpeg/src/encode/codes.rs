//! Huffman codes for writing: the standard's examples, or the best for what was counted.

use super::standard;
use super::tokens::{Statistics, symbol, value_of};

/// A canonical code as a file defines it (T.81, section B.2.4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    /// For each length, how many codes have it.
    pub counts: [u8; 16],
    /// In order of their codes.
    pub symbols: Vec<u8>,
}

/// What to write for a symbol and the magnitude behind it.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// The code, followed by room for the magnitude, less the one that a value begins with.
    bits: u32,
    /// Of the code and the magnitude.
    length: u32,
}

/// A code for writing.
#[derive(Debug, Clone)]
pub(crate) struct Codes {
    entries: [Entry; 256],
}

impl Codes {
    pub fn new(definition: &Definition) -> Self {
        let mut entries = [Entry::default(); 256];
        let mut symbols = definition.symbols.iter();
        let mut code = 0_u32;
        for (length, &count) in (1..).zip(&definition.counts) {
            for &symbol in symbols.by_ref().take(count.into()) {
                let magnitude = u32::from(symbol & 15);
                let bits = (code << magnitude).wrapping_sub(1 << magnitude);
                entries[usize::from(symbol)] = Entry { bits, length: length + magnitude };
                code += 1;
            }
            code <<= 1;
        }
        Self { entries }
    }

    /// The bits of a token, at most 16 + 15, and their number.
    #[inline(always)]
    pub fn of(&self, token: u16) -> (u64, u32) {
        let entry = self.entries[symbol(token)];
        (entry.bits.wrapping_add(value_of(token)).into(), entry.length)
    }

    /// Bits that all uses of all symbols take.
    fn bits(&self, uses: &[u64; 256]) -> u64 {
        self.entries.iter().zip(uses).map(|(entry, uses)| u64::from(entry.length) * uses).sum()
    }
}

/// Both tables of blocks that share them.
#[derive(Debug, Clone)]
pub(crate) struct TablePair {
    pub dc: Definition,
    pub ac: Definition,
    pub dc_codes: Codes,
    pub ac_codes: Codes,
}

impl TablePair {
    fn new(dc: Definition, ac: Definition) -> Self {
        Self { dc_codes: Codes::new(&dc), ac_codes: Codes::new(&ac), dc, ac }
    }

    /// The shortest for what was counted.
    pub fn optimal(statistics: &Statistics) -> Self {
        Self::new(super::optimal::definition(&statistics.dc), super::optimal::definition(&statistics.ac))
    }

    /// The standard's examples: for luma, or for colour differences.
    pub fn standard(table: usize) -> Self {
        let [dc, ac] = standard::definitions(table);
        Self::new(dc, ac)
    }

    /// Bits that everything counted takes.
    pub fn bits(&self, statistics: &Statistics) -> u64 {
        self.dc_codes.bits(&statistics.dc) + self.ac_codes.bits(&statistics.ac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_code_and_its_magnitude() {
        let mut counts = [0; 16];
        (counts[1], counts[2]) = (2, 1);
        // 00: EOB, 01: ZRL, 100: a run of three and two bits.
        let codes = Codes::new(&Definition { counts, symbols: vec![0x00, 0xF0, 0x32] });
        assert_eq!(codes.of(0x0001), (0b00, 2));
        assert_eq!(codes.of(0xF001), (0b01, 2));
        assert_eq!(codes.of(0x3006), (0b1_0010, 5));
        let mut uses = [0; 256];
        (uses[0x00], uses[0x32]) = (7, 2);
        assert_eq!(codes.bits(&uses), 24);
    }
}
