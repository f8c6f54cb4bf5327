//! Effort: how hard the encoder tries for few bytes.  `effort:<normal|fast>`

use std::fmt;

use super::{Step, StepError, StepKind};
use crate::recipe::{Effort, Settings};

pub(super) const KIND: StepKind = StepKind {
    name: "effort",
    doc: "`fast` takes much less time for somewhat more bytes where the encoder can choose: for WebP a third \
          of the time and some 8 % more bytes, at the same quality. `normal` is what holds without it.",
    example: "effort:fast",
    parse,
};

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    match argument {
        "normal" => Ok(Box::new(Effort::Normal)),
        "fast" => Ok(Box::new(Effort::Fast)),
        _ => Err("wants `normal` or `fast`".into()),
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Fast => "fast",
        })
    }
}

impl Step for Effort {
    fn is_default(&self) -> bool {
        *self == Self::Normal
    }

    fn settle(&self, settings: &mut Settings) {
        settings.effort = *self;
    }
}
