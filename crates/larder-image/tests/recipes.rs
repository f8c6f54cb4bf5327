//! The promise of the recipe language: what is printed parses to the same recipe.

use larder_image::{Recipe, STEPS};
use proptest::prelude::*;

fn step() -> impl Strategy<Value = String> {
    let size = (0..20_000_u32, 0..20_000_u32).prop_map(|(width, height)| format!("{width}x{height}"));
    prop_oneof![
        prop_oneof!["frames:first", "frames:all", "profile:keep", "profile:srgb", "rotate:90", "flip:hv"],
        (0..300_u32).prop_map(|tolerance| format!("trim:{tolerance}")),
        (size.clone(), 0..500_u32, 0..500_u32).prop_map(|(size, x, y)| format!("crop:{size}:{x}:{y}")),
        ("inside|cover|fill|pad", size, "(:up)?")
            .prop_map(|(fit, size, up)| format!("resize:{fit}:{size}{up}")),
        ("[01](\\.[0-9]{1,4})?", "0\\.[0-9]{1,3}").prop_map(|(x, y)| format!("focus:{x}:{y}")),
        "[0-9a-f]{6,8}".prop_map(|color| format!("background:{color}")),
        "[0-9]{1,3}(\\.[0-9]{1,3})?".prop_map(|sigma| format!("blur:{sigma}")),
        "[0-9](\\.[0-9]{1,3})?".prop_map(|sigma| format!("sharpen:{sigma}")),
        "format:(jpeg|png|webp|avif|source)",
        "quality:([1-9][0-9]?|100|lossless)",
    ]
}

proptest! {
    #[test]
    fn a_printed_recipe_parses_to_the_same_recipe(steps in prop::collection::vec(step(), 1..8)) {
        if let Ok(recipe) = steps.join(",").parse::<Recipe>() {
            let printed = recipe.to_string();
            let again: Recipe = printed.parse().unwrap();
            prop_assert_eq!(again.to_string(), printed);
            prop_assert_eq!(again, recipe);
        }
    }

    #[test]
    fn the_order_of_steps_does_not_matter(mut steps in prop::collection::vec(step(), 1..8)) {
        let forwards = steps.join(",").parse::<Recipe>();
        steps.reverse();
        let backwards = steps.join(",").parse::<Recipe>();
        prop_assert_eq!(forwards.is_ok(), backwards.is_ok());
        if let (Ok(forwards), Ok(backwards)) = (forwards, backwards) {
            prop_assert_eq!(forwards, backwards);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        let _ = text.parse::<Recipe>();
    }
}

#[test]
fn each_example_of_the_documentation_is_a_recipe() {
    for kind in STEPS {
        let recipe: Recipe = kind.example.parse().unwrap();
        assert!(recipe.as_str().contains(kind.example), "{}", kind.name);
    }
}
