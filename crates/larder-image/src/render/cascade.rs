//! Resized pictures from the smallest picture that is large enough.

use fast_image_resize::Resizer;

use super::levels::{CASCADE_FACTOR, Level};
use crate::picture::Picture;
use crate::pixels::resize::{Resized, resize_within};
use crate::plan::{Plan, Region};
use crate::{Error, icc};

/// The cascade of a picture with its channels side by side.
pub(super) struct Cascade<'a> {
    /// Asked for the picture only when a plan needs it.
    source: &'a dyn Fn() -> Result<&'a Picture, Error>,
    /// The stored size that plans speak of; the decoded picture may be smaller.
    stored: (u32, u32),
    levels: Vec<Level<Picture>>,
    resizer: Resizer,
    /// Whether levels are converted to sRGB when they are made, which saves converting every output.
    converts_early: bool,
}

impl<'a> Cascade<'a> {
    pub fn new(
        source: &'a dyn Fn() -> Result<&'a Picture, Error>,
        stored: (u32, u32),
        converts_early: bool,
    ) -> Self {
        Self { source, stored, levels: Vec::new(), resizer: Resizer::new(), converts_early }
    }

    /// The plan's region at the plan's size, not yet turned.
    pub fn scaled(&mut self, plan: &Plan) -> Result<Picture, Error> {
        let size = plan.stored_scaled_size();
        let levels = self.levels.iter().filter(|level| level.is_enough_for(plan, CASCADE_FACTOR));
        let scaled = match levels.min_by_key(|level| level.pixels()) {
            Some(level) => {
                let (picture, region) = (&level.picture, level.region_of(plan.region));
                resize_within(&mut self.resizer, picture, picture.bounds(), region, size)?
            }
            None => self.of_source(plan, size)?,
        };
        // What the resizer keeps for the next time would be held while this one is encoded.
        self.resizer.reset_internal_buffers();
        let Resized { picture: scaled, can_be_source } = scaled;
        let scaled = if self.converts_early { icc::to_srgb(scaled)? } else { scaled };
        if plan.shrinks() && can_be_source {
            self.levels.push(Level::new(plan, scaled.clone()));
        }
        Ok(scaled)
    }

    fn of_source(&mut self, plan: &Plan, size: (u32, u32)) -> Result<Resized, Error> {
        let source = (self.source)()?;
        let decoded = (source.width(), source.height());
        if decoded == self.stored {
            return resize_within(&mut self.resizer, source, plan.bounds, plan.region, size);
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
        resize_within(&mut self.resizer, source, source.bounds(), region, size)
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
        let whole = || Ok(&source);
        let mut cascade = Cascade::new(&whole, (source.width(), source.height()), true);
        for size in [(1_080, 810), (720, 540), (360, 270), (180, 135)] {
            let chained = cascade.scaled(&plan(&source, size)).unwrap();
            let direct = Cascade::new(&whole, (source.width(), source.height()), true)
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
        let whole = || Ok(&source);
        let mut cascade = Cascade::new(&whole, (source.width(), source.height()), true);
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
}
