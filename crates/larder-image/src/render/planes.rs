//! The cascade of a picture in planes.

use std::sync::Arc;

use super::levels::{CASCADE_FACTOR, Level};
use crate::plan::Plan;
use crate::planar::{Planar, Sampling};

pub(super) struct PlanarCascade<'a> {
    source: &'a Planar,
    levels: Vec<(Sampling, Level<Arc<Planar>>)>,
}

impl<'a> PlanarCascade<'a> {
    pub fn new(source: &'a Planar) -> Self {
        Self { source, levels: Vec::new() }
    }

    pub fn has_profile(&self) -> bool {
        self.source.profile.is_some()
    }

    /// The plan's region at the plan's size, not yet turned. Only for plans that cut nothing off in whole
    /// pixels: samples of colour lie across such edges.
    pub fn scaled(&mut self, plan: &Plan, sampling: Sampling) -> Arc<Planar> {
        let size = plan.stored_scaled_size();
        let enough = |(shared, level): &&(Sampling, Level<Arc<Planar>>)| {
            // Colours that are shared more than is wanted count for as little as they are.
            let coarser = f64::from(*shared as u32) / f64::from(sampling as u32);
            level.is_enough_for(plan, CASCADE_FACTOR * coarser.max(1.0))
        };
        let scaled = match self.levels.iter().filter(enough).min_by_key(|(_, level)| level.pixels()) {
            Some((_, level)) => {
                level.picture.scaled(level.region_of(plan.region), size, plan.orientation, sampling)
            }
            None => self.source.scaled(plan.region, size, plan.orientation, sampling),
        };
        let scaled = Arc::new(scaled);
        if plan.shrinks() {
            self.levels.push((sampling, Level::new(plan, Arc::clone(&scaled))));
        }
        scaled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Orientation;
    use crate::planar::{Component, plane};

    fn plan(size: (u32, u32)) -> Plan {
        let mut plan = Plan::new((800, 600), Orientation::UPRIGHT);
        plan.scale_to(size);
        plan
    }

    /// A pattern that differs wherever it was resampled.
    fn source() -> Planar {
        let pattern = |width: usize, height: usize, seed: usize| {
            plane(width, height, |x, y| {
                let n = y * width + x;
                ((n * n / 7 + n * seed) % 251) as u8
            })
        };
        let colour = |seed| Component::new(pattern(400, 300, seed), (2.0, 2.0));
        Planar::new((800, 600), [Component::new(pattern(800, 600, 3), (1.0, 1.0)), colour(5), colour(11)])
    }

    #[test]
    fn smaller_pictures_come_from_larger_ones_whose_colours_are_dense_enough() {
        let source = source();
        let direct = |size, sampling| PlanarCascade::new(&source).scaled(&plan(size), sampling);
        let mut cascade = PlanarCascade::new(&source);
        cascade.scaled(&plan((400, 300)), Sampling::Half);
        // Colours at 200 are no source for colours at 200, but for those at 100 and 50.
        assert_eq!(cascade.scaled(&plan((200, 150)), Sampling::Full), direct((200, 150), Sampling::Full));
        assert_ne!(cascade.scaled(&plan((190, 140)), Sampling::Half), direct((190, 140), Sampling::Half));
        assert_ne!(cascade.scaled(&plan((100, 75)), Sampling::Full), direct((100, 75), Sampling::Full));
    }
}
