//! Background: what lies under transparency and beside a padded picture.  `background:<rrggbb[aa]>`

use std::fmt;

use super::{Effect, Step, StepError, StepKind, Work};
use crate::Error;
use crate::picture::Picture;
use crate::pixels::compose;

pub(super) const KIND: StepKind = StepKind {
    name: "background",
    doc: "The colour, as rrggbb or rrggbbaa in hexadecimal, that is laid under the picture: it shows \
          through transparency and fills the margins of `resize:pad`. Without it margins are transparent \
          and transparency stays, or is laid on white for formats without it (JPEG).",
    example: "background:ffffff",
    parse,
};

#[derive(Debug)]
struct Background {
    rgba: [u8; 4],
}

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    let wrong = || StepError(format!("wants rrggbb or rrggbbaa, not `{argument}`"));
    let digits = argument.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !digits || !matches!(argument.len(), 6 | 8) {
        return Err(wrong());
    }
    let mut rgba = [255; 4];
    for (channel, pair) in rgba.iter_mut().zip(argument.as_bytes().chunks_exact(2)) {
        let text = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *channel = u8::from_str_radix(text, 16).map_err(|_| wrong())?;
    }
    Ok(Box::new(Background { rgba }))
}

impl fmt::Display for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b, a] = self.rgba;
        write!(f, "{r:02x}{g:02x}{b:02x}")?;
        if a < 255 { write!(f, "{a:02x}") } else { Ok(()) }
    }
}

impl Step for Background {
    fn compose(&self) -> Option<&dyn Effect> {
        Some(self)
    }
}

impl Effect for Background {
    fn apply(&self, picture: Picture, _work: &Work<'_>) -> Result<Picture, Error> {
        Ok(compose::underlay(picture, self.rgba))
    }

    fn changes_opaque(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opaque_colour_is_written_without_its_alpha() {
        assert_eq!(parse("102030ff").unwrap().to_string(), "102030");
        assert_eq!(parse("10203080").unwrap().to_string(), "10203080");
    }

    #[test]
    fn names_and_short_forms_are_refused() {
        for argument in ["", "fff", "white", "FFFFFF", "12345", "gggggg", "+12345"] {
            assert!(parse(argument).is_err(), "{argument}");
        }
    }
}
