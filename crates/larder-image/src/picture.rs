//! Pixels in memory.

use std::sync::Arc;

use crate::plan::Region;
use crate::planar::Planar;

/// The channels of a pixel, a byte each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channels {
    /// Luminance.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue, and alpha that is not multiplied into them.
    Rgba,
}

impl Channels {
    /// Bytes of a pixel.
    pub(crate) const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// A picture as stored: rows from the top, pixels from the left, no gaps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    width: u32,
    height: u32,
    channels: Channels,
    pixels: Vec<u8>,
    /// The ICC profile of the pixels; `None` means sRGB.
    pub profile: Option<Arc<[u8]>>,
}

impl Picture {
    /// # Panics
    /// If there are not exactly as many bytes as the size needs; that is a defect of a decoder, and
    /// decoders run guarded.
    pub(crate) fn new(width: u32, height: u32, channels: Channels, pixels: Vec<u8>) -> Self {
        assert!(width > 0 && height > 0, "a picture has at least one pixel");
        assert_eq!(pixels.len(), width as usize * height as usize * channels.count(), "bytes of the picture");
        Self { width, height, channels, pixels, profile: None }
    }

    /// A picture of one colour.
    pub(crate) fn filled(width: u32, height: u32, channels: Channels, pixel: &[u8]) -> Self {
        let count = width as usize * height as usize;
        Self::new(width, height, channels, pixel[..channels.count()].repeat(count))
    }

    pub(crate) fn with_profile(mut self, profile: Option<Arc<[u8]>>) -> Self {
        self.profile = profile;
        self
    }

    pub(crate) fn width(&self) -> u32 {
        self.width
    }

    pub(crate) fn height(&self) -> u32 {
        self.height
    }

    /// All of it.
    pub(crate) fn bounds(&self) -> Region {
        Region::new(0, 0, self.width, self.height)
    }

    pub(crate) fn channels(&self) -> Channels {
        self.channels
    }

    pub(crate) fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    pub(crate) fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    pub(crate) fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// Bytes of a row.
    pub(crate) fn stride(&self) -> usize {
        self.width as usize * self.channels.count()
    }

    pub(crate) fn row(&self, y: u32) -> &[u8] {
        let stride = self.stride();
        &self.pixels[y as usize * stride..][..stride]
    }

    pub(crate) fn pixel(&self, x: u32, y: u32) -> &[u8] {
        &self.row(y)[x as usize * self.channels.count()..][..self.channels.count()]
    }

    pub(crate) fn has_alpha(&self) -> bool {
        self.channels == Channels::Rgba
    }

    /// The same picture with four channels.
    pub(crate) fn into_rgba(self) -> Self {
        let pixels = match self.channels {
            Channels::Rgba => return self,
            Channels::Grey => self.pixels.iter().flat_map(|&tone| [tone, tone, tone, 255]).collect(),
            Channels::Rgb => {
                self.pixels.as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect()
            }
        };
        Self::new(self.width, self.height, Channels::Rgba, pixels).with_profile(self.profile)
    }

    /// The same picture with three channels; alpha is dropped.
    pub(crate) fn into_rgb(self) -> Self {
        let pixels = match self.channels {
            Channels::Rgb => return self,
            Channels::Grey => self.pixels.iter().flat_map(|&tone| [tone; 3]).collect(),
            Channels::Rgba => {
                self.pixels.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect()
            }
        };
        Self::new(self.width, self.height, Channels::Rgb, pixels).with_profile(self.profile)
    }

    /// The same picture without its alpha channel if every pixel is opaque.
    pub(crate) fn without_idle_alpha(self) -> Self {
        let idle = self.has_alpha() && self.pixels.as_chunks::<4>().0.iter().all(|pixel| pixel[3] == 255);
        if idle { self.into_rgb() } else { self }
    }

    /// Bytes of memory that the picture holds.
    pub(crate) fn memory_bytes(&self) -> u64 {
        (self.pixels.capacity() + self.profile.as_ref().map_or(0, |profile| profile.len())) as u64
    }
}

/// What a decoder gives.
#[derive(Debug)]
pub(crate) enum Pixels {
    Interleaved(Picture),
    Planar(Box<Planar>),
}

impl Pixels {
    /// Bytes of memory that it holds.
    pub(crate) fn memory_bytes(&self) -> u64 {
        match self {
            Self::Interleaved(picture) => picture.memory_bytes(),
            Self::Planar(planes) => planes.memory_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_added_and_dropped_without_change_to_the_others() {
        let grey = Picture::new(2, 1, Channels::Grey, vec![1, 2]);
        assert_eq!(grey.clone().into_rgba().pixels(), [1, 1, 1, 255, 2, 2, 2, 255]);
        assert_eq!(grey.clone().into_rgba().into_rgb().pixels(), grey.into_rgb().pixels());
    }

    #[test]
    fn alpha_that_hides_nothing_is_dropped() {
        assert!(!Picture::new(1, 1, Channels::Rgba, vec![1, 2, 3, 255]).without_idle_alpha().has_alpha());
        assert!(Picture::new(1, 1, Channels::Rgba, vec![1, 2, 3, 254]).without_idle_alpha().has_alpha());
    }
}
