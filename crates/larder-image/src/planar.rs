//! Pictures whose light and colours lie in planes of their own, as JPEG and WebP code them: half of the
//! samples or fewer, and nothing to convert on the way from one to the other.

use std::sync::Arc;

use larder_jpeg::Plane;

use crate::picture::{Channels, Picture};
use crate::pixels::lanczos::{Span, resample};
use crate::pixels::orient;
use crate::plan::Region;
use crate::{Error, Orientation};

/// How many pixels share a sample of colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sampling {
    /// 4:4:4: none.
    Full = 1,
    /// 4:2:0: two by two.
    Half = 2,
}

/// Y, Cb and Cr of the full range (ITU-T T.871, section 7), each in a plane.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planar {
    width: u32,
    height: u32,
    components: [Component; 3],
    /// The ICC profile of the pixels; `None` means sRGB.
    pub profile: Option<Arc<[u8]>>,
}

/// A plane, and where its samples lie in the picture. A decode at a smaller scale has a pitch of its own
/// even for light: pixels are always those of the whole picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Component {
    pub plane: Plane,
    /// Pixels from one sample to the next, across and down.
    pub pitch: (f64, f64),
    /// Where the first sample begins, in pixels: before the picture where a half-filled sample had to
    /// come first, since the picture is yet to be mirrored.
    pub origin: (f64, f64),
}

impl Component {
    /// Samples from the picture's corner on.
    pub(crate) fn new(plane: Plane, pitch: (f64, f64)) -> Self {
        Self { plane, pitch, origin: (0.0, 0.0) }
    }
}

impl Planar {
    pub(crate) fn new((width, height): (u32, u32), components: [Component; 3]) -> Self {
        Self { width, height, components, profile: None }
    }

    pub(crate) fn with_profile(mut self, profile: Option<Arc<[u8]>>) -> Self {
        self.profile = profile;
        self
    }

    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Light, and the two colours.
    pub(crate) fn planes(&self) -> [&Plane; 3] {
        self.components.each_ref().map(|component| &component.plane)
    }

    /// Bytes of memory that the picture holds.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let samples: usize = self.planes().map(|plane| plane.samples.capacity()).iter().sum();
        (samples + self.profile.as_ref().map_or(0, |profile| profile.len())) as u64
    }

    /// A part of it at another size, not yet turned. Where samples of colour are shared and the size is
    /// odd, `orientation` tells at which end the last one will lie half outside.
    pub(crate) fn scaled(
        &self,
        region: Region,
        size: (u32, u32),
        orientation: Orientation,
        sampling: Sampling,
    ) -> Self {
        let reversed = orientation.reverses();
        let steps = [Sampling::Full, sampling, sampling].map(|sampling| sampling as u32);
        let components = std::array::from_fn(|index| {
            let (component, step) = (&self.components[index], steps[index]);
            let across = Axis::new((region.x, region.width), size.0, step, reversed.0);
            let down = Axis::new((region.y, region.height), size.1, step, reversed.1);
            let plane = resample(
                &component.plane,
                across.in_samples(component.origin.0, component.pitch.0),
                down.in_samples(component.origin.1, component.pitch.1),
                (across.samples as usize, down.samples as usize),
            );
            let origin = (-f64::from(across.before), -f64::from(down.before));
            Component { plane, pitch: (step.into(), step.into()), origin }
        });
        Self { width: size.0, height: size.1, components, profile: self.profile.clone() }
    }

    /// The picture as it is to be shown; only for what [`Self::scaled`] made for this orientation.
    pub(crate) fn oriented(&self, orientation: Orientation) -> Self {
        let (width, height) = orientation.apply_to_size(self.size());
        let components = self.components.each_ref().map(|component| {
            let pitch = match orientation.swaps_sides() {
                true => (component.pitch.1, component.pitch.0),
                false => component.pitch,
            };
            Component::new(turned(&component.plane, orientation), pitch)
        });
        Self { width, height, components, profile: self.profile.clone() }
    }

    /// The picture with its channels side by side; only where every pixel has its own samples, as
    /// [`Self::scaled`] gives with [`Sampling::Full`].
    pub(crate) fn to_picture(&self) -> Result<Picture, Error> {
        let pixels = larder_jpeg::ycbcr_to_rgb(self.planes());
        let pixels = pixels.ok_or_else(|| Error::internal("planes of different sizes"))?;
        Ok(Picture::new(self.width, self.height, Channels::Rgb, pixels).with_profile(self.profile.clone()))
    }

    /// The same for any planes, with as many pixels as there are samples of light.
    pub(crate) fn to_decoded_picture(&self) -> Result<Picture, Error> {
        let light = self.planes()[0];
        let size = (side(light.width)?, side(light.height)?);
        let whole = Region::new(0, 0, self.width, self.height);
        self.scaled(whole, size, Orientation::UPRIGHT, Sampling::Full).to_picture()
    }
}

fn side(samples: usize) -> Result<u32, Error> {
    u32::try_from(samples).map_err(|_| Error::internal("a plane is larger than any picture"))
}

fn turned(plane: &Plane, orientation: Orientation) -> Plane {
    let (width, height) = (plane.width as u32, plane.height as u32);
    let samples = plane.rows().flatten().copied().collect();
    let turned = orient::orient(Picture::new(width, height, Channels::Grey, samples), orientation);
    let (width, height) = (turned.width() as usize, turned.height() as usize);
    Plane { width, height, stride: width, samples: turned.into_pixels() }
}

/// One direction of a plane that is made: which pixels of the source its samples stand for.
struct Axis {
    start: f64,
    length: f64,
    samples: u32,
    /// Pixels of the output that lie before its first one.
    before: u32,
}

impl Axis {
    fn new((start, length): (f64, f64), pixels: u32, step: u32, reversed: bool) -> Self {
        let samples = pixels.div_ceil(step);
        let pixel = length / f64::from(pixels);
        let before = if reversed { samples * step - pixels } else { 0 };
        let length = f64::from(samples * step) * pixel;
        Self { start: start - f64::from(before) * pixel, length, samples, before }
    }

    fn in_samples(&self, origin: f64, pitch: f64) -> Span {
        Span::new((self.start - origin) / pitch, self.length / pitch)
    }
}

/// A plane whose samples follow from their places, for tests.
#[cfg(test)]
pub(crate) fn plane(width: usize, height: usize, sample: impl Fn(usize, usize) -> u8) -> Plane {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    Plane { width, height, stride: width, samples: places.map(|(x, y)| sample(x, y)).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Light and colours that rise to the right and downwards, as a 4:2:0 file has them.
    fn ramp(width: u32, height: u32) -> Planar {
        let tone = |x: f64, y: f64| (40.0 + x + y).round() as u8;
        let light = plane(width as usize, height as usize, |x, y| tone(x as f64 + 0.5, y as f64 + 0.5));
        let (w, h) = (width.div_ceil(2) as usize, height.div_ceil(2) as usize);
        let colour = plane(w, h, |x, y| tone(2.0 * x as f64 + 1.0, 2.0 * y as f64 + 1.0));
        let [blue, red] = [colour.clone(), colour].map(|plane| Component::new(plane, (2.0, 2.0)));
        Planar::new((width, height), [Component::new(light, (1.0, 1.0)), blue, red])
    }

    #[test]
    fn light_and_colour_stay_where_they_are_in_every_orientation_and_at_odd_sizes() {
        let source = ramp(80, 60);
        for value in 1..=8 {
            let orientation = Orientation::from_exif(value).unwrap();
            for size in [(39, 29), (40, 29), (39, 30), (40, 30)] {
                let whole = Region::new(0, 0, 80, 60);
                let half = source.scaled(whole, size, orientation, Sampling::Half).oriented(orientation);
                let full = source.scaled(whole, size, orientation, Sampling::Full).oriented(orientation);
                let [light, blue, _] = half.planes();
                let [same, fine, _] = full.planes();
                assert_eq!(light, same);
                // A shared sample lies in the middle of its four pixels; edges have no neighbours.
                for (y, row) in blue.rows().enumerate().skip(2).take(blue.height - 5) {
                    for (x, sample) in row.iter().enumerate().skip(2).take(blue.width - 5) {
                        let four = [0, 1].map(|down| {
                            [0, 1].map(|across| u32::from(fine.row(2 * y + down)[2 * x + across]))
                        });
                        let mean = four.as_flattened().iter().sum::<u32>().div_ceil(4);
                        assert!(mean.abs_diff(u32::from(*sample)) <= 1, "{value} {size:?} at {x}, {y}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_level_of_a_mirrored_picture_is_a_source_like_any_other() {
        let source = ramp(80, 60);
        let mirrored = Orientation::from_exif(2).unwrap();
        let whole = Region::new(0, 0, 80, 60);
        let level = source.scaled(whole, (53, 41), mirrored, Sampling::Half);
        let chained = level.scaled(Region::new(0, 0, 53, 41), (20, 15), mirrored, Sampling::Half);
        let direct = source.scaled(whole, (20, 15), mirrored, Sampling::Half);
        for (chained, direct) in chained.planes().iter().zip(direct.planes()) {
            for y in 1..direct.height - 1 {
                for x in 1..direct.width - 1 {
                    assert!(chained.row(y)[x].abs_diff(direct.row(y)[x]) <= 1, "at {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_scaled_where_size_and_sampling_stay() {
        let source = ramp(31, 17);
        let same = source.scaled(Region::new(0, 0, 31, 17), (31, 17), Orientation::UPRIGHT, Sampling::Half);
        assert_eq!(same, source);
    }

    #[test]
    fn grey_planes_become_grey_pixels() {
        let mut source = ramp(16, 12);
        for component in &mut source.components[1..] {
            component.plane.samples.fill(128);
        }
        let picture = source.to_decoded_picture().unwrap();
        assert_eq!((picture.width(), picture.height()), (16, 12));
        let light = source.planes()[0].samples.iter();
        assert!(
            picture.pixels().as_chunks::<3>().0.iter().zip(light).all(|(pixel, &light)| *pixel == [light; 3])
        );
    }
}
