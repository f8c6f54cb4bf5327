//! From one decoded picture to all of its renditions.

use crate::formats::Format;
use crate::recipe::Recipe;
use crate::source::Decoded;
use crate::{Deadline, Error};

/// An encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// The file.
    pub bytes: Vec<u8>,
    /// What it is encoded as.
    pub format: Format,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// Frames; 1 for a still picture.
    pub frames: u32,
}

pub(crate) fn render(_decoded: &Decoded, recipes: &[Recipe], _deadline: Deadline) -> Vec<Result<Rendition, Error>> {
    recipes.iter().map(|_| Err(Error::internal("not there yet"))).collect()
}
