//! The rows of a row of MCUs as planes: those that are there, or converted from RGB.

use super::geometry::Geometry;
use super::source::{PlaneView, RgbView, Source};
use crate::kernels::Kernels;

/// Gives rows of MCUs.
pub(super) enum Bands<'s> {
    Grey(PlaneView<'s>),
    YCbCr([PlaneView<'s>; 3]),
    Rgb(RgbBands<'s>),
}

impl<'s> Bands<'s> {
    pub fn new(source: &Source<'s>, geometry: &Geometry, kernels: &Kernels) -> Self {
        match *source {
            Source::Grey(plane) => Self::Grey(plane),
            Source::YCbCr(planes) => Self::YCbCr(planes),
            Source::Rgb(pixels) => Self::Rgb(RgbBands::new(pixels, geometry, kernels)),
        }
    }

    /// The planes from the top of a row of MCUs, for each component; of grey, three times the same.
    pub fn row(&mut self, mcu_row: usize, geometry: &Geometry) -> [PlaneView<'_>; 3] {
        let top = |component| 8 * geometry.factors_of(component).1 * mcu_row;
        match self {
            Self::Grey(plane) => [plane.below(top(0)); 3],
            Self::YCbCr([y, cb, cr]) => [y.below(top(0)), cb.below(top(1)), cr.below(top(2))],
            Self::Rgb(bands) => bands.row(top(0)),
        }
    }
}

/// Converts a row of MCUs at a time.
pub(super) struct RgbBands<'s> {
    pixels: RgbView<'s>,
    kernels: Kernels,
    /// Pixels across and down for each sample of a colour difference.
    ratio: (usize, usize),
    /// Samples of a row of luma, more than the picture's: its last pixel is repeated before colour
    /// differences are scaled down, as libjpeg does it, and nothing has an end to care for.
    stride: usize,
    luma: Vec<u8>,
    chroma: [Vec<u8>; 2],
    /// Colour differences at full size, of the rows that become one.
    full: [Vec<u8>; 2],
}

/// Samples of luma that two blocks of colour differences take at the most.
const STEP: usize = 32;

/// Bytes that conversion takes at most for a picture of this width.
pub(super) fn bytes(width: usize) -> u64 {
    // Luma, two colour differences and two rows of both at full size.
    width.next_multiple_of(STEP) as u64 * (16 + 2 * 8 + 4)
}

impl<'s> RgbBands<'s> {
    fn new(pixels: RgbView<'s>, geometry: &Geometry, kernels: &Kernels) -> Self {
        let stride = pixels.width.next_multiple_of(STEP);
        let ratio = geometry.factors;
        let (chroma, full) = (stride / ratio.0 * 8, stride * ratio.1);
        Self {
            pixels,
            kernels: *kernels,
            ratio,
            stride,
            luma: vec![0; stride * 8 * ratio.1],
            chroma: [vec![0; chroma], vec![0; chroma]],
            full: if ratio == (1, 1) { Default::default() } else { [vec![0; full], vec![0; full]] },
        }
    }

    /// The rows of MCUs from row `top` of the picture.
    fn row(&mut self, top: usize) -> [PlaneView<'_>; 3] {
        let rows = (self.pixels.height - top).min(8 * self.ratio.1);
        for first in (0..rows).step_by(self.ratio.1) {
            self.convert(top + first, first, rows - first);
        }
        let view = |width, height, samples| PlaneView { width, height, stride: width, samples };
        let [cb, cr] = &self.chroma;
        let (width, height) = (self.stride / self.ratio.0, rows.div_ceil(self.ratio.1));
        [view(self.stride, rows, &self.luma), view(width, height, cb), view(width, height, cr)]
    }

    /// The rows from `row` that become one row of colour differences, `left` of which are there; `y` is
    /// the first one's place in the band.
    fn convert(&mut self, row: usize, y: usize, left: usize) {
        let stride = self.stride;
        let width = stride / self.ratio.0;
        let halves = y / self.ratio.1 * width..(y / self.ratio.1 + 1) * width;
        let [cb, cr] = self.chroma.each_mut().map(|plane| &mut plane[halves.clone()]);
        let luma = &mut self.luma[y * stride..];
        if self.ratio == (1, 1) {
            return convert_row(&self.kernels, &self.pixels, row, [&mut luma[..stride], cb, cr]);
        }
        let [full_cb, full_cr] = &mut self.full;
        let rows = luma.chunks_exact_mut(stride).zip(full_cb.chunks_exact_mut(stride));
        for (offset, ((luma, cb), cr)) in rows.zip(full_cr.chunks_exact_mut(stride)).enumerate().take(left) {
            convert_row(&self.kernels, &self.pixels, row + offset, [luma, cb, cr]);
        }
        for (full, half) in [(full_cb, cb), (full_cr, cr)] {
            if self.ratio.1 == 1 {
                (self.kernels.halve_across)(full, half);
            } else {
                let (upper, lower) = full.split_at(stride);
                // A last row without another beside it is taken twice.
                (self.kernels.halve_both)([upper, if left == 1 { upper } else { lower }], half);
            }
        }
    }
}

/// Converts a row and repeats its last pixel.
fn convert_row(kernels: &Kernels, pixels: &RgbView<'_>, row: usize, planes: [&mut [u8]; 3]) {
    let width = pixels.width;
    let [luma, cb, cr] = planes;
    let rgb = &pixels.samples[row * pixels.stride..][..3 * width];
    (kernels.rgb_row)(rgb, &mut luma[..width], &mut cb[..width], &mut cr[..width]);
    for plane in [luma, cb, cr] {
        let last = plane[width - 1];
        plane[width..].fill(last);
    }
}
