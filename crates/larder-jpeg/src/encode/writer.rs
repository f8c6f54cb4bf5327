//! Bits of an entropy-coded segment, with stuffed zeros (T.81, section B.1.1.5).

use super::codes::TablePair;

/// Bytes that the writer may need beyond what it wrote: eight at once, each followed by a zero.
pub(crate) const SLACK: usize = 16;

/// Bits that wait to be written.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// The first one is highest among the `64 - free` lowest.
    bits: u64,
    free: u32,
}

/// Writes bits to bytes that are there already, and are enough.
#[derive(Debug)]
pub(crate) struct BitWriter<'f> {
    file: &'f mut [u8],
    /// Of the next byte to write.
    position: usize,
    waiting: Waiting,
}

impl<'f> BitWriter<'f> {
    /// Writes from the start of `file`, which has [`SLACK`] more bytes than will be written.
    pub fn new(file: &'f mut [u8]) -> Self {
        Self { file, position: 0, waiting: Waiting { bits: 0, free: 64 } }
    }

    /// Writes a block: its DC difference and the tokens behind it.
    ///
    /// Not inlined: its loop needs all registers.
    #[inline(never)]
    pub fn put_block(&mut self, dc: u16, ac: &[u16], tables: &TablePair) {
        let mut waiting = self.waiting;
        let (bits, length) = tables.dc_codes.of(dc);
        self.put(&mut waiting, bits, length);
        for &token in ac {
            let (bits, length) = tables.ac_codes.of(token);
            self.put(&mut waiting, bits, length);
        }
        self.waiting = waiting;
    }

    /// Writes the lowest `length` bits, at most 32; those above are zeros.
    #[inline(always)]
    fn put(&mut self, waiting: &mut Waiting, bits: u64, length: u32) {
        let Waiting { bits: before, free } = *waiting;
        if length <= free {
            *waiting = Waiting { bits: before << (length & 63) | bits, free: free - length };
        } else {
            let over = length - free;
            self.write(before << (free & 63) | bits >> (over & 63));
            // What was written already stays above; it is shifted out before it would be seen.
            *waiting = Waiting { bits, free: 64 - over };
        }
    }

    /// Eight bytes, first one highest.
    #[inline(always)]
    fn write(&mut self, full: u64) {
        // A byte is 0xFF if its highest bit is set and adding one to it carries into that bit's place.
        let ones = full & 0x8080_8080_8080_8080 & !full.wrapping_add(0x0101_0101_0101_0101);
        let bytes = full.to_be_bytes();
        if ones == 0 {
            self.file[self.position..][..8].copy_from_slice(&bytes);
            self.position += 8;
        } else {
            self.write_stuffed(bytes);
        }
    }

    #[cold]
    #[inline(never)]
    fn write_stuffed(&mut self, bytes: [u8; 8]) {
        bytes.into_iter().for_each(|byte| self.write_byte(byte));
    }

    fn write_byte(&mut self, byte: u8) {
        self.file[self.position] = byte;
        self.position += 1;
        if byte == 0xFF {
            self.file[self.position] = 0;
            self.position += 1;
        }
    }

    /// Fills the last byte with ones (T.81, section F.1.2.3), and tells how many bytes were written.
    pub fn finish(mut self) -> usize {
        let mut waiting = self.waiting;
        let filler = waiting.free % 8;
        self.put(&mut waiting, (1 << filler) - 1, filler);
        let bytes = (64 - waiting.free) as usize / 8;
        let rest = waiting.bits << (waiting.free & 63);
        rest.to_be_bytes().into_iter().take(bytes).for_each(|byte| self.write_byte(byte));
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit for bit.
    fn plain(parts: &[(u64, u32)]) -> Vec<u8> {
        let mut bits: Vec<u8> = parts
            .iter()
            .flat_map(|&(bits, length)| (0..length).rev().map(move |at| (bits >> at & 1) as u8))
            .collect();
        bits.resize(bits.len().next_multiple_of(8), 1);
        let bytes = bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit));
        bytes.flat_map(|byte| if byte == 0xFF { vec![0xFF, 0] } else { vec![byte] }).collect()
    }

    fn written(parts: &[(u64, u32)]) -> Vec<u8> {
        let mut file = vec![0; 2 * plain(parts).len() + SLACK];
        let mut writer = BitWriter::new(&mut file);
        let mut waiting = writer.waiting;
        parts.iter().for_each(|&(bits, length)| writer.put(&mut waiting, bits, length));
        writer.waiting = waiting;
        let length = writer.finish();
        file.truncate(length);
        file
    }

    #[test]
    fn bits_come_in_order_and_ones_are_stuffed() {
        let mut state = 1_u64;
        for round in 0..3_000 {
            let parts: Vec<_> = (0..round % 97)
                .map(|index| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let length = (state >> 40) as u32 % 32 + u32::from(index % 3 == 0);
                    let bits = if round % 4 == 0 { u64::MAX } else { state >> 13 };
                    (bits & ((1 << length) - 1), length)
                })
                .collect();
            assert_eq!(written(&parts), plain(&parts), "round {round}");
        }
    }

    #[test]
    fn a_last_byte_is_filled_with_ones() {
        assert_eq!(written(&[(0b101, 3)]), [0b1011_1111]);
        assert_eq!(written(&[(0b1, 1)]), [0xFF, 0]);
        assert_eq!(written(&[(0, 32), (5, 32)]), [0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(written(&[]), []);
    }
}
