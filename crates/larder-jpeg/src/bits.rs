//! Bits of an entropy-coded segment (T.81, sections B.1.1.5 and F.2.2.5).
//!
//! Stuffed zero bytes are removed first, into a window of some kilobytes, so that what reads the bits
//! finds them side by side and never meets a marker. The window is topped up before each MCU with all that
//! an MCU can need; only afterwards is looked whether more was taken than the segment had.

use crate::Damage;
use crate::marker::{RST0, RST7};

/// More bytes than an MCU can have: 10 blocks of 64 coefficients of at most 16 + 15 bits, or with as many
/// correction bits, and eight more that are loaded ahead.
const MCU_BYTES: usize = 4_096;

/// Bytes made ready at once: they stay in the nearest cache.
const FILL_BYTES: usize = 8_192;

const WINDOW_BYTES: usize = MCU_BYTES + FILL_BYTES + MCU_BYTES;

/// Bytes without stuffing, in order.
pub(crate) type Window = [u8; WINDOW_BYTES];

/// A position in a window, with the bits at it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    /// The next bits, first one highest. Below the `count` that are certain there may be more, which are
    /// the true ones.
    bits: u64,
    count: u32,
    /// Of the first byte that is not counted in `count`.
    position: usize,
}

impl Cursor {
    /// Makes at least 56 bits ready; beyond the window's end they are zeros.
    #[inline(always)]
    pub fn refill(&mut self, window: &Window) {
        if self.position <= WINDOW_BYTES - 8
            && let Some(next) = window[self.position..].first_chunk::<8>()
        {
            self.bits |= u64::from_be_bytes(*next) >> (self.count & 63);
            self.position += (63 - self.count as usize) >> 3;
            self.count |= 56;
        }
    }

    /// Makes at least 32 bits ready: enough for any code with its magnitude.
    #[inline(always)]
    pub fn refill_to_32(&mut self, window: &Window) {
        if self.count < 32 {
            self.refill(window);
        }
    }

    /// The next bits, first one highest.
    #[inline(always)]
    pub fn peek(&self) -> u64 {
        self.bits
    }

    /// Passes over `length` bits, at most 32, that were made ready.
    #[inline(always)]
    pub fn consume(&mut self, length: u32) {
        self.bits <<= length & 63;
        self.count = self.count.wrapping_sub(length);
    }

    /// Takes `length` bits, 1 to 16, that were made ready.
    #[inline(always)]
    pub fn take(&mut self, length: u32) -> u32 {
        let value = (self.bits >> (64 - length)) as u32;
        self.consume(length);
        value
    }

    /// Bits of the window that were taken.
    fn consumed(&self) -> usize {
        (self.position * 8).wrapping_sub(self.count as usize)
    }
}

/// Why no more bytes of a segment follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Marker,
    File,
}

/// Reads the entropy-coded segments of a scan one after another.
#[derive(Debug)]
pub(crate) struct EntropyReader<'a> {
    bytes: &'a [u8],
    /// Where the current segment begins.
    segment: usize,
    /// The next byte to bring into the window; at the end, the marker's FF.
    source: usize,
    ended: Option<End>,
    pub window: Box<Window>,
    /// How much of the window is filled.
    filled: usize,
    /// Bytes of this segment that have left the window.
    dropped: usize,
    pub cursor: Cursor,
}

impl<'a> EntropyReader<'a> {
    /// At the first byte behind a scan's header.
    pub fn new(bytes: &'a [u8], position: usize) -> Self {
        Self {
            bytes,
            segment: position,
            source: position,
            ended: None,
            window: Box::new([0; WINDOW_BYTES]),
            filled: 0,
            dropped: 0,
            cursor: Cursor::default(),
        }
    }

    /// Sees to it that an MCU can be read without looking for the window's end.
    #[inline(always)]
    pub fn prepare_mcu(&mut self) {
        if self.filled < self.cursor.position + MCU_BYTES && self.ended.is_none() {
            self.fill();
        }
    }

    #[cold]
    fn fill(&mut self) {
        // The bytes whose bits the cursor holds stay, so that what was taken can be counted.
        let first = self.cursor.position.min(self.filled).saturating_sub(8);
        self.window.copy_within(first..self.filled, 0);
        self.dropped += first;
        self.cursor.position -= first;
        self.filled -= first;
        let end = (self.filled + FILL_BYTES).min(WINDOW_BYTES - MCU_BYTES);
        while self.filled < end && self.ended.is_none() {
            self.copy_plain(end);
            if self.filled < end {
                self.copy_byte();
            }
        }
        if self.ended.is_some() {
            // What is read beyond the end is refused, but must not depend on what was here before.
            self.window[self.filled..].fill(0);
        }
    }

    /// Copies eight bytes at a time up to the first FF.
    fn copy_plain(&mut self, end: usize) {
        while self.filled + 8 <= end
            && let Some(&next) = self.bytes.get(self.source..).and_then(|rest| rest.first_chunk::<8>())
        {
            let word = u64::from_le_bytes(next);
            self.window[self.filled..self.filled + 8].copy_from_slice(&next);
            let plain = plain_bytes(word);
            self.filled += plain;
            self.source += plain;
            if plain < 8 {
                return;
            }
        }
    }

    fn copy_byte(&mut self) {
        let Some(&byte) = self.bytes.get(self.source) else {
            self.ended = Some(End::File);
            return;
        };
        if byte == 0xFF {
            let mut after = self.source + 1;
            // Fill bytes before a marker (B.1.1.2).
            while self.bytes.get(after) == Some(&0xFF) {
                after += 1;
            }
            match self.bytes.get(after) {
                Some(0) => self.source = after,
                Some(_) => self.ended = Some(End::Marker),
                None => self.ended = Some(End::File),
            }
            if self.ended.is_some() {
                return;
            }
        }
        self.window[self.filled] = byte;
        self.filled += 1;
        self.source += 1;
    }

    /// Whether more bits were taken than the segment has.
    #[inline(always)]
    pub fn is_overrun(&self) -> bool {
        self.cursor.consumed() > self.filled * 8
    }

    /// Whether the file ends within the segment that is being read, as far as it was looked at.
    pub fn is_cut(&self) -> bool {
        self.ended == Some(End::File)
    }

    /// Ends the segment: what is left of it may only be padding.
    fn finish_segment(&mut self) -> Result<(), Damage> {
        loop {
            let rest = self.cursor.consumed().div_ceil(8)..self.filled;
            if self.window.get(rest).is_some_and(|rest| rest.iter().any(|&byte| byte != 0)) {
                return Err(Damage("there is more data than MCUs"));
            }
            if self.ended.is_some() {
                return Ok(());
            }
            self.cursor = Cursor { position: self.filled, ..Cursor::default() };
            self.fill();
        }
    }

    /// Goes over the restart marker of this number, modulo 8.
    pub fn restart(&mut self, number: usize) -> Result<(), Damage> {
        self.finish_segment()?;
        let rest = &self.bytes[self.source..];
        let fill = rest.iter().take_while(|&&byte| byte == 0xFF).count();
        match rest.get(fill) {
            Some(&marker) if marker == RST0 + (number % 8) as u8 => {}
            Some(RST0..=RST7) => return Err(Damage("a restart marker is out of turn")),
            _ => return Err(Damage("a restart marker is missing")),
        }
        self.source += fill + 1;
        self.segment = self.source;
        (self.ended, self.filled, self.dropped, self.cursor) = (None, 0, 0, Cursor::default());
        Ok(())
    }

    /// Ends the scan and says where the marker behind it is.
    pub fn finish(&mut self) -> Result<usize, Damage> {
        self.finish_segment().map(|()| self.source)
    }

    /// Where in the file the next bit is.
    pub fn offset(&self) -> usize {
        let mut rest = self.dropped + (self.cursor.consumed() / 8).min(self.filled);
        let mut offset = self.segment;
        while rest > 0 && offset < self.source {
            let stuffed = self.bytes[offset] == 0xFF && self.bytes.get(offset + 1) == Some(&0);
            offset += if stuffed { 2 } else { 1 };
            rest -= 1;
        }
        offset
    }
}

/// How many of the eight bytes, lowest first, come before the first FF.
fn plain_bytes(word: u64) -> usize {
    const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    // The highest bit of each byte that is FF: all of its other bits carry into it, and it is set itself.
    let found = ((word & LOW) + 0x0101_0101_0101_0101) & word & !LOW;
    found.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(reader: &mut EntropyReader<'_>, count: usize) -> Vec<u8> {
        let mut read = Vec::new();
        for _ in 0..count {
            reader.prepare_mcu();
            reader.cursor.refill(&reader.window);
            read.push(reader.cursor.take(8) as u8);
        }
        read
    }

    #[test]
    fn stuffing_is_removed_and_offsets_still_count_it() {
        let mut bytes = Vec::new();
        let mut plain = Vec::new();
        for number in 0..50_000_u32 {
            let byte = (number.wrapping_mul(2_654_435_761) >> 24) as u8
                | if number.is_multiple_of(5) { 0xFF } else { 0 };
            plain.push(byte);
            bytes.push(byte);
            if byte == 0xFF {
                bytes.push(0);
            }
        }
        let length = bytes.len();
        bytes.extend([0xFF, 0xD9]);
        let mut reader = EntropyReader::new(&bytes, 0);
        assert_eq!(read_all(&mut reader, 20_000), plain[..20_000]);
        let stuffed = plain[..20_000].iter().filter(|&&byte| byte == 0xFF).count();
        assert_eq!(reader.offset(), 20_000 + stuffed);
        assert_eq!(read_all(&mut reader, 30_000), plain[20_000..]);
        assert!(!reader.is_overrun());
        assert_eq!(reader.finish(), Ok(length));
    }

    #[test]
    fn a_fill_while_bits_are_held_is_no_overrun() {
        let mut reader = EntropyReader::new(&[0x55; 100_000], 0);
        while reader.offset() < 90_000 {
            reader.prepare_mcu();
            reader.cursor.refill_to_32(&reader.window);
            reader.cursor.consume(1);
            assert!(!reader.is_overrun(), "at {}", reader.offset());
            reader.cursor.consume(30);
        }
    }

    #[test]
    fn reading_beyond_a_marker_gives_zeros_and_is_noticed() {
        let bytes = [1, 2, 0xFF, 0xD9, 3];
        let mut reader = EntropyReader::new(&bytes, 0);
        assert_eq!(read_all(&mut reader, 3), [1, 2, 0]);
        assert!(reader.is_overrun() && !reader.is_cut());
        let mut reader = EntropyReader::new(&bytes[..3], 0);
        read_all(&mut reader, 2);
        assert!(!reader.is_overrun() && reader.is_cut());
    }

    #[test]
    fn restart_markers_must_come_in_turn() {
        let bytes = [1, 0xFF, 0xFF, 0xD0, 2, 0xFF, 0xD3];
        let mut reader = EntropyReader::new(&bytes, 0);
        read_all(&mut reader, 1);
        reader.restart(8).unwrap();
        assert_eq!(read_all(&mut reader, 1), [2]);
        assert!(reader.clone_for_test().restart(1).is_err());
        assert!(reader.restart(3).is_ok());
    }

    #[test]
    fn data_left_at_the_end_is_damage_unless_it_is_padding() {
        for (tail, is_fine) in [(&[0, 0, 0xFF, 0xD9][..], true), (&[0, 1, 0xFF, 0xD9], false)] {
            let bytes = [&[7], tail].concat();
            let mut reader = EntropyReader::new(&bytes, 0);
            read_all(&mut reader, 1);
            assert_eq!(reader.finish().is_ok(), is_fine);
        }
    }

    #[test]
    fn plain_bytes_ends_at_the_first_ff() {
        assert_eq!(plain_bytes(u64::from_le_bytes([0xFE, 0x7F, 0x80, 0, 1, 0xFE, 0xFE, 0xFE])), 8);
        assert_eq!(plain_bytes(u64::from_le_bytes([0xFE, 0x7F, 0x80, 0xFF, 0xFF, 0, 0, 0])), 3);
        assert_eq!(plain_bytes(u64::MAX), 0);
    }

    impl EntropyReader<'_> {
        fn clone_for_test(&self) -> Self {
            Self { window: self.window.clone(), ..*self }
        }
    }
}
