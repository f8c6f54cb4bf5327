//! Why a file was refused, and where in it.

use std::fmt;

/// Where in a file something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Bytes from the start of the file. Within a scan: of the first byte that was not yet decoded.
    pub offset: usize,
    /// The scan, counted from 0; `None` outside of scans.
    pub scan: Option<usize>,
    /// The row of MCUs within that scan, counted from 0.
    pub mcu_row: Option<usize>,
}

impl Location {
    pub(crate) fn at(offset: usize) -> Self {
        Self { offset, scan: None, mcu_row: None }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}", self.offset)?;
        if let Some(scan) = self.scan {
            write!(f, ", scan {scan}")?;
        }
        if let Some(row) = self.mcu_row {
            write!(f, ", MCU row {row}")?;
        }
        Ok(())
    }
}

/// A kind of JPEG that is well-formed but that this crate does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsupported {
    /// Arithmetic entropy coding (SOF9 to SOF15, DAC).
    Arithmetic,
    /// The lossless process (SOF3).
    Lossless,
    /// Hierarchical files of several frames (SOF5 to SOF7, DHP, EXP).
    Hierarchical,
    /// Samples of another precision than 8 bits.
    Precision(u8),
    /// A height that only a DNL marker after the first scan tells.
    HeightByDnl,
    /// Another number of components than 1 to 4.
    Components(u8),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arithmetic => f.write_str("arithmetic coding"),
            Self::Lossless => f.write_str("the lossless process"),
            Self::Hierarchical => f.write_str("the hierarchical process"),
            Self::Precision(bits) => write!(f, "a precision of {bits} bits"),
            Self::HeightByDnl => f.write_str("a height told by a DNL marker"),
            Self::Components(count) => write!(f, "{count} components"),
        }
    }
}

/// Why a file was refused. A variant is what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It does not begin with SOI: it is something else.
    NotJpeg,
    /// A kind of JPEG that this crate does not decode: convert it.
    Unsupported(Unsupported),
    /// The bytes end before the picture does: send the file again.
    Truncated(Location),
    /// Damaged: send the file again.
    Corrupt {
        /// What is wrong, in a few words.
        what: &'static str,
        /// Where it was noticed, which is at or after the damage.
        at: Location,
    },
    /// More than a limit allows: raise it or send a smaller picture.
    LimitExceeded {
        /// The limited quantity: the name of a field of [`Limits`](crate::Limits).
        what: &'static str,
        /// How much the file has, or would take.
        found: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// The caller's interrupt asked to stop.
    Interrupted(Location),
}

impl Error {
    pub(crate) fn corrupt(what: &'static str, offset: usize) -> Self {
        Self::Corrupt { what, at: Location::at(offset) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJpeg => f.write_str("not a JPEG: it does not begin with FF D8"),
            Self::Unsupported(kind) => write!(f, "JPEG with {kind} is not supported"),
            Self::Truncated(at) => write!(f, "the file is cut: it ends at {at}"),
            Self::Corrupt { what, at } => write!(f, "{what} ({at})"),
            Self::LimitExceeded { what, found, limit } => {
                write!(f, "{what}: {found} is more than the limit of {limit}")
            }
            Self::Interrupted(at) => write!(f, "interrupted at {at}"),
        }
    }
}

impl std::error::Error for Error {}

/// What a decoding step found wrong; the loop around it knows where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage(pub &'static str);

impl Damage {
    pub(crate) const NO_CODE: Self = Self("no Huffman code begins with these bits");
    pub(crate) const BEYOND_BAND: Self = Self("a coefficient lies beyond the end of its band");
    pub(crate) const NO_SYMBOL: Self = Self("a Huffman symbol has no meaning in this scan");
    pub(crate) const TOO_MANY_BITS: Self = Self("a coefficient has more bits than 8-bit samples give it");
    pub(crate) const DC_TOO_LARGE: Self = Self("a DC coefficient is larger than 8-bit samples make it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where() {
        let at = Location { offset: 12, scan: Some(1), mcu_row: Some(3) };
        assert_eq!(
            Error::Truncated(at).to_string(),
            "the file is cut: it ends at byte 12, scan 1, MCU row 3"
        );
        assert_eq!(Error::corrupt("two frames", 7).to_string(), "two frames (byte 7)");
        assert!(Error::Unsupported(Unsupported::Arithmetic).to_string().contains("arithmetic"));
    }
}
