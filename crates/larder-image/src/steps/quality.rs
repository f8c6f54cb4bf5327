//! Quality: how closely the encoder follows the pixels.  `quality:<1-100|lossless>`

use std::fmt;

use super::number::whole;
use super::{Step, StepError, StepKind};
use crate::recipe::{Quality, Settings};

pub(super) const KIND: StepKind = StepKind {
    name: "quality",
    doc: "1 to 100, or `lossless` where the format can be. Unless given, each format's own, at which \
          they look alike; a format that loses nothing takes any.",
    example: "quality:85",
    parse,
};

#[derive(Debug)]
struct At(Quality);

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    if argument == "lossless" {
        return Ok(Box::new(At(Quality::Lossless)));
    }
    match whole(argument)? {
        value @ 1..=100 => Ok(Box::new(At(Quality::Lossy(value as u8)))),
        _ => Err("wants 1 to 100, or `lossless`".into()),
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Step for At {
    fn settle(&self, settings: &mut Settings) {
        settings.quality = Some(self.0);
    }
}
