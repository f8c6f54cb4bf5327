//! Replays the saved files of every fuzz target. `UPDATE_CORPUS=1` writes the seeds anew.

mod scene;

use std::path::PathBuf;

use larder_image::fuzzing;
use scene::{bmp, gif, made};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"))
}

#[test]
fn every_saved_file_keeps_its_targets_promises() {
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        write_seeds();
    }
    for name in fuzzing::targets() {
        let mut count = 0;
        for entry in std::fs::read_dir(folder().join(name)).unwrap() {
            fuzzing::run(name, &std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "target {name} has no saved file");
    }
}

#[test]
fn every_target_has_a_file_that_fuzzes_it() {
    let targets = folder().join("../targets");
    for name in fuzzing::targets() {
        assert!(targets.join(name).with_extension("rs").exists(), "fuzz/targets/{name}.rs is missing");
    }
}

fn write_seeds() {
    for (target, name, bytes) in seeds() {
        let folder = folder().join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }
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
