//! What the blocks of a scan say, before the codes are known: about as much as the coefficients at worst, and
//! of a photo less than a quarter.
//!
//! A block is the number of its tokens, then these. A token's upper four bits are a run of zeros, the others
//! a value: a one, and behind it the bits of its magnitude (T.81, sections F.1.2.1 and F.1.2.2), so that its
//! highest bit tells their number. The first token is the DC difference; a run of 15 without a value is ZRL,
//! one of none without a value is EOB.

/// Numbers that a block takes at most: its count, DC, and 63 coefficients, or fewer with an EOB.
pub(crate) const BLOCK_MAX: usize = 1 + 64;

/// What a block may write to: a power of two, so that an index can be masked into it.
const ROOM: usize = 128;

/// Numbers of a chunk: 64 KiB, which allocators hold ready. Growing one long list would copy it, and hold
/// it twice.
pub(crate) const CHUNK: usize = 1 << 15;

/// Uses of each symbol by the blocks that share tables: DC, AC.
#[derive(Debug, Clone)]
pub(crate) struct Statistics {
    pub dc: [u64; 256],
    pub ac: [u64; 256],
}

impl Statistics {
    pub fn new() -> Self {
        Self { dc: [0; 256], ac: [0; 256] }
    }
}

/// The blocks of a scan in the order of coding.
#[derive(Debug)]
pub(crate) struct Tokens {
    chunks: Vec<Vec<u16>>,
    /// The last one, all zeros from `length` on.
    chunk: Vec<u16>,
    length: usize,
}

impl Tokens {
    /// For so many blocks.
    pub fn new(blocks: usize) -> Self {
        // A small picture takes no whole chunk.
        let first = blocks.saturating_mul(BLOCK_MAX).saturating_add(ROOM).min(CHUNK);
        Self { chunks: Vec::new(), chunk: vec![0; first], length: 0 }
    }

    /// Adds a block's difference of DC and its coefficients in zig-zag order, of which those with a bit in
    /// `present` are other than zero.
    #[inline(always)]
    pub fn push(
        &mut self,
        difference: i32,
        coefficients: &[i16; 64],
        present: u64,
        statistics: &mut Statistics,
    ) {
        self.length += fill(self.room(), difference, coefficients, present, statistics);
    }

    /// Adds a block that is like the one before it: one that only fills an MCU.
    pub fn push_same(&mut self, statistics: &mut Statistics) {
        self.push(0, &[0; 64], 0, statistics);
    }

    #[inline(always)]
    fn room(&mut self) -> &mut [u16; ROOM] {
        if self.chunk.len() - self.length < ROOM {
            self.next_chunk();
        }
        let Some(room) = self.chunk[self.length..].first_chunk_mut() else {
            unreachable!("a chunk has room for a block")
        };
        room
    }

    #[cold]
    fn next_chunk(&mut self) {
        let mut full = std::mem::replace(&mut self.chunk, vec![0; CHUNK]);
        full.truncate(self.length);
        self.chunks.push(full);
        self.length = 0;
    }

    /// The numbers of whole blocks, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u16]> {
        self.chunks.iter().map(Vec::as_slice).chain([&self.chunk[..self.length]])
    }
}

/// Writes a block, and tells how many numbers it takes.
///
/// Not inlined: these loops need all registers.
#[inline(never)]
fn fill(
    room: &mut [u16; ROOM],
    difference: i32,
    coefficients: &[i16; 64],
    present: u64,
    statistics: &mut Statistics,
) -> usize {
    let (dc, bits) = value(difference);
    room[1] = dc;
    statistics.dc[bits as usize & 15] += 1;
    let uses = &mut statistics.ac;
    let mut count = 2;
    let mut present = present & !1;
    let mut next = 1;
    while present != 0 {
        let index = present.trailing_zeros();
        present &= present - 1;
        let mut run = index - next;
        next = index + 1;
        while run > 15 {
            room[count & (ROOM - 1)] = ZRL;
            count += 1;
            uses[0xF0] += 1;
            run -= 16;
        }
        let (value, bits) = value(coefficients[index as usize & 63].into());
        room[count & (ROOM - 1)] = (run << 12) as u16 | value;
        count += 1;
        uses[(run << 4 | bits) as usize & 255] += 1;
    }
    if next < 64 {
        room[count & (ROOM - 1)] = EOB;
        count += 1;
        uses[0x00] += 1;
    }
    room[0] = count as u16 - 1;
    count
}

const ZRL: u16 = 0xF001;
const EOB: u16 = 0x0001;

/// A one, and behind it the magnitude's bits; and their number. Without branches: signs can't be foreseen.
#[inline(always)]
fn value(number: i32) -> (u16, u32) {
    let sign = number >> 31;
    let bits = bits_of(number.unsigned_abs());
    let one = 1 << bits;
    // The bits of a negative number are those of the positive one, each inverted.
    ((one | (number + sign) & (one - 1)) as u16, bits)
}

/// Bits of a magnitude (T.81, table F.1).
#[inline(always)]
fn bits_of(magnitude: u32) -> u32 {
    ((2 * magnitude) | 1).ilog2()
}

/// A token's value: a one, and behind it the magnitude's bits.
#[inline(always)]
pub(crate) fn value_of(token: u16) -> u32 {
    u32::from(token & 0xFFF)
}

/// The symbol of a token: the run of zeros, and the number of the magnitude's bits.
#[inline(always)]
pub(crate) fn symbol(token: u16) -> usize {
    usize::from(token >> 8 & 0xF0) | (value_of(token) | 1).ilog2() as usize
}

/// Bytes that the tokens of so many blocks take at most.
pub(crate) fn bytes(blocks: u64) -> u64 {
    let numbers = blocks * BLOCK_MAX as u64;
    // The end of each chunk may be too short for a block.
    let full = numbers / (CHUNK - ROOM) as u64;
    let last = (numbers + ROOM as u64).min(CHUNK as u64);
    // The list of chunks doubles when it grows, from four.
    let list = 3 * (full + 4) * size_of::<Vec<u16>>() as u64;
    2 * (full * CHUNK as u64 + last) + list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_magnitude_behind_a_one() {
        // T.81, table F.1 and section F.1.2.1.2.
        let values = [0, 1, -1, 2, 3, -2, -3].map(|number| value(number).0);
        assert_eq!(values, [1, 0b11, 0b10, 0b110, 0b111, 0b101, 0b100]);
        assert_eq!(value(2047), (0xFFF, 11));
        assert_eq!(value(-2047), (0x800, 11));
        for number in -2047..=2047_i32 {
            let (value, bits) = value(number);
            assert_eq!(bits, 32 - number.unsigned_abs().leading_zeros());
            assert_eq!(symbol(value), bits as usize);
        }
    }

    #[test]
    fn long_runs_are_counted_in_sixteens_and_the_end_is_told() {
        let (mut tokens, mut statistics) = (Tokens::new(2), Statistics::new());
        let mut block = [0; 64];
        (block[1], block[40]) = (5, -1);
        tokens.push(-3, &block, 1 << 1 | 1 << 40, &mut statistics);
        block[63] = 1;
        tokens.push(0, &block, 1 << 63, &mut statistics);
        let found: Vec<u16> = tokens.chunks().flatten().copied().collect();
        let first = [6, 0x0004, 0x000D, ZRL, ZRL, 0x6002, EOB];
        let second = [5, 0x0001, ZRL, ZRL, ZRL, 0xE003];
        assert_eq!(found, [&first[..], &second].concat());
        assert_eq!((statistics.dc[2], statistics.dc[0]), (1, 1));
        assert_eq!([0xF0, 0x61, 0x03, 0x00, 0xE1].map(|at: usize| statistics.ac[at]), [5, 1, 1, 1, 1]);
    }

    #[test]
    fn chunks_hold_whole_blocks() {
        let blocks = 3 * CHUNK / BLOCK_MAX;
        let (mut tokens, mut statistics) = (Tokens::new(blocks), Statistics::new());
        for _ in 0..blocks {
            tokens.push(1, &[1; 64], u64::MAX, &mut statistics);
        }
        assert!(tokens.chunks().count() > 2);
        let mut found = 0;
        for chunk in tokens.chunks() {
            assert!(chunk.chunks(BLOCK_MAX).all(|block| block.len() == BLOCK_MAX && block[0] == 64));
            found += chunk.len() / BLOCK_MAX;
        }
        assert_eq!(found, blocks);
    }
}
