//! AV1 by libaom, with colours at half the width and height.

mod codec;
mod planes;

use avif_serialize::Aviffy;
use larder_jpeg::Plane;

use crate::formats::{Coding, EncodePlanar, Load};
use crate::picture::Picture;
use crate::planar::Planar;
use crate::recipe::Quality;
use crate::{Deadline, Error};

pub(super) const VERSION: &str = "libaom 3.11 speed 9";

/// Some 12 ms at 800 pixels: as fast as WebP.
pub(super) const SLOW: bool = false;

pub(super) const PLANAR: Option<EncodePlanar> = Some(encode_planar);

/// Noise with alpha at quality 90 takes 19 bytes a pixel, the picture itself included; the rest is room for what is
/// written at 100.
pub(super) fn memory_bytes(load: &Load) -> u64 {
    load.pixels * 32 + (16 << 20)
}

/// A frame can't be interrupted, and there is nothing faster than what this does anyway.
pub(super) fn encode(picture: &Picture, coding: Coding, _deadline: Deadline) -> Result<Vec<u8>, Error> {
    let [blue, red] = planes::colours(picture);
    file([&planes::light(picture), &blue, &red], planes::alpha(picture).as_ref(), coding)
}

fn encode_planar(planes: &Planar, coding: Coding, _deadline: Deadline) -> Result<Vec<u8>, Error> {
    file(planes.planes(), None, coding)
}

fn file([light, blue, red]: [&Plane; 3], alpha: Option<&Plane>, coding: Coding) -> Result<Vec<u8>, Error> {
    let Quality::Lossy(quality) = coding.quality else {
        return Err(Error::recipe("quality:lossless is not possible with format:avif"));
    };
    let level = level(quality);
    let color = codec::encode(light, Some([blue, red]), level)?;
    let alpha = alpha.map(|alpha| codec::encode(alpha, None, level)).transpose()?;
    Ok(boxes((light.width as u32, light.height as u32), &color, alpha.as_deref()))
}

/// Qualities, and the quantiser at which libaom's pictures score as those of `ravif` at that quality do: by
/// SSIMULACRA2, the mean of four photos at 800 pixels. At 100, where rav1e comes closer still, it is libaom's best.
const LEVELS: [(u32, u32); 12] = [
    (1, 60),
    (10, 56),
    (20, 47),
    (30, 42),
    (40, 38),
    (50, 34),
    (60, 30),
    (70, 25),
    (80, 20),
    (90, 8),
    (95, 3),
    (100, 0),
];

/// The quantiser for a quality of 1 to 100, on straight lines between those.
fn level(quality: u8) -> u32 {
    let quality = u32::from(quality).clamp(1, 100);
    let above = LEVELS.iter().position(|&(known, _)| known >= quality).unwrap_or(LEVELS.len() - 1);
    let ((from, coarse), (to, fine)) = (LEVELS[above.saturating_sub(1)], LEVELS[above]);
    let width = (to - from).max(1);
    (coarse * width - (quality - from) * (coarse - fine) + width / 2) / width
}

/// The container, which repeats what the bitstreams say, but for the numbers of the colours: sRGB in the planes
/// of a JPEG is what every reader takes where it says nothing.
fn boxes((width, height): (u32, u32), color: &[u8], alpha: Option<&[u8]>) -> Vec<u8> {
    Aviffy::new().set_seq_profile(0).set_chroma_subsampling((true, true)).to_vec(
        bare(color),
        alpha.map(bare),
        width,
        height,
        8,
    )
}

/// A bitstream without the mark between frames, which has no place in an item (AV1 in ISOBMFF, section 2.4).
fn bare(stream: &[u8]) -> &[u8] {
    stream.strip_prefix(&[0x12, 0]).unwrap_or(stream)
}

#[cfg(test)]
mod tests {
    use super::super::container::{self, Cicp};
    use super::super::sequence;
    use super::super::tests::{coding, decoded, difference, later, picture};
    use super::*;
    use crate::picture::Channels;
    use crate::planar::Component;

    /// The planes of a picture, in rows that are longer than they need to be.
    fn planar(picture: &Picture) -> Planar {
        let [blue, red] = planes::colours(picture);
        let component = |tight: Plane, pitch: f64| {
            let stride = tight.width + 5;
            let samples = tight.rows().flat_map(|row| row.iter().copied().chain([77; 5])).collect();
            Component::new(Plane { stride, samples, ..tight }, (pitch, pitch))
        };
        let components = [component(planes::light(picture), 1.0), component(blue, 2.0), component(red, 2.0)];
        Planar::new((picture.width(), picture.height()), components)
    }

    #[test]
    fn planes_go_in_as_they_are() {
        for size in [(64, 48), (63, 47), (1, 1)] {
            let picture = picture(size, Channels::Rgb);
            let file = encode_planar(&planar(&picture), coding(90), later()).unwrap();
            assert!(difference(&picture, &decoded(&file)) < 3.0);
            assert!(file == encode(&picture, coding(90), later()).unwrap());
        }
    }

    #[test]
    fn planes_of_another_size_are_refused() {
        let picture = picture((8, 8), Channels::Rgb);
        let light = planes::light(&picture);
        let refused = codec::encode(&light, Some([&light, &light]), 20);
        assert!(refused.unwrap_err().to_string().contains("another size"));
    }

    #[test]
    fn colours_are_those_of_srgb_in_the_planes_of_a_jpeg() {
        let file = encode(&picture((9, 7), Channels::Rgba), coding(60), later()).unwrap();
        let container = container::read(&file).unwrap();
        let color = sequence::read(&container.color).unwrap();
        assert_eq!(color.cicp, Cicp { primaries: 1, transfer: 13, matrix: 6, full_range: true });
        assert!(container.cicp.is_none_or(|cicp| cicp == color.cicp));
        let alpha = sequence::read(&container.alpha.unwrap()).unwrap();
        assert!(!color.grey && alpha.grey && alpha.cicp.full_range);
    }

    #[test]
    fn better_quality_is_a_finer_level_all_the_way() {
        let levels: Vec<u32> = (1..=100).map(level).collect();
        assert!(levels.is_sorted_by(|worse, better| worse >= better));
        assert_eq!((levels[0], levels[59], levels[99]), (60, 30, 0));
    }
}
