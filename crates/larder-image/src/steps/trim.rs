//! Trim: cut a border of nearly one colour.  `trim:<tolerance>`

use std::fmt;

use super::number::whole;
use super::{Step, StepError, StepKind};
use crate::Error;
use crate::picture::Picture;
use crate::plan::Plan;

pub(super) const KIND: StepKind = StepKind {
    name: "trim",
    doc: "Cuts away the border whose pixels differ from the top left pixel by at most the tolerance in \
          every channel (0 to 255; 0 = exactly that colour; fully transparent pixels are all alike). A \
          picture of that colour alone stays whole. In an animation the first frame decides.",
    example: "trim:10",
    parse,
};

#[derive(Debug)]
struct Trim {
    tolerance: u8,
}

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    let tolerance = u8::try_from(whole(argument)?).map_err(|_| "wants a tolerance from 0 to 255")?;
    Ok(Box::new(Trim { tolerance }))
}

impl fmt::Display for Trim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tolerance.fmt(f)
    }
}

impl Step for Trim {
    fn plan(&self, plan: &mut Plan, source: Option<&Picture>) -> Result<(), Error> {
        match source {
            Some(source) => {
                // The corner that is shown top left, wherever it is stored.
                let mut corner = plan.clone();
                corner.crop_upright(0, 0, (1, 1));
                let border = source.pixel(corner.region.x as u32, corner.region.y as u32);
                if let Some(content) = content_box(source, border, self.tolerance) {
                    plan.crop_stored(content);
                }
            }
            None => plan.is_bound = true,
        }
        Ok(())
    }
}

/// The smallest rectangle, in stored pixels, with every pixel that is not like `border`.
fn content_box(picture: &Picture, border: &[u8], tolerance: u8) -> Option<crate::plan::Region> {
    let differs = |pixel: &[u8]| !alike(pixel, border, tolerance);
    let row_differs = |y: &u32| picture.row(*y).chunks_exact(picture.channels().count()).any(differs);
    let top = (0..picture.height()).find(row_differs)?;
    let bottom = (top..picture.height()).rev().find(row_differs)?;
    let (mut left, mut right) = (picture.width(), 0);
    for y in top..=bottom {
        let mut pixels = picture.row(y).chunks_exact(picture.channels().count());
        // Only columns outside what is already known can widen the box.
        if let Some(x) = pixels.clone().take(left as usize).position(differs) {
            left = x as u32;
        }
        if let Some(x) = pixels.rposition(differs) {
            right = right.max(x as u32);
        }
    }
    Some(crate::plan::Region::new(left, top, right - left + 1, bottom - top + 1))
}

fn alike(a: &[u8], b: &[u8], tolerance: u8) -> bool {
    if a.len() == 4 && a[3] == 0 && b[3] == 0 {
        return true;
    }
    a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Channels;
    use crate::plan::Region;

    fn content_of(picture: &Picture, tolerance: u8) -> Option<Region> {
        content_box(picture, picture.pixel(0, 0), tolerance)
    }

    #[test]
    fn the_corner_that_counts_is_the_one_shown_top_left() {
        // Stored upside down: what is shown top left is the last pixel.
        let source = Picture::new(3, 1, Channels::Grey, vec![9, 200, 200]);
        let turned = crate::Orientation::from_exif(3).unwrap();
        let mut plan = Plan::new((3, 1), turned);
        parse("0").unwrap().plan(&mut plan, Some(&source)).unwrap();
        assert_eq!(plan.region, Region::new(0, 0, 1, 1));
    }

    fn framed(tone: u8) -> Picture {
        let mut pixels = vec![250; 6 * 5];
        for y in 1..4 {
            for x in 2..4 {
                pixels[y * 6 + x] = tone;
            }
        }
        Picture::new(6, 5, Channels::Grey, pixels)
    }

    #[test]
    fn the_border_goes_and_the_content_stays() {
        assert_eq!(content_of(&framed(10), 0), Some(Region::new(2, 1, 2, 3)));
    }

    #[test]
    fn what_lies_within_the_tolerance_is_border() {
        assert_eq!(content_of(&framed(245), 5), None);
        assert_eq!(content_of(&framed(245), 4), Some(Region::new(2, 1, 2, 3)));
    }

    #[test]
    fn transparent_pixels_are_alike_whatever_their_colour() {
        let picture = Picture::new(2, 1, Channels::Rgba, vec![255, 0, 0, 0, 0, 255, 0, 0]);
        assert_eq!(content_of(&picture, 0), None);
    }

    #[test]
    fn tolerances_beyond_a_byte_are_refused() {
        assert!(parse("256").is_err());
    }
}
