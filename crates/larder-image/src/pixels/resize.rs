//! Resampling with Lanczos3, in the pixels' own (gamma) space as the common image servers do.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3, U8x4};
use fast_image_resize::{FilterType, ImageView, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use super::shape::Shape;
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
    Ok(resize_within(resizer, source, source.bounds(), region, size)?.picture)
}

/// A picture that was scaled.
pub(crate) struct Resized {
    pub picture: Picture,
    /// Whether smaller ones can be made of it as well as of its source. Where pixels lay between two colours
    /// they no longer do: they go beyond, each channel to its end.
    pub can_be_source: bool,
}

/// Scales `region` of the picture to `size` as if there were nothing beyond `bounds`, which are whole
/// pixels: Lanczos looks at three pixels to each side of what it makes, as they are in the output.
pub(crate) fn resize_within(
    resizer: &mut Resizer,
    source: &Picture,
    bounds: Region,
    region: Region,
    size: (u32, u32),
) -> Result<Resized, Error> {
    if let Some(cut) = cut_without_scaling(source, region, size) {
        return Ok(Resized { picture: cut, can_be_source: true });
    }
    let mut pass = Pass { resizer, source: (source.width(), source.height()), bounds, region, size };
    let shape = Shape::of(source);
    let can_be_source = !matches!(shape, Some(Shape::Between(..)));
    let (channels, pixels) = match shape {
        Some(Shape::Alpha([r, g, b], alphas)) => {
            let alphas = pass.convolved(&alphas)?;
            (Channels::Rgba, alphas.iter().flat_map(|alpha| [r, g, b, alpha.0]).collect())
        }
        Some(Shape::Tone(tones)) => {
            (Channels::Rgb, pass.convolved(&tones)?.iter().flat_map(|tone| [tone.0; 3]).collect())
        }
        Some(Shape::Between(line, plane)) => (Channels::Rgb, line.colors(&pass.convolved_by_turns(&plane)?)),
        None => (source.channels(), pass.bytes(source)?),
    };
    let picture = Picture::new(size.0, size.1, channels, pixels).with_profile(source.profile.clone());
    Ok(Resized { picture, can_be_source })
}

/// One part of a picture on its way to one size.
struct Pass<'a> {
    resizer: &'a mut Resizer,
    source: (u32, u32),
    bounds: Region,
    region: Region,
    size: (u32, u32),
}

impl Pass<'_> {
    /// All channels of a picture.
    fn bytes(&mut self, source: &Picture) -> Result<Vec<u8>, Error> {
        let channels = source.channels();
        let mut pixels = vec![0; self.size.0 as usize * self.size.1 as usize * channels.count()];
        match channels {
            Channels::Grey => self.convolve_bytes::<U8>(source, &mut pixels)?,
            Channels::Rgb => self.convolve_bytes::<U8x3>(source, &mut pixels)?,
            Channels::Rgba => self.convolve_bytes::<U8x4>(source, &mut pixels)?,
        }
        Ok(pixels)
    }

    fn convolve_bytes<P: PixelTrait>(&mut self, source: &Picture, pixels: &mut [u8]) -> Result<(), Error> {
        let input = TypedImageRef::<P>::from_buffer(self.source.0, self.source.1, source.pixels());
        let output = TypedImage::<P>::from_buffer(self.size.0, self.size.1, pixels);
        let (input, mut output) = (input.map_err(internal)?, output.map_err(internal)?);
        convolve(self.resizer, &self.bounded(&input)?, self.part(), &mut output, source.has_alpha())
    }

    /// One channel.
    fn convolved<P: PixelTrait>(&mut self, plane: &[P]) -> Result<Vec<P>, Error> {
        let input = TypedImageRef::new(self.source.0, self.source.1, plane).map_err(internal)?;
        let mut output = TypedImage::new(self.size.0, self.size.1);
        convolve(self.resizer, &self.bounded(&input)?, self.part(), &mut output, false)?;
        Ok(output.pixels().to_vec())
    }

    /// One channel, down and then across, as the resizer does by itself only with 8 bits: what goes beyond the
    /// ends is cut off between the two as well, and the other way round it would be cut elsewhere.
    fn convolved_by_turns<P: PixelTrait>(&mut self, plane: &[P]) -> Result<Vec<P>, Error> {
        let input = TypedImageRef::new(self.source.0, self.source.1, plane).map_err(internal)?;
        let (part, (width, height)) = (self.part(), self.size);
        let input = self.bounded(&input)?;
        let mut between = TypedImage::new(input.width(), height);
        let down = Region { x: 0.0, width: input.width().into(), ..part };
        convolve(self.resizer, &input, down, &mut between, false)?;
        let mut output = TypedImage::new(width, height);
        let across = Region { y: 0.0, height: height.into(), ..part };
        convolve(self.resizer, &between, across, &mut output, false)?;
        Ok(output.pixels().to_vec())
    }

    /// What there is of the source.
    fn bounded<'a, P: PixelTrait>(
        &self,
        input: &'a TypedImageRef<'_, P>,
    ) -> Result<TypedCroppedImage<'a, TypedImageRef<'a, P>>, Error> {
        let bounds = self.bounds;
        TypedCroppedImage::from_ref(
            input,
            bounds.x as u32,
            bounds.y as u32,
            bounds.width as u32,
            bounds.height as u32,
        )
        .map_err(internal)
    }

    /// The region within that. Rounding must not push it out, which the resizer refuses.
    fn part(&self) -> Region {
        let (bounds, region) = (self.bounds, self.region);
        let (x, y) = ((region.x - bounds.x).max(0.0), (region.y - bounds.y).max(0.0));
        Region {
            x,
            y,
            width: region.width.min(bounds.width - x),
            height: region.height.min(bounds.height - y),
        }
    }
}

/// The resizer's typed door: its other one compiles every kind of pixel there is into this crate.
fn convolve<P: PixelTrait>(
    resizer: &mut Resizer,
    input: &impl ImageView<Pixel = P>,
    part: Region,
    output: &mut TypedImage<'_, P>,
    has_alpha: bool,
) -> Result<(), Error> {
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(part.x, part.y, part.width, part.height)
        .use_alpha(has_alpha);
    resizer.resize_typed(input, output, &options).map_err(internal)
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
    use std::collections::HashSet;

    use fast_image_resize::pixels::F32;

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

    /// Strokes of every direction and width with smooth edges: how much of each pixel is covered.
    fn strokes(side: u32) -> Vec<u8> {
        let covered = |x: u32, y: u32| {
            let (x, y) = (f64::from(x) - f64::from(side) * 0.3, f64::from(y) - f64::from(side) * 0.4);
            let ring = (x.hypot(y) / 5.3).sin() * 4.0 + (x * 0.41).sin() + (y * 0.23 + x * 0.02).cos() - 0.7;
            ((ring * 0.8 + 0.5).clamp(0.0, 1.0) * 255.0) as u8
        };
        (0..side).flat_map(|y| (0..side).map(move |x| covered(x, y))).collect()
    }

    fn blended(coverage: &[u8], ink: [u8; 3], paper: [u8; 3]) -> Vec<u8> {
        let of = |part: u8| {
            let part = u16::from(part);
            ink.into_iter().zip(paper).map(move |(ink, paper)| {
                ((u16::from(ink) * part + u16::from(paper) * (255 - part) + 127) / 255) as u8
            })
        };
        coverage.iter().flat_map(|&part| of(part)).collect()
    }

    /// Resized channel by channel, in 8 bits as what is on no line and as defined.
    fn by_channels(source: &Picture, size: (u32, u32)) -> (Vec<u8>, Vec<f32>) {
        let (mut resizer, bounds) = (Resizer::new(), source.bounds());
        let mut pass = Pass {
            resizer: &mut resizer,
            source: (source.width(), source.height()),
            bounds,
            region: bounds,
            size,
        };
        let rounded = pass.bytes(source).unwrap();
        let channels = [0, 1, 2].map(|channel| {
            let pixels = source.pixels().as_chunks::<3>().0.iter();
            let plane: Vec<F32> = pixels.map(|pixel| F32::new(pixel[channel].into())).collect();
            pass.convolved(&plane).unwrap()
        });
        let [reds, greens, blues] = &channels;
        let pixels = reds.iter().zip(greens).zip(blues);
        let exact = pixels.flat_map(|((r, g), b)| [r, g, b].map(|value| value.0.clamp(0.0, 255.0)));
        (rounded, exact.collect())
    }

    #[test]
    fn text_of_two_colours_looks_as_channel_by_channel_and_fits_a_palette() {
        const SIDE: u32 = 240;
        let coverage = strokes(SIDE);
        // Whether the channels end together, or none of them, beyond the two colours.
        let cases = [
            ([255, 0, 0], [255; 3], true),
            ([0; 3], [255, 255, 0], true),
            ([60, 90, 140], [230, 225, 210], true),
            ([120, 125, 130], [128, 120, 131], true),
            ([20, 60, 140], [255; 3], false),
            ([0, 0, 128], [255; 3], false),
            ([255, 255, 0], [0, 0, 80], false),
            ([0, 128, 128], [255, 250, 240], false),
        ];
        for (ink, paper, alike) in cases {
            let source = Picture::new(SIDE, SIDE, Channels::Rgb, blended(&coverage, ink, paper));
            for side in [31, 80, 100, 300] {
                let (expected, exact) = by_channels(&source, (side, side));
                let mut resizer = Resizer::new();
                let bounds = source.bounds();
                let found = resize_within(&mut resizer, &source, bounds, bounds, (side, side)).unwrap();
                assert!(!found.can_be_source);
                let found = found.picture;
                let (mut apart, mut sums) = (0, (0.0, 0.0));
                for ((&found, &expected), &exact) in found.pixels().iter().zip(&expected).zip(&exact) {
                    let error = |value: u8| (f32::from(value) - exact).abs();
                    sums = (sums.0 + error(found), sums.1 + error(expected));
                    apart += usize::from(found.abs_diff(expected) > 2);
                }
                // Channels that end before others are cut off between the directions too, and that is seen
                // in some pixels beside an edge; neither of the two is nearer to what is right.
                let samples = found.pixels().len();
                assert!(apart <= if alike { 0 } else { samples / 10 }, "{ink:?} on {paper:?}: {apart}");
                assert!(sums.0 <= sums.1 + samples as f32 * 0.05, "{ink:?} on {paper:?}: {sums:?}");
                let colors: HashSet<&[u8; 3]> = found.pixels().as_chunks().0.iter().collect();
                assert!(colors.len() <= 256 && colors.contains(&paper), "{ink:?} on {paper:?}");
            }
        }
    }

    #[test]
    fn a_part_of_a_text_of_two_colours_sees_nothing_beyond_its_bounds() {
        let (ink, paper) = ([20, 60, 140], [255; 3]);
        let mut source = Picture::new(90, 60, Channels::Rgb, blended(&[0; 90 * 60], ink, paper));
        for pixel in source.pixels_mut().as_chunks_mut::<3>().0.iter_mut().skip(30 * 90) {
            *pixel = ink;
        }
        let bounds = Region::new(0, 30, 90, 30);
        let part = Region { x: 3.5, y: 30.0, width: 80.0, height: 29.5 };
        let found = resize_within(&mut Resizer::new(), &source, bounds, part, (31, 17)).unwrap().picture;
        assert!(found.pixels().as_chunks::<3>().0.iter().all(|pixel| *pixel == ink));
    }

    #[test]
    fn a_photo_and_a_text_with_one_other_pixel_are_resized_channel_by_channel() {
        let mut text = Picture::new(60, 60, Channels::Rgb, blended(&strokes(60), [20, 60, 140], [255; 3]));
        text.pixels_mut()[3 * 1_234] ^= 0x40;
        let photo = (0..60 * 60 * 3_u32).map(|n| (n * n / 97 + n / 50) as u8).collect();
        for source in [text, Picture::new(60, 60, Channels::Rgb, photo)] {
            let bounds = source.bounds();
            let found = resize_within(&mut Resizer::new(), &source, bounds, bounds, (20, 20)).unwrap();
            assert!(found.can_be_source);
            assert_eq!(found.picture.pixels(), by_channels(&source, (20, 20)).0);
        }
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
