//! Photos that stay in planes look as the same picture does that goes through pixels, however they are
//! sampled, turned and scaled.

mod scene;

use larder_image::{Deadline, ImageLimits, Recipe, Source, inspect};
use larder_jpeg::{EncodeOptions, RgbView, Sampling};
use scene::{bmp, later, made};

const SIZE: (i32, i32) = (321, 241);

/// What stores a picture so that each EXIF orientation, 1 to 8, shows it upright again.
const STORED: [&str; 8] = [
    "",
    "flip:h,",
    "rotate:180,",
    "flip:v,",
    "rotate:90,flip:h,",
    "rotate:270,",
    "rotate:90,flip:v,",
    "rotate:90,",
];

/// Width, height and RGB of a file, by way of PNG.
fn pixels(file: &[u8]) -> (usize, usize, Vec<u8>) {
    let png = made(file, "background:ffffff,format:png");
    let mut decoder = png::Decoder::new(std::io::Cursor::new(png));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(frame.color_type, png::ColorType::Rgb);
    (frame.width as usize, frame.height as usize, pixels)
}

fn photo(sampling: Sampling, orientation: u16) -> Vec<u8> {
    let stored = STORED[usize::from(orientation) - 1];
    let (width, height, samples) = pixels(&made(&bmp(SIZE.0, SIZE.1, false), &format!("{stored}format:png")));
    let view = RgbView { width, height, stride: width * 3, samples: &samples };
    let options = EncodeOptions { quality: 98, sampling, ..EncodeOptions::default() };
    let file = larder_jpeg::encode(&larder_jpeg::Source::Rgb(view), &options).unwrap();
    let mut exif = b"\xFF\xE1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend(orientation.to_le_bytes());
    exif.extend([0; 6]);
    [&file[..2], &exif, &file[2..]].concat()
}

/// The mean difference of two files' samples.
fn difference(one: &[u8], other: &[u8]) -> f64 {
    let (one, other) = (pixels(one), pixels(other));
    assert_eq!((one.0, one.1), (other.0, other.1));
    let sum: u64 = one.2.iter().zip(&other.2).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / one.2.len() as f64
}

#[test]
fn every_sampling_orientation_and_format_gives_the_picture() {
    let upright = bmp(SIZE.0, SIZE.1, false);
    for recipe in [
        "resize:inside:161x0,format:jpeg,quality:95",
        "resize:cover:90x111,format:webp,quality:95",
        "resize:inside:77x0,format:png",
        "resize:inside:77x0,background:ff0000,rotate:90,format:jpeg,quality:95",
        "format:jpeg,quality:95",
        "resize:inside:25x25,sharpen:0.5,format:webp,quality:95",
    ] {
        let expected = made(&upright, recipe);
        for sampling in Sampling::ALL {
            for orientation in 1..=8 {
                let photo = photo(sampling, orientation);
                assert_eq!(inspect(&photo, &ImageLimits::default()).unwrap().orientation.exif(), orientation);
                let found = difference(&made(&photo, recipe), &expected);
                assert!(found < 3.0, "{recipe}, {sampling:?}, orientation {orientation}: {found}");
            }
        }
    }
}

#[test]
fn a_set_of_sizes_cascades_in_planes_and_each_is_the_picture() {
    let photo = photo(Sampling::S420, 6);
    let texts =
        ["resize:inside:200x200", "resize:inside:120x120,format:png", "resize:inside:60x60,format:jpeg"];
    let recipes = texts.map(|text| text.parse::<Recipe>().unwrap());
    let decoded = Source::open(&photo, &ImageLimits::default()).unwrap().decode(&recipes, later()).unwrap();
    for (text, made_together) in texts.iter().zip(decoded.render(&recipes, later())) {
        assert!(difference(&made_together.unwrap().bytes, &made(&photo, text)) < 1.5, "{text}");
    }
    assert!(decoded.memory_bytes() < 321 * 241 * 2, "pixels were never laid side by side");
}

#[test]
fn a_wide_profile_is_converted_after_the_resize_or_kept() {
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let samples = [200, 60, 60].repeat(64 * 48);
    let view = RgbView { width: 64, height: 48, stride: 64 * 3, samples: &samples };
    let options = EncodeOptions { quality: 98, icc_profile: Some(&p3), ..EncodeOptions::default() };
    let photo = larder_jpeg::encode(&larder_jpeg::Source::Rgb(view), &options).unwrap();
    for format in ["jpeg", "webp"] {
        let converted = made(&photo, &format!("resize:inside:32x32,format:{format}"));
        assert!(pixels(&converted).2[0] > 206, "Display P3's red is more than sRGB's");
        let kept = made(&photo, &format!("resize:inside:32x32,profile:keep,format:{format}"));
        assert!(inspect(&kept, &ImageLimits::default()).unwrap().has_icc, "{format}");
        assert!(pixels(&kept).2[0] > 206, "and its profile says so");
    }
}

#[test]
fn a_trusted_progressive_photo_is_read_as_far_as_it_shows() {
    let (width, height, mut samples) = pixels(&made(&bmp(2_400, 1_800, false), "format:png"));
    // Grain, so that every scan has something to say.
    for (at, sample) in samples.iter_mut().enumerate() {
        *sample = sample.saturating_add((at.wrapping_mul(2_654_435_761) >> 7) as u8 % 16);
    }
    let mut photo = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut photo, 90);
    encoder.set_progressive(true);
    encoder.encode(&samples, width as u16, height as u16, jpeg_encoder::ColorType::Rgb).unwrap();
    // Codes that don't exist in the last scan, which only a decode in full notices.
    let end = photo.len() - 2_000;
    let damaged = [&photo[..end], &[0xFE; 1_000], &photo[end + 1_000..]].concat();
    for recipe in ["resize:inside:900x900", "crop:100x100:0:0", "trim:10", "resize:inside:9000x9000:up"] {
        assert!(scene::render(&damaged, recipe).is_err(), "{recipe}: it is refused whatever is made of it");
    }
    let recipe = ["resize:inside:150x150,format:jpeg".parse::<Recipe>().unwrap()];
    let decode = |file: &[u8], trusted: bool| {
        let source = Source::open(file, &ImageLimits::default()).unwrap();
        let source = if trusted { source.trusted() } else { source };
        let decoded = source.decode(&recipe, Deadline::after(std::time::Duration::from_secs(60)))?;
        decoded.render(&recipe, later()).remove(0)
    };
    assert!(decode(&damaged, false).is_err());
    let trusted = decode(&damaged, true).unwrap().bytes;
    assert!(difference(&trusted, &decode(&photo, false).unwrap().bytes) < 2.0);
}

#[test]
fn less_effort_gives_the_same_picture_in_other_bytes() {
    let photo = photo(Sampling::S420, 1);
    for recipe in
        ["resize:inside:200x200", "resize:inside:200x200,format:png", "resize:inside:200x200,blur:1"]
    {
        let (normal, fast) = (made(&photo, recipe), made(&photo, &format!("effort:fast,{recipe}")));
        assert_ne!(normal, fast, "{recipe}");
        assert!(difference(&normal, &fast) < 2.0, "{recipe}");
        assert_eq!(made(&photo, &format!("{recipe},effort:normal")), normal);
    }
    let printed = |text: &str| text.parse::<Recipe>().unwrap().to_string();
    assert_eq!(printed("quality:70,effort:fast"), "effort:fast,format:webp,quality:70");
    assert_eq!(printed("quality:70,effort:normal"), "format:webp,quality:70");
}
