//! Crop: keep a rectangle.  `crop:<w>x<h>:<x>:<y>`

use std::fmt;

use super::number::{size, whole};
use super::{Step, StepError, StepKind};
use crate::Error;
use crate::picture::Picture;
use crate::plan::Plan;

pub(super) const KIND: StepKind = StepKind {
    name: "crop",
    doc: "Keeps the rectangle of this width and height whose top left corner is at x, y, in pixels of \
          the upright (and trimmed) picture. What reaches beyond the picture is cut off.",
    example: "crop:200x100:10:20",
    parse,
};

#[derive(Debug)]
struct Crop {
    width_px: u32,
    height_px: u32,
    x: u32,
    y: u32,
}

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    let parts: Vec<&str> = argument.split(':').collect();
    let [rectangle, x, y] = parts[..] else { return Err("wants `<w>x<h>:<x>:<y>`".into()) };
    let (width_px, height_px) = size(rectangle)?;
    if width_px == 0 || height_px == 0 {
        return Err("wants at least one pixel a side".into());
    }
    Ok(Box::new(Crop { width_px, height_px, x: whole(x)?, y: whole(y)? }))
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}:{}:{}", self.width_px, self.height_px, self.x, self.y)
    }
}

impl Step for Crop {
    fn plan(&self, plan: &mut Plan, _source: Option<&Picture>) -> Result<(), Error> {
        let (width, height) = plan.upright_size();
        if self.x >= width || self.y >= height {
            return Err(Error::recipe(format!(
                "crop begins at {}:{}, outside the picture of {width}x{height}",
                self.x, self.y
            )));
        }
        // Where a border may be cut away first, the corner is not known, but what is kept is no larger.
        let kept = (self.width_px.min(width - self.x), self.height_px.min(height - self.y));
        plan.crop_upright(self.x, self.y, kept);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Orientation;
    use crate::picture::{Channels, Picture};

    fn cropped(argument: &str, orientation: u16) -> Result<(u32, u32, u32, u32), Error> {
        let source = Picture::new(40, 30, Channels::Grey, vec![0; 1_200]);
        let mut plan =
            Plan::new((source.width(), source.height()), Orientation::from_exif(orientation).unwrap());
        parse(argument).unwrap().plan(&mut plan, Some(&source))?;
        Ok((plan.region.x as u32, plan.region.y as u32, plan.region.width as u32, plan.region.height as u32))
    }

    #[test]
    fn the_rectangle_is_counted_in_the_upright_picture() {
        assert_eq!(cropped("10x5:2:3", 1).unwrap(), (2, 3, 10, 5));
        // Turned half round: the corner at 2:3 is the opposite corner of the stored picture.
        assert_eq!(cropped("10x5:2:3", 3).unwrap(), (40 - 12, 30 - 8, 10, 5));
        // Orientation 6 is shown turned clockwise: upright x runs against stored y.
        assert_eq!(cropped("10x5:2:3", 6).unwrap(), (3, 30 - 12, 5, 10));
        assert_eq!(cropped("10x5:2:3", 8).unwrap(), (40 - 8, 2, 5, 10));
        assert_eq!(cropped("10x5:2:3", 5).unwrap(), (3, 2, 5, 10));
    }

    #[test]
    fn what_reaches_beyond_the_picture_is_cut_off() {
        assert_eq!(cropped("100x100:30:20", 1).unwrap(), (30, 20, 10, 10));
    }

    #[test]
    fn a_rectangle_outside_the_picture_is_refused() {
        assert!(matches!(cropped("1x1:40:0", 1), Err(Error::Recipe { .. })));
    }
}
