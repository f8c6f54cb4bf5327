//! Bad files: each is refused with its reason, before it costs anything.

mod scene;

use std::time::Instant;

use larder_image::{Deadline, Error, Format, ImageLimits, Source, inspect};
use scene::{bmp, later, made};

fn refusal(bytes: &[u8]) -> Error {
    let started = Instant::now();
    let error = inspect(bytes, &ImageLimits::default()).expect_err("accepted");
    assert!(started.elapsed().as_millis() < 200, "a header is looked at without delay");
    error
}

fn is_limit(error: &Error) -> bool {
    matches!(error, Error::LimitExceeded { .. })
}

#[test]
fn a_webp_of_34_bytes_that_claims_16383_pixels_a_side_is_over_the_limit() {
    let mut bytes = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f".to_vec();
    bytes.extend(((16_383_u32 - 1) | (16_383 - 1) << 14).to_le_bytes());
    bytes.resize(34, 0);
    assert!(is_limit(&refusal(&bytes)));
}

#[test]
fn a_png_of_65536_pixels_a_side_is_over_the_limit() {
    let mut bytes = made(&bmp(8, 8, false), "format:png");
    bytes[16..20].copy_from_slice(&65_536_u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&65_536_u32.to_be_bytes());
    assert!(is_limit(&refusal(&bytes)));
}

#[test]
fn a_gif_with_a_huge_screen_a_huge_frame_or_too_many_frames_is_over_a_limit() {
    let small = scene::gif();
    let mut screen = small.clone();
    screen[6..10].copy_from_slice(&[0xFF; 4]);
    assert!(is_limit(&refusal(&screen)));
    // The first image descriptor follows screen, table, loop block and control block.
    let descriptor = small.iter().position(|&byte| byte == 0x2C).unwrap();
    let mut frame = small.clone();
    frame[descriptor + 5..descriptor + 9].copy_from_slice(&[0xFF; 4]);
    assert!(is_limit(&refusal(&frame)));
    let limits = ImageLimits { frames_max: 2, ..ImageLimits::default() };
    assert!(is_limit(&inspect(&small, &limits).unwrap_err()));
    let limits = ImageLimits { total_pixels_max: 20 * 16 * 2, pixels_max: 500, ..ImageLimits::default() };
    assert!(is_limit(&inspect(&small, &limits).unwrap_err()));
}

#[test]
fn a_bmp_that_claims_more_pixels_than_it_has_is_refused_before_they_are_made() {
    let mut bytes = bmp(8, 8, false);
    bytes[18..22].copy_from_slice(&9_000_i32.to_le_bytes());
    bytes[22..26].copy_from_slice(&9_000_i32.to_le_bytes());
    let source = Source::open(&bytes, &ImageLimits::default()).unwrap();
    assert!(matches!(source.decode(&[], later()), Err(Error::Undecodable { format: Format::Bmp, .. })));
}

#[test]
fn what_can_never_fit_into_the_memory_budget_is_refused_at_the_header() {
    let limits = ImageLimits { decode_memory_bytes: 10_000, ..ImageLimits::default() };
    let error = inspect(&bmp(100, 100, false), &limits).unwrap_err();
    assert!(is_limit(&error) && error.to_string().contains("memory"), "{error}");
}

#[test]
fn other_types_are_unsupported_whatever_they_pretend() {
    for bytes in [&b"\x7FELF\x02\x01\x01"[..], b"<svg xmlns=\"x\"/>", b"%PDF-1.7", b"", b"PK\x03\x04"] {
        assert!(matches!(refusal(bytes), Error::Unsupported { .. }), "{bytes:?}");
    }
}

#[test]
fn a_file_of_every_format_is_refused_when_it_is_cut() {
    let (plain, clear) = (bmp(40, 30, false), bmp(40, 30, true));
    let files = [
        made(&plain, "format:jpeg"),
        made(&clear, "format:png"),
        made(&plain, "format:webp"),
        made(&clear, "format:webp"),
        made(&clear, "format:webp,quality:lossless"),
        made(&scene::gif(), "frames:all,format:webp"),
        made(&clear, "format:avif"),
        scene::gif(),
        plain.clone(),
    ];
    for file in files {
        let ends: Vec<usize> = (1..24).map(|part| file.len() * part / 24).chain([file.len() - 1]).collect();
        for end in ends {
            let limits = ImageLimits::default();
            let result =
                Source::open(&file[..end], &limits).and_then(|source| source.decode(&[], later()).map(drop));
            let format = larder_core::FileType::sniff(&file).unwrap().name;
            assert!(result.is_err(), "{format} of {} bytes cut at {end}", file.len());
        }
    }
}

#[test]
fn no_flipped_bit_makes_more_than_a_refusal() {
    let clear = bmp(24, 18, true);
    let files = [
        made(&clear, "format:jpeg"),
        made(&clear, "format:png"),
        made(&clear, "format:webp"),
        made(&clear, "format:avif"),
        scene::gif(),
        clear.clone(),
    ];
    let limits = ImageLimits { pixels_max: 1_000_000, total_pixels_max: 1_000_000, ..ImageLimits::default() };
    for file in files {
        for n in 0..300 {
            let mut flipped = file.clone();
            let place = n * 7_919 % file.len();
            flipped[place] ^= 1 << (n % 8);
            let result =
                Source::open(&flipped, &limits).and_then(|source| source.decode(&[], later()).map(drop));
            assert!(!matches!(result, Err(Error::Internal { .. })), "byte {place}: {result:?}");
        }
    }
}

#[test]
fn nothing_is_decoded_after_the_deadline() {
    let past = Deadline::after(std::time::Duration::ZERO);
    for recipe in ["format:jpeg", "format:png", "format:webp", "format:avif"] {
        let bytes = made(&bmp(40, 30, false), recipe);
        let source = Source::open(&bytes, &ImageLimits::default()).unwrap();
        assert!(matches!(source.decode(&[], past), Err(Error::TimedOut)));
    }
}

#[test]
fn an_avif_too_large_to_encode_is_an_error_that_says_what_to_do() {
    let error = scene::render(&bmp(2_000, 1_200, false), "format:avif").unwrap_err();
    assert!(is_limit(&error) && error.to_string().contains("format:webp"), "{error}");
}
