//! The formats, one file each: header inspection, decode, encode.

mod avif;
mod bmp;
mod canvas;
mod gif;
pub(crate) mod jpeg;
pub(crate) mod png;
pub(crate) mod reader;
mod tiff;
pub(crate) mod webp;

use std::fmt;

use crate::picture::{Picture, Pixels};
use crate::planar::Planar;
use crate::recipe::{Effort, Quality};
use crate::{Deadline, Error, Inspection};

/// Declares the formats once, so that [`Format`] and [`FORMATS`] can't come apart.
macro_rules! formats {
    ($($(#[$doc:meta])* $name:ident in $file:ident,)*) => {
        /// A format that Larder decodes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Format {
            $($(#[$doc])* $name,)*
        }

        /// Every format there is, each the line of its file.
        pub const FORMATS: &[FormatKind] = &[$($file::KIND),*];
    };
}

formats! {
    /// JPEG (ITU-T T.81).
    Jpeg in jpeg,
    /// PNG (W3C, third edition).
    Png in png,
    /// GIF (87a and 89a).
    Gif in gif,
    /// WebP (RFC 9649).
    Webp in webp,
    /// AVIF (AV1 Image File Format 1.1).
    Avif in avif,
    /// TIFF (revision 6.0).
    Tiff in tiff,
    /// BMP (Windows bitmap).
    Bmp in bmp,
}

/// A line of [`FORMATS`].
#[derive(Debug)]
pub struct FormatKind {
    /// The format.
    pub format: Format,
    /// Its name in recipes and records.
    pub name: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its usual file name extension, without the dot.
    pub extension: &'static str,
    /// What is decoded and encoded, for help texts.
    pub doc: &'static str,
    /// Width and height as stored, from the first bytes of a file; `None` if they show later.
    pub(crate) size: Size,
    /// What the header of a whole file says.
    pub(crate) inspect: fn(&[u8]) -> Result<Inspection, Error>,
    /// The picture or the first frame as stored, after the whole file was decoded strictly.
    pub(crate) decode: fn(&[u8], &Inspection, Deadline) -> Result<Picture, Error>,
    /// The same at the scale that is wanted, in planes where it is coded so; where the format has that.
    pub(crate) scaled: Option<Scaled>,
    /// Walks through the frames of an animation, where the format has any.
    pub(crate) animate: Option<Animate>,
    /// Copies a file without its metadata, where that can be done without a decode.
    pub(crate) strip: Option<Strip>,
    /// How to encode, where that is offered.
    pub(crate) encode: Option<Encode>,
}

/// A copy of a file that says nothing but how the picture looks; stripped again, it stays the same.
pub(crate) type Strip = fn(&[u8]) -> Result<Vec<u8>, Error>;

/// Width and height, where the bytes already show them.
pub(crate) type Size = fn(&[u8]) -> Result<Option<(u32, u32)>, Error>;

/// Decodes as strictly, to the smallest size that the format can decode to and that is at least the
/// wanted one in both directions; `None` if the other decoder has to judge.
pub(crate) type Scaled = fn(&[u8], &Inspection, Wanted, Deadline) -> Result<Option<Pixels>, Error>;

/// What a decode is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// The size that is enough.
    pub size: (u32, u32),
    /// Whether the file is known to be sound, so that what does not show need not be read.
    pub trusted: bool,
}

/// Gives every frame, composed to the whole canvas, to the function in its last argument.
pub(crate) type Animate =
    fn(&[u8], &Inspection, Deadline, &mut dyn FnMut(Frame<'_>) -> Result<(), Error>) -> Result<(), Error>;

/// A frame of an animation, as it is shown.
pub(crate) struct Frame<'a> {
    pub picture: &'a Picture,
    pub duration_ms: u32,
}

/// How to encode.
#[derive(Debug)]
pub(crate) struct Encode {
    /// The encoder and its version, recorded beside each variant.
    pub version: &'static str,
    /// Whether transparency can be expressed.
    pub alpha: bool,
    /// Longest side that the format can express, or that is offered.
    pub side_max_px: u32,
    /// Most pixels that are encoded, where the encoder cannot be interrupted.
    pub pixels_max: Option<u64>,
    /// The lossy quality where a recipe does not say; `None` for a format that loses nothing whatever
    /// is asked for.
    pub quality: Option<u8>,
    /// Whether `quality:lossless` can be asked for.
    pub lossless: bool,
    /// Whether a colour profile can be embedded.
    pub profile: bool,
    /// Whether grey stays one channel, so that a profile for grey can be embedded.
    pub grey: bool,
    /// Begins an animation, where the format can move.
    pub animate: Option<Start>,
    /// Place among the formats that are chosen by `Accept` when a client names them, the smallest
    /// output first; `None` for formats that every client shows.
    pub negotiated: Option<u8>,
    /// Whether encoding takes so much longer than in the other formats that nobody waits for it who can do
    /// with another one.
    pub slow: bool,
    /// Bytes of memory that encoding takes beside the picture, what it writes included; for an
    /// animation, from its first frame to its last. By measurement, with room for hard pictures.
    pub memory_bytes: fn(&Load) -> u64,
    /// Encodes one picture; its profile, if it still has one, is embedded. Encoders that can be
    /// interrupted stop at the deadline.
    pub still: fn(&Picture, Coding, Deadline) -> Result<Vec<u8>, Error>,
    /// The same for a picture in planes with shared samples of colour, at a lossy quality; where the format
    /// codes pictures so.
    pub planar: Option<EncodePlanar>,
}

/// How closely and with how much effort to encode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coding {
    pub quality: Quality,
    pub effort: Effort,
}

#[cfg(test)]
impl Coding {
    /// Without loss, as far as the format is concerned with that.
    pub(crate) const LOSSLESS: Self = Self { quality: Quality::Lossless, effort: Effort::Normal };
}

/// What is to be encoded, as far as it decides about memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Pixels of a frame.
    pub pixels: u64,
    pub alpha: bool,
    pub quality: Quality,
    pub frames: u32,
}

/// Encodes a picture in planes with shared samples of colour.
pub(crate) type EncodePlanar = fn(&Planar, Coding, Deadline) -> Result<Vec<u8>, Error>;

/// Begins an animation of this size that plays so often (0 = for ever).
pub(crate) type Start = fn((u32, u32), u32, Coding) -> Result<Box<dyn AnimationEncoder>, Error>;

/// Encodes an animation frame by frame.
pub(crate) trait AnimationEncoder {
    /// Adds a frame of the animation's size; the profile of the last one is embedded.
    fn add(&mut self, picture: &Picture, duration_ms: u32) -> Result<(), Error>;

    /// The file.
    fn finish(self: Box<Self>) -> Result<Vec<u8>, Error>;
}

/// What a format can express of a picture, for help texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputTraits {
    /// The quality where a recipe does not say; `None` for a format that loses nothing.
    pub quality: Option<u8>,
    /// Whether `quality:lossless` can be asked for.
    pub lossless: bool,
    /// Whether transparency can be expressed.
    pub alpha: bool,
    /// Whether a colour profile can be embedded.
    pub profile: bool,
    /// Whether an animation stays one.
    pub animation: bool,
}

impl Format {
    /// The line of the table.
    pub(crate) fn kind(self) -> &'static FormatKind {
        // Enum and table are declared by the same lines.
        &FORMATS[self as usize]
    }

    /// The name in recipes and records.
    pub fn name(self) -> &'static str {
        self.kind().name
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        self.kind().content_type
    }

    /// The usual file name extension, without the dot.
    pub fn extension(self) -> &'static str {
        self.kind().extension
    }

    /// The format of this name.
    pub fn named(name: &str) -> Option<Self> {
        FormatKind::named(name).map(|kind| kind.format)
    }

    /// Whether files of this format are decoded; all that are in the table are.
    pub fn can_decode(self) -> bool {
        true
    }

    /// Whether pictures are encoded in this format.
    pub fn can_encode(self) -> bool {
        self.kind().encode.is_some()
    }

    /// Whether outputs of this size, in pixels, are encoded.
    pub fn admits(self, (width, height): (u32, u32)) -> bool {
        self.kind().encode.as_ref().is_some_and(|encode| {
            let pixels = u64::from(width) * u64::from(height);
            width.max(height) <= encode.side_max_px && encode.pixels_max.is_none_or(|most| pixels <= most)
        })
    }

    /// Formats that are chosen only for clients that name them in `Accept`, the best first: their
    /// output is smaller, but not every client shows them.
    pub fn negotiated() -> Vec<Self> {
        let mut ranked: Vec<(u8, Self)> = FORMATS
            .iter()
            .filter_map(|kind| Some((kind.encode.as_ref()?.negotiated?, kind.format)))
            .collect();
        ranked.sort();
        ranked.into_iter().map(|(_, format)| format).collect()
    }

    /// Whether a client that shows other formats too is better served by one of them until a picture in
    /// this one is made.
    pub fn is_slow(self) -> bool {
        self.kind().encode.as_ref().is_some_and(|encode| encode.slow)
    }

    /// Whether an animation stays one in this format.
    pub fn animates(self) -> bool {
        self.kind().encode.as_ref().is_some_and(|encode| encode.animate.is_some())
    }

    /// The format that animations are kept in: the first that can.
    pub(crate) fn animated() -> Option<Self> {
        FORMATS.iter().map(|kind| kind.format).find(|format| format.animates())
    }

    pub(crate) fn decodable_names() -> String {
        FORMATS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
    }
}

impl FormatKind {
    /// What outputs in this format can have; `None` if there are none.
    pub fn output(&self) -> Option<OutputTraits> {
        self.encode.as_ref().map(|encode| OutputTraits {
            quality: encode.quality,
            lossless: encode.lossless,
            alpha: encode.alpha,
            profile: encode.profile,
            animation: encode.animate.is_some(),
        })
    }

    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|kind| kind.name == name)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The encoder of a format and its version, to be recorded beside a variant; empty if the format is
/// not encoded. It is no part of a variant's identity.
pub fn encoder_version(format: Format) -> &'static str {
    format.kind().encode.as_ref().map_or("", |encode| encode.version)
}

#[cfg(test)]
mod tests {
    use larder_core::FileType;

    use super::*;

    #[test]
    fn each_format_is_its_own_line_and_agrees_with_the_file_types() {
        for kind in FORMATS {
            assert_eq!(kind.format.kind().format, kind.format);
            assert_eq!(kind.format.kind().name, kind.name);
            assert_eq!(Format::named(kind.name), Some(kind.format));
            let file_type = FileType::named(kind.name).unwrap();
            assert_eq!(file_type.content_type, kind.content_type);
            assert_eq!(file_type.extension(), kind.extension);
        }
    }

    #[test]
    fn an_encoder_tells_its_version() {
        for kind in FORMATS {
            assert_eq!(kind.format.can_encode(), !encoder_version(kind.format).is_empty());
        }
    }
}
