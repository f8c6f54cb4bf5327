//! A file on its way to its pictures: opened, then decoded once.

use std::sync::OnceLock;

use larder_core::limits::ImageLimits;

use crate::describe::{self, Description};
use crate::formats::{Format, Wanted};
use crate::guard::guarded;
use crate::inspect::{Inspection, inspect};
use crate::picture::{Picture, Pixels};
use crate::planar::Planar;
use crate::recipe::Recipe;
use crate::render::{self, Costs, Rendition};
use crate::{Deadline, Error};

/// Longest side that [`Decoded::describe`] wants at least: four times what it works on, so that its result
/// hardly depends on the scale of the decode.
const DESCRIBED_SIDE_PX: u32 = 256;

/// A file whose header has been read and lies within the limits.
#[derive(Debug)]
pub struct Source<'a> {
    bytes: &'a [u8],
    inspection: Inspection,
    memory_bytes_max: u64,
    trusted: bool,
}

impl<'a> Source<'a> {
    /// Reads the header; see [`inspect`].
    ///
    /// # Errors
    /// As [`inspect`].
    pub fn open(bytes: &'a [u8], limits: &ImageLimits) -> Result<Self, Error> {
        let memory_bytes_max = limits.decode_memory_bytes;
        Ok(Self { bytes, inspection: inspect(bytes, limits)?, memory_bytes_max, trusted: false })
    }

    /// The same, of bytes that were decoded without an error before: what does not show in the wanted
    /// pictures is then not read again. It makes thumbnails of progressive JPEGs many times faster.
    #[must_use]
    pub fn trusted(self) -> Self {
        Self { trusted: true, ..self }
    }

    /// What the header says.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// Bytes of memory that decoding this file and then rendering these recipes takes at its peak: what
    /// a caller reserves until the renditions are made. An upper bound by the header, and never more
    /// than the limit: a recipe that would take more is refused when it is rendered.
    pub fn memory_bytes(&self, recipes: &[Recipe]) -> u64 {
        let costs = Costs::of(&self.inspection, self.bytes.len() as u64, recipes, self.memory_bytes_max);
        self.inspection.decode_memory_bytes.max(costs.peak_bytes)
    }

    /// Decodes once, completely and strictly, for all of `wanted`; with none wanted the decode only
    /// shows that the file is whole. Where the format allows it, the pixels are decoded at a smaller
    /// scale that is enough for all of `wanted`; others can't be rendered well from the result.
    ///
    /// Every frame of an animation is decoded here to see that it is sound, but only the first is
    /// kept as pixels; if a wanted recipe keeps the animation, a copy of the file is kept too, and
    /// [`Decoded::render`] walks through its frames once more, one at a time.
    ///
    /// # Errors
    /// [`Error::Undecodable`] for a truncated or damaged file, [`Error::TimedOut`] after the deadline,
    /// [`Error::Panicked`] if the codec gave up on the file, [`Error::Unsupported`] for kinds of the
    /// format that are not decoded.
    pub fn decode(&self, wanted: &[Recipe], deadline: Deadline) -> Result<Decoded, Error> {
        deadline.check()?;
        let pixels = match self.scaled(wanted, deadline)? {
            Some(pixels) => pixels,
            None => Pixels::Interleaved(self.decode_in_full(deadline)?),
        };
        let animated = self.inspection.is_animated() && wanted.iter().any(Recipe::keeps_animation);
        let animation = animated.then(|| self.bytes.to_vec());
        let memory_bytes_max = self.memory_bytes_max;
        Ok(Decoded {
            pixels,
            interleaved: OnceLock::new(),
            inspection: self.inspection.clone(),
            animation,
            memory_bytes_max,
        })
    }

    /// The picture at the scale that is enough for all of `wanted`, if the format has that.
    fn scaled(&self, wanted: &[Recipe], deadline: Deadline) -> Result<Option<Pixels>, Error> {
        let format = self.inspection.format;
        let (Some(scaled), Some(size)) = (format.kind().scaled, self.size_enough_for(wanted)) else {
            return Ok(None);
        };
        let wanted = Wanted { size, trusted: self.trusted };
        guarded(format, || scaled(self.bytes, &self.inspection, wanted, deadline))
    }

    /// The stored size at which the picture is large enough for every recipe; `None` if one of them
    /// looks at or cuts by single pixels, or enlarges.
    fn size_enough_for(&self, wanted: &[Recipe]) -> Option<(u32, u32)> {
        let stored = (self.inspection.width_px, self.inspection.height_px);
        let longest = f64::from(stored.0.max(stored.1));
        // A file that was decoded before was described then.
        let described = if self.trusted { 1 } else { DESCRIBED_SIDE_PX };
        let mut fraction = (f64::from(described) / longest).min(1.0);
        for recipe in wanted {
            // What can't be planned is refused when it is rendered, whatever size there is.
            let Ok(plan) = recipe.plan_at_most(stored, self.inspection.orientation) else { continue };
            fraction = fraction.max(plan.fraction_needed(stored)?);
        }
        let side = |length: u32| ((f64::from(length) * fraction).ceil() as u32).clamp(1, length);
        Some((side(stored.0), side(stored.1)))
    }

    fn decode_in_full(&self, deadline: Deadline) -> Result<Picture, Error> {
        let format = self.inspection.format;
        let picture = guarded(format, || (format.kind().decode)(self.bytes, &self.inspection, deadline))?;
        let stored = (picture.width(), picture.height());
        if stored != (self.inspection.width_px, self.inspection.height_px) {
            return Err(Error::undecodable(format, "header and content disagree about the size"));
        }
        Ok(picture)
    }
}

/// A decoded picture, with which the file itself is no longer needed. It may be smaller than the file
/// says; recipes mean the size of the file all the same.
#[derive(Debug)]
pub struct Decoded {
    pixels: Pixels,
    /// What was decoded in planes, once a recipe needs its channels side by side in full.
    interleaved: OnceLock<Picture>,
    inspection: Inspection,
    animation: Option<Vec<u8>>,
    memory_bytes_max: u64,
}

impl Decoded {
    /// Bytes of memory that this holds.
    pub fn memory_bytes(&self) -> u64 {
        let interleaved = self.interleaved.get().map_or(0, Picture::memory_bytes);
        self.pixels.memory_bytes()
            + interleaved
            + self.animation.as_ref().map_or(0, |bytes| bytes.capacity() as u64)
    }

    /// What the header said.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// What a catalogue keeps of the (upright, sRGB) picture: placeholders, main colour, hash.
    ///
    /// # Errors
    /// [`Error::Internal`] or [`Error::Panicked`] if it cannot be computed.
    pub fn describe(&self) -> Result<Description, Error> {
        guarded(self.inspection.format, || describe::describe(&self.pixels, self.inspection.orientation))
    }

    /// Makes every recipe's picture, in the order given: each is a rendition or its own error.
    ///
    /// The work goes from the largest to the smallest, each from the smallest larger one where
    /// quality allows. Each output is upright, in sRGB unless the recipe keeps the profile, and
    /// without any other metadata.
    pub fn render(&self, recipes: &[Recipe], deadline: Deadline) -> Vec<Result<Rendition, Error>> {
        render::render(self, recipes, deadline)
    }

    pub(crate) fn costs(&self, recipes: &[Recipe]) -> Costs {
        let file = self.animation.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Costs::of(&self.inspection, file, recipes, self.memory_bytes_max)
    }

    /// The pixels with their channels side by side.
    pub(crate) fn picture(&self) -> Result<&Picture, Error> {
        match (&self.pixels, self.interleaved.get()) {
            (Pixels::Interleaved(picture), _) | (_, Some(picture)) => Ok(picture),
            (Pixels::Planar(planes), None) => {
                let picture = planes.to_decoded_picture()?;
                Ok(self.interleaved.get_or_init(|| picture))
            }
        }
    }

    /// The pixels in planes, if they were decoded so.
    pub(crate) fn planar(&self) -> Option<&Planar> {
        match &self.pixels {
            Pixels::Interleaved(_) => None,
            Pixels::Planar(planes) => Some(planes),
        }
    }

    pub(crate) fn animation(&self) -> Option<&[u8]> {
        self.animation.as_deref()
    }

    pub(crate) fn format(&self) -> Format {
        self.inspection.format
    }
}
