//! Out: as grey, with a palette or in full, with the fewest bits that hold every pixel.

use std::borrow::Cow;

use png::{BitDepth, ColorType, Compression, DeflateCompression, Encoder, Filter};

use super::colors::{Color, Colors};
use crate::formats::Coding;
use crate::picture::{Channels, Picture};
use crate::recipe::Effort;
use crate::{Deadline, Error};

/// How hard packing tries where there are no filters and time is short, of 1 to 9: 5 % more than the usual 6 in
/// half of the time. 1 would make 30 % more.
const UNFILTERED_FAST_LEVEL: u8 = 2;

pub(super) fn encode(picture: &Picture, coding: Coding, deadline: Deadline) -> Result<Vec<u8>, Error> {
    let mut info = png::Info::with_size(picture.width(), picture.height());
    info.icc_profile = picture.profile.as_ref().map(|profile| Cow::Owned(profile.to_vec()));
    let layout = Layout::of(picture, deadline)?;
    (info.color_type, info.bit_depth) = layout.kind(picture.channels());
    if let Layout::Palette(colors) = &layout {
        let alphas: Vec<u8> = colors.list().iter().map(|color| color[3]).take_while(|&a| a < 255).collect();
        info.trns = (!alphas.is_empty()).then(|| alphas.into());
        info.palette = Some(colors.list().iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect());
    }
    let samples = layout.samples(picture);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::with_info(&mut bytes, info).map_err(failure)?;
    encoder.set_compression(match coding.effort {
        Effort::Normal => Compression::Balanced,
        Effort::Fast => Compression::Fast,
    });
    let unfiltered = match layout {
        Layout::Palette(_) => true,
        Layout::Grey(8, _) => has_hard_edges(Channels::Grey, &samples),
        Layout::Grey(..) | Layout::Full => has_hard_edges(picture.channels(), picture.pixels()),
    };
    if unfiltered {
        encoder.set_filter(Filter::NoFilter);
        // The fast compression is made for what filters leave: of indices it makes up to four times
        // as much as this.
        if coding.effort == Effort::Fast {
            encoder.set_deflate_compression(DeflateCompression::Level(UNFILTERED_FAST_LEVEL));
        }
    }
    let mut writer = encoder.write_header().map_err(failure)?;
    writer.write_image_data(&samples).map_err(failure)?;
    writer.finish().map_err(failure)?;
    Ok(bytes)
}

fn failure(error: png::EncodingError) -> Error {
    Error::internal(format!("PNG encoder: {error}"))
}

/// What is stored of a pixel.
enum Layout {
    /// Its tone, in so many bits.
    Grey(u8, Box<Colors>),
    /// Its place among the colours: a third of the data or less, which halves text and drawings.
    Palette(Box<Colors>),
    /// Its channels as they are.
    Full,
}

impl Layout {
    fn of(picture: &Picture, deadline: Deadline) -> Result<Self, Error> {
        let Some(colors) = Colors::of(picture, deadline)? else { return Ok(Self::Full) };
        let mut colors = Box::new(colors);
        let tone_bits = tone_bits(colors.list());
        // A profile must be for what is stored (PNG third edition, section 11.3.2.3): grey with one
        // stays grey, and colours with one stay colours.
        Ok(match (picture.channels(), tone_bits, picture.profile.is_some()) {
            (Channels::Grey, Some(bits), true) => Self::Grey(bits, colors),
            // A palette costs three bytes for each colour beside the bits.
            (_, Some(bits), false) if bits <= palette_bits(colors.list().len()) => Self::Grey(bits, colors),
            _ => {
                colors.order_transparent_first();
                Self::Palette(colors)
            }
        })
    }

    fn bits(&self) -> u8 {
        match self {
            Self::Grey(bits, _) => *bits,
            Self::Palette(colors) => palette_bits(colors.list().len()),
            Self::Full => 8,
        }
    }

    fn kind(&self, channels: Channels) -> (ColorType, BitDepth) {
        let color = match (self, channels) {
            (Self::Palette(_), _) => ColorType::Indexed,
            (Self::Grey(..), _) | (Self::Full, Channels::Grey) => ColorType::Grayscale,
            (Self::Full, Channels::Rgb) => ColorType::Rgb,
            (Self::Full, Channels::Rgba) => ColorType::Rgba,
        };
        let depth = match self.bits() {
            1 => BitDepth::One,
            2 => BitDepth::Two,
            4 => BitDepth::Four,
            _ => BitDepth::Eight,
        };
        (color, depth)
    }

    fn samples<'a>(&'a self, picture: &'a Picture) -> Cow<'a, [u8]> {
        let width = picture.width() as usize;
        match self {
            Self::Full => picture.pixels().into(),
            Self::Grey(8, _) if picture.channels() == Channels::Grey => picture.pixels().into(),
            Self::Grey(bits, colors) => {
                let step = 255 / ((1_u16 << bits) - 1) as u8;
                let tones = colors.places().iter().map(|&place| colors.list()[usize::from(place)][0] / step);
                packed(tones.collect(), width, *bits).into()
            }
            Self::Palette(colors) => match self.bits() {
                8 => colors.places().into(),
                bits => packed(colors.places().to_vec(), width, bits).into(),
            },
        }
    }
}

/// Bits that hold the place of each of so many colours.
fn palette_bits(colors: usize) -> u8 {
    match colors {
        0..=2 => 1,
        3..=4 => 2,
        5..=16 => 4,
        _ => 8,
    }
}

/// Bits that hold each colour as a tone, exactly as a reader scales them to 8 (PNG third edition,
/// section 13.12); `None` if one of them is not grey, or not opaque.
fn tone_bits(colors: &[Color]) -> Option<u8> {
    let is_grey = colors.iter().all(|&[r, g, b, a]| r == g && g == b && a == 255);
    let all_are_steps_of = |step: u8| colors.iter().all(|color| color[0].is_multiple_of(step));
    is_grey.then(|| match () {
        () if all_are_steps_of(255) => 1,
        () if all_are_steps_of(85) => 2,
        () if all_are_steps_of(17) => 4,
        () => 8,
    })
}

/// Rows of samples of so many bits, several in a byte, each row from a new byte.
fn packed(samples: Vec<u8>, width: usize, bits: u8) -> Vec<u8> {
    if bits == 8 {
        return samples;
    }
    let bits = usize::from(bits);
    let byte = |group: &[u8]| {
        let shifted = group.iter().enumerate().map(|(place, sample)| sample << (8 - bits * (place + 1)));
        shifted.fold(0, |byte, sample| byte | sample)
    };
    samples.chunks_exact(width).flat_map(|row| row.chunks(8 / bits).map(byte)).collect()
}

/// Where pixels that follow each other differ, by how much on the average, in the channel that differs
/// most: above it are text and drawings, below it photos. Measured at 200 and 800 pixels: 40 to 160
/// for text, 2 to 25 for photos and artwork.
const HARD_EDGE: u64 = 32;

/// Whether the picture is text or a drawing rather than a photo. Filters predict slopes; text in full
/// colour is 10 to 30 % smaller without them, and photos are up to 70 % larger.
fn has_hard_edges(channels: Channels, pixels: &[u8]) -> bool {
    let (steps, changes) = match channels {
        Channels::Grey => steps::<1>(pixels),
        Channels::Rgb => steps::<3>(pixels),
        Channels::Rgba => steps::<4>(pixels),
    };
    steps > changes * HARD_EDGE
}

/// The sum of the differences, and how many pixels differ from the one before.
fn steps<const CHANNELS: usize>(pixels: &[u8]) -> (u64, u64) {
    let pixels = pixels.as_chunks::<CHANNELS>().0;
    pixels.iter().zip(&pixels[1..]).fold((0, 0), |(steps, changes), (left, right)| {
        let step = left.iter().zip(right).map(|(left, right)| left.abs_diff(*right)).max().unwrap_or(0);
        (steps + u64::from(step), changes + u64::from(step > 0))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::{decode, inspect};
    use super::*;

    fn later() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    fn round_trip(picture: &Picture) -> Picture {
        let bytes = encode(picture, Coding::LOSSLESS, later()).unwrap();
        let inspection = inspect(&bytes).unwrap();
        decode(&bytes, &inspection, later()).unwrap()
    }

    /// Bits of a sample and the kind of colour that the header of the file tells.
    fn stored(picture: &Picture) -> (u8, ColorType) {
        let bytes = encode(picture, Coding::LOSSLESS, later()).unwrap();
        (bytes[24], ColorType::from_u8(bytes[25]).unwrap())
    }

    /// Each of the colours once, and then the first of them.
    fn drawing(channels: Channels, colors: &[Vec<u8>]) -> Picture {
        let (width, height) = (23, (colors.len() as u32).div_ceil(23) + 1);
        let all = colors.iter().chain(std::iter::repeat(&colors[0])).take((width * height) as usize);
        Picture::new(width, height, channels, all.flatten().copied().collect())
    }

    fn tones(tones: impl IntoIterator<Item = u8>) -> Vec<Vec<u8>> {
        tones.into_iter().map(|tone| vec![tone]).collect()
    }

    fn greys(tones: impl IntoIterator<Item = u8>) -> Vec<Vec<u8>> {
        tones.into_iter().map(|tone| vec![tone; 3]).collect()
    }

    fn reds(count: u16) -> Vec<Vec<u8>> {
        (0..count).map(|n| vec![n as u8, (n >> 8) as u8, 200]).collect()
    }

    /// The colours of a text on nothing: one colour, many alphas.
    fn alphas(count: u16) -> Vec<Vec<u8>> {
        (0..count).map(|n| vec![20, 60, 140, n as u8]).collect()
    }

    #[test]
    fn the_fewest_bits_that_are_enough_are_taken() {
        use Channels::{Grey, Rgb, Rgba};
        use ColorType::{Grayscale, Indexed};
        let cases = [
            (Rgb, reds(1), (1, Indexed)),
            (Rgb, reds(2), (1, Indexed)),
            (Rgb, reds(3), (2, Indexed)),
            (Rgb, reds(4), (2, Indexed)),
            (Rgb, reds(5), (4, Indexed)),
            (Rgb, reds(16), (4, Indexed)),
            (Rgb, reds(17), (8, Indexed)),
            (Rgb, reds(256), (8, Indexed)),
            (Rgb, reds(257), (8, ColorType::Rgb)),
            (Rgba, alphas(2), (1, Indexed)),
            (Rgba, alphas(16), (4, Indexed)),
            (Rgba, alphas(256), (8, Indexed)),
            (Rgba, [alphas(256), vec![vec![20, 61, 140, 0]]].concat(), (8, ColorType::Rgba)),
            (Rgba, vec![vec![0; 4], vec![255; 4]], (1, Indexed)),
            (Grey, tones([0, 255]), (1, Grayscale)),
            (Grey, tones([0, 85, 255]), (2, Grayscale)),
            (Grey, tones([0, 17, 34, 51, 255]), (4, Grayscale)),
            (Grey, tones([0, 17]), (1, Indexed)),
            (Grey, tones(0..=16), (8, Grayscale)),
            (Grey, tones(1..=16), (4, Indexed)),
            (Grey, tones(0..=255), (8, Grayscale)),
            (Rgb, greys([255]), (1, Grayscale)),
            (Rgb, greys([0, 170]), (1, Indexed)),
            (Rgb, greys([0, 85, 170]), (2, Grayscale)),
            (Rgb, greys(0..=255), (8, Grayscale)),
        ];
        for (channels, colors, expected) in cases {
            let picture = drawing(channels, &colors);
            assert_eq!(stored(&picture), expected, "{channels:?}, {} colours", colors.len());
            assert_eq!(round_trip(&picture).into_rgba(), picture.into_rgba(), "{expected:?}");
        }
    }

    #[test]
    fn a_profile_stays_with_the_kind_of_colour_that_it_is_for() {
        let display = moxcms::ColorProfile::new_display_p3().encode().unwrap();
        let linear = moxcms::ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
        let cases = [
            (Channels::Rgb, reds(9), &display, (4, ColorType::Indexed)),
            (Channels::Rgb, greys([0, 255]), &display, (1, ColorType::Indexed)),
            (Channels::Grey, tones([0, 17]), &linear, (4, ColorType::Grayscale)),
            (Channels::Grey, tones(0..=99), &linear, (8, ColorType::Grayscale)),
        ];
        for (channels, colors, profile, expected) in cases {
            let picture = drawing(channels, &colors).with_profile(Some(profile.clone().into()));
            assert_eq!(stored(&picture), expected);
            assert_eq!(round_trip(&picture), picture);
        }
    }

    #[test]
    fn only_colours_with_alpha_take_room_in_the_list_of_alphas() {
        let colors = [vec![9, 9, 9, 255], vec![0; 4], vec![8, 8, 8, 255]];
        let bytes = encode(&drawing(Channels::Rgba, &colors), Coding::LOSSLESS, later()).unwrap();
        let there: Vec<_> = super::super::chunks(&bytes).collect();
        assert!(there.contains(&(b"tRNS", &[0][..])) && there.iter().any(|(_, content)| content.len() == 9));
    }

    #[test]
    fn text_is_told_from_a_photo_and_from_a_slope() {
        // Paper, then an edge whose colours never come again.
        let row = |y: u32| {
            let edge = (0..8).map(move |n| [(y * 7 + n * 31) as u8, (y * y) as u8, n as u8]);
            std::iter::repeat_n([255; 3], 20).chain(edge)
        };
        let text = Picture::new(28, 90, Channels::Rgb, (0..90).flat_map(row).flatten().collect());
        let has_hard_edges = |picture: &Picture| has_hard_edges(picture.channels(), picture.pixels());
        assert!(has_hard_edges(&text));
        assert_eq!(round_trip(&text), text);
        let slope = (0..90 * 90_u32).flat_map(|n| [n / 90, n % 90, 9].map(|value| value as u8)).collect();
        assert!(!has_hard_edges(&Picture::new(90, 90, Channels::Rgb, slope)));
        assert!(!has_hard_edges(&Picture::filled(1, 1, Channels::Grey, &[7])));
    }

    #[test]
    fn text_in_a_hurry_is_little_larger() {
        // Letters of eight pixels, of which no two are alike.
        let mut state = 1_u32;
        let edge = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if n % 40 < 8 { (state >> 24) as u8 } else { 255 }
        };
        let picture = Picture::new(200, 200, Channels::Grey, (0..200 * 200).map(edge).collect());
        let bytes = |effort| {
            let coding = Coding { effort, ..Coding::LOSSLESS };
            encode(&picture, coding, later()).unwrap().len()
        };
        let (fast, normal) = (bytes(Effort::Fast), bytes(Effort::Normal));
        assert!(fast < normal * 3 / 2, "{fast}, {normal}");
    }

    /// Pictures of few and of many colours, in every number of channels.
    fn picture() -> impl Strategy<Value = Picture> {
        let channels = prop_oneof![Just(Channels::Grey), Just(Channels::Rgb), Just(Channels::Rgba)];
        let steps = prop_oneof![Just(255_u8), Just(85), Just(17), Just(1)];
        (channels, 1..40_u32, 1..40_u32, 1..400_usize, steps).prop_flat_map(
            |(channels, width, height, colors, step)| {
                let tone = (0..=255 / step).prop_map(move |n| n * step);
                let color = prop::collection::vec(tone, channels.count());
                let palette = prop::collection::vec(color, colors);
                (palette, prop::collection::vec(any::<prop::sample::Index>(), (width * height) as usize))
                    .prop_map(move |(palette, places)| {
                        let pixels = places.iter().flat_map(|place| place.get(&palette).clone()).collect();
                        Picture::new(width, height, channels, pixels)
                    })
            },
        )
    }

    proptest! {
        #[test]
        fn every_picture_comes_back_with_the_very_same_pixels(picture in picture()) {
            prop_assert_eq!(round_trip(&picture).into_rgba(), picture.into_rgba());
        }
    }
}
