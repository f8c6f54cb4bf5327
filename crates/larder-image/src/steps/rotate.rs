//! Rotate: turn clockwise by quarters.  `rotate:<90|180|270>`

use std::fmt;

use super::{Step, StepError, StepKind};
use crate::picture::Picture;
use crate::plan::Plan;
use crate::{Error, Orientation};

pub(super) const KIND: StepKind = StepKind {
    name: "rotate",
    doc: "Turns the upright picture clockwise by 90, 180 or 270 degrees.",
    example: "rotate:90",
    parse,
};

#[derive(Debug)]
struct Rotate {
    quarters: u8,
}

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    let quarters = match argument {
        "90" => 1,
        "180" => 2,
        "270" => 3,
        _ => return Err("wants 90, 180 or 270".into()),
    };
    Ok(Box::new(Rotate { quarters }))
}

impl fmt::Display for Rotate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (u32::from(self.quarters) * 90).fmt(f)
    }
}

impl Step for Rotate {
    fn plan(&self, plan: &mut Plan, _source: Option<&Picture>) -> Result<(), Error> {
        plan.orient(Orientation::turn(self.quarters));
        Ok(())
    }
}
