//! Replays the saved files of every fuzz target. `UPDATE_CORPUS=1` writes the seeds anew.

use std::path::PathBuf;
use std::time::Duration;

use larder_image::{Deadline, ImageLimits, Recipe, Source, fuzzing};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"))
}

#[test]
fn every_saved_file_keeps_its_targets_promises() {
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        write_seeds();
    }
    for (name, target) in fuzzing::TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(folder().join(name)).unwrap() {
            target(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "target {name} has no saved file");
    }
}

fn write_seeds() {
    for (target, name, bytes) in seeds() {
        let folder = folder().join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// A small picture with edges, a slope and, where asked, transparency: as BMP, which needs no encoder.
fn bmp(width: i32, height: i32, alpha: bool) -> Vec<u8> {
    let mut bytes = b"BM\0\0\0\0\0\0\0\0".to_vec();
    for number in [122, 108, width, height] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([1, 0, 32, 0, 3, 0, 0, 0]);
    bytes.extend([0; 20]);
    for mask in [0xFF_0000_u32, 0xFF00, 0xFF, if alpha { 0xFF00_0000 } else { 0 }] {
        bytes.extend(mask.to_le_bytes());
    }
    bytes.resize(122, 0);
    for y in 0..height {
        for x in 0..width {
            let disc = (x - width / 2).pow(2) + (y - height / 2).pow(2) < 30;
            let opacity = if disc { 255 } else { (x * 9 % 256) as u8 };
            bytes.extend([(x * 7) as u8, (y * 11) as u8, if disc { 250 } else { 20 }, opacity]);
        }
    }
    bytes
}

fn made(source: &[u8], recipe: &str) -> Vec<u8> {
    let recipe: Recipe = recipe.parse().unwrap();
    let deadline = Deadline::after(Duration::from_secs(60));
    let source = Source::open(source, &ImageLimits::default()).unwrap();
    let decoded = source.decode(std::slice::from_ref(&recipe), deadline).unwrap();
    decoded.render(&[recipe], deadline).remove(0).unwrap().bytes
}

fn gif() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder =
        gif::Encoder::new(&mut bytes, 20, 16, &[255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]).unwrap();
    encoder.set_repeat(gif::Repeat::Infinite).unwrap();
    for (n, dispose) in
        [gif::DisposalMethod::Keep, gif::DisposalMethod::Background, gif::DisposalMethod::Previous]
            .into_iter()
            .enumerate()
    {
        let (width, height) = (20 - 3 * n as u16, 16 - 2 * n as u16);
        let pixels = (0..usize::from(width * height)).map(|i| ((i / 5 + n) % 4) as u8).collect::<Vec<_>>();
        let mut frame = gif::Frame::from_indexed_pixels(width, height, pixels, Some(3));
        (frame.dispose, frame.left, frame.interlaced, frame.delay) = (dispose, n as u16, n == 0, 10);
        encoder.write_frame(&frame).unwrap();
    }
    drop(encoder);
    bytes
}

fn tiff<C: tiff::encoder::colortype::ColorType<Inner = u8>>(
    compression: tiff::encoder::Compression,
) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut file).unwrap().with_compression(compression);
    let samples = C::BITS_PER_SAMPLE.len();
    let pixels: Vec<u8> = (0..20 * 16 * samples).map(|n| (n / 3 % 256) as u8).collect();
    encoder.write_image::<C>(20, 16, &pixels).unwrap();
    file.into_inner()
}

fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    use tiff::encoder::{Compression, DeflateLevel, colortype};
    let (plain, clear, gif) = (bmp(24, 18, false), bmp(24, 18, true), gif());
    let jpeg = made(&plain, "format:jpeg,quality:70");
    let exif =
        [&b"\xFF\xE1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"[..]]
            .concat();
    let turned = [&jpeg[..2], &exif, &jpeg[2..]].concat();
    let png = made(&clear, "format:png");
    let webp = made(&clear, "format:webp,quality:60");
    vec![
        ("jpeg", "plain", jpeg.clone()),
        ("jpeg", "turned", turned.clone()),
        ("png", "alpha", png.clone()),
        ("png", "rgb", made(&plain, "format:png")),
        ("gif", "animated", gif.clone()),
        ("webp", "lossy-alpha", webp.clone()),
        ("webp", "lossless", made(&clear, "format:webp,quality:lossless")),
        ("webp", "lossy", made(&plain, "format:webp,quality:60")),
        ("webp", "animated", made(&gif, "frames:all,format:webp,quality:60")),
        ("avif", "plain", made(&plain, "format:avif,quality:40")),
        ("avif", "alpha", made(&clear, "format:avif,quality:40")),
        ("tiff", "rgb", tiff::<colortype::RGB8>(Compression::Uncompressed)),
        ("tiff", "grey-lzw", tiff::<colortype::Gray8>(Compression::Lzw)),
        ("tiff", "rgba-deflate", tiff::<colortype::RGBA8>(Compression::Deflate(DeflateLevel::Fast))),
        ("tiff", "cmyk-packbits", tiff::<colortype::CMYK8>(Compression::Packbits)),
        ("bmp", "plain", plain),
        ("bmp", "alpha", clear),
        ("recipe", "all", b"frames:all,trim:3,crop:20x10:1:2,rotate:90,flip:hv,focus:0.25:0.5,resize:cover:30x40:up,background:10203040,blur:2.5,sharpen:1,profile:keep,format:webp,quality:lossless".to_vec()),
        ("recipe", "short", b"resize:inside:0x300,format:jpeg".to_vec()),
        ("recipe", "preset", b"p:keep-small".to_vec()),
        ("strip_metadata", "jpeg", turned),
        ("strip_metadata", "png", png),
        ("strip_metadata", "webp", webp),
    ]
}
