//! Focus: the point that a covering resize keeps in view.  `focus:<x>:<y>`

use std::fmt;

use super::number::Thousandths;
use super::{Step, StepError, StepKind};
use crate::Error;
use crate::picture::Picture;
use crate::plan::Plan;

pub(super) const KIND: StepKind = StepKind {
    name: "focus",
    doc: "The point, as a fraction of width and height from the top left (0 to 1, at most three \
          decimals), that `resize:cover` keeps as near to the middle as it can. The middle, 0.5:0.5, \
          unless given.",
    example: "focus:0.25:0.75",
    parse,
};

#[derive(Debug)]
struct Focus {
    x: Thousandths,
    y: Thousandths,
}

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    let (x, y) = argument.split_once(':').ok_or("wants `<x>:<y>`")?;
    let fraction = |text: &str| text.parse::<Thousandths>()?.within(0..=1_000);
    Ok(Box::new(Focus { x: fraction(x)?, y: fraction(y)? }))
}

impl fmt::Display for Focus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.x, self.y)
    }
}

impl Step for Focus {
    fn is_default(&self) -> bool {
        self.x == Thousandths(500) && self.y == Thousandths(500)
    }

    fn plan(&self, plan: &mut Plan, _source: Option<&Picture>) -> Result<(), Error> {
        plan.focus = (f64::from(self.x.0) / 1_000.0, f64::from(self.y.0) / 1_000.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_outside_the_picture_are_refused() {
        assert!(parse("1.001:0").is_err());
        assert!(parse("0:2").is_err());
        assert!(parse("0.5").is_err());
    }
}
