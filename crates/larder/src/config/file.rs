//! `larder.toml`: unknown keys are refused, with a caret under the mistake.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use larder_assets::BucketPolicy;
use larder_core::BucketName;
use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    BucketEntry, Config, ConfigError, DEFAULT_FILE, Origin, Raw,
    error::nearest,
    settings::{self, Setting},
};

/// Tables of free names, read by their own types.
const FREE_TABLES: [&str; 2] = ["buckets", "presets"];

/// The part of the file whose names the operator chooses.
#[derive(Deserialize)]
struct FreeTables {
    /// Read as whole policies, so that each mistake has its place. What counts are the fields that
    /// are there.
    #[serde(default)]
    buckets: BTreeMap<Spanned<String>, BucketPolicy>,
    #[serde(default)]
    presets: BTreeMap<String, Spanned<String>>,
}

/// The file to read and its text: the named one, else `larder.toml` where it exists.
pub fn find(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(ConfigError::new(
            format!("the configuration file {} can't be read: {error}", path.display()),
            "correct --config or LARDER_CONFIG, or the permissions of the file",
        )),
    }
}

/// Sets what the file says.
pub fn apply(config: &mut Config, path: &Path, text: &str) -> Result<(), ConfigError> {
    let reader = Reader { path, text };
    let table = DeTable::parse(text).map_err(|error| reader.refuse(error.span(), error.message(), ""))?;
    reader.settings(config, table.get_ref(), "")?;
    reader.free_tables(config)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn refuse(&self, span: Option<Range<usize>>, cause: &str, remedy: impl Into<String>) -> ConfigError {
        ConfigError::in_file(self.path, self.text, span, cause.trim(), remedy)
    }

    fn settings(&self, config: &mut Config, table: &DeTable<'_>, prefix: &str) -> Result<(), ConfigError> {
        for (key, value) in table {
            let path = format!("{prefix}{}", key.get_ref());
            if prefix.is_empty() && FREE_TABLES.contains(&path.as_str()) {
                continue;
            }
            let group = format!("{path}.");
            if let Some(setting) = settings::all().find(|setting| setting.path == path) {
                self.set(config, setting, value)?;
            } else if settings::all().any(|setting| setting.path.starts_with(&group)) {
                let inner = value.get_ref().as_table().ok_or_else(|| {
                    self.refuse(Some(value.span()), &format!("{path} is a table"), format!("write [{path}]"))
                })?;
                self.settings(config, inner, &group)?;
            } else {
                return Err(self.unknown(key.span(), &path));
            }
        }
        Ok(())
    }

    fn unknown(&self, span: Range<usize>, path: &str) -> ConfigError {
        let known = settings::all().map(|setting| setting.path).chain(FREE_TABLES);
        let remedy = match nearest(path, known) {
            Some(name) => format!("did you mean {name}? docs/configuration.md lists all settings"),
            None => "remove it; docs/configuration.md lists all settings".to_owned(),
        };
        self.refuse(Some(span), &format!("there is no setting {path}"), remedy)
    }

    fn set(
        &self,
        config: &mut Config,
        setting: &'static Setting,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), ConfigError> {
        let raw = raw_of(value.get_ref()).and_then(|raw| setting.set(config, &raw));
        raw.map_err(|cause| self.refuse(Some(value.span()), &cause, setting.expectation()))?;
        config.origins.insert(setting.path, Origin::File(self.path.to_owned()));
        Ok(())
    }

    fn free_tables(&self, config: &mut Config) -> Result<(), ConfigError> {
        let tables: FreeTables = toml::from_str(self.text).map_err(|error| {
            self.refuse(error.span(), error.message(), "docs/configuration.md lists what a bucket can say")
        })?;
        let mut plain: toml::Table = toml::from_str(self.text).map_err(|error: toml::de::Error| {
            self.refuse(error.span(), error.message(), "docs/configuration.md lists what a bucket can say")
        })?;
        let mut fields = plain.remove("buckets").and_then(|buckets| buckets.try_into::<toml::Table>().ok());
        for name in tables.buckets.into_keys() {
            let bucket: BucketName = name.get_ref().parse().map_err(|error: larder_core::KeyError| {
                self.refuse(
                    Some(name.span()),
                    &error.to_string(),
                    "choose a name by the rules of S3 buckets: 3 to 63 of a-z, 0-9, - and .",
                )
            })?;
            let fields = fields.as_mut().and_then(|buckets| buckets.remove(name.get_ref()));
            let fields = fields.and_then(|fields| fields.try_into().ok()).unwrap_or_default();
            config.buckets.insert(bucket, BucketEntry { in_file: true, fields });
        }
        for (name, recipe) in tables.presets {
            recipe.get_ref().parse::<larder_image::Recipe>().map_err(|error| {
                self.refuse(
                    Some(recipe.span()),
                    &format!("preset {name}: {error}"),
                    "write steps such as resize:inside:800x600,format:webp,quality:80",
                )
            })?;
            config.presets.insert(name, recipe.into_inner());
        }
        Ok(())
    }
}

/// A scalar or list without its type: each setting reads its own.
fn raw_of(value: &DeValue<'_>) -> Result<Raw, String> {
    match value {
        DeValue::Array(items) => {
            items.iter().map(|item| scalar(item.get_ref())).collect::<Result<_, _>>().map(Raw::List)
        }
        other => scalar(other).map(Raw::Text),
    }
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|error| error.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        other => Err(format!("a value of type {} does not belong here", other.type_str())),
    }
}
