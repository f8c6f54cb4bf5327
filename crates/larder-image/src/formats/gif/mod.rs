//! GIF: unpacked by the gif crate, composed here; in only.

mod blocks;

use ::gif::{DecodeOptions, DecodingError, DisposalMethod, MemoryLimit};

use super::canvas::{Canvas, Patch};
use super::{Format, FormatKind, Frame};
use crate::deadline::DeadlineReader;
use crate::icc;
use crate::picture::{Channels, Picture};
use crate::{Deadline, Error, Inspection};

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Gif,
    name: "gif",
    content_type: "image/gif",
    extension: "gif",
    doc: "In: still and animated, interlaced, all ways of disposal.",
    size,
    inspect,
    decode,
    scaled: None,
    animate: Some(animate),
    strip: None,
    encode: None,
};

/// Shortest time that a frame is shown. Browsers show frames that ask for 0 or 10 ms for 100 ms.
const SHORTEST_MS: u32 = 20;
const SHOWN_INSTEAD_MS: u32 = 100;

fn size(head: &[u8]) -> Result<Option<(u32, u32)>, Error> {
    let size = blocks::canvas(head)?;
    if size.is_some_and(|(width, height)| width == 0 || height == 0) {
        return Err(Error::undecodable(Format::Gif, "its screen has no pixels"));
    }
    Ok(size)
}

fn inspect(bytes: &[u8]) -> Result<Inspection, Error> {
    let size = size(bytes)?.ok_or_else(|| Error::undecodable(Format::Gif, "it is cut within its header"))?;
    let summary = blocks::summarise(bytes)?;
    if summary.frames == 0 {
        return Err(Error::undecodable(Format::Gif, "it has no frame"));
    }
    let mut inspection = Inspection::still(Format::Gif, size);
    inspection.frames = summary.frames;
    inspection.loops = summary.loops;
    // Frames may be transparent or leave parts of the screen free.
    inspection.has_alpha = true;
    inspection.has_icc = summary.has_icc;
    inspection.has_gps = summary.has_gps;
    // The screen, the copy that disposal comes back to, the first frame that is kept, and once more
    // without its alpha; indices.
    inspection.decode_memory_bytes =
        bytes.len() as u64 + inspection.pixels() * 15 + summary.largest_frame + (1 << 17);
    Ok(inspection)
}

fn decode(bytes: &[u8], inspection: &Inspection, deadline: Deadline) -> Result<Picture, Error> {
    let mut first = None;
    walk(bytes, inspection, deadline, &mut |frame| {
        if first.is_none() {
            first = Some(frame.picture.clone().without_idle_alpha());
        }
        Ok(())
    })?;
    first.ok_or_else(|| Error::undecodable(Format::Gif, "it has no frame"))
}

fn animate(
    bytes: &[u8],
    inspection: &Inspection,
    deadline: Deadline,
    sink: &mut dyn FnMut(Frame<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    walk(bytes, inspection, deadline, sink)
}

/// Decodes and composes every frame (GIF89a, section 23, for the ways of disposal).
fn walk(
    bytes: &[u8],
    inspection: &Inspection,
    deadline: Deadline,
    sink: &mut dyn FnMut(Frame<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut options = DecodeOptions::new();
    // Inspection has counted the largest frame into the memory that the caller reserved.
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(DeadlineReader::new(bytes, deadline)).map_err(refusal)?;
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let profile = icc::usable(decoder.icc_profile().map(<[u8]>::to_vec), Channels::Rgb);
    let mut canvas = Canvas::new(inspection.width_px, inspection.height_px).with_profile(profile);
    let mut seen = 0;
    while let Some(frame) = decoder.next_frame_info().map_err(refusal)? {
        deadline.check()?;
        let patch = Patch {
            x: frame.left.into(),
            y: frame.top.into(),
            width: frame.width.into(),
            height: frame.height.into(),
        };
        let (dispose, transparent, delay) = (frame.dispose, frame.transparent, frame.delay);
        let palette = frame.palette.clone().or_else(|| global.clone()).unwrap_or_default();
        let mut indices = vec![0; patch.width as usize * patch.height as usize];
        decoder.read_into_buffer(&mut indices).map_err(refusal)?;
        let before = (dispose == DisposalMethod::Previous).then(|| canvas.snapshot());
        canvas.blend(patch, |n| color(&palette, transparent, indices[n]));
        let asked_ms = u32::from(delay) * 10;
        let duration_ms = if asked_ms < SHORTEST_MS { SHOWN_INSTEAD_MS } else { asked_ms };
        sink(Frame { picture: canvas.picture(), duration_ms })?;
        match (dispose, before) {
            (DisposalMethod::Background, _) => canvas.clear(patch),
            (_, Some(before)) => canvas.restore(&before),
            _ => {}
        }
        seen += 1;
    }
    if seen == inspection.frames {
        Ok(())
    } else {
        Err(Error::undecodable(Format::Gif, "frames are missing"))
    }
}

/// The colour of an index; beyond the palette, black, as browsers show it.
fn color(palette: &[u8], transparent: Option<u8>, index: u8) -> [u8; 4] {
    if transparent == Some(index) {
        return [0; 4];
    }
    match palette.as_chunks::<3>().0.get(usize::from(index)) {
        Some(&[r, g, b]) => [r, g, b, 255],
        None => [0, 0, 0, 255],
    }
}

fn refusal(error: DecodingError) -> Error {
    match error {
        DecodingError::Io(error) => Error::from_io(Format::Gif, &error),
        other => Error::undecodable(Format::Gif, other),
    }
}
