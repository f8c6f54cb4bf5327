//! SSIMULACRA2 against what a perfect pipeline would have made.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use fast_ssim2::{PixelDescriptor, PixelSlice, Ssimulacra2Reference};
use jpeg_decoder::{Decoder, PixelFormat};
use larder_image::{ImageLimits, inspect};

use super::sharp::Pixels;

/// The photos, and the references made of them.
pub struct Scorer {
    photos: Vec<Photo>,
    references: HashMap<(usize, u32, u32), Ssimulacra2Reference>,
}

/// A photo, decoded at its full size to 16 bits and turned upright.
struct Photo {
    width: u32,
    height: u32,
    /// RGB, native byte order.
    samples: Vec<u8>,
}

impl Scorer {
    /// Decodes the photos, with a decoder that neither side uses.
    pub fn new(photos: &[Vec<u8>]) -> Result<Self> {
        let photos = photos.iter().map(|bytes| Photo::decode(bytes)).collect::<Result<_>>()?;
        Ok(Self { photos, references: HashMap::new() })
    }

    /// The score of an output of that photo: 100 is equal, above 90 is hard to tell apart.
    pub fn score(&mut self, photo: usize, output: &Pixels) -> Result<f64> {
        let (width, height) = (output.width, output.height);
        let reference = match self.references.entry((photo, width, height)) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(empty) => {
                let photo = self.photos.get(photo).context("an output of an unknown photo")?;
                empty.insert(photo.reference(width, height)?)
            }
        };
        let descriptor = PixelDescriptor::RGB8_SRGB;
        let output = PixelSlice::new(&output.bytes, width, height, width as usize * 3, descriptor)
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        Ok(reference.compare(&output)?)
    }
}

impl Photo {
    fn decode(bytes: &[u8]) -> Result<Self> {
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
        let mut samples = Vec::with_capacity(pixels.len() * 2);
        for y in 0..height {
            for x in 0..width {
                let (from_x, from_y) = stored_place(exif, (x, y), (stored_width, stored_height))?;
                let at = (from_y as usize * stored_width as usize + from_x as usize) * 3;
                for value in &pixels[at..at + 3] {
                    samples.extend_from_slice(&(u16::from(*value) * 257).to_ne_bytes());
                }
            }
        }
        Ok(Self { width, height, samples })
    }

    /// The photo at another size: Lanczos3 over the full decode, in 16 bits.
    fn reference(&self, width: u32, height: u32) -> Result<Ssimulacra2Reference> {
        let source = Image::from_vec_u8(self.width, self.height, self.samples.clone(), PixelType::U16x3)?;
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
