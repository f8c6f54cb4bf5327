//! Frames: keep an animation, or its first frame.  `frames:<first|all>`

use std::fmt;

use super::{Step, StepError, StepKind};
use crate::recipe::Settings;

pub(super) const KIND: StepKind = StepKind {
    name: "frames",
    doc: "`first` (default) makes a still picture of an animation; `all` keeps the animation, \
          where the formats of the source and of the output can move; others take the first frame.",
    example: "frames:all",
    parse,
};

#[derive(Debug)]
struct Frames {
    all: bool,
}

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    match argument {
        "first" => Ok(Box::new(Frames { all: false })),
        "all" => Ok(Box::new(Frames { all: true })),
        _ => Err("wants `first` or `all`".into()),
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.all { "all" } else { "first" })
    }
}

impl Step for Frames {
    fn is_default(&self) -> bool {
        !self.all
    }

    fn settle(&self, settings: &mut Settings) {
        settings.all_frames = self.all;
    }
}
