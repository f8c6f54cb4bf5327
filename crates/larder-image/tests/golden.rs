//! What each recipe makes of one picture: the size exactly, the picture by its perceptual hash.
//!
//! `UPDATE_GOLDEN=1` writes the hashes anew, `DUMP_IMAGES=<folder>` the pictures themselves.

mod scene;

use std::fmt::Write;
use std::path::Path;

/// Bits of 64 that may differ: encoders of other versions round otherwise.
const DISTANCE_MAX: u32 = 3;

const RECIPES: &[&str] = &[
    "format:jpeg",
    "format:png",
    "format:webp",
    "format:webp,quality:lossless",
    "format:avif",
    "resize:inside:100x100,format:jpeg",
    "resize:inside:0x60",
    "resize:cover:100x100,format:png",
    "focus:0:0,resize:cover:60x120,format:png",
    "focus:1:1,resize:cover:60x120,format:png",
    "resize:fill:50x90,format:png",
    "resize:pad:200x200,format:png",
    "resize:pad:200x200,background:ff8000,format:jpeg",
    "resize:inside:640x640:up,format:jpeg",
    "crop:120x80:10:20,format:png",
    "rotate:90,format:png",
    "rotate:90,flip:h,resize:inside:80x80,format:png",
    "flip:v,format:png",
    "blur:6,format:png",
    "sharpen:1.5,format:png",
    "background:102030,format:png",
];

#[test]
fn recipes_make_what_they_made_before() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/hashes.txt");
    let source = scene::bmp(320, 240, true);
    let mut made = String::new();
    for recipe in RECIPES {
        let rendition = scene::render(&source, recipe).unwrap();
        let hash = scene::hash(&rendition.bytes);
        writeln!(made, "{recipe} {}x{} {hash:016x}", rendition.width_px, rendition.height_px).unwrap();
        if let Some(folder) = std::env::var_os("DUMP_IMAGES") {
            let name = format!("{}.{}", recipe.replace(':', "-"), rendition.format.extension());
            std::fs::write(Path::new(&folder).join(name), &rendition.bytes).unwrap();
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &made).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        golden.lines().count(),
        RECIPES.len(),
        "run with UPDATE_GOLDEN=1 after a change of the recipes"
    );
    for (made, golden) in made.lines().zip(golden.lines()) {
        let (made_size, made_hash) = made.rsplit_once(' ').unwrap();
        let (golden_size, golden_hash) = golden.rsplit_once(' ').unwrap();
        assert_eq!(made_size, golden_size);
        let bits = |hash: &str| u64::from_str_radix(hash, 16).unwrap();
        let distance = (bits(made_hash) ^ bits(golden_hash)).count_ones();
        assert!(
            distance <= DISTANCE_MAX,
            "{made_size}: {distance} bits differ; look at it with DUMP_IMAGES, accept it with UPDATE_GOLDEN=1"
        );
    }
}
