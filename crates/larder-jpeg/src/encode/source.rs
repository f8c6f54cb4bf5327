//! What is encoded: planes as they are, or interleaved pixels.

use super::error::EncodeError;
use super::geometry::{Geometry, Sampling};
use crate::{ColorModel, Interleaved, Plane, Planes};

/// The borrowed samples of one component.
#[derive(Debug, Clone, Copy)]
pub struct PlaneView<'s> {
    /// Samples of a row that belong to the picture.
    pub width: usize,
    /// Rows that belong to the picture.
    pub height: usize,
    /// Samples from the start of a row to the start of the next.
    pub stride: usize,
    /// Row by row. The last row may end with its last sample.
    pub samples: &'s [u8],
}

/// Borrowed pixels of red, green and blue, side by side.
#[derive(Debug, Clone, Copy)]
pub struct RgbView<'s> {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from the start of a row to the start of the next: at least three for each pixel.
    pub stride: usize,
    /// Row by row. The last row may end with its last pixel.
    pub samples: &'s [u8],
}

/// What is encoded.
#[derive(Debug, Clone, Copy)]
pub enum Source<'s> {
    /// One plane.
    Grey(PlaneView<'s>),
    /// Y, Cb, Cr (ITU-R BT.601, full range). Those of the colour differences must have the
    /// [size](Sampling::chroma_size) of [`EncodeOptions::sampling`](crate::EncodeOptions::sampling);
    /// they are coded as they are.
    YCbCr([PlaneView<'s>; 3]),
    /// Converted to Y, Cb, Cr; the colour differences are scaled down as
    /// [`EncodeOptions::sampling`](crate::EncodeOptions::sampling) says.
    Rgb(RgbView<'s>),
}

impl Plane {
    /// The plane as something to encode.
    pub fn view(&self) -> PlaneView<'_> {
        PlaneView { width: self.width, height: self.height, stride: self.stride, samples: &self.samples }
    }
}

impl Planes {
    /// The planes as something to encode, without conversion, and the sampling that they have; `None` if
    /// they are neither grey nor YCbCr or have another sampling.
    ///
    /// Grey has no sampling; 4:4:4 stands for it.
    ///
    /// ```
    /// use larder_jpeg::{EncodeOptions, Options, Sampling, decode, encode};
    ///
    /// # let file = larder_jpeg::doc_example();
    /// let planes = decode(&file, &Options::default())?;
    /// let (source, sampling) = planes.source().expect("grey, or YCbCr in a common sampling");
    /// let again = encode(&source, &EncodeOptions { sampling, ..EncodeOptions::default() })?;
    /// assert_eq!(decode(&again, &Options::default())?.planes, planes.planes);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn source(&self) -> Option<(Source<'_>, Sampling)> {
        match (self.color_model, self.planes.as_slice()) {
            (ColorModel::Grey, [plane]) => Some((Source::Grey(plane.view()), Sampling::S444)),
            (ColorModel::YCbCr, [y, cb, cr]) => {
                let sampling = self.common_sampling()?;
                Some((Source::YCbCr([y.view(), cb.view(), cr.view()]), sampling))
            }
            _ => None,
        }
    }

    fn common_sampling(&self) -> Option<Sampling> {
        let &[luma, blue, red] = self.sampling.as_slice() else { return None };
        // Factors count in proportion only: 2x2, 2x2, 2x2 is 4:4:4 too.
        let is = |sampling: &Sampling| {
            let (across, down) = sampling.ratio();
            let times = |(h, v): (u8, u8)| (usize::from(h) * across, usize::from(v) * down);
            let luma = (usize::from(luma.0), usize::from(luma.1));
            times(blue) == luma && times(red) == luma
        };
        Sampling::ALL.into_iter().find(is)
    }
}

impl Interleaved {
    /// The picture as something to encode; `None` with another number of channels than 1 or 3.
    pub fn source(&self) -> Option<Source<'_>> {
        let Self { width, height, ref samples, .. } = *self;
        match self.channels {
            1 => Some(Source::Grey(PlaneView { width, height, stride: width, samples })),
            3 => Some(Source::Rgb(RgbView { width, height, stride: 3 * width, samples })),
            _ => None,
        }
    }
}

impl Source<'_> {
    /// The sizes, if all samples are there.
    pub(super) fn geometry(&self, sampling: Sampling) -> Result<Geometry, EncodeError> {
        let (width, height, sampling) = match self {
            Self::Grey(plane) => (plane.width, plane.height, None),
            Self::YCbCr([luma, ..]) => (luma.width, luma.height, Some(sampling)),
            Self::Rgb(pixels) => (pixels.width, pixels.height, Some(sampling)),
        };
        let sides = 1..=usize::from(u16::MAX);
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(EncodeError::Size { width, height });
        }
        let geometry = Geometry::new(width, height, sampling);
        match self {
            Self::Grey(plane) => check_plane(0, plane, &geometry)?,
            Self::YCbCr(planes) => {
                for (index, plane) in planes.iter().enumerate() {
                    check_plane(index, plane, &geometry)?;
                }
            }
            Self::Rgb(pixels) => check_samples(0, 3 * width, height, pixels.stride, pixels.samples.len())?,
        }
        Ok(geometry)
    }
}

fn check_plane(plane: usize, view: &PlaneView<'_>, geometry: &Geometry) -> Result<(), EncodeError> {
    let (found, expected) = ((view.width, view.height), geometry.plane_size(plane));
    if found != expected {
        return Err(EncodeError::PlaneSize { plane, found, expected });
    }
    check_samples(plane, view.width, view.height, view.stride, view.samples.len())
}

/// Rows must not overlap, and the last must be there to its end.
fn check_samples(
    plane: usize,
    row: usize,
    rows: usize,
    stride: usize,
    found: usize,
) -> Result<(), EncodeError> {
    let needed = stride.max(row).saturating_mul(rows - 1).saturating_add(row);
    if stride < row || found < needed {
        return Err(EncodeError::Samples { plane, found, needed });
    }
    Ok(())
}

impl<'s> PlaneView<'s> {
    /// Without the rows above `y`.
    pub(super) fn below(&self, y: usize) -> Self {
        Self { height: self.height - y, samples: &self.samples[y * self.stride..], ..*self }
    }

    /// The samples of a row.
    #[inline(always)]
    pub(super) fn row(&self, y: usize) -> &'s [u8] {
        &self.samples[y * self.stride..][..self.width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(width: usize, height: usize, stride: usize, samples: &[u8]) -> PlaneView<'_> {
        PlaneView { width, height, stride, samples }
    }

    #[test]
    fn a_last_row_may_end_with_its_last_sample() {
        let samples = [0; 13];
        assert!(Source::Grey(plane(3, 2, 10, &samples)).geometry(Sampling::S444).is_ok());
        let short = Source::Grey(plane(3, 2, 10, &samples[1..])).geometry(Sampling::S444);
        assert_eq!(short, Err(EncodeError::Samples { plane: 0, found: 12, needed: 13 }));
        let rgb = RgbView { width: 2, height: 2, stride: 7, samples: &samples };
        assert!(Source::Rgb(rgb).geometry(Sampling::S444).is_ok());
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        let samples = [0; 64];
        let planes = |chroma| Source::YCbCr([plane(8, 8, 8, &samples), chroma, chroma]);
        assert!(planes(plane(4, 8, 4, &samples)).geometry(Sampling::S422).is_ok());
        let wrong = planes(plane(4, 4, 4, &samples)).geometry(Sampling::S422);
        assert_eq!(wrong, Err(EncodeError::PlaneSize { plane: 1, found: (4, 4), expected: (4, 8) }));
        for (width, height) in [(0, 1), (1, 0), (65_536, 1), (1, 65_536), (usize::MAX, usize::MAX)] {
            let found = Source::Grey(plane(width, height, 1, &samples)).geometry(Sampling::S444);
            assert_eq!(found, Err(EncodeError::Size { width, height }));
        }
        for stride in [0, 7, usize::MAX] {
            let found = Source::Grey(plane(8, 8, stride, &samples)).geometry(Sampling::S444);
            assert!(matches!(found, Err(EncodeError::Samples { .. })), "stride {stride}");
        }
    }
}
