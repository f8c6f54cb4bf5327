//! What a recipe means for one picture before any pixel is touched: which part, turned how, scaled to
//! what, with margins up to what. What changes pixels is in the steps themselves.
//!
//! Turning, mirroring and cropping are collected into one region of the *stored* pixels and one
//! [`Orientation`], so that they cost nothing before the resize: the large picture is read once, and
//! only the small one is turned.

use crate::{Error, Orientation};

/// Pixels that enlarging or padding may make where the source has fewer. 16 million: four times a
/// 4K screen's half, and 64 MB while it is rendered.
pub(crate) const GROWN_PIXELS_MAX: u64 = 16_000_000;

/// A rectangle of stored pixels; fractions of a pixel count when it is resized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Region {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Region {
    pub(crate) fn new(x: u32, y: u32, width: u32, height: u32) -> Self {
        Self { x: x.into(), y: y.into(), width: width.into(), height: height.into() }
    }
}

/// What is to be done with one picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// The part of the stored picture that is used.
    pub region: Region,
    /// What was cut out of the stored picture, in whole pixels: nothing beyond it shines into the part,
    /// which may be smaller.
    pub bounds: Region,
    /// How that part is turned to be shown.
    pub orientation: Orientation,
    /// The point of the upright picture that cutting keeps in view, as fractions.
    pub focus: (f64, f64),
    /// The upright size that the part is scaled to; as it is if `None`.
    pub scaled: Option<(u32, u32)>,
    /// The upright size of the output, where it is larger than the scaled part.
    pub canvas: Option<(u32, u32)>,
    /// Whether sides are only known to be no longer than these, as there were no pixels to look at.
    pub is_bound: bool,
}

impl Plan {
    /// The whole picture, upright.
    pub(crate) fn new((width, height): (u32, u32), orientation: Orientation) -> Self {
        Self {
            region: Region::new(0, 0, width, height),
            bounds: Region::new(0, 0, width, height),
            orientation,
            focus: (0.5, 0.5),
            scaled: None,
            canvas: None,
            is_bound: false,
        }
    }

    /// The size of the region as it is shown, before the resize.
    pub(crate) fn upright_size(&self) -> (u32, u32) {
        let whole = |side: f64| (side.round() as u32).max(1);
        self.orientation.apply_to_size((whole(self.region.width), whole(self.region.height)))
    }

    /// Turns or mirrors what is shown.
    pub(crate) fn orient(&mut self, next: Orientation) {
        self.orientation = self.orientation.then(next);
    }

    /// Keeps a rectangle of what is shown, in whole pixels.
    pub(crate) fn crop_upright(&mut self, x: u32, y: u32, (width, height): (u32, u32)) {
        self.view_upright(x.into(), y.into(), (width.into(), height.into()));
        self.bounds = self.region;
    }

    /// Keeps a rectangle of the stored picture, in whole pixels.
    pub(crate) fn crop_stored(&mut self, region: Region) {
        (self.region, self.bounds) = (region, region);
    }

    /// Keeps a rectangle of what is shown; what lies beside it may still shine in.
    pub(crate) fn view_upright(&mut self, x: f64, y: f64, (width, height): (f64, f64)) {
        let (frame_width, frame_height) = self.upright_size();
        let mut frame = (f64::from(frame_width), f64::from(frame_height));
        let mut view = Region { x, y, width, height };
        for _ in 0..self.orientation.quarters() {
            // A quarter back: what was right is top again.
            let top = frame.0 - (view.x + view.width);
            view = Region { x: view.y, y: top, width: view.height, height: view.width };
            frame = (frame.1, frame.0);
        }
        if self.orientation.is_mirrored() {
            view.x = frame.0 - (view.x + view.width);
        }
        self.region = Region { x: self.region.x + view.x, y: self.region.y + view.y, ..view };
    }

    /// Scales the region to this upright size.
    pub(crate) fn scale_to(&mut self, size: (u32, u32)) {
        self.scaled = Some(size);
    }

    /// The upright size of the region after the resize.
    pub(crate) fn scaled_size(&self) -> (u32, u32) {
        self.scaled.unwrap_or_else(|| self.upright_size())
    }

    /// Pixels of the region after the resize.
    pub(crate) fn scaled_pixels(&self) -> u64 {
        let (width, height) = self.scaled_size();
        u64::from(width) * u64::from(height)
    }

    /// How small the stored picture may be, as a fraction of its sides, so that the region still has the
    /// pixels that it is scaled to. `None` where single pixels are looked at or cut, or more are made than
    /// there are.
    pub(crate) fn fraction_needed(&self, (width, height): (u32, u32)) -> Option<f64> {
        let cut = self.is_bound || self.bounds != Region::new(0, 0, width, height);
        let scaled = self.stored_scaled_size();
        let fraction =
            (f64::from(scaled.0) / self.region.width).max(f64::from(scaled.1) / self.region.height);
        (!cut && fraction <= 1.0).then_some(fraction)
    }

    /// Whether the region becomes smaller in both directions.
    pub(crate) fn shrinks(&self) -> bool {
        let (width, height) = self.stored_scaled_size();
        f64::from(width) < self.region.width && f64::from(height) < self.region.height
    }

    /// The size of the region after the resize and before it is turned.
    pub(crate) fn stored_scaled_size(&self) -> (u32, u32) {
        self.orientation.inverse().apply_to_size(self.scaled_size())
    }

    /// The size of the output.
    pub(crate) fn output_size(&self) -> (u32, u32) {
        self.canvas.unwrap_or_else(|| self.scaled_size())
    }

    /// Pixels of the output.
    pub(crate) fn output_pixels(&self) -> u64 {
        let (width, height) = self.output_size();
        u64::from(width) * u64::from(height)
    }

    /// Refuses outputs that grow beyond all use.
    pub(crate) fn check_growth(&self, source: (u32, u32)) -> Result<(), Error> {
        let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        let found = pixels(self.output_size()).max(pixels(self.scaled_size()));
        let limit = GROWN_PIXELS_MAX.max(pixels(source));
        if found > limit {
            return Err(Error::LimitExceeded { what: "pixels of the enlarged picture", found, limit });
        }
        Ok(())
    }
}
