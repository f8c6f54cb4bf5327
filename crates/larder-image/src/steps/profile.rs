//! Profile: what becomes of the colour profile.  `profile:<srgb|keep>`

use std::fmt;

use super::{Step, StepError, StepKind};
use crate::recipe::Settings;

pub(super) const KIND: StepKind = StepKind {
    name: "profile",
    doc: "`srgb` (default) converts the colours to sRGB and drops the profile; `keep` leaves the colours \
          and embeds the profile, where the format can. Other metadata is always dropped.",
    example: "profile:keep",
    parse,
};

#[derive(Debug)]
struct Profile {
    keep: bool,
}

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    match argument {
        "srgb" => Ok(Box::new(Profile { keep: false })),
        "keep" => Ok(Box::new(Profile { keep: true })),
        _ => Err("wants `srgb` or `keep`".into()),
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.keep { "keep" } else { "srgb" })
    }
}

impl Step for Profile {
    fn is_default(&self) -> bool {
        !self.keep
    }

    fn settle(&self, settings: &mut Settings) {
        settings.keep_profile = self.keep;
    }
}
