//! From pixels to the planes that JPEG has too: light, and colours that two by two pixels share
//! (ITU-T T.871, section 7).

use larder_jpeg::Plane;

use crate::picture::{Channels, Picture};

/// Parts of 65536 of red, green and blue.
const LIGHT: [u32; 3] = [19_595, 38_470, 7_471];
const BLUE: [i64; 3] = [-11_059, -21_709, 32_768];
const RED: [i64; 3] = [32_768, -27_439, -5_329];

/// How bright each pixel is.
pub(super) fn light(picture: &Picture) -> Plane {
    let mixed = |color: [u8; 3]| {
        let sum: u32 = LIGHT.iter().zip(color).map(|(part, value)| part * u32::from(value)).sum();
        ((sum + (1 << 15)) >> 16) as u8
    };
    let pixels = picture.pixels();
    let samples = match picture.channels() {
        Channels::Grey => pixels.to_vec(),
        Channels::Rgb => pixels.as_chunks::<3>().0.iter().map(|&color| mixed(color)).collect(),
        Channels::Rgba => pixels.as_chunks::<4>().0.iter().map(|&[r, g, b, _]| mixed([r, g, b])).collect(),
    };
    plane((picture.width(), picture.height()), samples)
}

/// How blue and how red each four pixels are; a pixel at the edge stands for its missing neighbour.
pub(super) fn colours(picture: &Picture) -> [Plane; 2] {
    let (right, bottom) = (picture.width() - 1, picture.height() - 1);
    let half = (picture.width().div_ceil(2), picture.height().div_ceil(2));
    let samples = || Vec::with_capacity(half.0 as usize * half.1 as usize);
    let (mut blue, mut red) = (samples(), samples());
    for y in 0..half.1 {
        for x in 0..half.0 {
            let (far, below) = ((2 * x + 1).min(right), (2 * y + 1).min(bottom));
            let places = [(2 * x, 2 * y), (far, 2 * y), (2 * x, below), (far, below)];
            let (sums, whole) = sums(places.map(|(x, y)| values(picture.pixel(x, y))));
            blue.push(difference(BLUE, sums, whole));
            red.push(difference(RED, sums, whole));
        }
    }
    [plane(half, blue), plane(half, red)]
}

/// How opaque each pixel is, where pixels can be clear.
pub(super) fn alpha(picture: &Picture) -> Option<Plane> {
    let samples = || picture.pixels().as_chunks::<4>().0.iter().map(|pixel| pixel[3]).collect();
    picture.has_alpha().then(|| plane((picture.width(), picture.height()), samples()))
}

fn plane((width, height): (u32, u32), samples: Vec<u8>) -> Plane {
    Plane { width: width as usize, height: height as usize, stride: width as usize, samples }
}

/// Red, green, blue and alpha of a pixel.
fn values(pixel: &[u8]) -> [i64; 4] {
    match *pixel {
        [red, green, blue, alpha] => [red, green, blue, alpha],
        [red, green, blue] => [red, green, blue, 255],
        _ => [pixel[0], pixel[0], pixel[0], 255],
    }
    .map(i64::from)
}

/// The colours of pixels, summed by weight, and the sum of the weights. The clearer a pixel, the less it counts:
/// what nobody sees must not tint its neighbours.
fn sums(pixels: [[i64; 4]; 4]) -> ([i64; 3], i64) {
    let all_clear = pixels.iter().all(|pixel| pixel[3] == 0);
    let weight = |pixel: &[i64; 4]| if all_clear { 1 } else { pixel[3] };
    let sums = [0, 1, 2].map(|n| pixels.iter().map(|pixel| weight(pixel) * pixel[n]).sum());
    (sums, pixels.iter().map(weight).sum())
}

/// A difference from grey, around 128, to nearest.
fn difference(parts: [i64; 3], sums: [i64; 3], whole: i64) -> u8 {
    let sum: i64 = parts.iter().zip(sums).map(|(part, sum)| part * sum).sum();
    let unit = whole << 16;
    ((sum + 128 * unit + unit / 2) / unit).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_and_colours_are_those_of_jpeg() {
        let red = Picture::filled(3, 1, Channels::Rgb, &[255, 0, 0]);
        assert_eq!(light(&red).samples, [76; 3]);
        let [blue, redness] = colours(&red);
        assert_eq!((blue.width, blue.height), (2, 1));
        assert_eq!((blue.samples, redness.samples), (vec![85; 2], vec![255; 2]));
        let white = Picture::filled(1, 1, Channels::Grey, &[255]);
        assert_eq!(light(&white).samples, [255]);
        assert_eq!(colours(&white).map(|plane| plane.samples[0]), [128; 2]);
    }

    #[test]
    fn clear_pixels_do_not_tint_their_neighbours() {
        let pixels = [[200, 200, 200, 255], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0]];
        let picture = Picture::new(2, 2, Channels::Rgba, pixels.concat());
        assert_eq!(colours(&picture).map(|plane| plane.samples[0]), [128; 2]);
        let clear = Picture::filled(2, 2, Channels::Rgba, &[255, 0, 0, 0]);
        assert_eq!(colours(&clear).map(|plane| plane.samples[0]), [85, 255]);
    }
}
