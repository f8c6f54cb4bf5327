//! From strangers' bytes to pictures: inspect, decode, orient, resize, encode. Pure and synchronous:
//! no I/O, no threads, no clock but the [`Deadline`].
//!
//! The way of a file:
//!
//! 1. [`Source::open`] reads the header alone and refuses what the limits forbid, before memory is
//!    taken. [`Source::memory_bytes`] is what the caller reserves in its budget.
//! 2. [`Source::decode`] decodes once and strictly: a truncated or damaged file is an error, a panic
//!    of a codec is the refusal of this file.
//! 3. [`Decoded::render`] makes every wanted [`Recipe`] from that one decode, and
//!    [`Decoded::describe`] what a catalogue keeps: placeholders, main colour, perceptual hash.
//!
//! Adding an image step is a file in `steps/` and a line in [`STEPS`]; adding a format is a file in
//! `formats/` and a line in [`FORMATS`].

mod deadline;
mod describe;
mod error;
mod exif;
mod formats;
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod icc;
mod inspect;
mod metadata;
mod orientation;
mod picture;
mod pixels;
mod plan;
mod planar;
mod recipe;
mod render;
mod source;
mod steps;

pub use deadline::Deadline;
pub use describe::Description;
pub use error::Error;
pub use formats::{FORMATS, Format, FormatKind, OutputTraits, encoder_version};
pub use inspect::{HeadSummary, Inspection, inspect, inspect_head};
pub use metadata::strip_metadata;
pub use orientation::Orientation;
pub use recipe::{Effort, OutputFormat, Quality, Recipe, RecipeRef};
pub use render::Rendition;
pub use source::{Decoded, Source};
pub use steps::{STEPS, StepKind};

// The limits are the application's; named here so that callers need one import.
pub use larder_core::limits::ImageLimits;
