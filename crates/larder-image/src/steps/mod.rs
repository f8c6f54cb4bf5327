//! The steps of a recipe, in the order of work.
//!
//! A step is one file: its name, documentation, argument, behaviour and tests; plus a `mod` line and
//! a line in [`STEPS`]. URL help and the documentation page are made from the table.

mod background;
mod blur;
mod crop;
mod effort;
mod flip;
mod focus;
mod format;
mod frames;
mod number;
mod profile;
mod quality;
mod resize;
mod rotate;
mod sharpen;
mod trim;

use std::fmt;

use crate::picture::Picture;
use crate::plan::Plan;
use crate::recipe::Settings;
use crate::{Deadline, Error};

/// Every step there is. The order is the order of work, and the order in which a recipe prints.
pub const STEPS: &[StepKind] = &[
    frames::KIND,
    trim::KIND,
    crop::KIND,
    rotate::KIND,
    flip::KIND,
    focus::KIND,
    resize::KIND,
    blur::KIND,
    sharpen::KIND,
    profile::KIND,
    background::KIND,
    effort::KIND,
    format::KIND,
    quality::KIND,
];

/// A kind of step: a line of [`STEPS`].
#[derive(Debug)]
pub struct StepKind {
    /// The name before the colon, unique in the table.
    pub name: &'static str,
    /// What it does and what its argument is, for help texts.
    pub doc: &'static str,
    /// A step that parses and prints as itself.
    pub example: &'static str,
    pub(crate) parse: fn(&str) -> Result<Box<dyn Step>, StepError>,
}

/// Why an argument is refused, in a few words that follow the step's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StepError(pub String);

impl<T: Into<String>> From<T> for StepError {
    fn from(reason: T) -> Self {
        Self(reason.into())
    }
}

/// A step with its argument; `Display` prints the canonical argument.
///
/// A step says what it does in up to four places, and each is called for every step in the order of
/// [`STEPS`]: it settles how the recipe is carried out, plans what needs no pixels (which part, turned
/// how, scaled to what), and works on the pixels of the small picture, before or after its margins
/// are there. A few do nothing because they say what holds anyway.
pub(crate) trait Step: fmt::Debug + fmt::Display + Send + Sync {
    /// Whether the step says what holds without it; such a step is not printed.
    fn is_default(&self) -> bool {
        false
    }

    /// Settles what does not depend on the picture.
    fn settle(&self, _settings: &mut Settings) {}

    /// Adds its work to the plan for `source`; without the picture, which is asked for before a decode,
    /// what can be said of every picture of the plan's size.
    fn plan(&self, _plan: &mut Plan, _source: Option<&Picture>) -> Result<(), Error> {
        Ok(())
    }

    /// What works on the resized and upright picture, in its own colours. Margins are added
    /// afterwards, so that no effect reaches into them.
    fn retouch(&self) -> Option<&dyn Effect> {
        None
    }

    /// What works on the picture as it will be encoded, margins and all, in the colours of the output.
    /// Margins are transparent until a step lays something under them.
    fn compose(&self) -> Option<&dyn Effect> {
        None
    }
}

/// What a step does to pixels; the size stays.
pub(crate) trait Effect {
    fn apply(&self, picture: Picture, work: &Work<'_>) -> Result<Picture, Error>;

    /// Whether it may change a picture without transparency and margins. Pictures that no effect
    /// changes need no pixels with their channels side by side: they stay in planes.
    fn changes_opaque(&self) -> bool {
        true
    }

    /// Bytes of memory that work on a picture of this size takes at most, beside the picture itself
    /// and a copy of it with four channels.
    fn memory_bytes(&self, _size: (u32, u32)) -> u64 {
        0
    }
}

/// What a step that works on pixels may ask about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work<'a> {
    /// When the work must have ended; asked for each row.
    pub deadline: Deadline,
    /// What becomes of the picture as a whole.
    pub plan: &'a Plan,
}

/// The place of the step of this name in the order of work.
pub(crate) fn position(name: &str) -> Option<usize> {
    STEPS.iter().position(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_example_prints_as_itself() {
        let mut names = HashSet::new();
        for kind in STEPS {
            assert!(names.insert(kind.name), "{} is there twice", kind.name);
            let (name, argument) = kind.example.split_once(':').unwrap();
            assert_eq!(name, kind.name);
            let step = (kind.parse)(argument).unwrap();
            assert_eq!(step.to_string(), argument, "{}", kind.name);
            assert!(!kind.doc.is_empty());
        }
    }

    #[test]
    fn every_file_of_this_folder_is_in_the_table() {
        // The modules are private: one that is not in the table is dead code, which fails the build.
        // This counts the files, so that one without a `mod` line is found too.
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/steps");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".rs", ""))
            .filter(|name| name != "mod" && name != "number")
            .collect();
        let mut names: Vec<String> = STEPS.iter().map(|kind| kind.name.to_owned()).collect();
        files.sort();
        names.sort();
        assert_eq!(files, names);
    }

    #[test]
    fn no_argument_makes_a_parser_panic() {
        for kind in STEPS {
            for argument in ["", ":", "::", "x", "0x0", "-1", "1e9", "99999999999999999999", "1:2:3:4:5", "é"]
            {
                let _ = (kind.parse)(argument);
            }
        }
    }
}
