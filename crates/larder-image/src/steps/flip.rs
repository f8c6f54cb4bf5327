//! Flip: mirror.  `flip:<h|v|hv>`

use std::fmt;

use super::{Step, StepError, StepKind};
use crate::picture::Picture;
use crate::plan::Plan;
use crate::{Error, Orientation};

pub(super) const KIND: StepKind = StepKind {
    name: "flip",
    doc: "Mirrors the picture left-right (`h`), top-bottom (`v`) or both (`hv`), after any rotation.",
    example: "flip:h",
    parse,
};

#[derive(Debug)]
struct Flip {
    horizontal: bool,
    vertical: bool,
}

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    let (horizontal, vertical) = match argument {
        "h" => (true, false),
        "v" => (false, true),
        "hv" => (true, true),
        _ => return Err("wants `h`, `v` or `hv`".into()),
    };
    Ok(Box::new(Flip { horizontal, vertical }))
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.horizontal, self.vertical) {
            (true, true) => "hv",
            (true, false) => "h",
            _ => "v",
        })
    }
}

impl Step for Flip {
    fn plan(&self, plan: &mut Plan, _source: Option<&Picture>) -> Result<(), Error> {
        plan.orient(Orientation::mirror(self.horizontal, self.vertical));
        Ok(())
    }
}
