//! The canvas on which an animation's frames are laid one after another.

use crate::picture::{Channels, Picture};
use crate::pixels::compose::over;

/// A rectangle of the canvas, in pixels; it may reach beyond the canvas and is cut there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patch {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// The pixels of an animation as they are shown at a moment.
pub(super) struct Canvas {
    picture: Picture,
}

impl Canvas {
    /// A transparent canvas.
    pub fn new(width: u32, height: u32) -> Self {
        Self { picture: Picture::filled(width, height, Channels::Rgba, &[0; 4]) }
    }

    pub fn with_profile(self, profile: Option<std::sync::Arc<[u8]>>) -> Self {
        Self { picture: self.picture.with_profile(profile) }
    }

    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Changes each pixel of the patch that lies on the canvas; `change` gets the pixel's number
    /// within the patch, row by row.
    fn each(&mut self, patch: Patch, mut change: impl FnMut(usize, &mut [u8; 4])) {
        let right = patch.x.saturating_add(patch.width).min(self.picture.width());
        let bottom = patch.y.saturating_add(patch.height).min(self.picture.height());
        if patch.x >= right {
            return;
        }
        let canvas_width = self.picture.width() as usize;
        let pixels = self.picture.pixels_mut().as_chunks_mut::<4>().0;
        for y in patch.y..bottom {
            let row = &mut pixels[y as usize * canvas_width..][..canvas_width];
            let first = (y - patch.y) as usize * patch.width as usize;
            for (n, pixel) in row[patch.x as usize..right as usize].iter_mut().enumerate() {
                change(first + n, pixel);
            }
        }
    }

    /// Lays pixels over what is there.
    pub fn blend(&mut self, patch: Patch, pixel_at: impl Fn(usize) -> [u8; 4]) {
        self.each(patch, |n, pixel| *pixel = over(pixel_at(n), *pixel));
    }

    /// Puts pixels in place of what is there.
    pub fn replace(&mut self, patch: Patch, pixel_at: impl Fn(usize) -> [u8; 4]) {
        self.each(patch, |n, pixel| *pixel = pixel_at(n));
    }

    /// Makes the patch transparent.
    pub fn clear(&mut self, patch: Patch) {
        self.each(patch, |_, pixel| *pixel = [0; 4]);
    }

    /// A copy of all pixels, to come back to.
    pub fn snapshot(&self) -> Vec<u8> {
        self.picture.pixels().to_vec()
    }

    /// Comes back to a copy.
    pub fn restore(&mut self, snapshot: &[u8]) {
        self.picture.pixels_mut().copy_from_slice(snapshot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_beyond_the_canvas_is_cut() {
        let mut canvas = Canvas::new(3, 3);
        let patch = Patch { x: 2, y: 1, width: 5, height: 7 };
        canvas.replace(patch, |n| [n as u8, 0, 0, 255]);
        let shown: Vec<u8> = (0..3).map(|y| canvas.picture().pixel(2, y)[0]).collect();
        assert_eq!(shown, [0, 0, 5]);
        canvas.clear(Patch { x: u32::MAX, y: u32::MAX, width: u32::MAX, height: 1 });
    }

    #[test]
    fn a_transparent_pixel_lets_through_what_is_there() {
        let mut canvas = Canvas::new(1, 1);
        let patch = Patch { x: 0, y: 0, width: 1, height: 1 };
        canvas.replace(patch, |_| [9, 9, 9, 255]);
        canvas.blend(patch, |_| [1, 1, 1, 0]);
        assert_eq!(canvas.picture().pixels(), [9, 9, 9, 255]);
    }
}
