//! Format: what the output is encoded as.  `format:<jpeg|png|webp|avif|source>`

use std::fmt;

use super::{Step, StepError, StepKind};
use crate::recipe::{OutputFormat, Settings};

pub(super) const KIND: StepKind = StepKind {
    name: "format",
    doc: "An output format (`webp` unless given), or `source`: as the input where that can be encoded, else \
          PNG; an animation that is kept, in the format that can hold it.",
    example: "format:webp",
    parse,
};

#[derive(Debug)]
struct To(OutputFormat);

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    let format =
        OutputFormat::named(argument).ok_or_else(|| format!("wants one of {}", OutputFormat::names()))?;
    Ok(Box::new(To(format)))
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl Step for To {
    fn settle(&self, settings: &mut Settings) {
        settings.format = self.0;
    }
}
