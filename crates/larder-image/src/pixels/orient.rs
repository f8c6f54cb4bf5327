//! Turning and mirroring by quarters.

use crate::Orientation;
use crate::picture::Picture;

/// Rows and columns of a block that is turned at once: 32 x 32 pixels of four bytes fit twice into
/// the first-level cache.
const BLOCK: usize = 32;

/// The picture as it is to be shown.
pub(crate) fn orient(picture: Picture, orientation: Orientation) -> Picture {
    if orientation == Orientation::UPRIGHT {
        return picture;
    }
    match picture.channels().count() {
        1 => turned::<1>(picture, orientation),
        3 => turned::<3>(picture, orientation),
        _ => turned::<4>(picture, orientation),
    }
}

fn turned<const N: usize>(picture: Picture, orientation: Orientation) -> Picture {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (new_width, new_height) = orientation.apply_to_size((picture.width(), picture.height()));
    let (channels, profile) = (picture.channels(), picture.profile.clone());
    let source = picture.pixels().as_chunks::<N>().0;
    let mut target = vec![0; picture.pixels().len()];
    let stride = new_width as usize;
    let pixels = target.as_chunks_mut::<N>().0;
    for block_y in (0..height).step_by(BLOCK) {
        for block_x in (0..width).step_by(BLOCK) {
            for y in block_y..height.min(block_y + BLOCK) {
                for x in block_x..width.min(block_x + BLOCK) {
                    let (to_x, to_y) = place(orientation, (x, y), (width, height));
                    pixels[to_y * stride + to_x] = source[y * width + x];
                }
            }
        }
    }
    Picture::new(new_width, new_height, channels, target).with_profile(profile)
}

/// Where the pixel at `(x, y)` goes: mirrored first, then turned clockwise.
fn place(
    orientation: Orientation,
    (x, y): (usize, usize),
    (width, height): (usize, usize),
) -> (usize, usize) {
    let x = if orientation.is_mirrored() { width - 1 - x } else { x };
    match orientation.quarters() {
        0 => (x, y),
        1 => (height - 1 - y, x),
        2 => (width - 1 - x, height - 1 - y),
        _ => (y, width - 1 - x),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Channels;

    /// Stored pictures for each EXIF value that show `1 2 3 / 4 5 6` when upright.
    #[test]
    fn every_orientation_shows_the_same_upright_picture() {
        let stored: [(u32, u32, [u8; 6]); 8] = [
            (3, 2, [1, 2, 3, 4, 5, 6]),
            (3, 2, [3, 2, 1, 6, 5, 4]),
            (3, 2, [6, 5, 4, 3, 2, 1]),
            (3, 2, [4, 5, 6, 1, 2, 3]),
            (2, 3, [1, 4, 2, 5, 3, 6]),
            (2, 3, [3, 6, 2, 5, 1, 4]),
            (2, 3, [6, 3, 5, 2, 4, 1]),
            (2, 3, [4, 1, 5, 2, 6, 3]),
        ];
        for (value, (width, height, pixels)) in (1..).zip(stored) {
            let picture = Picture::new(width, height, Channels::Grey, pixels.to_vec());
            let upright = orient(picture, Orientation::from_exif(value).unwrap());
            assert_eq!((upright.width(), upright.height()), (3, 2), "orientation {value}");
            assert_eq!(upright.pixels(), [1, 2, 3, 4, 5, 6], "orientation {value}");
        }
    }

    #[test]
    fn blocks_meet_without_gaps() {
        let pixels: Vec<u8> = (0..70 * 45 * 3).map(|n| (n % 251) as u8).collect();
        let picture = Picture::new(70, 45, Channels::Rgb, pixels);
        for value in 1..=8 {
            let orientation = Orientation::from_exif(value).unwrap();
            let there = orient(picture.clone(), orientation);
            assert_eq!(orient(there, orientation.inverse()), picture);
        }
    }
}
