//! Look-up tables made of a Huffman code for one scan.
//!
//! [`ValueTable`] answers with a whole coefficient: run of zeros, value, and how many bits code and
//! magnitude took together. [`SkipTable`] only says how far a few coefficients reach, which is all that a
//! decode at 1/8 wants of them.

use crate::huffman::{Code, HuffmanTable};

/// Bits that index a [`ValueTable`]: tables of 8 KiB, of which the four that a picture uses fit into the
/// nearest cache, and which hold most coefficients of photos whole.
const VALUE_BITS: u32 = 11;

/// Bits that index a [`SkipTable`]: tables of 16 KiB, which hold two or three coefficients of most places.
const SKIP_BITS: u32 = 13;

/// The run of an end of block: beyond any band.
pub(crate) const END_OF_BLOCK: u32 = 64;

/// A symbol's meaning in AC coding: `RRRRSSSS` (T.81, section F.1.2.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// The symbol is the category of a difference, of values without their `low` lowest bits.
    Dc { low: u8 },
    /// Run and category; 0 ends the block, 0xF0 is 16 zeros.
    SequentialAc,
    /// Run and category, of values without their `low` lowest bits; with category 0, runs to 14 end a number of
    /// blocks (section G.1.2.2).
    ProgressiveAc { low: u8 },
}

impl Coding {
    /// The largest category that 8-bit samples can give: coefficients have 10 bits and a sign, differences of
    /// DC one more (tables F.1 and F.2). Tables may name larger ones, but only damage uses them.
    fn category_max(self) -> u32 {
        match self {
            // Shifted to the right, a negative value remains one.
            Self::Dc { low } => 11_u32.saturating_sub(low.into()).max(1),
            Self::SequentialAc => 10,
            Self::ProgressiveAc { low } => 10_u32.saturating_sub(low.into()),
        }
    }
}

/// What a look-up found: a coefficient, or else the code that its magnitude follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(u32);

impl Entry {
    /// For a code that is longer than the index, or none.
    const UNKNOWN: Self = Self(0);

    fn whole(length: u32, run: u32, value: i16) -> Self {
        Self(length | run << 8 | u32::from(value as u16) << 16)
    }

    fn code_only(code: Code) -> Self {
        Self(code.length << 8 | u32::from(code.symbol) << 16)
    }

    /// Bits of code and magnitude; 0 if the entry does not hold the whole coefficient.
    #[inline(always)]
    pub fn length(self) -> u32 {
        self.0 & 0xFF
    }

    /// Zeros before the value; [`END_OF_BLOCK`] if there is none.
    #[inline(always)]
    pub fn run(self) -> u32 {
        (self.0 >> 8) & 0xFF
    }

    #[inline(always)]
    pub fn value(self) -> i16 {
        (self.0 >> 16) as i16
    }

    /// Of an entry that is not whole: bits of the code, 0 if it is unknown, and the symbol.
    #[inline(always)]
    fn code(self) -> (u32, u8) {
        ((self.0 >> 8) & 0xFF, (self.0 >> 16) as u8)
    }
}

/// Whole coefficients by the bits that begin with their code.
#[derive(Debug, Clone)]
pub(crate) struct ValueTable {
    entries: Box<[Entry; 1 << VALUE_BITS]>,
    long: LongCodes,
    /// The largest category that an entry holds whole, and that may follow a code of any other.
    pub category_max: u32,
}

impl ValueTable {
    pub fn new(huffman: &HuffmanTable, coding: Coding) -> Self {
        let mut entries = Box::new([Entry::UNKNOWN; 1 << VALUE_BITS]);
        for code in huffman.codes().take_while(|code| code.length <= VALUE_BITS) {
            let rest_bits = VALUE_BITS - code.length;
            let first = (code.bits << rest_bits) as usize;
            for (rest, entry) in entries[first..].iter_mut().take(1 << rest_bits).enumerate() {
                *entry = whole(code, coding, rest as u32, rest_bits).unwrap_or(Entry::code_only(code));
            }
        }
        Self { entries, long: LongCodes::new(huffman), category_max: coding.category_max() }
    }

    /// The entry for the first of `bits`.
    #[inline(always)]
    pub fn get(&self, bits: u64) -> Entry {
        self.entries[(bits >> (64 - VALUE_BITS)) as usize]
    }

    /// Length and symbol of the code that `bits` begin with, for which `entry` was found.
    #[inline(always)]
    pub fn code(&self, entry: Entry, bits: u64) -> Option<(u32, u8)> {
        match entry.code() {
            (0, _) => self.long.find(bits),
            code => Some(code),
        }
    }
}

/// Codes that are longer than the index of a table: in one more table, since in a canonical code they follow
/// all shorter ones.
#[derive(Debug, Clone)]
struct LongCodes {
    /// The 16 bits that the first of them begins with.
    first: u32,
    /// Length and symbol for each 16 bits from there, as far as they fit; length 0 for no code.
    entries: Vec<(u8, u8)>,
    huffman: HuffmanTable,
}

impl LongCodes {
    /// The long codes of the usual tables begin less than 200 values of 16 bits before the last; a table
    /// where short ones leave more is searched beyond these.
    const ENTRIES_MAX: usize = 1_024;

    fn new(huffman: &HuffmanTable) -> Self {
        let first = huffman.limit(VALUE_BITS);
        let entries = (first..1 << 16)
            .take(Self::ENTRIES_MAX)
            .map(|bits| huffman.find(bits).map_or((0, 0), |code| (code.length as u8, code.symbol)));
        Self { first, entries: entries.collect(), huffman: huffman.clone() }
    }

    #[inline(always)]
    fn find(&self, bits: u64) -> Option<(u32, u8)> {
        let bits = (bits >> 48) as u32;
        match self.entries.get(bits.wrapping_sub(self.first) as usize) {
            Some((0, _)) => None,
            Some(&(length, symbol)) => Some((length.into(), symbol)),
            None => self.search(bits),
        }
    }

    #[cold]
    #[inline(never)]
    fn search(&self, bits: u32) -> Option<(u32, u8)> {
        self.huffman.find(bits).map(|code| (code.length, code.symbol))
    }
}

/// The entry for `code` followed by `rest`, if that holds its whole magnitude.
fn whole(code: Code, coding: Coding, rest: u32, rest_bits: u32) -> Option<Entry> {
    let (run, category) = match coding {
        Coding::Dc { .. } => (0, u32::from(code.symbol)),
        _ => (u32::from(code.symbol >> 4), u32::from(code.symbol & 15)),
    };
    match (coding, run, category) {
        (Coding::Dc { .. }, _, 0) => Some(Entry::whole(code.length, 0, 0)),
        (_, 0, 0) => Some(Entry::whole(code.length, END_OF_BLOCK, 0)),
        // Sixteen zeros are fifteen and a value of zero.
        (_, 15, 0) => Some(Entry::whole(code.length, 15, 0)),
        (_, _, 0) => None,
        _ if category > rest_bits.min(coding.category_max()) => None,
        _ => {
            let value = extend(rest >> (rest_bits - category), category);
            Some(Entry::whole(code.length + category, run, value as i16))
        }
    }
}

/// A value by its category and the bits after its code (T.81, section F.2.2.1, EXTEND).
#[inline(always)]
pub(crate) fn extend(bits: u32, category: u32) -> i32 {
    let bits = bits as i32;
    if bits >> (category - 1) == 0 { bits - (1 << category) + 1 } else { bits }
}

/// What a few AC coefficients take together: bits and places in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skip(u16);

impl Skip {
    const ENDS: u16 = 0x8000;

    /// Bits; 0 if not even one coefficient fits.
    pub fn length(self) -> u32 {
        u32::from(self.0 & 0xFF)
    }

    /// Places before the end of the block, or in all.
    pub fn places(self) -> u32 {
        u32::from(self.0 >> 8 & 0x7F)
    }

    pub fn ends_block(self) -> bool {
        self.0 & Self::ENDS != 0
    }
}

/// The most bits that a [`Skip`] stands for, so that three of them are fewer than a refill gives.
const SKIP_LENGTH_MAX: u32 = 18;

/// How far the coefficients reach whose codes some bits hold.
#[derive(Debug, Clone)]
pub(crate) struct SkipTable {
    entries: Box<[Skip; 1 << SKIP_BITS]>,
    singles: ValueTable,
}

/// A coefficient, as far as it is skipped.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// Bits of its code; 0 if it is unknown or has no meaning.
    code: u32,
    /// Bits of code and magnitude.
    length: u32,
    places: u32,
    ends_block: bool,
}

impl SkipTable {
    pub fn new(huffman: &HuffmanTable) -> Self {
        // Single coefficients first, so that each index is a walk of a few steps.
        let mut steps = vec![Step::default(); 1 << SKIP_BITS];
        for code in huffman.codes().take_while(|code| code.length <= SKIP_BITS) {
            let (run, category) = (u32::from(code.symbol >> 4), u32::from(code.symbol & 15));
            let has_no_meaning = category == 0 && (1..=14).contains(&run);
            if has_no_meaning || category > Coding::SequentialAc.category_max() {
                continue;
            }
            let ends_block = code.symbol == 0;
            let places = if ends_block { 0 } else { run + 1 };
            let step = Step { code: code.length, length: code.length + category, places, ends_block };
            let rest_bits = SKIP_BITS - code.length;
            let first = (code.bits << rest_bits) as usize;
            steps[first..first + (1 << rest_bits)].fill(step);
        }
        let mut entries = Box::new([Skip(0); 1 << SKIP_BITS]);
        for (bits, entry) in entries.iter_mut().enumerate() {
            *entry = walk(&steps, bits);
        }
        Self { entries, singles: ValueTable::new(huffman, Coding::SequentialAc) }
    }

    /// The entry for the first of `bits`.
    #[inline(always)]
    pub fn get(&self, bits: u64) -> Skip {
        self.entries[(bits >> (64 - SKIP_BITS)) as usize]
    }

    /// The table of single coefficients.
    pub fn singles(&self) -> &ValueTable {
        &self.singles
    }
}

/// Adds up the steps whose codes `bits` hold, until the block ends or must be full.
fn walk(steps: &[Step], bits: usize) -> Skip {
    let (mut length, mut places) = (0, 0);
    loop {
        let step = steps.get((bits << length) & (steps.len() - 1)).copied().unwrap_or_default();
        let is_held = step.code > 0 && length + step.code <= SKIP_BITS;
        if !is_held || length + step.length > SKIP_LENGTH_MAX || places + step.places > 63 {
            return Skip((places << 8 | length) as u16);
        }
        (length, places) = (length + step.length, places + step.places);
        if step.ends_block {
            return Skip(Skip::ENDS | (places << 8 | length) as u16);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unusual_byte_groupings, reason = "bits are grouped as codes and magnitudes")]
mod tests {
    use super::*;
    use crate::huffman::tests::table;

    fn top(bits: u64, length: u32) -> u64 {
        bits << (64 - length)
    }

    #[test]
    fn a_coefficient_is_found_whole() {
        // 0: end of block, 10: one zero then a category of 3, 110: sixteen zeros, 1110: category 10.
        let table = ValueTable::new(&table(&[&[0], &[0x13], &[0xF0], &[0x0A]]), Coding::SequentialAc);
        assert_eq!(table.get(0), Entry::whole(1, END_OF_BLOCK, 0));
        assert_eq!(table.get(top(0b10_101, 5)), Entry::whole(5, 1, 5));
        assert_eq!(table.get(top(0b10_010, 5)), Entry::whole(5, 1, -5));
        assert_eq!(table.get(top(0b110, 3)), Entry::whole(3, 15, 0));
        assert_eq!(table.get(top(0b1110, 4)).length(), 0, "14 bits are more than the index has");
        assert_eq!(table.code(table.get(top(0b1110, 4)), top(0b1110, 4)), Some((4, 0x0A)));
        assert_eq!(table.code(table.get(u64::MAX), u64::MAX), None);
    }

    #[test]
    fn long_codes_are_found_wherever_they_begin() {
        // One code of each length: the long ones are few. Only one of 16 bits: they fill the space.
        let symbols: Vec<_> = (1..=16_u8).map(|symbol| [symbol]).collect();
        let lengths: Vec<&[u8]> = symbols.iter().map(|symbol| &symbol[..]).collect();
        let table = ValueTable::new(&table(&lengths), Coding::SequentialAc);
        let bits = 0b1111_1111_1111_1110 << 48;
        assert_eq!(table.code(table.get(bits), bits), Some((16, 16)));
        let mut alone = vec![&[][..]; 15];
        alone.push(&[3, 4]);
        let table = ValueTable::new(&self::table(&alone), Coding::SequentialAc);
        assert_eq!(table.code(table.get(1 << 48), 1 << 48), Some((16, 4)));
        assert_eq!(table.code(table.get(2 << 48), 2 << 48), None);
        assert_eq!(table.code(table.get(9_999 << 48), 9_999 << 48), None);
    }

    #[test]
    fn only_progressive_coding_has_runs_of_ended_blocks() {
        let huffman = table(&[&[0x20]]);
        for coding in [Coding::SequentialAc, Coding::ProgressiveAc { low: 0 }] {
            assert_eq!(ValueTable::new(&huffman, coding).get(0).length(), 0);
        }
        assert_eq!(SkipTable::new(&huffman).get(0).length(), 0);
    }

    #[test]
    fn categories_beyond_those_of_8_bits_are_not_held() {
        let limit = |coding| {
            let holds = |category: &u8| {
                whole(Code { length: 1, bits: 0, symbol: *category }, coding, 0, 16).is_some()
            };
            (1..=15).take_while(holds).last().unwrap_or(0)
        };
        assert_eq!(limit(Coding::SequentialAc), 10);
        assert_eq!([0, 3, 10, 13].map(|low| limit(Coding::ProgressiveAc { low })), [10, 7, 0, 0]);
        assert_eq!([0, 3, 10, 13].map(|low| limit(Coding::Dc { low })), [11, 8, 1, 1]);
        assert_eq!(SkipTable::new(&table(&[&[0x0A]])).get(0).places(), 1);
        assert_eq!(SkipTable::new(&table(&[&[0x0B]])).get(0).length(), 0);
    }

    #[test]
    fn several_coefficients_are_skipped_at_once() {
        let table = SkipTable::new(&table(&[&[0], &[0x13], &[0xF0]]));
        let skip = table.get(top(0b10_101_10_111_0_11, 13));
        assert_eq!((skip.length(), skip.places(), skip.ends_block()), (11, 4, true));
        // The last coefficient's magnitude is not needed to skip it.
        let skip = table.get(top(0b110_110_10_111_10, 13));
        assert_eq!((skip.length(), skip.places(), skip.ends_block()), (16, 36, false));
        // Four times sixteen zeros are more than a block has.
        let skip = table.get(top(0b110_110_110_110_1, 13));
        assert_eq!((skip.length(), skip.places(), skip.ends_block()), (9, 48, false));
    }

    #[test]
    fn extend_follows_the_standard() {
        assert_eq!([extend(0, 1), extend(1, 1), extend(0, 3), extend(4, 3), extend(7, 3)], [-1, 1, -7, 4, 7]);
    }
}
