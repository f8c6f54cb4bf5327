//! Originals without their metadata.

use crate::Error;

/// A copy of a JPEG, PNG or WebP file without EXIF, XMP, IPTC and comments: not a pixel changes.
/// The colour profile stays; so does the orientation, as a minimal EXIF block of its own. `None` if
/// the file has nothing to strip.
///
/// # Errors
/// [`Error::Unsupported`] for other formats, [`Error::Undecodable`] for a damaged structure.
pub fn strip_metadata(_bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    Err(Error::internal("not there yet"))
}
