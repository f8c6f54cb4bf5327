//! Resized pictures that smaller ones can be made from.

use crate::plan::{Plan, Region};

/// How much larger, per side, a resized picture must be to be resized again. 1.45: the second pass
/// then changes less than an encoder's rounding at quality 85 (by 0.6 of a level on average even for
/// the hard pattern of the test), and the usual steps of sets (1920, 1280, 640) chain, which are 1.5
/// apart and a little less after their sides were rounded.
pub(super) const CASCADE_FACTOR: f64 = 1.45;

/// A resized part of the decoded picture, as stored (not turned).
#[derive(Debug)]
pub(super) struct Level<P> {
    region: Region,
    /// What its pixels were made from; another plan's may end within it.
    bounds: Region,
    size: (u32, u32),
    pub picture: P,
}

impl<P> Level<P> {
    pub fn new(plan: &Plan, picture: P) -> Self {
        Self { region: plan.region, bounds: plan.bounds, size: plan.stored_scaled_size(), picture }
    }

    /// Pixels of this level for one of the stored picture, across and down.
    fn scale(&self) -> (f64, f64) {
        (f64::from(self.size.0) / self.region.width, f64::from(self.size.1) / self.region.height)
    }

    /// Whether the plan's part is here at `factor` times the size that it is scaled to.
    pub fn is_enough_for(&self, plan: &Plan, factor: f64) -> bool {
        let (region, size) = (plan.region, plan.stored_scaled_size());
        let (across, down) = self.scale();
        let contains = region.x >= self.region.x
            && region.y >= self.region.y
            && region.x + region.width <= self.region.x + self.region.width
            && region.y + region.height <= self.region.y + self.region.height;
        contains
            && self.bounds == plan.bounds
            && region.width * across >= f64::from(size.0) * factor
            && region.height * down >= f64::from(size.1) * factor
    }

    /// Where a region of the stored picture lies in this level.
    pub fn region_of(&self, region: Region) -> Region {
        let (across, down) = self.scale();
        Region {
            x: (region.x - self.region.x) * across,
            y: (region.y - self.region.y) * down,
            width: region.width * across,
            height: region.height * down,
        }
    }

    pub fn pixels(&self) -> u64 {
        u64::from(self.size.0) * u64::from(self.size.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Orientation;

    #[test]
    fn a_level_too_near_or_of_another_part_is_not_used() {
        let plan = |region, size| {
            let mut plan = Plan { region, ..Plan::new((600, 400), Orientation::UPRIGHT) };
            plan.scale_to(size);
            plan
        };
        let level = Level::new(&plan(Region::new(100, 0, 400, 320), (100, 80)), ());
        let enough = |plan: &Plan| level.is_enough_for(plan, CASCADE_FACTOR);
        let part = Region::new(100, 0, 400, 320);
        assert!(enough(&plan(part, (50, 40))));
        assert!(!enough(&plan(part, (80, 64))));
        assert!(!enough(&plan(Region::new(99, 0, 400, 320), (50, 40))));
        let cropped = Plan { bounds: Region::new(100, 0, 400, 320), ..plan(part, (50, 40)) };
        assert!(!enough(&cropped));
        assert_eq!(level.region_of(Region::new(300, 160, 40, 20)), Region::new(50, 40, 10, 5));
    }
}
