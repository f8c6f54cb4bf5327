//! Laying a picture on a colour or a canvas.

use crate::picture::{Channels, Picture};

/// Lays the picture on an opaque colour; the result has no alpha.
pub(crate) fn flatten(picture: Picture, [r, g, b]: [u8; 3]) -> Picture {
    if !picture.has_alpha() {
        return picture;
    }
    let mut rgb = Vec::with_capacity(picture.pixels().len() / 4 * 3);
    for pixel in picture.pixels().as_chunks::<4>().0 {
        let alpha = pixel[3];
        rgb.extend([mix(pixel[0], r, alpha), mix(pixel[1], g, alpha), mix(pixel[2], b, alpha)]);
    }
    Picture::new(picture.width(), picture.height(), Channels::Rgb, rgb).with_profile(picture.profile)
}

/// Lays the picture on a colour that may be transparent itself.
pub(crate) fn underlay(picture: Picture, background: [u8; 4]) -> Picture {
    let [r, g, b, alpha] = background;
    if alpha == 255 {
        return flatten(picture, [r, g, b]);
    }
    let mut picture = picture;
    if picture.has_alpha() {
        for pixel in picture.pixels_mut().as_chunks_mut::<4>().0 {
            *pixel = over(*pixel, background);
        }
    }
    picture
}

/// Puts the picture into the middle of a transparent canvas.
pub(crate) fn pad(picture: Picture, (width, height): (u32, u32)) -> Picture {
    if (picture.width(), picture.height()) == (width, height) {
        return picture;
    }
    let profile = picture.profile.clone();
    let picture = picture.into_rgba();
    let channels = picture.channels();
    let mut canvas = Picture::filled(width, height, channels, &[0; 4]).with_profile(profile);
    let (left, top) = ((width - picture.width()) / 2, (height - picture.height()) / 2);
    let (stride, offset) = (canvas.stride(), left as usize * channels.count());
    for y in 0..picture.height() {
        let start = (top + y) as usize * stride + offset;
        canvas.pixels_mut()[start..start + picture.stride()].copy_from_slice(picture.row(y));
    }
    canvas
}

/// `top` over `bottom`, both with alpha that is not multiplied in.
pub(crate) fn over(top: [u8; 4], bottom: [u8; 4]) -> [u8; 4] {
    match (top[3], bottom[3]) {
        (255, _) | (_, 0) => top,
        (0, _) => bottom,
        (top_alpha, bottom_alpha) => {
            let shown = u32::from(bottom_alpha) * (255 - u32::from(top_alpha));
            let total = u32::from(top_alpha) * 255 + shown;
            let channel = |n: usize| {
                let sum = u32::from(top[n]) * u32::from(top_alpha) * 255 + u32::from(bottom[n]) * shown;
                ((sum + total / 2) / total) as u8
            };
            [channel(0), channel(1), channel(2), ((total + 127) / 255) as u8]
        }
    }
}

fn mix(top: u8, bottom: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    ((u32::from(top) * alpha + u32::from(bottom) * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flattening_mixes_by_alpha() {
        let picture =
            Picture::new(3, 1, Channels::Rgba, [[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]].concat());
        let flat = flatten(picture, [255, 255, 255]);
        assert_eq!(flat.pixels(), [10, 20, 30, 255, 255, 255, 127, 127, 127]);
    }

    #[test]
    fn laying_over_is_exact_at_the_ends() {
        assert_eq!(over([1, 2, 3, 255], [9, 9, 9, 255]), [1, 2, 3, 255]);
        assert_eq!(over([1, 2, 3, 0], [9, 8, 7, 40]), [9, 8, 7, 40]);
        assert_eq!(over([200, 0, 0, 128], [0, 0, 200, 255])[3], 255);
        assert_eq!(over([200, 0, 0, 128], [0, 0, 0, 0]), [200, 0, 0, 128]);
    }

    #[test]
    fn a_padded_picture_lies_in_the_middle() {
        let picture = Picture::new(1, 1, Channels::Grey, vec![7]);
        let padded = pad(picture, (3, 3));
        assert_eq!(padded.pixel(1, 1), [7, 7, 7, 255]);
        assert_eq!(padded.pixel(0, 0), [0, 0, 0, 0]);
        assert_eq!(padded.pixels().chunks(4).filter(|pixel| pixel[3] > 0).count(), 1);
    }
}
