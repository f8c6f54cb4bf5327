//! Sharpen: an unsharp mask.  `sharpen:<sigma>`

use std::fmt;

use super::number::Thousandths;
use super::{Effect, Step, StepError, StepKind, Work};
use crate::Error;
use crate::picture::Picture;
use crate::pixels::blur;

pub(super) const KIND: StepKind = StepKind {
    name: "sharpen",
    doc: "Sharpens the resized picture: adds its difference to a Gaussian of this standard deviation in \
          pixels (0.3 to 10).",
    example: "sharpen:0.8",
    parse,
};

#[derive(Debug)]
struct Sharpen {
    sigma_px: Thousandths,
}

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    Ok(Box::new(Sharpen { sigma_px: argument.parse::<Thousandths>()?.within(300..=10_000)? }))
}

impl fmt::Display for Sharpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sigma_px.fmt(f)
    }
}

impl Step for Sharpen {
    fn retouch(&self) -> Option<&dyn Effect> {
        Some(self)
    }
}

impl Effect for Sharpen {
    fn apply(&self, picture: Picture, work: &Work<'_>) -> Result<Picture, Error> {
        blur::sharpen(picture, self.sigma_px.as_f32(), work.deadline)
    }

    fn memory_bytes(&self, size: (u32, u32)) -> u64 {
        blur::memory_bytes(size, self.sigma_px.as_f32())
    }
}
