//! Gaussian blur and the unsharp mask made of it.

use fast_image_resize::Resizer;

use super::resize::resize;
use crate::picture::Picture;
use crate::plan::Region;
use crate::{Deadline, Error};

/// Largest standard deviation that is computed tap by tap. Wider ones work on a smaller picture,
/// which nobody can tell from the exact result.
const SIGMA_TAPS_MAX: f32 = 4.0;

/// Softens with a Gaussian of this standard deviation in pixels.
pub(crate) fn blur(picture: Picture, sigma_px: f32, deadline: Deadline) -> Result<Picture, Error> {
    let size = (picture.width(), picture.height());
    if sigma_px <= SIGMA_TAPS_MAX {
        return convolved(picture, sigma_px, deadline, |_, _, soft| soft);
    }
    let mut resizer = Resizer::new();
    let small_size = small_size(size, sigma_px);
    let small = resize(&mut resizer, &picture, Region::new(0, 0, size.0, size.1), small_size)?;
    drop(picture);
    let soft = convolved(small, SIGMA_TAPS_MAX / 2.0, deadline, |_, _, soft| soft)?;
    deadline.check()?;
    resize(&mut resizer, &soft, Region::new(0, 0, small_size.0, small_size.1), size)
}

/// The size at which a wide Gaussian is computed.
fn small_size(size: (u32, u32), sigma_px: f32) -> (u32, u32) {
    let factor = sigma_px / (SIGMA_TAPS_MAX / 2.0);
    let shrunk = |side: u32| ((side as f32 / factor).round() as u32).max(1);
    (shrunk(size.0), shrunk(size.1))
}

/// Adds the difference between the picture and its blurred self.
pub(crate) fn sharpen(picture: Picture, sigma_px: f32, deadline: Deadline) -> Result<Picture, Error> {
    convolved(picture, sigma_px, deadline, |channel, sharp, soft| match channel {
        // Transparency has no edges to sharpen.
        3 => sharp,
        _ => (2 * i16::from(sharp) - i16::from(soft)).clamp(0, 255) as u8,
    })
}

/// Bytes that either takes beside the picture and what it makes of it.
pub(crate) fn memory_bytes((width, height): (u32, u32), sigma_px: f32) -> u64 {
    let rows = |width: u32, sigma_px: f32| u64::from(width) * 16 * (2 * radius(sigma_px) as u64 + 4);
    if sigma_px <= SIGMA_TAPS_MAX {
        return rows(width, sigma_px);
    }
    let small = small_size((width, height), sigma_px);
    // The resizer's copy with weighted colours, and what it has resized in one direction.
    let pixels = u64::from(width) * u64::from(height) + u64::from(width.max(small.0)) * u64::from(height);
    pixels * 4 + rows(small.0, SIGMA_TAPS_MAX / 2.0)
}

fn radius(sigma_px: f32) -> usize {
    (sigma_px * 3.0).ceil() as usize
}

/// Half of a Gaussian, from its middle outwards, that sums to 1 with its mirror image.
fn kernel(sigma_px: f32) -> Vec<f32> {
    let radius = radius(sigma_px);
    let half: Vec<f32> =
        (0..=radius).map(|n| (-((n * n) as f32) / (2.0 * sigma_px * sigma_px)).exp()).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f32>();
    half.iter().map(|weight| weight / sum).collect()
}

/// Both directions, edges repeated; alpha weighs the colours. Each value becomes what `finish` makes of
/// the channel's number, the old value and the soft one.
///
/// Works from the top, row by row and in place: only as many rows of numbers are kept as the kernel is
/// high.
fn convolved(
    mut picture: Picture,
    sigma_px: f32,
    deadline: Deadline,
    finish: impl Fn(usize, u8, u8) -> u8,
) -> Result<Picture, Error> {
    let kernel = kernel(sigma_px);
    let reach = kernel.len() - 1;
    let (stride, height) = (picture.stride(), picture.height() as usize);
    let kept = (2 * reach + 1).min(height);
    let mut across = vec![vec![0.0; stride]; kept];
    let mut line = Line::new(picture.width() as usize, picture.channels().count(), reach);
    let mut sums = vec![0.0; stride];
    let mut next = 0;
    for y in 0..height {
        deadline.check()?;
        while next <= (y + reach).min(height - 1) {
            line.convolve(picture.row(next as u32), &kernel, &mut across[next % kept]);
            next += 1;
        }
        let row = |y: usize| &across[y % kept][..];
        weigh(&mut sums, kernel[0], row(y), None);
        for (distance, &weight) in kernel.iter().enumerate().skip(1) {
            let (above, below) = (row(y.saturating_sub(distance)), row((y + distance).min(height - 1)));
            weigh(&mut sums, weight, above, Some(below));
        }
        write(&mut picture.pixels_mut()[y * stride..][..stride], &sums, line.channels, &finish);
    }
    Ok(picture)
}

/// Adds weighted rows to `sums`; a row alone is the first and replaces what was there.
fn weigh(sums: &mut [f32], weight: f32, one: &[f32], other: Option<&[f32]>) {
    match other {
        None => sums.iter_mut().zip(one).for_each(|(sum, one)| *sum = weight * one),
        Some(other) => {
            sums.iter_mut()
                .zip(one)
                .zip(other)
                .for_each(|((sum, one), other)| *sum += weight * (one + other));
        }
    }
}

fn write(pixels: &mut [u8], sums: &[f32], channels: usize, finish: impl Fn(usize, u8, u8) -> u8) {
    for (pixel, sums) in pixels.chunks_exact_mut(channels).zip(sums.chunks_exact(channels)) {
        let alpha = if channels == 4 { sums[3] / 255.0 } else { 1.0 };
        for (n, (value, &sum)) in pixel.iter_mut().zip(sums).enumerate() {
            let soft = if n == 3 || alpha <= 0.0 { sum } else { sum / alpha };
            *value = finish(n, *value, soft.round().clamp(0.0, 255.0) as u8);
        }
    }
}

/// A row with its edges repeated to both sides.
struct Line {
    channels: usize,
    reach: usize,
    values: Vec<f32>,
}

impl Line {
    fn new(width: usize, channels: usize, reach: usize) -> Self {
        Self { channels, reach, values: vec![0.0; (width + 2 * reach) * channels] }
    }

    /// The row, convolved along itself.
    fn convolve(&mut self, row: &[u8], kernel: &[f32], result: &mut [f32]) {
        let (channels, margin) = (self.channels, self.reach * self.channels);
        let inner = &mut self.values[margin..][..row.len()];
        inner.iter_mut().zip(row).for_each(|(value, &byte)| *value = byte.into());
        if channels == 4 {
            for pixel in inner.as_chunks_mut::<4>().0 {
                let alpha = pixel[3] / 255.0;
                pixel[..3].iter_mut().for_each(|channel| *channel *= alpha);
            }
        }
        for place in 0..self.reach {
            self.values.copy_within(margin..margin + channels, place * channels);
            let last = margin + row.len() - channels;
            self.values.copy_within(last..last + channels, margin + row.len() + place * channels);
        }
        let from = |place: usize| &self.values[place * channels..][..row.len()];
        weigh(result, kernel[0], from(self.reach), None);
        for (distance, &weight) in kernel.iter().enumerate().skip(1) {
            weigh(result, weight, from(self.reach - distance), Some(from(self.reach + distance)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::picture::Channels;

    fn later() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    fn spot() -> Picture {
        let mut pixels = vec![0; 41 * 41];
        pixels[20 * 41 + 20] = 255;
        Picture::new(41, 41, Channels::Grey, pixels)
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        let flat = Picture::filled(30, 20, Channels::Rgb, &[10, 200, 90]);
        for sigma in [0.5, 3.0, 20.0] {
            let soft = blur(flat.clone(), sigma, later()).unwrap();
            assert!(soft.pixels().iter().zip(flat.pixels()).all(|(a, b)| a.abs_diff(*b) <= 1), "{sigma}");
        }
        assert_eq!(sharpen(flat.clone(), 1.0, later()).unwrap(), flat);
    }

    #[test]
    fn a_spot_spreads_evenly_in_all_directions() {
        let soft = blur(spot(), 1.0, later()).unwrap();
        assert_eq!(soft.pixel(21, 20), soft.pixel(20, 21));
        assert_eq!(soft.pixel(19, 20), soft.pixel(21, 20));
        assert!(soft.pixel(20, 20)[0] < 60 && soft.pixel(20, 20)[0] > soft.pixel(21, 20)[0]);
    }

    #[test]
    fn sharpening_widens_a_step() {
        let pixels = (0..100).map(|n| if n % 10 < 5 { 100 } else { 150 }).collect();
        let sharp = sharpen(Picture::new(10, 10, Channels::Grey, pixels), 1.0, later()).unwrap();
        assert!(sharp.pixel(4, 5)[0] < 100 && sharp.pixel(5, 5)[0] > 150);
    }

    #[test]
    fn a_picture_lower_than_the_kernel_is_softened_too() {
        let soft = blur(Picture::new(1, 2, Channels::Grey, vec![0, 200]), 4.0, later()).unwrap();
        assert!(soft.pixels()[0] > 80 && soft.pixels()[1] < 120, "{:?}", soft.pixels());
    }

    #[test]
    fn no_row_is_softened_after_the_deadline() {
        let past = Deadline::after(Duration::ZERO);
        assert_eq!(blur(spot(), 2.0, past), Err(Error::TimedOut));
        assert_eq!(sharpen(spot(), 10.0, past), Err(Error::TimedOut));
    }
}
