//! Resized pictures, in planes where the recipe allows it.

use std::sync::Arc;

use super::cascade::Cascade;
use super::planes::PlanarCascade;
use crate::picture::Picture;
use crate::pixels::orient;
use crate::plan::Plan;
use crate::planar::{Planar, Sampling};
use crate::source::Decoded;
use crate::{Error, Orientation};

/// Where resized pictures come from.
pub(super) struct Scaler<'a> {
    stored: (u32, u32),
    planes: Option<PlanarCascade<'a>>,
    pixels: Cascade<'a>,
}

impl<'a> Scaler<'a> {
    /// `picture` gives the pixels with their channels side by side, when a plan needs them.
    pub fn new(
        decoded: &'a Decoded,
        picture: &'a dyn Fn() -> Result<&'a Picture, Error>,
        converts_early: bool,
    ) -> Self {
        let stored = (decoded.inspection().width_px, decoded.inspection().height_px);
        let planes = decoded.planar().map(PlanarCascade::new);
        Self { stored, planes, pixels: Cascade::new(picture, stored, converts_early) }
    }

    /// The plan's picture in planes, turned as it is shown; `None` where there are none, or where their
    /// edges do not lie on samples.
    pub fn planes(&mut self, plan: &Plan, sampling: Sampling) -> Option<Arc<Planar>> {
        let planes = self.planes.as_mut().filter(|_| plan.fraction_needed(self.stored).is_some())?;
        let scaled = planes.scaled(plan, sampling);
        Some(match plan.orientation {
            Orientation::UPRIGHT => scaled,
            orientation => Arc::new(scaled.oriented(orientation)),
        })
    }

    /// Whether the colours of the planes are not those of sRGB.
    pub fn has_profile(&self) -> bool {
        self.planes.as_ref().is_some_and(PlanarCascade::has_profile)
    }

    /// The plan's picture, turned as it is shown.
    pub fn picture(&mut self, plan: &Plan) -> Result<Picture, Error> {
        match self.planes(plan, Sampling::Full) {
            Some(planes) => planes.to_picture(),
            None => Ok(orient::orient(self.pixels.scaled(plan)?, plan.orientation)),
        }
    }
}
