//! Format: what the output is encoded as.  `format:<jpeg|png|webp|avif|source>`

use std::fmt;

use super::{Step, StepError, StepKind};
use crate::recipe::{OutputFormat, Settings};

pub(super) const KIND: StepKind = StepKind {
    name: "format",
    doc: "`jpeg`, `png`, `webp` (default), `avif`, or `source`: as the input where that can be encoded, \
          else PNG (WebP for animations that are kept).",
    example: "format:webp",
    parse,
};

#[derive(Debug)]
struct To(OutputFormat);

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    let format = OutputFormat::named(argument).ok_or("wants jpeg, png, webp, avif or source")?;
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
