//! Animations in and out.

mod scene;

use larder_image::{Format, ImageLimits, Recipe, Source, inspect};
use scene::{gif, later, render};

#[test]
fn an_animated_gif_becomes_an_animated_webp_with_all_its_frames() {
    let rendition = render(&gif(), "frames:all,resize:inside:10x10,format:webp").unwrap();
    assert_eq!((rendition.format, rendition.frames), (Format::Webp, 3));
    let inspection = inspect(&rendition.bytes, &ImageLimits::default()).unwrap();
    assert_eq!((inspection.frames, inspection.loops, inspection.oriented_size()), (3, 0, (10, 8)));
}

#[test]
fn an_animated_webp_stays_one() {
    let webp = render(&gif(), "frames:all,format:webp,quality:lossless").unwrap().bytes;
    let again = render(&webp, "frames:all,rotate:90,format:source").unwrap();
    assert_eq!((again.format, again.frames), (Format::Webp, 3));
    assert_eq!((again.width_px, again.height_px), (16, 20));
}

#[test]
fn formats_that_do_not_move_take_the_first_frame() {
    for recipe in ["format:webp", "frames:all,format:png", "frames:all,format:jpeg"] {
        assert_eq!(render(&gif(), recipe).unwrap().frames, 1, "{recipe}");
    }
}

#[test]
fn frames_are_shown_as_disposal_says() {
    // Without loss, every frame of the WebP is the composed canvas of the GIF.
    let webp = render(&gif(), "frames:all,format:webp,quality:lossless").unwrap().bytes;
    let first = |bytes: &[u8]| render(bytes, "format:png").unwrap().bytes;
    assert_eq!(first(&webp), first(&gif()));
}

#[test]
fn stills_and_animations_come_from_one_decode() {
    let bytes = gif();
    let recipes: Vec<Recipe> = ["format:png", "frames:all,format:webp", "resize:inside:5x5,format:jpeg"]
        .map(|text| text.parse().unwrap())
        .into();
    let source = Source::open(&bytes, &ImageLimits::default()).unwrap();
    let decoded = source.decode(&recipes, later()).unwrap();
    let frames: Vec<u32> =
        decoded.render(&recipes, later()).into_iter().map(|rendition| rendition.unwrap().frames).collect();
    assert_eq!(frames, [1, 3, 1]);
}

#[test]
fn an_animation_that_was_not_wanted_cannot_be_rendered() {
    let bytes = gif();
    let source = Source::open(&bytes, &ImageLimits::default()).unwrap();
    let decoded = source.decode(&[], later()).unwrap();
    let recipe: Recipe = "frames:all".parse().unwrap();
    assert!(decoded.render(&[recipe], later()).remove(0).is_err());
}
