//! Grey and RGB pictures out of planes.

use crate::header::ColorModel;
use crate::kernels::Kernels;
use crate::planes::{Plane, Planes};
use crate::upsample::Upsampler;

/// A picture with its channels side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interleaved {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// 1: grey, 3: red, green, blue.
    pub channels: usize,
    /// Row by row, without gaps.
    pub samples: Vec<u8>,
}

/// RGB out of Y, Cb and Cr planes of one size, side by side without gaps; `None` if their sizes differ.
///
/// ```
/// use larder_jpeg::{Plane, ycbcr_to_rgb};
///
/// let plane = |sample| Plane { width: 1, height: 1, stride: 1, samples: vec![sample] };
/// assert_eq!(ycbcr_to_rgb([&plane(81), &plane(90), &plane(240)]), Some(vec![238, 14, 14]));
/// ```
pub fn ycbcr_to_rgb(planes: [&Plane; 3]) -> Option<Vec<u8>> {
    let [luma, blue, red] = planes;
    let (width, height) = (luma.width, luma.height);
    if [blue, red].iter().any(|plane| (plane.width, plane.height) != (width, height)) {
        return None;
    }
    let kernels = Kernels::detect();
    let mut samples = vec![0; 3 * width * height];
    for (y, row) in samples.chunks_exact_mut(3 * width.max(1)).enumerate() {
        (kernels.ycc_row)(luma.row(y), blue.row(y), red.row(y), row);
    }
    Some(samples)
}

impl Planes {
    /// The bytes that [`Planes::to_interleaved`] allocates, but for a few rows.
    pub fn interleaved_bytes(&self) -> u64 {
        let channels = if self.planes.len() == 1 { 1 } else { 3 };
        self.width as u64 * self.height as u64 * channels
    }

    /// Grey as it is, YCbCr and RGB as RGB; `None` for four components and for two, whose conversion is a
    /// matter of colour management.
    ///
    /// Subsampled components are interpolated linearly where they have half the width, half the height or
    /// both, else repeated. At full scale this is, sample for sample, what libjpeg-turbo does by default; at
    /// others libjpeg-turbo may take subsampled components at a larger scale instead.
    ///
    /// ```
    /// # let file = larder_jpeg::doc_example();
    /// let planes = larder_jpeg::decode(&file, &larder_jpeg::Options::default())?;
    /// let picture = planes.to_interleaved().expect("grey or three components");
    /// assert_eq!((picture.width, picture.height, picture.channels), (8, 8, 1));
    /// # Ok::<(), larder_jpeg::Error>(())
    /// ```
    pub fn to_interleaved(&self) -> Option<Interleaved> {
        let (width, height) = (self.width, self.height);
        match self.color_model {
            ColorModel::Grey => {
                let mut samples = Vec::with_capacity(width * height);
                self.planes[0].rows().for_each(|row| samples.extend_from_slice(row));
                Some(Interleaved { width, height, channels: 1, samples })
            }
            ColorModel::YCbCr | ColorModel::Rgb => {
                Some(Interleaved { width, height, channels: 3, samples: self.rgb() })
            }
            ColorModel::Cmyk | ColorModel::Ycck | ColorModel::Unknown => None,
        }
    }

    fn rgb(&self) -> Vec<u8> {
        let most = self.sampling.iter().fold((1, 1), |most, s| (s.0.max(most.0), s.1.max(most.1)));
        let mut channels: Vec<_> = self
            .planes
            .iter()
            .zip(&self.sampling)
            .map(|(plane, &sampling)| Upsampler::new(plane, sampling, most, self.width))
            .collect();
        let [first, second, third] = channels.as_mut_slice() else { return Vec::new() };
        let kernels = Kernels::detect();
        let mut samples = vec![0; 3 * self.width * self.height];
        for (y, row) in samples.chunks_exact_mut(3 * self.width).enumerate() {
            let [first, second, third] =
                [&mut *first, &mut *second, &mut *third].map(|rows| &rows.row(y)[..self.width]);
            if self.color_model == ColorModel::YCbCr {
                (kernels.ycc_row)(first, second, third, row);
            } else {
                for (((pixel, &r), &g), &b) in
                    row.as_chunks_mut::<3>().0.iter_mut().zip(first).zip(second).zip(third)
                {
                    *pixel = [r, g, b];
                }
            }
        }
        samples
    }
}
