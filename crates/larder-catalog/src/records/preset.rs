//! Presets: recipes with a name.

use larder_core::Timestamp;

use super::meta::MetaKind;
use crate::{
    db::{FromRow, Row, Statement},
    error::Result,
    reads::reads,
    tx::{Class, Tx},
};

/// A preset. Its recipe is read and checked by those who apply it.
#[derive(Debug, Clone, PartialEq)]
pub struct PresetRecord {
    /// Its name.
    pub name: String,
    /// The steps that it stands for.
    pub recipe: String,
    /// Whether the configuration file defines it, which makes it read-only elsewhere.
    pub managed_by_file: bool,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const SELECT: &str = "SELECT name, recipe, managed_by_file, created_at, updated_at FROM presets ";

impl FromRow for PresetRecord {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.get("name")?,
            recipe: row.get("recipe")?,
            managed_by_file: row.flag("managed_by_file")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

reads! { Durable;
    /// The preset of a name.
    one preset(name: &str) -> PresetRecord = Statement::new(SELECT).push("WHERE name = ").bind(name);
    /// All presets by name.
    many presets() -> PresetRecord = Statement::new(SELECT).push("ORDER BY name");
}

impl Tx {
    /// Inserts a preset or replaces its recipe; the time of creation stays.
    pub async fn upsert_preset(&mut self, name: &str, recipe: &str, managed_by_file: bool) -> Result<()> {
        let now = self.now();
        let columns = vec![
            ("name", name.into()),
            ("recipe", recipe.into()),
            ("managed_by_file", managed_by_file.into()),
            ("created_at", now.into()),
            ("updated_at", now.into()),
        ];
        let upsert = Statement::insert("presets", columns).push(
            " ON CONFLICT (name) DO UPDATE SET recipe = excluded.recipe, \
             managed_by_file = excluded.managed_by_file, updated_at = excluded.updated_at",
        );
        self.execute(Class::Durable, upsert).await?;
        self.mark_meta(MetaKind::Preset, name).await
    }

    /// Removes a preset; variants made with its recipe stay. Answers whether there was one.
    pub async fn remove_preset(&mut self, name: &str) -> Result<bool> {
        let delete = Statement::new("DELETE FROM presets WHERE name = $1").with(name);
        self.mark_meta(MetaKind::Preset, name).await?;
        Ok(self.execute(Class::Durable, delete).await? > 0)
    }

    /// Detaches the presets that the configuration file no longer names: they stay as they are and can
    /// be changed elsewhere from now on. Answers how many.
    pub async fn detach_presets_missing_from_file(&mut self, names: &[String]) -> Result<u64> {
        let now = self.now();
        let update =
            Statement::update("presets", vec![("managed_by_file", false.into()), ("updated_at", now.into())])
                .push(" WHERE managed_by_file = 1")
                .and_not_in("name", names);
        let detached = self.execute(Class::Durable, update).await?;
        if detached > 0 {
            for preset in self.presets().await? {
                self.mark_meta(MetaKind::Preset, &preset.name).await?;
            }
        }
        Ok(detached)
    }
}
