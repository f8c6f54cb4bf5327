//! The memory that inspection announces is what decoding takes, measured at the process.
//!
//! Run together in one process the tests would disturb each other, so each measures in a process of
//! its own: that of nextest, else a child of this one.
#![cfg(target_os = "linux")]

mod scene;

use std::process::Command;

use larder_image::{Error, ImageLimits, Recipe, Source};
use scene::{bmp, later, made};

/// What the allocator and the measuring itself may add.
const SLACK_BYTES: u64 = 3 << 20;

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
}

/// Whether this process runs nothing but one test.
fn is_alone() -> bool {
    [NEXTEST, ALONE].iter().any(|name| std::env::var_os(name).is_some())
}

const NEXTEST: &str = "NEXTEST";
const ALONE: &str = "MEASURED_ALONE";

/// Runs the test of this name in a process of its own.
fn check_alone(name: &str) {
    let test = format!("{}_takes_what_it_announces", name.replace(' ', "_"));
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", &test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{test} is the name of no test: {text}");
}

#[expect(clippy::print_stdout, reason = "the figures are the point of looking at a run")]
fn check(name: &str, file: &[u8]) {
    if !is_alone() {
        return check_alone(name);
    }
    let source = Source::open(file, &ImageLimits::default()).unwrap();
    let announced = source.inspection().decode_memory_bytes;
    let pixels = f64::from(source.inspection().width_px) * f64::from(source.inspection().height_px);
    // Sets the high-water mark to what is in use now (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let decoded = source.decode(&[], later()).unwrap();
    let taken = status("VmHWM:").saturating_sub(before) + file.len() as u64;
    drop(decoded);
    println!(
        "{name}: announced {:.2}, taken {:.2} bytes a pixel",
        announced as f64 / pixels,
        taken as f64 / pixels
    );
    assert!(taken <= announced + SLACK_BYTES, "{name}: announced {announced}, taken {taken}");
}

const SIZE: (i32, i32) = (2_400, 1_600);

#[expect(clippy::print_stdout, reason = "the figures are the point of looking at a run")]
fn check_rendering(file: &[u8], recipes: &[&str]) {
    if std::env::var_os("NEXTEST").is_none() {
        return;
    }
    let wanted: Vec<Recipe> = recipes.iter().map(|text| text.parse().unwrap()).collect();
    let source = Source::open(file, &ImageLimits::default()).unwrap();
    let announced = source.memory_bytes(&wanted);
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let decoded = source.decode(&wanted, later()).unwrap();
    let renditions = decoded.render(&wanted, later());
    // The file is no longer needed when the pictures are made.
    let taken = status("VmHWM:").saturating_sub(before);
    assert!(renditions.iter().all(Result::is_ok), "{recipes:?}");
    drop(renditions);
    println!("{recipes:?}: announced {announced}, taken {taken}");
    assert!(taken <= announced + SLACK_BYTES, "{recipes:?}: announced {announced}, taken {taken}");
}

/// A picture with the grain of a film.
fn grain(width: i32, height: i32) -> Vec<u8> {
    let (mut bytes, noise) = (bmp(width, height, false), noise(width, height, false));
    for (byte, noise) in bytes[122..].iter_mut().zip(&noise[122..]) {
        *byte = byte.saturating_add(noise / 10);
    }
    bytes
}

/// Noise, which no encoder makes small.
fn noise(width: i32, height: i32, alpha: bool) -> Vec<u8> {
    let mut bytes = bmp(width, height, alpha);
    let mut state = 1_u32;
    for byte in &mut bytes[122..] {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    bytes
}

#[test]
fn rendering_as_jpeg_takes_what_is_announced() {
    check_rendering(&noise(SIZE.0, SIZE.1, false), &["format:jpeg,quality:95"]);
}

#[test]
fn rendering_as_jpeg_at_its_best_takes_what_is_announced() {
    check_rendering(&noise(SIZE.0, SIZE.1, false), &["format:jpeg,quality:100"]);
}

#[test]
fn rendering_as_jpeg_from_planes_takes_what_is_announced() {
    let photo = made(&noise(SIZE.0, SIZE.1, false), "format:jpeg,quality:95");
    check_rendering(&photo, &["format:jpeg,quality:100", "resize:inside:900x900,format:jpeg,blur:2"]);
}

#[test]
fn rendering_as_webp_from_planes_takes_what_is_announced() {
    let photo = made(&grain(SIZE.0, SIZE.1), "format:jpeg,quality:95");
    check_rendering(&photo, &["format:webp,quality:95", "resize:inside:900x900,format:png"]);
}

#[test]
fn rendering_noise_as_webp_from_planes_takes_what_is_announced() {
    let photo = made(&noise(SIZE.0, SIZE.1, false), "format:jpeg,quality:100");
    check_rendering(&photo, &["format:webp,quality:100"]);
}

#[test]
fn resizing_text_of_two_colours_takes_what_is_announced() {
    let mut file = noise(SIZE.0, SIZE.1, false);
    for pixel in file[122..].as_chunks_mut::<3>().0 {
        *pixel = if pixel[0] > 99 { [255; 3] } else { [140, 60, 20] };
    }
    check_rendering(&file, &["resize:inside:2300x1500,format:png", "resize:inside:900x900,format:png"]);
}

#[test]
fn rendering_as_png_takes_what_is_announced() {
    check_rendering(&noise(SIZE.0, SIZE.1, true), &["format:png"]);
}

#[test]
fn rendering_as_png_with_a_palette_takes_what_is_announced() {
    // 256 colours in no order: the indices can't be packed.
    let mut file = noise(SIZE.0, SIZE.1, true);
    for pixel in file[122..].as_chunks_mut::<4>().0 {
        *pixel = [pixel[0], !pixel[0], 7, pixel[0] | 1];
    }
    check_rendering(&file, &["format:png"]);
}

#[test]
fn rendering_as_lossy_webp_takes_what_is_announced() {
    check_rendering(&bmp(SIZE.0, SIZE.1, false), &["format:webp"]);
    check_rendering(&grain(SIZE.0, SIZE.1), &["format:webp,quality:95"]);
}

#[test]
fn rendering_noise_as_lossy_webp_takes_what_is_announced() {
    check_rendering(&noise(SIZE.0, SIZE.1, false), &["format:webp"]);
}

#[test]
fn rendering_noise_as_lossy_webp_at_a_high_quality_takes_what_is_announced() {
    check_rendering(&noise(SIZE.0, SIZE.1, false), &["format:webp,quality:95"]);
}

#[test]
fn rendering_noise_as_lossy_webp_at_its_best_takes_what_is_announced() {
    check_rendering(&noise(SIZE.0, SIZE.1, false), &["format:webp,quality:100"]);
}

#[test]
fn rendering_as_lossy_webp_with_alpha_takes_what_is_announced() {
    check_rendering(&noise(SIZE.0, SIZE.1, true), &["format:webp,quality:95"]);
}

#[test]
fn rendering_as_lossless_webp_takes_what_is_announced() {
    check_rendering(&noise(SIZE.0, SIZE.1, true), &["format:webp,quality:lossless"]);
}

#[test]
fn rendering_as_avif_takes_what_is_announced() {
    check_rendering(&noise(1_600, 1_300, true), &["format:avif,quality:90"]);
}

#[test]
fn effects_and_margins_take_what_is_announced() {
    let file = bmp(SIZE.0, SIZE.1, true);
    check_rendering(
        &file,
        &["rotate:90,blur:4,format:jpeg", "resize:pad:2600x2600,sharpen:10,background:ffffff,format:jpeg"],
    );
}

#[test]
fn a_wide_blur_takes_what_is_announced() {
    check_rendering(&bmp(SIZE.0, SIZE.1, true), &["blur:60,format:jpeg"]);
}

#[test]
fn a_set_of_sizes_takes_what_is_announced() {
    let sizes = ["1800x1200", "1200x800", "800x600", "400x300", "200x100"];
    let recipes = sizes.map(|size| format!("resize:cover:{size},format:jpeg"));
    check_rendering(&bmp(SIZE.0, SIZE.1, true), &recipes.each_ref().map(String::as_str));
}

#[test]
fn an_animation_takes_what_is_announced() {
    let mut file = Vec::new();
    let (width, height) = (1_000_u16, 800_u16);
    let mut encoder =
        gif::Encoder::new(&mut file, width, height, &[255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]).unwrap();
    for n in 0..12_usize {
        let pixels =
            (0..usize::from(width) * usize::from(height)).map(|i| ((i / 50 + n * (i / 7_000)) % 4) as u8);
        let pixels = pixels.collect::<Vec<_>>();
        encoder.write_frame(&gif::Frame::from_indexed_pixels(width, height, pixels, Some(3))).unwrap();
    }
    drop(encoder);
    check_rendering(&file, &["frames:all,format:webp"]);
    check_rendering(&file, &["frames:all,format:webp,quality:lossless"]);
}

#[test]
fn what_can_never_fit_is_refused_for_its_recipe_alone() {
    let file = bmp(SIZE.0, SIZE.1, false);
    let limits = ImageLimits { decode_memory_bytes: 60_000_000, ..ImageLimits::default() };
    let wanted = ["quality:lossless", "resize:inside:300x300"].map(|text| text.parse::<Recipe>().unwrap());
    let source = Source::open(&file, &limits).unwrap();
    assert!(source.memory_bytes(&wanted) <= limits.decode_memory_bytes);
    let renditions = source.decode(&wanted, later()).unwrap().render(&wanted, later());
    assert!(matches!(renditions[0], Err(Error::LimitExceeded { .. })));
    assert!(renditions[1].is_ok());
}

#[test]
fn bmp_takes_what_it_announces() {
    check("bmp", &bmp(SIZE.0, SIZE.1, true));
}

#[test]
fn jpeg_takes_what_it_announces() {
    check("jpeg", &made(&bmp(SIZE.0, SIZE.1, false), "format:jpeg"));
}

#[test]
fn progressive_jpeg_takes_what_it_announces() {
    let pixels: Vec<u8> = (0..SIZE.0 * SIZE.1 * 3).map(|n| (n / 97 % 256) as u8).collect();
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 85);
    encoder.set_progressive(true);
    encoder.encode(&pixels, SIZE.0 as u16, SIZE.1 as u16, jpeg_encoder::ColorType::Rgb).unwrap();
    check("progressive jpeg", &file);
}

#[test]
fn cmyk_jpeg_takes_what_it_announces() {
    let pixels: Vec<u8> = (0..SIZE.0 * SIZE.1 * 4).map(|n| (n / 97 % 256) as u8).collect();
    let mut file = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut file, 85);
    encoder.encode(&pixels, SIZE.0 as u16, SIZE.1 as u16, jpeg_encoder::ColorType::Cmyk).unwrap();
    check("cmyk jpeg", &file);
}

#[test]
fn png_takes_what_it_announces() {
    check("png", &made(&bmp(SIZE.0, SIZE.1, false), "format:png"));
}

#[test]
fn png_with_alpha_takes_what_it_announces() {
    check("png with alpha", &made(&bmp(SIZE.0, SIZE.1, true), "format:png"));
}

#[test]
fn lossy_webp_takes_what_it_announces() {
    check("lossy webp", &made(&bmp(SIZE.0, SIZE.1, false), "format:webp"));
}

#[test]
fn lossy_webp_with_alpha_takes_what_it_announces() {
    check("lossy webp with alpha", &made(&bmp(SIZE.0, SIZE.1, true), "format:webp"));
}

#[test]
fn lossless_webp_takes_what_it_announces() {
    // Large enough that no memory of the encoder is used again unseen.
    let limits = ImageLimits { decode_memory_bytes: 2_000_000_000, ..ImageLimits::default() };
    let bmp = bmp(3_600, 2_600, true);
    let recipe = ["format:webp,quality:lossless".parse::<Recipe>().unwrap()];
    let decoded = Source::open(&bmp, &limits).unwrap().decode(&recipe, later()).unwrap();
    check("lossless webp", &decoded.render(&recipe, later()).remove(0).unwrap().bytes);
}

#[test]
fn avif_takes_what_it_announces() {
    check("avif", &made(&bmp(1_600, 1_200, true), "format:avif"));
}

#[test]
fn gif_takes_what_it_announces() {
    let pixels = (0..SIZE.0 * SIZE.1).map(|n| (n / 50 % 4) as u8).collect::<Vec<_>>();
    let mut file = Vec::new();
    let table = [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9];
    let (width, height) = (SIZE.0 as u16, SIZE.1 as u16);
    let mut encoder = gif::Encoder::new(&mut file, width, height, &table).unwrap();
    let mut frame = gif::Frame::from_indexed_pixels(width, height, pixels, Some(3));
    frame.dispose = gif::DisposalMethod::Previous;
    encoder.write_frame(&frame).unwrap();
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    check("gif", &file);
}

#[test]
fn tiff_takes_what_it_announces() {
    let pixels: Vec<u16> = (0..SIZE.0 * SIZE.1 * 4).map(|n| (n / 7 % 65_536) as u16).collect();
    let mut file = std::io::Cursor::new(Vec::new());
    let encoder = tiff::encoder::TiffEncoder::new(&mut file).unwrap();
    let mut encoder = encoder.with_compression(tiff::encoder::Compression::Lzw);
    let (width, height) = (SIZE.0 as u32, SIZE.1 as u32);
    encoder.write_image::<tiff::encoder::colortype::RGBA16>(width, height, &pixels).unwrap();
    check("tiff", file.get_ref());
}
