//! Resized pictures from the smallest picture that is large enough.

use fast_image_resize::Resizer;

use crate::picture::Picture;
use crate::pixels::resize::{resize, resize_within};
use crate::plan::{Plan, Region};
use crate::{Error, icc};

/// How much larger, per side, a resized picture must be to be resized again. 1.45: the second pass
/// then changes less than an encoder's rounding at quality 85 (by 0.6 of a level on average even for
/// the hard pattern of the test), and the usual steps of sets (1920, 1280, 640) chain, which are 1.5
/// apart and a little less after their sides were rounded.
pub(super) const CASCADE_FACTOR: f64 = 1.45;

/// A resized part of the decoded picture, as stored (not turned).
struct Level {
    region: Region,
    /// What its pixels were made from; another plan's may end within it.
    bounds: Region,
    picture: Picture,
}

pub(super) struct Cascade<'a> {
    source: &'a Picture,
    /// The stored size that plans speak of; the decoded picture may be smaller.
    stored: (u32, u32),
    levels: Vec<Level>,
    resizer: Resizer,
    /// Whether levels are converted to sRGB when they are made, which saves converting every output.
    converts_early: bool,
}

impl<'a> Cascade<'a> {
    pub fn new(source: &'a Picture, stored: (u32, u32), converts_early: bool) -> Self {
        Self { source, stored, levels: Vec::new(), resizer: Resizer::new(), converts_early }
    }

    /// The plan's region at the plan's size, not yet turned.
    pub fn scaled(&mut self, plan: &Plan) -> Result<Picture, Error> {
        let size = plan.stored_scaled_size();
        let level = self.levels.iter().filter(|level| level.is_enough_for(plan, size));
        let scaled = match level.min_by_key(|level| level.picture.pixels().len()) {
            Some(level) => {
                let region = level.region_of(plan.region);
                resize(&mut self.resizer, &level.picture, region, size)?
            }
            None => self.of_source(plan, size)?,
        };
        // What the resizer keeps for the next time would be held while this one is encoded.
        self.resizer.reset_internal_buffers();
        let scaled = if self.converts_early { icc::to_srgb(scaled)? } else { scaled };
        if plan.shrinks() {
            self.levels.push(Level { region: plan.region, bounds: plan.bounds, picture: scaled.clone() });
        }
        Ok(scaled)
    }

    fn of_source(&mut self, plan: &Plan, size: (u32, u32)) -> Result<Picture, Error> {
        let decoded = (self.source.width(), self.source.height());
        if decoded == self.stored {
            return resize_within(&mut self.resizer, self.source, plan.bounds, plan.region, size);
        }
        // Decoded at a smaller scale, which is done only where nothing is cut in whole pixels.
        let across = f64::from(decoded.0) / f64::from(self.stored.0);
        let down = f64::from(decoded.1) / f64::from(self.stored.1);
        let region = Region {
            x: plan.region.x * across,
            y: plan.region.y * down,
            width: plan.region.width * across,
            height: plan.region.height * down,
        };
        resize(&mut self.resizer, self.source, region, size)
    }
}

impl Level {
    /// Pixels of this level for one of the stored picture, across and down.
    fn scale(&self) -> (f64, f64) {
        (
            f64::from(self.picture.width()) / self.region.width,
            f64::from(self.picture.height()) / self.region.height,
        )
    }

    fn is_enough_for(&self, plan: &Plan, size: (u32, u32)) -> bool {
        let region = plan.region;
        let (across, down) = self.scale();
        let contains = region.x >= self.region.x
            && region.y >= self.region.y
            && region.x + region.width <= self.region.x + self.region.width
            && region.y + region.height <= self.region.y + self.region.height;
        contains
            && self.bounds == plan.bounds
            && region.width * across >= f64::from(size.0) * CASCADE_FACTOR
            && region.height * down >= f64::from(size.1) * CASCADE_FACTOR
    }

    /// Where a region of the stored picture lies in this level.
    fn region_of(&self, region: Region) -> Region {
        let (across, down) = self.scale();
        Region {
            x: (region.x - self.region.x) * across,
            y: (region.y - self.region.y) * down,
            width: region.width * across,
            height: region.height * down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Orientation;
    use crate::picture::Channels;

    /// Fine and coarse structures with edges: harder than a photo.
    fn source() -> Picture {
        let pixels = (0..1_200_u32).flat_map(|y| {
            (0..1_600_u32).map(move |x| {
                let rings = (f64::from((x * x + y * y) / 700).sin() * 60.0) as i32;
                let blocks = if (x / 40 + y / 25) % 2 == 0 { 50 } else { 0 };
                (128 + rings + blocks + ((x * 7 + y * 3) % 11) as i32).clamp(0, 255) as u8
            })
        });
        Picture::new(1_600, 1_200, Channels::Grey, pixels.collect())
    }

    fn plan(source: &Picture, size: (u32, u32)) -> Plan {
        let mut plan = Plan::new((source.width(), source.height()), Orientation::UPRIGHT);
        plan.scale_to(size);
        plan
    }

    #[test]
    fn a_resized_picture_resized_again_is_nearly_the_same() {
        let source = source();
        let mut cascade = Cascade::new(&source, (source.width(), source.height()), true);
        for size in [(1_080, 810), (720, 540), (360, 270), (180, 135)] {
            let chained = cascade.scaled(&plan(&source, size)).unwrap();
            let direct = Cascade::new(&source, (source.width(), source.height()), true)
                .scaled(&plan(&source, size))
                .unwrap();
            let sum: u64 =
                chained.pixels().iter().zip(direct.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            let mean = sum as f64 / chained.pixels().len() as f64;
            assert!(mean < 0.7, "{size:?}: {mean}");
        }
    }

    #[test]
    fn what_was_cut_away_does_not_shine_into_any_size() {
        // A dark picture with a white border.
        let mut pixels = vec![255; 480 * 360];
        for y in 40..320 {
            pixels[y * 480 + 40..y * 480 + 440].fill(8);
        }
        let source = Picture::new(480, 360, Channels::Grey, pixels);
        let mut cascade = Cascade::new(&source, (source.width(), source.height()), true);
        for recipe in ["resize:inside:300x300", "trim:9,resize:inside:100x70", "trim:9,resize:cover:50x50"]
            .into_iter()
            .chain(["crop:400x280:40:40,resize:inside:40x28", "trim:9,resize:fill:801x20:up"])
        {
            let recipe: crate::Recipe = recipe.parse().unwrap();
            let plan = recipe.plan(&source, (480, 360), Orientation::UPRIGHT).unwrap();
            let scaled = cascade.scaled(&plan).unwrap();
            let cut = recipe.as_str().contains("trim") || recipe.as_str().contains("crop");
            assert_eq!(scaled.pixels().iter().all(|&tone| tone <= 9), cut, "{recipe}");
        }
    }

    #[test]
    fn a_level_too_near_or_of_another_part_is_not_used() {
        let picture = Picture::filled(100, 80, Channels::Grey, &[0]);
        let whole = Region::new(0, 0, 600, 400);
        let level = Level { region: Region::new(100, 0, 400, 320), bounds: whole, picture };
        let plan = |region| Plan { region, ..Plan::new((600, 400), Orientation::UPRIGHT) };
        assert!(level.is_enough_for(&plan(Region::new(100, 0, 400, 320)), (50, 40)));
        assert!(!level.is_enough_for(&plan(Region::new(100, 0, 400, 320)), (80, 64)));
        assert!(!level.is_enough_for(&plan(Region::new(99, 0, 400, 320)), (50, 40)));
        let cropped = Plan { bounds: Region::new(100, 0, 400, 320), ..plan(Region::new(100, 0, 400, 320)) };
        assert!(!level.is_enough_for(&cropped, (50, 40)));
        assert_eq!(level.region_of(Region::new(300, 160, 40, 20)), Region::new(50, 40, 10, 5));
    }
}
