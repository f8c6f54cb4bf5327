//! Resampling with Lanczos3, in the pixels' own (gamma) space as the common image servers do.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use crate::Error;
use crate::picture::{Channels, Picture};
use crate::plan::Region;

/// Scales `region` of the picture to `size`; alpha weighs the colours.
pub(crate) fn resize(
    resizer: &mut Resizer,
    source: &Picture,
    region: Region,
    size: (u32, u32),
) -> Result<Picture, Error> {
    resize_within(resizer, source, Region::new(0, 0, source.width(), source.height()), region, size)
}

/// Scales `region` of the picture to `size` as if there were nothing beyond `bounds`, which are whole
/// pixels: Lanczos looks at three pixels to each side of what it makes, as they are in the output.
pub(crate) fn resize_within(
    resizer: &mut Resizer,
    source: &Picture,
    bounds: Region,
    region: Region,
    size: (u32, u32),
) -> Result<Picture, Error> {
    if let Some(cut) = cut_without_scaling(source, region, size) {
        return Ok(cut);
    }
    if let Some(shape) = shape(source) {
        let resized = resize_within(resizer, &shape.plane, bounds, region, size)?;
        return Ok(shape.filled(&resized).with_profile(source.profile.clone()));
    }
    let channels = source.channels();
    let mut pixels = vec![0; size.0 as usize * size.1 as usize * channels.count()];
    match channels {
        Channels::Grey => convolve::<U8>(resizer, source, bounds, region, size, &mut pixels)?,
        Channels::Rgb => convolve::<U8x3>(resizer, source, bounds, region, size, &mut pixels)?,
        Channels::Rgba => convolve::<U8x4>(resizer, source, bounds, region, size, &mut pixels)?,
    }
    Ok(Picture::new(size.0, size.1, channels, pixels).with_profile(source.profile.clone()))
}

/// A picture that differs from pixel to pixel in one value only, as text does: the others need no
/// resampling, and come out exactly as they were.
struct Shape {
    plane: Picture,
    fill: Fill,
}

enum Fill {
    /// The one colour of all that can be seen; the plane is alpha.
    Color([u8; 3]),
    /// The plane is red, green and blue.
    Tone,
}

/// Photos are told by their first few pixels.
fn shape(source: &Picture) -> Option<Shape> {
    let (samples, fill) = match source.channels() {
        Channels::Grey => return None,
        Channels::Rgb => {
            let pixels = source.pixels().as_chunks::<3>().0;
            let grey = pixels.iter().all(|&[r, g, b]| r == g && g == b);
            grey.then(|| (pixels.iter().map(|pixel| pixel[0]).collect(), Fill::Tone))?
        }
        Channels::Rgba => {
            let pixels = source.pixels().as_chunks::<4>().0;
            let &[r, g, b, _] = pixels.iter().find(|pixel| pixel[3] > 0)?;
            let same = pixels.iter().all(|pixel| pixel[3] == 0 || pixel[..3] == [r, g, b]);
            same.then(|| (pixels.iter().map(|pixel| pixel[3]).collect(), Fill::Color([r, g, b])))?
        }
    };
    Some(Shape { plane: Picture::new(source.width(), source.height(), Channels::Grey, samples), fill })
}

impl Shape {
    /// The whole pixels of a plane.
    fn filled(&self, plane: &Picture) -> Picture {
        let values = plane.pixels().iter();
        let (channels, pixels) = match self.fill {
            Fill::Color([r, g, b]) => (Channels::Rgba, values.flat_map(|&a| [r, g, b, a]).collect()),
            Fill::Tone => (Channels::Rgb, values.flat_map(|&tone| [tone; 3]).collect()),
        };
        Picture::new(plane.width(), plane.height(), channels, pixels)
    }
}

/// The resizer's typed door: its other one compiles every kind of pixel there is into this crate.
fn convolve<P: PixelTrait>(
    resizer: &mut Resizer,
    source: &Picture,
    bounds: Region,
    region: Region,
    size: (u32, u32),
    pixels: &mut [u8],
) -> Result<(), Error> {
    let input = TypedImageRef::<P>::from_buffer(source.width(), source.height(), source.pixels())
        .map_err(internal)?;
    let mut output = TypedImage::<P>::from_buffer(size.0, size.1, pixels).map_err(internal)?;
    let view = TypedCroppedImage::from_ref(
        &input,
        bounds.x as u32,
        bounds.y as u32,
        bounds.width as u32,
        bounds.height as u32,
    )
    .map_err(internal)?;
    // Rounding must not push the region out of the bounds, which the resizer refuses.
    let left = (region.x - bounds.x).max(0.0);
    let top = (region.y - bounds.y).max(0.0);
    let width = region.width.min(bounds.width - left);
    let height = region.height.min(bounds.height - top);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(left, top, width, height)
        .use_alpha(source.has_alpha());
    resizer.resize_typed(&view, &mut output, &options).map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("resize: {error}"))
}

/// A region of whole pixels that is not scaled is copied, exactly.
fn cut_without_scaling(source: &Picture, region: Region, size: (u32, u32)) -> Option<Picture> {
    let same = |length: f64, pixels: u32| length == f64::from(pixels);
    let whole = region.x.fract() == 0.0 && region.y.fract() == 0.0;
    if !whole || !same(region.width, size.0) || !same(region.height, size.1) {
        return None;
    }
    let channels = source.channels().count();
    let (left, top) = (region.x as usize * channels, region.y as u32);
    let mut pixels = Vec::with_capacity(size.0 as usize * size.1 as usize * channels);
    for y in top..top + size.1 {
        pixels.extend_from_slice(&source.row(y)[left..left + size.0 as usize * channels]);
    }
    Some(Picture::new(size.0, size.1, source.channels(), pixels).with_profile(source.profile.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: u32, height: u32) -> Picture {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x * 7 + y * 13) as u8)).collect();
        Picture::new(width, height, Channels::Grey, pixels)
    }

    #[test]
    fn a_region_that_is_not_scaled_is_copied_exactly() {
        let source = ramp(10, 8);
        let cut = resize(&mut Resizer::new(), &source, Region::new(3, 2, 4, 5), (4, 5)).unwrap();
        assert_eq!(cut.pixel(0, 0), source.pixel(3, 2));
        assert_eq!(cut.pixel(3, 4), source.pixel(6, 6));
    }

    #[test]
    fn the_colour_of_transparent_pixels_does_not_bleed() {
        let pixels = [[255, 0, 0, 255], [0, 255, 0, 0]].concat().repeat(8 * 4);
        let source = Picture::new(16, 4, Channels::Rgba, pixels);
        let small = resize(&mut Resizer::new(), &source, Region::new(0, 0, 16, 4), (4, 1)).unwrap();
        for pixel in small.pixels().chunks_exact(4) {
            assert!(pixel[0] > 250 && pixel[1] < 5, "{pixel:?}");
        }
    }

    #[test]
    fn one_colour_stays_one_colour_whatever_shows_through() {
        let alphas = ramp(40, 30);
        let pixels = alphas.pixels().iter().flat_map(|&alpha| match alpha {
            0..9 => [7, 7, 7, 0],
            alpha => [10, 200, 90, alpha],
        });
        let source = Picture::new(40, 30, Channels::Rgba, pixels.collect());
        let small = resize(&mut Resizer::new(), &source, Region::new(0, 0, 40, 30), (13, 11)).unwrap();
        assert!(small.pixels().as_chunks::<4>().0.iter().all(|pixel| pixel[..3] == [10, 200, 90]));
        let tones = alphas.clone().into_rgb();
        let region = Region::new(0, 0, 40, 30);
        let grey = resize(&mut Resizer::new(), &alphas, region, (13, 11)).unwrap();
        let rgb = resize(&mut Resizer::new(), &tones, region, (13, 11)).unwrap();
        assert_eq!(rgb, grey.into_rgb());
    }

    #[test]
    fn one_pixel_can_become_many_and_many_one() {
        let mut resizer = Resizer::new();
        assert_eq!(resize(&mut resizer, &ramp(1, 1), Region::new(0, 0, 1, 1), (5, 7)).unwrap().width(), 5);
        assert_eq!(
            resize(&mut resizer, &ramp(500, 3), Region::new(0, 0, 500, 3), (1, 1)).unwrap().height(),
            1
        );
    }
}
