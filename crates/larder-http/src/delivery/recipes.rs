//! Recipes of URLs, parsed once.

use std::time::{Duration, Instant};

use larder_assets::Larder;
use larder_core::Fault;
use larder_image::Recipe;
use quick_cache::sync::Cache;

/// How old a preset's recipe may be here when it was changed; stated in SEMANTICS.md.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Recipes that are remembered: sites use a few dozen.
const REMEMBERED_MAX: usize = 1_000;

/// Recipes that were asked for lately.
pub(crate) struct Recipes {
    presets: Cache<String, (Instant, Recipe)>,
    free: Cache<String, Recipe>,
}

impl Recipes {
    pub(crate) fn new() -> Self {
        Self { presets: Cache::new(REMEMBERED_MAX), free: Cache::new(REMEMBERED_MAX) }
    }

    /// The recipe of a preset, at most a second old.
    pub(super) async fn preset(&self, larder: &Larder, name: &str) -> Result<Recipe, Fault> {
        if let Some((since, recipe)) = self.presets.get(name)
            && since.elapsed() < FRESH_FOR
        {
            return Ok(recipe);
        }
        let recipe = larder.recipe_of_preset(name).await?;
        self.presets.insert(name.to_owned(), (Instant::now(), recipe.clone()));
        Ok(recipe)
    }

    /// Forgets a preset that this process changed: whoever changed it sees the change.
    pub(crate) fn forget(&self, name: &str) {
        self.presets.remove(name);
    }

    /// A recipe by its text.
    pub(super) fn free(&self, text: &str) -> Result<Recipe, Fault> {
        if let Some(recipe) = self.free.get(text) {
            return Ok(recipe);
        }
        let recipe = text.parse::<Recipe>()?;
        self.free.insert(text.to_owned(), recipe.clone());
        Ok(recipe)
    }
}
