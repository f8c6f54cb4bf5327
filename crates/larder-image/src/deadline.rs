//! Time as a limit: decoders read through a reader that fails after the deadline.

use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use crate::Error;

/// The instant after which work on a file stops.
///
/// Decoders read their input through a reader that fails then; loops over rows and frames ask as
/// well. A step that can do neither (an encoder of a single frame) is bounded by its pixels.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// The instant `duration` from now.
    pub fn after(duration: Duration) -> Self {
        let now = Instant::now();
        // A duration beyond what the clock can express is a day: nobody waits longer.
        Self(now.checked_add(duration).unwrap_or(now + Duration::from_secs(86_400)))
    }

    /// Whether the instant has passed.
    pub fn expired(&self) -> bool {
        Instant::now() >= self.0
    }

    /// The time that is left.
    pub(crate) fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// `Err(TimedOut)` once the instant has passed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.expired() { Err(Error::TimedOut) } else { Ok(()) }
    }
}

/// Bytes that a decoder gets between two looks at the clock, where each call counts as some bytes
/// too. 16 KiB: about a millisecond of a decoder's work, so that the deadline holds, and enough that
/// the look costs nothing to a decoder that reads four bytes at a time.
const STRIDE_BYTES: usize = 16_384;

/// What a call counts as, whatever it reads, so that a decoder that seeks to and fro is stopped too.
const CALL_BYTES: usize = 16;

/// Bytes in memory that cannot be read any more once the deadline has passed.
#[derive(Debug)]
pub(crate) struct DeadlineReader<'a> {
    bytes: &'a [u8],
    position: usize,
    deadline: Deadline,
    /// Bytes until the next look at the clock.
    credit: usize,
}

impl<'a> DeadlineReader<'a> {
    pub(crate) fn new(bytes: &'a [u8], deadline: Deadline) -> Self {
        Self { bytes, position: 0, deadline, credit: 0 }
    }
}

impl Read for DeadlineReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for DeadlineReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.credit == 0 {
            if self.deadline.expired() {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            self.credit = STRIDE_BYTES;
        }
        self.credit = self.credit.saturating_sub(CALL_BYTES);
        let rest = &self.bytes[self.position.min(self.bytes.len())..];
        Ok(&rest[..rest.len().min(STRIDE_BYTES)])
    }

    fn consume(&mut self, amount: usize) {
        self.position = self.position.saturating_add(amount);
        self.credit = self.credit.saturating_sub(amount);
    }
}

impl Seek for DeadlineReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => i128::from(offset),
            SeekFrom::End(offset) => self.bytes.len() as i128 + i128::from(offset),
            SeekFrom::Current(offset) => self.position as i128 + i128::from(offset),
        };
        self.position = usize::try_from(target).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_after_the_deadline_fails() {
        let mut reader = DeadlineReader::new(b"abc", Deadline::after(Duration::ZERO));
        assert_eq!(reader.read(&mut [0; 3]).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn reading_before_the_deadline_gives_every_byte_once() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
        let mut reader = DeadlineReader::new(&bytes, Deadline::after(Duration::from_secs(60)));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
    }

    #[test]
    fn seeking_before_the_first_byte_is_refused_and_beyond_the_last_reads_nothing() {
        let mut reader = DeadlineReader::new(b"abc", Deadline::after(Duration::from_secs(60)));
        assert!(reader.seek(SeekFrom::Current(-1)).is_err());
        reader.seek(SeekFrom::End(5)).unwrap();
        assert_eq!(reader.read(&mut [0; 3]).unwrap(), 0);
    }

    #[test]
    fn a_deadline_beyond_the_clock_is_no_panic() {
        assert!(!Deadline::after(Duration::MAX).expired());
    }
}
