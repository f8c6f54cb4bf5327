//! The decoded picture: a plane of samples for each component.

use crate::header::{ColorModel, Header};
use crate::{Error, Scale};

/// The samples of one component, 8 bits each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    /// Samples of a row that belong to the picture.
    pub width: usize,
    /// Rows that belong to the picture.
    pub height: usize,
    /// Samples from the start of a row to the start of the next: the width rounded up to whole blocks.
    pub stride: usize,
    /// Row by row, rounded up to whole blocks in both directions. What lies beyond `width` and `height` is
    /// what the encoder filled its blocks with.
    pub samples: Vec<u8>,
}

impl Plane {
    pub(crate) fn new(header: &Header<'_>, component: usize, scale: Scale) -> Result<Self, Error> {
        let (width, height) = header.frame.plane_size(component, scale);
        let (across, down) = header.frame.blocks(component);
        let (stride, rows) = (across * scale.block_side(), down * scale.block_side());
        Ok(Self { width, height, stride, samples: vec![0; stride * rows] })
    }

    /// The samples of a row, from the top.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn row(&self, y: usize) -> &[u8] {
        assert!(y < self.height, "row {y} of {}", self.height);
        &self.samples[y * self.stride..][..self.width]
    }

    /// All rows, from the top.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.height).map(|y| self.row(y))
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, x: usize, y: usize, sample: u8) {
        self.samples[y * self.stride + x] = sample;
    }
}

/// A decoded picture, component by component as it was coded: nothing is upsampled or converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planes {
    /// Of the picture at its scale, in pixels.
    pub width: usize,
    /// Of the picture at its scale, in pixels.
    pub height: usize,
    /// What was asked for.
    pub scale: Scale,
    /// What the planes are.
    pub color_model: ColorModel,
    /// Whether four planes count light, not ink; see [`Header::is_inverted`].
    pub inverted: bool,
    /// In the order of the frame header; a subsampled component's plane is smaller.
    pub planes: Vec<Plane>,
    /// Horizontal and vertical sampling factors of each plane.
    pub(crate) sampling: Vec<(u8, u8)>,
}

impl Planes {
    pub(crate) fn new(header: &Header<'_>, scale: Scale) -> Result<Self, Error> {
        let components = 0..header.frame.components.len();
        Ok(Self {
            width: scale.of(header.frame.width),
            height: scale.of(header.frame.height),
            scale,
            color_model: header.color_model(),
            inverted: header.is_inverted(),
            sampling: header.frame.components.iter().map(|c| (c.horizontal, c.vertical)).collect(),
            planes: components.map(|index| Plane::new(header, index, scale)).collect::<Result<_, _>>()?,
        })
    }
}
