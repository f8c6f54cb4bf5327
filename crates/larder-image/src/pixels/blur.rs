//! Gaussian blur and the unsharp mask made of it.

use fast_image_resize::Resizer;

use super::resize::resize;
use crate::Error;
use crate::picture::Picture;
use crate::plan::Region;

/// Largest standard deviation that is computed tap by tap. Wider ones work on a smaller picture,
/// which nobody can tell from the exact result.
const SIGMA_TAPS_MAX: f32 = 4.0;

/// Softens with a Gaussian of this standard deviation in pixels.
pub(crate) fn blur(picture: Picture, sigma_px: f32) -> Result<Picture, Error> {
    let size = (picture.width(), picture.height());
    if sigma_px <= SIGMA_TAPS_MAX {
        return Ok(convolved(&picture, sigma_px));
    }
    let mut resizer = Resizer::new();
    let factor = sigma_px / (SIGMA_TAPS_MAX / 2.0);
    let shrunk = |side: u32| ((side as f32 / factor).round() as u32).max(1);
    let small_size = (shrunk(size.0), shrunk(size.1));
    let small = resize(&mut resizer, &picture, Region::new(0, 0, size.0, size.1), small_size)?;
    let soft = convolved(&small, SIGMA_TAPS_MAX / 2.0);
    resize(&mut resizer, &soft, Region::new(0, 0, small_size.0, small_size.1), size)
}

/// Adds the difference between the picture and its blurred self.
pub(crate) fn sharpen(picture: Picture, sigma_px: f32) -> Picture {
    let soft = convolved(&picture, sigma_px);
    let alpha = picture.has_alpha();
    let mut picture = picture;
    for (index, (sharp, soft)) in picture.pixels_mut().iter_mut().zip(soft.pixels()).enumerate() {
        if !(alpha && index % 4 == 3) {
            *sharp = (2 * i16::from(*sharp) - i16::from(*soft)).clamp(0, 255) as u8;
        }
    }
    picture
}

/// Half of a Gaussian, from its middle outwards, that sums to 1 with its mirror image.
fn kernel(sigma_px: f32) -> Vec<f32> {
    let radius = (sigma_px * 3.0).ceil() as usize;
    let half: Vec<f32> =
        (0..=radius).map(|n| (-((n * n) as f32) / (2.0 * sigma_px * sigma_px)).exp()).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f32>();
    half.iter().map(|weight| weight / sum).collect()
}

/// Both directions, edges repeated; alpha weighs the colours.
fn convolved(picture: &Picture, sigma_px: f32) -> Picture {
    let kernel = kernel(sigma_px);
    let channels = picture.channels().count();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut values: Vec<f32> = picture.pixels().iter().copied().map(f32::from).collect();
    if picture.has_alpha() {
        for pixel in values.as_chunks_mut::<4>().0 {
            let alpha = pixel[3] / 255.0;
            pixel[..3].iter_mut().for_each(|channel| *channel *= alpha);
        }
    }
    let across = pass(&values, &kernel, (width, height), (channels, width * channels), channels);
    let both = pass(&across, &kernel, (height, width), (width * channels, channels), channels);
    let mut pixels: Vec<u8> = Vec::with_capacity(both.len());
    for pixel in both.chunks_exact(channels) {
        let alpha = if channels == 4 { pixel[3] / 255.0 } else { 1.0 };
        for (n, value) in pixel.iter().enumerate() {
            let value = if n == 3 || alpha <= 0.0 { *value } else { value / alpha };
            pixels.push(value.round().clamp(0.0, 255.0) as u8);
        }
    }
    Picture::new(picture.width(), picture.height(), picture.channels(), pixels)
        .with_profile(picture.profile.clone())
}

/// One direction: `length` pixels a step of `along` values apart, on each of `lines` lines.
fn pass(
    values: &[f32],
    kernel: &[f32],
    (length, lines): (usize, usize),
    (along, across): (usize, usize),
    channels: usize,
) -> Vec<f32> {
    let mut result = vec![0.0; values.len()];
    for line in 0..lines {
        for position in 0..length {
            for channel in 0..channels {
                let at = |place: usize| values[line * across + place * along + channel];
                let mut sum = kernel[0] * at(position);
                for (distance, weight) in kernel.iter().enumerate().skip(1) {
                    let before = position.saturating_sub(distance);
                    let after = (position + distance).min(length - 1);
                    sum += weight * (at(before) + at(after));
                }
                result[line * across + position * along + channel] = sum;
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Channels;

    fn spot() -> Picture {
        let mut pixels = vec![0; 41 * 41];
        pixels[20 * 41 + 20] = 255;
        Picture::new(41, 41, Channels::Grey, pixels)
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        let flat = Picture::filled(30, 20, Channels::Rgb, &[10, 200, 90]);
        for sigma in [0.5, 3.0, 20.0] {
            let soft = blur(flat.clone(), sigma).unwrap();
            assert!(soft.pixels().iter().zip(flat.pixels()).all(|(a, b)| a.abs_diff(*b) <= 1), "{sigma}");
        }
        assert_eq!(sharpen(flat.clone(), 1.0), flat);
    }

    #[test]
    fn a_spot_spreads_evenly_in_all_directions() {
        let soft = blur(spot(), 1.0).unwrap();
        assert_eq!(soft.pixel(21, 20), soft.pixel(20, 21));
        assert_eq!(soft.pixel(19, 20), soft.pixel(21, 20));
        assert!(soft.pixel(20, 20)[0] < 60 && soft.pixel(20, 20)[0] > soft.pixel(21, 20)[0]);
    }

    #[test]
    fn sharpening_widens_a_step() {
        let pixels = (0..100).map(|n| if n % 10 < 5 { 100 } else { 150 }).collect();
        let sharp = sharpen(Picture::new(10, 10, Channels::Grey, pixels), 1.0);
        assert!(sharp.pixel(4, 5)[0] < 100 && sharp.pixel(5, 5)[0] > 150);
    }
}
