//! The sequence header of an AV1 bitstream: what a decode will cost, before it begins
//! (AV1 Bitstream & Decoding Process Specification, section 5.5).

use super::boxes::damaged;
use super::container::Cicp;
use crate::Error;

/// What a sequence header says of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    pub width: u32,
    pub height: u32,
    /// More than 8 bits a sample.
    pub deep: bool,
    /// No colours.
    pub grey: bool,
    /// How numbers are colours.
    pub cicp: Cicp,
}

/// Reads the sequence headers of a bitstream, which must all be the same.
pub(super) fn read(stream: &[u8]) -> Result<Sequence, Error> {
    let mut found: Option<Sequence> = None;
    let mut rest = stream;
    while let Some((&header, after)) = rest.split_first() {
        let (kind, extended, sized) = (header >> 3 & 15, header & 4 != 0, header & 2 != 0);
        let after = if extended { after.get(1..).ok_or_else(cut)? } else { after };
        let (length, after) = if sized { leb128(after)? } else { (after.len(), after) };
        let (content, next) = after.split_at_checked(length).ok_or_else(cut)?;
        if kind == 1 {
            let sequence = Bits { bytes: content, position: 0 }.sequence().ok_or_else(cut)?;
            if found.is_some_and(|other| other != sequence) {
                return Err(damaged("its sequence headers differ"));
            }
            found = Some(sequence);
        }
        rest = next;
    }
    found.ok_or_else(|| damaged("its bitstream has no sequence header"))
}

fn cut() -> Error {
    damaged("its bitstream is cut")
}

/// A number in groups of seven bits (section 4.10.5).
fn leb128(bytes: &[u8]) -> Result<(usize, &[u8]), Error> {
    let mut value = 0_u64;
    for (n, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Ok((usize::try_from(value).map_err(|_| cut())?, &bytes[n + 1..]));
        }
    }
    Err(cut())
}

struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.position / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.position % 8) & 1);
            self.position += 1;
        }
        Some(value)
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.take(1)? == 1)
    }

    fn skip(&mut self, count: u32) -> Option<()> {
        for _ in 0..count {
            self.take(1)?;
        }
        Some(())
    }

    fn sequence(mut self) -> Option<Sequence> {
        let profile = self.take(3)?;
        self.skip(1)?; // Still picture.
        let reduced = self.flag()?;
        if reduced {
            self.skip(5)?; // Level.
        } else {
            self.operating_points()?;
        }
        let (width_bits, height_bits) = (self.take(4)? + 1, self.take(4)? + 1);
        let (width, height) = (self.take(width_bits)? + 1, self.take(height_bits)? + 1);
        if !reduced && self.flag()? {
            self.skip(7)?; // Lengths of frame numbers.
        }
        self.skip(3)?; // Superblock size, filter intra, intra edge.
        if !reduced {
            self.tools()?;
        }
        self.skip(3)?; // Super resolution, CDEF, restoration.
        let deep = self.flag()?;
        if profile == 2 && deep {
            self.skip(1)?; // Twelve bits.
        }
        let grey = profile != 1 && self.flag()?;
        Some(Sequence { width, height, deep, grey, cicp: self.colors(grey)? })
    }

    /// The rest of the colour configuration (section 5.5.2), as far as the range.
    fn colors(&mut self, grey: bool) -> Option<Cicp> {
        let [primaries, transfer, matrix] =
            if self.flag()? { [self.number()?, self.number()?, self.number()?] } else { [2; 3] };
        // sRGB without conversion has no choice of range.
        let rgb = !grey && (primaries, transfer, matrix) == (1, 13, 0);
        Some(Cicp { primaries, transfer, matrix, full_range: rgb || self.flag()? })
    }

    fn number(&mut self) -> Option<u16> {
        self.take(8).and_then(|number| u16::try_from(number).ok())
    }

    fn operating_points(&mut self) -> Option<()> {
        let mut delay_bits = None;
        if self.flag()? {
            self.skip(64)?; // Units of time.
            if self.flag()? {
                self.variable_length()?;
            }
            if self.flag()? {
                delay_bits = Some(self.take(5)? + 1);
                self.skip(42)?;
            }
        }
        let initial_delay = self.flag()?;
        for _ in 0..=self.take(5)? {
            self.skip(12)?;
            if self.take(5)? > 7 {
                self.skip(1)?; // Tier.
            }
            if let Some(bits) = delay_bits
                && self.flag()?
            {
                self.skip(2 * bits + 1)?;
            }
            if initial_delay && self.flag()? {
                self.skip(4)?;
            }
        }
        Some(())
    }

    /// A number with as many leading zeros as it has bits behind them (section 4.10.3).
    fn variable_length(&mut self) -> Option<()> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros >= 32 {
                return Some(());
            }
        }
        self.skip(zeros)
    }

    fn tools(&mut self) -> Option<()> {
        self.skip(4)?; // Compound prediction, warped motion, dual filter.
        let order_hints = self.flag()?;
        if order_hints {
            self.skip(2)?;
        }
        let screen_content = if self.flag()? { 2 } else { self.take(1)? };
        if screen_content > 0 && !self.flag()? {
            self.skip(1)?;
        }
        if order_hints {
            self.skip(3)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_without_a_sequence_header_or_cut_in_it_are_refused() {
        assert!(read(&[]).is_err());
        assert!(read(&[0x12, 0x00]).is_err(), "only a temporal delimiter");
        assert!(read(&[0x0A, 0x0A, 0x18]).is_err(), "cut");
        assert!(read(&[0x0A, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]).is_err(), "no length");
    }
}
