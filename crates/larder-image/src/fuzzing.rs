//! What the fuzz targets do with their bytes, so that an ordinary test can replay saved files.
//!
//! A target panics when a promise is broken; that the bytes are refused is no finding.

use std::time::Duration;

use crate::{
    Deadline, Error, FORMATS, Format, ImageLimits, Recipe, RecipeRef, Source, inspect, inspect_head,
    strip_metadata,
};

/// A target: its name, and what it does with an input.
type Target = (&'static str, fn(&[u8]));

/// The targets beside those of each format.
const OTHERS: &[Target] = &[
    ("jpeg_encode", jpeg_encode),
    ("jpeg_scaled", jpeg_scaled),
    ("recipe", recipe),
    ("strip_metadata", strip),
];

/// The names of all targets, which are also the folders of their saved files.
pub fn targets() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|kind| kind.name).chain(OTHERS.iter().map(|target| target.0))
}

/// Runs the target of this name.
///
/// # Panics
/// If there is none, or if the bytes break a promise.
pub fn run(name: &str, bytes: &[u8]) {
    if let Some(format) = Format::named(name) {
        return image(format, bytes);
    }
    let target = OTHERS.iter().find(|target| target.0 == name);
    target.unwrap_or_else(|| panic!("no target {name}")).1(bytes);
}

/// Small, so that many inputs are tried in a second.
const LIMITS: ImageLimits = ImageLimits {
    pixels_max: 1 << 20,
    side_max_px: 4_096,
    frames_max: 64,
    total_pixels_max: 1 << 21,
    decode_time_max_ms: 5_000,
    decode_memory_bytes: 64 << 20,
};

/// The JPEG encoder with any samples: what it writes, the decoder finds whole and of the same size. The first
/// four bytes are width, height, quality and kind; the others are samples, over and over.
fn jpeg_encode(bytes: &[u8]) {
    use larder_jpeg::{EncodeOptions, PlaneView, RgbView, Sampling, Source};
    let Some((&[width, height, quality, kind], samples)) = bytes.split_first_chunk() else { return };
    if samples.is_empty() {
        return;
    }
    let (width, height) = (usize::from(width) + 1, usize::from(height) + 1);
    let sampling = Sampling::ALL[usize::from(kind) / 8 % Sampling::ALL.len()];
    let filled = |count: usize| samples.iter().copied().cycle().take(count).collect::<Vec<u8>>();
    let plane = |(width, height): (usize, usize)| (width, height, filled(width * height));
    let chroma = sampling.chroma_size(width, height);
    let planes = [plane((width, height)), plane(chroma), plane(chroma)];
    let rgb = filled(3 * width * height);
    let [luma, blue, red] = planes.each_ref().map(|(width, height, samples)| PlaneView {
        width: *width,
        height: *height,
        stride: *width,
        samples,
    });
    let source = match kind % 3 {
        0 => Source::Grey(luma),
        1 => Source::YCbCr([luma, blue, red]),
        _ => Source::Rgb(RgbView { width, height, stride: 3 * width, samples: &rgb }),
    };
    let options = EncodeOptions {
        quality: quality % 100 + 1,
        sampling,
        optimal_tables: kind < 128,
        ..EncodeOptions::default()
    };
    let file = larder_jpeg::encode(&source, &options).expect("sizes that fit and a quality");
    let decoded = larder_jpeg::decode(&file, &larder_jpeg::Options::default()).expect("its own files");
    assert_eq!((decoded.width, decoded.height), (width, height));
}

/// The scaling decoder by itself, at every scale: what it decodes has the size that the scale says.
fn jpeg_scaled(bytes: &[u8]) {
    let limits = larder_jpeg::Limits {
        max_pixels: LIMITS.pixels_max,
        max_memory_bytes: LIMITS.decode_memory_bytes,
        max_block_visits: 1 << 20,
        ..larder_jpeg::Limits::default()
    };
    for scale in larder_jpeg::Scale::ALL {
        let options = larder_jpeg::Options { scale, limits, ..larder_jpeg::Options::default() };
        let Ok(planes) = larder_jpeg::decode(bytes, &options) else { continue };
        if let Some(picture) = planes.to_interleaved() {
            assert_eq!(picture.samples.len(), picture.width * picture.height * picture.channels);
            assert_eq!((picture.width, picture.height), (planes.width, planes.height));
        }
    }
}

fn image(format: Format, bytes: &[u8]) {
    let inspected = inspect(bytes, &LIMITS);
    if let Ok(inspection) = &inspected
        && let Ok(Some(head)) = inspect_head(bytes, &LIMITS)
    {
        assert_eq!((head.width_px, head.height_px), (inspection.width_px, inspection.height_px));
    }
    // A head may be refused only if the file is.
    if inspect_head(&bytes[..bytes.len() / 2], &LIMITS).is_err() {
        assert!(inspected.is_err(), "half of the file is refused and the whole is not");
    }
    if inspected.is_err() || inspected.is_ok_and(|inspection| inspection.format != format) {
        return;
    }
    let Ok(source) = Source::open(bytes, &LIMITS) else { panic!("inspected but not opened") };
    let deadline = Deadline::after(LIMITS.decode_time_max());
    let recipes = ["frames:all,resize:inside:32x32", "trim:3,resize:cover:16x16,format:jpeg"]
        .map(|text| text.parse::<Recipe>().unwrap_or_else(|error| panic!("{error}")));
    let decoded = match source.decode(&recipes, deadline) {
        Ok(decoded) => decoded,
        Err(Error::Internal { what }) => panic!("a file must not be our defect: {what}"),
        // Others' panics are caught, but each of this decoder's costs a thread.
        Err(Error::Panicked { format: Format::Avif, message }) => panic!("lost a thread: {message}"),
        Err(_) => return,
    };
    if let Err(error) = decoded.describe() {
        panic!("decoded but not described: {error}");
    }
    // Without `trim` the picture may be decoded at a smaller scale.
    match source.decode(&recipes[..1], deadline) {
        Ok(smaller) => assert!(smaller.describe().is_ok(), "decoded smaller but not described"),
        Err(Error::TimedOut) => {}
        Err(error) => panic!("decoded, but not at a smaller scale: {error}"),
    }
    for rendition in decoded.render(&recipes, Deadline::after(Duration::from_secs(30))) {
        match rendition {
            Ok(rendition) => assert!(rendition.width_px <= 32 && rendition.height_px <= 32),
            Err(error) => panic!("decoded but not rendered: {error}"),
        }
    }
}

fn recipe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(reference) = text.parse::<RecipeRef>() {
        assert_eq!(reference.to_string().parse::<RecipeRef>(), Ok(reference));
    }
    let Ok(recipe) = text.parse::<Recipe>() else { return };
    assert_eq!(recipe.to_string().parse::<Recipe>(), Ok(recipe.clone()));
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":._,-".contains(&byte);
    assert!(recipe.as_str().bytes().all(allowed));
}

/// Walks through a stripped JPEG without what strips it.
fn jpeg_is_bare(bytes: &[u8]) {
    let mut rest = &bytes[2..];
    loop {
        let &[0xFF, marker, ref after @ ..] = rest else { panic!("bytes between the segments") };
        if marker == 0xD9 {
            assert!(after.is_empty(), "something follows the end mark");
            return;
        }
        let length = usize::from(u16::from_be_bytes([after[0], after[1]]));
        let content = &after[2..length];
        let bare = match marker {
            0xC0..=0xC7 | 0xC9..=0xCF | 0xDA..=0xDD => true,
            0xE0 => content.starts_with(b"JFIF\0") && content.len() == 14 && content.ends_with(&[0, 0]),
            0xE1 => content.len() == 32 && content.starts_with(b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01"),
            0xE2 => content.starts_with(b"ICC_PROFILE\0"),
            0xEE => content.starts_with(b"Adobe") && content.len() <= 12,
            _ => false,
        };
        assert!(bare, "segment {marker:02x} remains");
        rest = &after[length..];
        if marker == 0xDA {
            let is_mark = |pair: &[u8]| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xD0..=0xD7 | 0xFF);
            let end = rest.windows(2).position(is_mark);
            rest = &rest[end.unwrap_or_else(|| panic!("a scan without end"))..];
        }
    }
}

fn strip(bytes: &[u8]) {
    if let Ok(Some(stripped)) = strip_metadata(bytes) {
        assert_eq!(strip_metadata(&stripped), Ok(None), "stripping twice changes something");
        if let Ok(inspection) = inspect(&stripped, &LIMITS) {
            assert!(!inspection.has_gps);
            if inspection.format == Format::Jpeg {
                jpeg_is_bare(&stripped);
            }
        }
    }
}
