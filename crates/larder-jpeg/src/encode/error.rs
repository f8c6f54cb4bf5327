//! Why a picture was not encoded.

use std::fmt;

/// Why a picture was not encoded. A variant is what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A side that a file can't have: T.81, section B.2.2, has 1 to 65,535 pixels. Scale the picture.
    Size {
        /// Pixels.
        width: usize,
        /// Pixels.
        height: usize,
    },
    /// A plane's size does not follow from that of the picture and its sampling: fix the call.
    PlaneSize {
        /// Which of the planes, counted from 0.
        plane: usize,
        /// Its width and height.
        found: (usize, usize),
        /// The width and height that it should have.
        expected: (usize, usize),
    },
    /// Rows overlap, or there are fewer samples than the rows take: fix the call.
    Samples {
        /// Which of the planes, counted from 0; 0 for interleaved pixels.
        plane: usize,
        /// Samples that there are.
        found: usize,
        /// Samples that the rows take; more than [`usize::MAX`] counts as that.
        needed: usize,
    },
    /// Another quality than 1 to 100: fix the call.
    Quality(u8),
    /// A colour profile that is empty, or too long for 255 segments: leave it out.
    IccProfile {
        /// Its length.
        bytes: usize,
    },
    /// The caller's interrupt asked to stop.
    Interrupted,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { width, height } => {
                write!(f, "a JPEG can't have {width}x{height} pixels: its sides are 1 to 65535")
            }
            Self::PlaneSize { plane, found, expected } => write!(
                f,
                "plane {plane} has {}x{} samples, not {}x{}",
                found.0, found.1, expected.0, expected.1
            ),
            Self::Samples { plane, found, needed } => {
                write!(f, "plane {plane} has {found} samples where its rows take {needed}")
            }
            Self::Quality(quality) => write!(f, "a quality of {quality} is not 1 to 100"),
            Self::IccProfile { bytes } => {
                write!(f, "a colour profile of {bytes} bytes does not fit into segments")
            }
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for EncodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_cause() {
        let error = EncodeError::PlaneSize { plane: 1, found: (3, 4), expected: (2, 2) };
        assert_eq!(error.to_string(), "plane 1 has 3x4 samples, not 2x2");
        assert!(EncodeError::Quality(0).to_string().contains("quality of 0"));
        assert!(EncodeError::Size { width: 0, height: 9 }.to_string().contains("0x9"));
    }
}
