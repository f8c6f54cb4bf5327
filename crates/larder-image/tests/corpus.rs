//! Every file of the corpus: what is valid comes out upright in its size, everything else is refused.
//!
//! The corpus lies where `LARDER_CORPUS` says and is no part of the repository; without it files that
//! are made here stand in for it.

mod scene;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use larder_image::{Deadline, Error, Format, ImageLimits, Recipe, Source, inspect_head};

fn corpus() -> Option<PathBuf> {
    std::env::var_os("LARDER_CORPUS").map(PathBuf::from)
}

struct Entry {
    name: String,
    class: String,
    size: Option<(u32, u32)>,
    bytes: Vec<u8>,
}

fn entries() -> Vec<Entry> {
    let Some(corpus) = corpus() else { return generated() };
    let table = std::fs::read_to_string(corpus.join("formats.tsv")).unwrap();
    let mut entries = Vec::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let size = fields[6].parse().ok().zip(fields[7].parse().ok());
        let bytes = std::fs::read(corpus.join("formats").join(fields[0])).unwrap();
        entries.push(Entry { name: fields[0].into(), class: fields[4].into(), size, bytes });
    }
    entries
}

/// One file of each format, a turned one, and what must be refused.
fn generated() -> Vec<Entry> {
    let plain = scene::bmp(320, 200, false);
    let jpeg = scene::made(&plain, "format:jpeg");
    let valid = |name: &str, size, bytes| Entry { name: name.into(), class: "valid".into(), size, bytes };
    let refused = |name: &str, class: &str, bytes: &[u8]| Entry {
        name: name.into(),
        class: class.into(),
        size: None,
        bytes: bytes.to_vec(),
    };
    let mut entries = vec![
        valid("plain.bmp", Some((320, 200)), plain.clone()),
        valid("animation.gif", Some((20, 16)), scene::gif()),
        valid("turned.jpg", Some((200, 320)), turned(&jpeg, 6)),
        refused("cut.jpg", "invalid", &jpeg[..jpeg.len() / 2]),
        refused("program.png", "invalid", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
        // 34 bytes of WebP (RFC 9649, section 2.7) that claim 16383 x 16383 pixels.
        refused(
            "claims.webp",
            "over-limit",
            b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xFE\xBF\xFF\x0F\0\0\0\0\0\0\0\0\0",
        ),
        refused("empty.png", "invalid", b""),
    ];
    for recipe in ["format:jpeg", "format:png", "format:webp", "format:webp,quality:lossless", "format:avif"]
    {
        entries.push(valid(recipe, Some((320, 200)), scene::made(&plain, recipe)));
    }
    entries
}

/// The JPEG with an EXIF block that says how it is to be turned (Exif 2.3, 4.6.4).
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut block = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(block.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &block, &jpeg[2..]].concat()
}

/// Photos and their names; those that lie on a side have `_o6_` or `_o8_` in it.
fn photos() -> Vec<(String, Vec<u8>)> {
    let Some(corpus) = corpus() else {
        let photo = |width, height| scene::made(&scene::bmp(width, height, false), "format:jpeg,quality:90");
        return vec![
            ("wide.jpg".to_owned(), photo(2_400, 1_600)),
            ("tall.jpg".to_owned(), photo(900, 1_600)),
            ("turned_o6_.jpg".to_owned(), turned(&photo(1_600, 1_200), 6)),
            ("turned_o8_.jpg".to_owned(), turned(&photo(640, 480), 8)),
        ];
    };
    let files = std::fs::read_dir(corpus.join("photos")).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

fn rendered(bytes: &[u8], recipe: &str) -> Result<(u32, u32), Error> {
    let recipe: Recipe = recipe.parse().unwrap();
    let source = Source::open(bytes, &ImageLimits::default())?;
    let inspected = source.inspection().oriented_size();
    let deadline = Deadline::after(Duration::from_secs(30));
    let decoded = source.decode(std::slice::from_ref(&recipe), deadline)?;
    decoded.describe()?;
    let rendition = decoded.render(&[recipe], deadline).remove(0)?;
    assert_eq!(inspected, (rendition.width_px, rendition.height_px), "inspected and rendered");
    Ok(inspected)
}

#[test]
fn every_valid_file_has_its_size_and_every_other_is_refused() {
    let mut wrong = Vec::new();
    for entry in entries() {
        let started = Instant::now();
        let result = rendered(&entry.bytes, "format:png");
        assert!(started.elapsed() < Duration::from_secs(10), "{} took too long", entry.name);
        match (entry.class.as_str(), &result) {
            ("valid", Ok(size)) if Some(*size) == entry.size => {}
            ("invalid" | "over-limit", Err(error)) if is_refusal(error) => {}
            _ => wrong.push(format!("{} ({}): {result:?}, wants {:?}", entry.name, entry.class, entry.size)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A refusal says that the file is wrong, not that we are.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Unsupported { .. } | Error::Undecodable { .. } | Error::LimitExceeded { .. })
}

#[test]
fn the_head_of_a_file_says_the_same_as_the_file_or_nothing() {
    let limits = ImageLimits::default();
    for entry in entries().into_iter().filter(|entry| entry.class == "valid") {
        let bytes = &entry.bytes;
        let whole = larder_image::inspect(bytes, &limits).unwrap();
        // A BMP is told by the size of its header, which ends at its 18th byte.
        let shortest = if whole.format == Format::Bmp { 18 } else { 16 };
        for end in [shortest, 32, 64, 128, 512, 4_096, bytes.len()] {
            let head = &bytes[..end.min(bytes.len())];
            match inspect_head(head, &limits) {
                Ok(Some(summary)) => {
                    assert_eq!(summary.format, whole.format, "{}", entry.name);
                    let size = (summary.width_px, summary.height_px);
                    assert_eq!(size, (whole.width_px, whole.height_px), "{} by {end} bytes", entry.name);
                }
                Ok(None) => {}
                Err(error) => panic!("{} by {end} bytes: {error}", entry.name),
            }
        }
    }
}

/// The named sets of the applications that came before, and what they make of each photo.
const SETS: &[&str] = &[
    "resize:inside:1920x1080,format:webp,quality:85",
    "resize:inside:1280x720,format:webp,quality:85",
    "resize:inside:640x360,format:webp,quality:85",
    "resize:inside:300x169,format:webp,quality:85",
    "resize:inside:150x150,format:jpeg,quality:85",
    "resize:inside:300x300,format:jpeg,quality:85",
    "resize:inside:800x600,format:jpeg,quality:85",
    "resize:inside:200x200,format:png",
];

#[test]
fn photos_come_out_upright_in_every_size_of_the_named_sets() {
    let recipes: Vec<Recipe> = SETS.iter().map(|recipe| recipe.parse().unwrap()).collect();
    let limits = ImageLimits::default();
    for (name, bytes) in photos() {
        let source = Source::open(&bytes, &limits).unwrap();
        let (width, height) = source.inspection().oriented_size();
        assert_eq!(
            name.contains("_o6_") || name.contains("_o8_"),
            source.inspection().orientation.swaps_sides()
        );
        let deadline = Deadline::after(Duration::from_secs(120));
        let decoded = source.decode(&recipes, deadline).unwrap();
        let reference = decoded.describe().unwrap().perceptual_hash;
        for (recipe, rendition) in recipes.iter().zip(decoded.render(&recipes, deadline)) {
            let rendition = rendition.unwrap();
            let bounds: Vec<u32> = recipe
                .steps()
                .next()
                .unwrap()
                .1
                .split([':', 'x'])
                .filter_map(|part| part.parse().ok())
                .collect();
            let expected = inside((width, height), (bounds[0], bounds[1]));
            assert_eq!((rendition.width_px, rendition.height_px), expected, "{name} {recipe}");
            let again = Source::open(&rendition.bytes, &limits).unwrap();
            assert!(!again.inspection().has_gps && !again.inspection().has_icc);
            assert_eq!(again.inspection().oriented_size(), expected, "{name} {recipe}");
            assert_eq!(again.inspection().orientation.exif(), 1);
            let description = again.decode(&[], deadline).unwrap().describe().unwrap();
            let distance = (description.perceptual_hash ^ reference).count_ones();
            assert!(distance <= 8, "{name} {recipe}: {distance} bits of the hash differ");
        }
    }
}

/// The arithmetic of the recipe's documentation, written a second time.
fn inside((width, height): (u32, u32), bounds: (u32, u32)) -> (u32, u32) {
    let (width, height, bounds) =
        (f64::from(width), f64::from(height), (f64::from(bounds.0), f64::from(bounds.1)));
    let by_width = (bounds.0, (height * bounds.0 / width).round());
    let by_height = ((width * bounds.1 / height).round(), bounds.1);
    let fitted = if by_width.1 <= bounds.1 { by_width } else { by_height };
    let (across, down) = if fitted.0 > width { (width, height) } else { fitted };
    (across as u32, down as u32)
}

#[test]
fn a_photo_cut_anywhere_is_refused() {
    let (_, bytes) = photos().into_iter().find(|(name, _)| name.contains("_o6_")).unwrap();
    for part in 1..10 {
        let cut = &bytes[..bytes.len() * part / 10];
        let result = rendered(cut, "format:webp");
        assert!(
            matches!(result, Err(Error::Undecodable { format: Format::Jpeg, .. })),
            "{part} tenths: {result:?}"
        );
    }
    assert!(rendered(&bytes[..bytes.len() - 2], "format:webp").is_err(), "without its end mark");
}
