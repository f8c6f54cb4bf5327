//! Blur: soften with a Gaussian.  `blur:<sigma>`

use std::fmt;

use super::number::Thousandths;
use super::{Effect, Step, StepError, StepKind, Work};
use crate::Error;
use crate::picture::Picture;
use crate::pixels::blur;

pub(super) const KIND: StepKind = StepKind {
    name: "blur",
    doc: "Softens the resized picture with a Gaussian of this standard deviation in pixels (0.3 to 100).",
    example: "blur:2.5",
    parse,
};

#[derive(Debug)]
struct Blur {
    sigma_px: Thousandths,
}

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    Ok(Box::new(Blur { sigma_px: argument.parse::<Thousandths>()?.within(300..=100_000)? }))
}

impl fmt::Display for Blur {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sigma_px.fmt(f)
    }
}

impl Step for Blur {
    fn retouch(&self) -> Option<&dyn Effect> {
        Some(self)
    }
}

impl Effect for Blur {
    fn apply(&self, picture: Picture, work: &Work<'_>) -> Result<Picture, Error> {
        blur::blur(picture, self.sigma_px.as_f32(), work.deadline)
    }

    fn memory_bytes(&self, size: (u32, u32)) -> u64 {
        blur::memory_bytes(size, self.sigma_px.as_f32())
    }
}
