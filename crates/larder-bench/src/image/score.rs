//! SSIMULACRA2 against what a perfect pipeline would have made.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use fast_ssim2::{PixelDescriptor, PixelSlice, Ssimulacra2Reference};
use jpeg_decoder::{Decoder, PixelFormat};
use larder_image::{ImageLimits, inspect};

use super::peer::Pixels;

/// What outputs were made from, and the references made of it.
pub struct Scorer {
    originals: Vec<Original>,
    references: HashMap<(usize, u32, u32), Ssimulacra2Reference>,
}

/// A picture at its full size, upright.
pub struct Original {
    pub width: u32,
    pub height: u32,
    /// RGB of 8 bits.
    pub samples: Vec<u8>,
}

impl Scorer {
    pub fn new(originals: Vec<Original>) -> Self {
        Self { originals, references: HashMap::new() }
    }

    /// The score of an output of that original: 100 is equal, above 90 is hard to tell apart.
    pub fn score(&mut self, original: usize, output: &Pixels) -> Result<f64> {
        let (width, height) = (output.width, output.height);
        let reference = match self.references.entry((original, width, height)) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(empty) => {
                let original = self.originals.get(original).context("an output of nothing")?;
                empty.insert(original.reference(width, height)?)
            }
        };
        let descriptor = PixelDescriptor::RGB8_SRGB;
        let output = PixelSlice::new(&output.bytes, width, height, width as usize * 3, descriptor)
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        Ok(reference.compare(&output)?)
    }
}

impl Original {
    /// Decodes a photo, with a decoder that neither side uses.
    pub fn photo(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new(bytes);
        let pixels = decoder.decode()?;
        let info = decoder.info().context("no header")?;
        if info.pixel_format != PixelFormat::RGB24 {
            bail!("the photos are to be in colour");
        }
        let exif = inspect(bytes, &ImageLimits::default())?.orientation.exif();
        let (stored_width, stored_height) = (u32::from(info.width), u32::from(info.height));
        let turned = matches!(exif, 5..=8);
        let (width, height) =
            if turned { (stored_height, stored_width) } else { (stored_width, stored_height) };
        let mut samples = Vec::with_capacity(pixels.len());
        for y in 0..height {
            for x in 0..width {
                let (from_x, from_y) = stored_place(exif, (x, y), (stored_width, stored_height))?;
                let at = (from_y as usize * stored_width as usize + from_x as usize) * 3;
                samples.extend_from_slice(&pixels[at..at + 3]);
            }
        }
        Ok(Self { width, height, samples })
    }

    /// The picture at another size: Lanczos3 over all of it, in 16 bits.
    fn reference(&self, width: u32, height: u32) -> Result<Ssimulacra2Reference> {
        let wide = self.samples.iter().flat_map(|&value| (u16::from(value) * 257).to_ne_bytes()).collect();
        let source = Image::from_vec_u8(self.width, self.height, wide, PixelType::U16x3)?;
        let mut small = Image::new(width, height, PixelType::U16x3);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
        Resizer::new().resize(&source, &mut small, &options)?;
        let slice =
            PixelSlice::new(small.buffer(), width, height, width as usize * 6, PixelDescriptor::RGB16_SRGB)
                .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        Ok(Ssimulacra2Reference::new(&slice)?)
    }
}

/// Where the pixel of the upright picture is stored (Exif 2.32, tag 0x0112).
fn stored_place(exif: u16, (x, y): (u32, u32), (width, height): (u32, u32)) -> Result<(u32, u32)> {
    Ok(match exif {
        1 => (x, y),
        3 => (width - 1 - x, height - 1 - y),
        6 => (y, height - 1 - x),
        8 => (width - 1 - y, x),
        other => bail!("orientation {other} is mirrored, which no camera's photo is"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_takes_the_corner_where_it_belongs() {
        // Stored 3 x 2. With orientation 6 the stored bottom left is the upright top left.
        assert_eq!(stored_place(6, (0, 0), (3, 2)).unwrap(), (0, 1));
        assert_eq!(stored_place(6, (1, 2), (3, 2)).unwrap(), (2, 0));
        assert_eq!(stored_place(8, (0, 0), (3, 2)).unwrap(), (2, 0));
        assert_eq!(stored_place(3, (0, 0), (3, 2)).unwrap(), (2, 1));
        assert!(stored_place(2, (0, 0), (3, 2)).is_err());
    }
}
