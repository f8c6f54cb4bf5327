//! What a file's header says, and whether the limits allow it: before any decode.

use larder_core::FileType;
use larder_core::limits::ImageLimits;

use crate::formats::{Format, FormatKind};
use crate::guard::guarded;
use crate::{Error, Orientation};

/// What a file's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the file is by its bytes.
    pub format: Format,
    /// Width in pixels, as stored.
    pub width_px: u32,
    /// Height in pixels, as stored.
    pub height_px: u32,
    /// How the stored picture is to be turned to be upright.
    pub orientation: Orientation,
    /// Frames that Larder looks at; 1 for stills (and for formats of which only the first picture
    /// counts: PNG, TIFF, AVIF).
    pub frames: u32,
    /// How often an animation plays; 0 = for ever.
    pub loops: u32,
    /// Whether pixels may be transparent.
    pub has_alpha: bool,
    /// Whether an ICC profile is embedded.
    pub has_icc: bool,
    /// Whether the metadata tells where the picture was taken.
    pub has_gps: bool,
    /// Bytes of memory that decoding, and then resizing, takes at its peak: the file itself, the
    /// decoder's working memory and the decoded picture. An upper bound by the header; what a caller
    /// reserves who renders nothing; [`Source::memory_bytes`](crate::Source::memory_bytes) has the
    /// outputs too.
    pub decode_memory_bytes: u64,
}

impl Inspection {
    /// A still picture about which nothing else is known; formats fill in the rest.
    pub(crate) fn still(format: Format, (width_px, height_px): (u32, u32)) -> Self {
        Self {
            format,
            width_px,
            height_px,
            orientation: Orientation::UPRIGHT,
            frames: 1,
            loops: 0,
            has_alpha: false,
            has_icc: false,
            has_gps: false,
            decode_memory_bytes: 0,
        }
    }

    /// Width and height of the upright picture, in pixels.
    pub fn oriented_size(&self) -> (u32, u32) {
        self.orientation.apply_to_size((self.width_px, self.height_px))
    }

    /// Whether there is more than one frame.
    pub fn is_animated(&self) -> bool {
        self.frames > 1
    }

    /// Pixels of one frame.
    pub(crate) fn pixels(&self) -> u64 {
        u64::from(self.width_px) * u64::from(self.height_px)
    }
}

/// What the beginning of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadSummary {
    /// What the file is by its bytes.
    pub format: Format,
    /// Width in pixels, as stored.
    pub width_px: u32,
    /// Height in pixels, as stored.
    pub height_px: u32,
}

/// Reads the header of a whole file and refuses what the limits forbid. No pixel is decoded and no
/// memory taken that grows with what the header claims.
///
/// # Errors
/// [`Error::Unsupported`] for other types, [`Error::Undecodable`] for a damaged header,
/// [`Error::LimitExceeded`] for too many pixels or frames, sides that are too long, or more memory
/// than the whole decode budget.
///
/// ```
/// # use larder_image::{ImageLimits, inspect};
/// let gif = b"GIF89a\x02\x00\x03\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\
///             ,\x00\x00\x00\x00\x02\x00\x03\x00\x00\x02\x03\x44\x00\x05\x00;";
/// let inspection = inspect(gif, &ImageLimits::default())?;
/// assert_eq!(inspection.oriented_size(), (2, 3));
/// # Ok::<(), larder_image::Error>(())
/// ```
pub fn inspect(bytes: &[u8], limits: &ImageLimits) -> Result<Inspection, Error> {
    let kind = sniff(bytes)?;
    let mut inspection = guarded(kind.format, || {
        // The size first: what it forbids needs no further look.
        if let Some((width, height)) = (kind.size)(bytes)? {
            check_size(width, height, limits)?;
        }
        (kind.inspect)(bytes)
    })?;
    let rendering = bytes.len() as u64 + inspection.pixels() * rendering_bytes_per_pixel(&inspection);
    inspection.decode_memory_bytes = inspection.decode_memory_bytes.max(rendering);
    check(&inspection, limits)?;
    Ok(inspection)
}

/// What the decoded picture takes while it is resized: with alpha, a copy whose colours are weighted
/// by it; without, the rows that are resized in one direction, here for outputs of up to a third of
/// the source's width.
fn rendering_bytes_per_pixel(inspection: &Inspection) -> u64 {
    if inspection.has_alpha { 4 + 4 } else { 3 + 1 }
}

/// Looks at the first bytes of a file, up to the first MiB, while the rest still comes in. `None`:
/// the header needs more bytes than these.
///
/// # Errors
/// As [`inspect`], but only where the rest of the file cannot change the answer.
pub fn inspect_head(head: &[u8], limits: &ImageLimits) -> Result<Option<HeadSummary>, Error> {
    let kind = sniff(head)?;
    let Some((width_px, height_px)) = guarded(kind.format, || (kind.size)(head))? else { return Ok(None) };
    check_size(width_px, height_px, limits)?;
    Ok(Some(HeadSummary { format: kind.format, width_px, height_px }))
}

fn sniff(head: &[u8]) -> Result<&'static FormatKind, Error> {
    let sniffed = FileType::sniff(&head[..head.len().min(larder_core::file_type::SNIFF_BYTES)]);
    let Some(file_type) = sniffed else { return Err(Error::unsupported("a file of unknown type")) };
    FormatKind::named(file_type.name)
        .ok_or_else(|| Error::unsupported(format!("{} as a picture", file_type.content_type)))
}

fn check_size(width: u32, height: u32, limits: &ImageLimits) -> Result<(), Error> {
    let longest = u64::from(width.max(height));
    at_most("pixels a side (side_max_px)", longest, limits.side_max_px.into())?;
    at_most("pixels (pixels_max)", u64::from(width) * u64::from(height), limits.pixels_max)
}

fn check(inspection: &Inspection, limits: &ImageLimits) -> Result<(), Error> {
    check_size(inspection.width_px, inspection.height_px, limits)?;
    if inspection.width_px == 0 || inspection.height_px == 0 {
        return Err(Error::undecodable(inspection.format, "it has no pixels"));
    }
    at_most("frames (frames_max)", inspection.frames.into(), limits.frames_max.into())?;
    let total = inspection.pixels().saturating_mul(inspection.frames.into());
    at_most(
        "pixels over all frames (total_pixels_max)",
        total,
        limits.total_pixels_max.max(limits.pixels_max),
    )?;
    at_most(
        "bytes of memory to decode (decode_memory_bytes)",
        inspection.decode_memory_bytes,
        limits.decode_memory_bytes,
    )
}

fn at_most(what: &'static str, found: u64, limit: u64) -> Result<(), Error> {
    if found > limit { Err(Error::LimitExceeded { what, found, limit }) } else { Ok(()) }
}
