//! Presets: named recipes, and the sets of them that come with Larder.

/// A set of presets under one name.
#[derive(Debug)]
pub struct PresetSet {
    /// The set's name, as in a bucket's `presets`.
    pub name: &'static str,
    /// Names and recipes.
    pub presets: &'static [(&'static str, &'static str)],
}

/// The sets that exist without configuration.
pub const SETS: &[PresetSet] = &[
    PresetSet {
        name: "artwork",
        presets: &[
            ("artwork-large", "resize:inside:1920x1080,format:webp,quality:85"),
            ("artwork-medium", "resize:inside:1280x720,format:webp,quality:85"),
            ("artwork-small", "resize:inside:640x360,format:webp,quality:85"),
            ("artwork-thumbnail", "resize:inside:300x169,format:webp,quality:85"),
        ],
    },
    PresetSet {
        name: "keep",
        presets: &[
            ("keep-small", "resize:inside:150x150,format:jpeg,quality:85"),
            ("keep-medium", "resize:inside:300x300,format:jpeg,quality:85"),
            ("keep-large", "resize:inside:800x600,format:jpeg,quality:85"),
        ],
    },
    PresetSet { name: "design", presets: &[("design-thumbnail", "resize:inside:200x200,format:png")] },
];

/// The names that `name` stands for: the members of a set, or itself.
pub fn expand(name: &str) -> Vec<&str> {
    match SETS.iter().find(|set| set.name == name) {
        Some(set) => set.presets.iter().map(|(preset, _)| *preset).collect(),
        None => vec![name],
    }
}

#[cfg(test)]
mod tests {
    use larder_image::Recipe;

    use super::*;

    #[test]
    fn every_shipped_recipe_parses() {
        for (name, recipe) in SETS.iter().flat_map(|set| set.presets) {
            assert!(recipe.parse::<Recipe>().is_ok(), "{name}");
        }
    }

    #[test]
    fn a_set_stands_for_its_members() {
        assert_eq!(expand("keep"), ["keep-small", "keep-medium", "keep-large"]);
        assert_eq!(expand("hero"), ["hero"]);
    }
}
