//! What a catalogue keeps of a picture: placeholders, main colour, perceptual hash.

use crate::picture::Picture;
use crate::{Error, Orientation};

/// What a catalogue keeps of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// BlurHash of 4 x 3 components.
    pub blurhash: String,
    /// ThumbHash, in base64 (RFC 4648, section 4, with padding).
    pub thumbhash: String,
    /// The main colour as `#rrggbb`.
    pub dominant_color: String,
    /// DCT hash of 64 bits: the more bits differ, the more the pictures do.
    pub perceptual_hash: u64,
}

pub(crate) fn describe(_picture: &Picture, _orientation: Orientation) -> Result<Description, Error> {
    Err(Error::internal("not there yet"))
}
