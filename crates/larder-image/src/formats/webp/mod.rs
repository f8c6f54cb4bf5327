//! WebP: still pictures and the frames of animations by libwebp, the container by our own reader.

mod libwebp;
pub(crate) mod riff;
mod strip;

use super::canvas::{Canvas, Patch};
use super::{AnimationEncoder, Coding, Encode, Format, FormatKind, Frame, Load};
use crate::picture::{Channels, Picture};
use crate::planar::Planar;
use crate::recipe::Quality;
use crate::{Deadline, Error, Inspection, exif, icc};
use libwebp::{Animation, Features};
use riff::{Chunk, Extended};

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Webp,
    name: "webp",
    content_type: "image/webp",
    extension: "webp",
    doc: "In: lossy and lossless, alpha, animated. Out: lossy, lossless, animated.",
    size,
    inspect,
    decode,
    scaled: None,
    animate: Some(animate),
    strip: Some(strip::strip),
    encode: Some(Encode {
        version: "libwebp 1.6",
        alpha: true,
        side_max_px: 16_383,
        pixels_max: None,
        quality: Some(85),
        lossless: true,
        profile: true,
        grey: false,
        animate: Some(start),
        negotiated: Some(2),
        slow: false,
        memory_bytes: encode_memory_bytes,
        still: encode,
        planar: Some(encode_planar),
    }),
};

fn damaged(reason: &str) -> Error {
    Error::undecodable(Format::Webp, reason)
}

fn size(head: &[u8]) -> Result<Option<(u32, u32)>, Error> {
    if head.get(12..16) == Some(b"VP8X") {
        return Ok(head.get(20..30).and_then(Extended::read).map(|header| (header.width, header.height)));
    }
    Ok(libwebp::features(head)?.map(|features| (features.width, features.height)))
}

fn inspect(bytes: &[u8]) -> Result<Inspection, Error> {
    let features = libwebp::features(bytes)?.ok_or_else(|| damaged("it is cut within its header"))?;
    let size = size(bytes)?.ok_or_else(|| damaged("it is cut within its header"))?;
    let mut inspection = Inspection::still(Format::Webp, size);
    inspection.has_alpha = features.has_alpha;
    let (mut frames, mut lossless, mut largest) = (0, features.lossless, 0);
    let mut turned = false;
    for chunk in riff::chunks(bytes)? {
        let chunk = chunk?;
        match &chunk.name {
            b"EXIF" => {
                // Some writers begin the block as it begins in JPEG.
                let block = chunk.content.strip_prefix(b"Exif\0\0").unwrap_or(chunk.content);
                let exif = exif::read(block);
                if !turned {
                    inspection.orientation = exif.orientation;
                }
                turned = true;
                inspection.has_gps |= exif.has_gps;
            }
            b"XMP " => inspection.has_gps |= crate::metadata::xmp_tells_place(chunk.content),
            b"ICCP" => inspection.has_icc = true,
            b"ANIM" => {
                inspection.loops = super::reader::u16_le(chunk.content, 4).unwrap_or(0).into();
            }
            b"ANMF" => {
                let frame = riff::Frame::read(chunk.content).ok_or_else(|| damaged("a frame is cut"))?;
                check_frame(&frame, size)?;
                frames += 1;
                largest = largest.max(u64::from(frame.width) * u64::from(frame.height));
                lossless = true;
            }
            _ => {}
        }
    }
    if features.animated {
        if frames == 0 {
            return Err(damaged("an animation without frames"));
        }
        inspection.frames = frames;
        // Frames may leave parts of the canvas free.
        inspection.has_alpha = true;
    }
    inspection.decode_memory_bytes = memory_bytes(bytes.len() as u64, &inspection, lossless, largest);
    Ok(inspection)
}

/// A still picture takes its pixels and, where it is lossless or has alpha, libwebp's own copy of
/// four bytes a pixel (and a byte for lossy alpha); an animation takes that for its largest frame,
/// beside the canvas and the copy of it that is kept.
fn memory_bytes(file: u64, inspection: &Inspection, lossless: bool, largest_frame: u64) -> u64 {
    let pixels = inspection.pixels();
    let rows = u64::from(inspection.width_px) * 256 + (1 << 20);
    let body = match (inspection.is_animated() || largest_frame > 0, lossless, inspection.has_alpha) {
        (true, _, _) => pixels * 8 + largest_frame * 9,
        (_, false, false) => pixels * 3,
        (_, true, false) => pixels * 7,
        (_, _, true) => pixels * 9,
    };
    file + body + rows
}

fn check_frame(frame: &riff::Frame<'_>, (width, height): (u32, u32)) -> Result<(), Error> {
    if frame.x + frame.width > width || frame.y + frame.height > height {
        return Err(damaged("a frame reaches beyond the canvas"));
    }
    Ok(())
}

fn profile(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut chunks = riff::chunks(bytes).ok()?.flatten();
    chunks.find(|chunk| &chunk.name == b"ICCP").map(|chunk| chunk.content.to_vec())
}

fn decode(bytes: &[u8], inspection: &Inspection, deadline: Deadline) -> Result<Picture, Error> {
    let features = libwebp::features(bytes)?.ok_or_else(|| damaged("it is cut within its header"))?;
    let picture = if features.animated {
        let mut first = None;
        walk(bytes, inspection, deadline, &mut |frame| {
            if first.is_none() {
                first = Some(frame.picture.clone());
            }
            Ok(())
        })?;
        first.ok_or_else(|| damaged("an animation without frames"))?
    } else {
        // What follows the RIFF form does not belong to the picture.
        riff::chunks(bytes)?.try_for_each(|chunk| chunk.map(drop))?;
        libwebp::decode(bytes, features, deadline)?
    };
    let picture = picture.without_idle_alpha();
    let profile = icc::usable(profile(bytes), Channels::Rgb);
    Ok(picture.with_profile(profile))
}

fn animate(
    bytes: &[u8],
    inspection: &Inspection,
    deadline: Deadline,
    sink: &mut dyn FnMut(Frame<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let profile = icc::usable(profile(bytes), Channels::Rgb);
    walk(bytes, inspection, deadline, &mut |frame| {
        let picture = frame.picture.clone().with_profile(profile.clone());
        sink(Frame { picture: &picture, duration_ms: frame.duration_ms })
    })
}

/// Decodes and composes every frame (RFC 9649, section 2.7.1.1); a frame that is cut is an error.
fn walk(
    bytes: &[u8],
    inspection: &Inspection,
    deadline: Deadline,
    sink: &mut dyn FnMut(Frame<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let size = (inspection.width_px, inspection.height_px);
    let mut canvas = Canvas::new(size.0, size.1);
    for chunk in riff::chunks(bytes)? {
        let chunk = chunk?;
        if &chunk.name != b"ANMF" {
            continue;
        }
        deadline.check()?;
        let frame = riff::Frame::read(chunk.content).ok_or_else(|| damaged("a frame is cut"))?;
        check_frame(&frame, size)?;
        let picture = frame_picture(&frame, deadline)?;
        let patch = Patch { x: frame.x, y: frame.y, width: frame.width, height: frame.height };
        let pixels = picture.pixels().as_chunks::<4>().0;
        if frame.blends {
            canvas.blend(patch, |n| pixels[n]);
        } else {
            canvas.replace(patch, |n| pixels[n]);
        }
        sink(Frame { picture: canvas.picture(), duration_ms: frame.duration_ms })?;
        if frame.clears {
            canvas.clear(patch);
        }
    }
    Ok(())
}

fn frame_picture(frame: &riff::Frame<'_>, deadline: Deadline) -> Result<Picture, Error> {
    // From the first chunk that libwebp understands; chunks of other names may come before it.
    let mut skipped = 0;
    for chunk in riff::nested(frame.data) {
        let chunk = chunk?;
        if matches!(&chunk.name, b"ALPH" | b"VP8 " | b"VP8L") {
            break;
        }
        skipped += 8 + chunk.content.len().next_multiple_of(2);
    }
    let data = frame.data.get(skipped..).ok_or_else(|| damaged("a frame without pixels"))?;
    let features = libwebp::features(data)?.ok_or_else(|| damaged("a frame is cut"))?;
    if (features.width, features.height) != (frame.width, frame.height) {
        return Err(damaged("a frame's header and content disagree about the size"));
    }
    let features = Features { has_alpha: true, ..features };
    libwebp::decode(data, features, deadline)
}

/// libwebp keeps a picture as YUV and as what it codes it as; alpha and pictures without loss, as ARGB
/// with the chains in which it looks for what repeats; of an animation the frames before and after too.
/// What it codes grows with the quality: these are the bytes that noise takes, which photos stay far below.
fn encode_memory_bytes(load: &Load) -> u64 {
    let per_pixel = match load.quality {
        Quality::Lossy(0..=60) if !load.alpha => 14,
        Quality::Lossy(61..=85) if !load.alpha => 18,
        Quality::Lossy(86..=95) if !load.alpha => 23,
        Quality::Lossy(_) if !load.alpha => 28,
        Quality::Lossy(_) => 36,
        Quality::Lossless => 48,
    };
    let frames = u64::from(load.frames);
    let written = if frames > 1 { load.pixels * frames / 4 + load.pixels * 24 } else { 0 };
    load.pixels * per_pixel + written + (2 << 20)
}

fn encode(picture: &Picture, coding: Coding, deadline: Deadline) -> Result<Vec<u8>, Error> {
    let encoded = match picture.channels() {
        Channels::Grey => libwebp::encode(&picture.clone().into_rgb(), coding, deadline)?,
        Channels::Rgb | Channels::Rgba => libwebp::encode(picture, coding, deadline)?,
    };
    with_profile(encoded, picture.profile.as_deref())
}

fn encode_planar(planes: &Planar, coding: Coding, deadline: Deadline) -> Result<Vec<u8>, Error> {
    let encoded = libwebp::encode_planar(planes, coding, deadline)?;
    with_profile(encoded, planes.profile.as_deref())
}

/// The same picture, with its colour profile if it has one in an extended container (RFC 9649, section 2.7).
fn with_profile(encoded: Vec<u8>, profile: Option<&[u8]>) -> Result<Vec<u8>, Error> {
    let Some(profile) = profile else { return Ok(encoded) };
    let features =
        libwebp::features(&encoded)?.ok_or_else(|| Error::internal("WebP encoder wrote no header"))?;
    let mut flags = riff::FLAG_ICC | if features.has_alpha { riff::FLAG_ALPHA } else { 0 };
    let chunks: Vec<Chunk<'_>> = riff::chunks(&encoded)?.collect::<Result<_, _>>()?;
    if let Some(there) = chunks.iter().find(|chunk| &chunk.name == b"VP8X") {
        flags |= there.content[0];
    }
    let header = Extended { flags, width: features.width, height: features.height }.write();
    let first = [Chunk { name: *b"VP8X", content: &header }, Chunk { name: *b"ICCP", content: profile }];
    let rest = chunks.into_iter().filter(|chunk| &chunk.name != b"VP8X");
    riff::write(first.into_iter().chain(rest))
}

struct Frames {
    animation: Animation,
    profile: Option<std::sync::Arc<[u8]>>,
}

fn start(size: (u32, u32), loops: u32, coding: Coding) -> Result<Box<dyn AnimationEncoder>, Error> {
    Ok(Box::new(Frames { animation: Animation::new(size, loops, coding)?, profile: None }))
}

impl AnimationEncoder for Frames {
    fn add(&mut self, picture: &Picture, duration_ms: u32) -> Result<(), Error> {
        self.profile.clone_from(&picture.profile);
        match picture.channels() {
            Channels::Grey => self.animation.add(&picture.clone().into_rgb(), duration_ms),
            Channels::Rgb | Channels::Rgba => self.animation.add(picture, duration_ms),
        }
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, Error> {
        let encoded = self.animation.finish()?;
        with_profile(encoded, self.profile.as_deref())
    }
}
