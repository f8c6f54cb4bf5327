//! The environment as a source of settings. Messages name the exact variable.

use std::collections::{BTreeMap, HashSet};

use larder_core::BucketName;

use super::{
    Config, ConfigError, Origin, Raw,
    error::nearest,
    settings::{SETTINGS, Setting, Strength},
};

/// Variables and their values, as given to the process.
pub type Environment = BTreeMap<String, String>;

/// Variables with our prefix that are no settings: arguments of the command line, and what tests use.
const NO_SETTINGS: [&str; 5] =
    ["LARDER_CONFIG", "LARDER_SERVER", "LARDER_KEY", "LARDER_CORPUS", "LARDER_FAIL_POINT"];

/// Names that belong to the store `s3`, which this version does not have.
pub const S3_NAMES: [&str; 22] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_STORAGE_BUCKET_NAME",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_S3_REGION_NAME",
    "AWS_S3_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_S3_CUSTOM_DOMAIN",
    "S3_ENDPOINT_URL",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
    "S3_REGION",
    "S3_BUCKET_NAME",
    "S3_PUBLIC_BUCKET",
    "BUCKET_NAME",
    "S3_BUCKET_ORIGINALS",
    "S3_BUCKET_THUMBNAILS",
    "MINIO_ENDPOINT",
    "MINIO_ACCESS_KEY",
    "MINIO_SECRET_KEY",
    "MINIO_BUCKET_NAME",
];

/// Names by which other applications give the address of their media. The setting `public_url` also
/// ends the rights of this machine, so that it is given on purpose or not at all.
pub const ADDRESS_NAMES: [&str; 3] = ["CDN_BASE_URL", "CLOUDFRONT_DOMAIN", "MEDIA_URL"];

/// The environment, sorted by what its variables are.
pub struct Overlay<'a> {
    environment: &'a Environment,
    own: Vec<(&'static Setting, &'a str, &'a str)>,
    free: Vec<(&'a str, Vec<String>, &'a str)>,
}

impl<'a> Overlay<'a> {
    /// Sorts the variables.
    ///
    /// # Errors
    /// A variable begins with `LARDER_` and is no setting.
    pub fn of(environment: &'a Environment) -> Result<Self, ConfigError> {
        let mut overlay = Self { environment, own: Vec::new(), free: Vec::new() };
        for (name, value) in environment {
            let Some(rest) = name.strip_prefix("LARDER_") else { continue };
            if NO_SETTINGS.contains(&name.as_str()) || is_service_link(rest, value) {
                continue;
            }
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == *name) {
                overlay.own.push((setting, name, value));
                continue;
            }
            let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
            match path[0].as_str() {
                "buckets" if path.len() >= 3 => overlay.free.push((name, path, value)),
                "presets" if path.len() == 2 => overlay.free.push((name, path, value)),
                _ => return Err(unknown(name)),
            }
        }
        Ok(overlay)
    }

    /// Names that other applications use as well, for what the file leaves open.
    pub fn apply_foreign_names(&self, config: &mut Config) -> Result<(), ConfigError> {
        self.apply_aliases(config, Strength::Foreign)
    }

    /// Names that the platform sets for this process; they win over the file.
    pub fn apply_platform_names(&self, config: &mut Config) -> Result<(), ConfigError> {
        self.apply_aliases(config, Strength::Platform)
    }

    fn apply_aliases(&self, config: &mut Config, strength: Strength) -> Result<(), ConfigError> {
        for setting in SETTINGS {
            // What wins over an alias makes it irrelevant, even where its value is wrong.
            let by_own_name = self.own.iter().any(|(own, ..)| own.path == setting.path);
            let by_file = matches!(config.origins.get(setting.path), Some(Origin::File(_)));
            if by_own_name || (by_file && strength == Strength::Foreign) {
                continue;
            }
            let present = setting.aliases.iter().filter(|alias| alias.strength == strength);
            // The first alias of the table wins.
            for alias in present {
                let Some(value) = self.environment.get(alias.name).filter(|value| !value.is_empty()) else {
                    continue;
                };
                (alias.read)(config, value)
                    .and_then(|raw| setting.set(config, &raw))
                    .map_err(|cause| refuse(alias.name, setting, &cause))?;
                config.origins.insert(setting.path, Origin::Variable(alias.name));
                break;
            }
        }
        Ok(())
    }

    /// `LARDER_A__B`.
    pub fn apply_own_names(&self, config: &mut Config) -> Result<(), ConfigError> {
        for (setting, name, value) in &self.own {
            setting.set(config, &Raw::text(*value)).map_err(|cause| refuse(name, setting, &cause))?;
            config.origins.insert(setting.path, Origin::Overlay((*name).to_owned()));
        }
        for (name, path, value) in &self.free {
            let outcome = match path[0].as_str() {
                "buckets" => set_bucket_field(config, &path[1], &path[2..], value),
                _ => set_preset(config, &path[1], value),
            };
            outcome.map_err(|cause| {
                ConfigError::new(
                    format!("{name}: {cause}"),
                    "docs/configuration.md lists buckets and presets",
                )
            })?;
        }
        Ok(())
    }

    /// Variables that are understood but have no effect.
    pub fn notices(&self) -> Vec<String> {
        let set = |name: &&&str| self.environment.get(**name).is_some_and(|value| !value.is_empty());
        let ignored: [(&[&str], &str); 2] = [
            (&S3_NAMES, "the store s3 is not in this version"),
            (&ADDRESS_NAMES, "URLs begin with public_url alone (LARDER_PUBLIC_URL)"),
        ];
        let told = ignored.into_iter().filter_map(|(names, why)| {
            let names: Vec<&str> = names.iter().filter(set).copied().collect();
            (!names.is_empty()).then(|| format!("ignored, since {why}: {}", names.join(", ")))
        });
        told.collect()
    }
}

fn refuse(name: &str, setting: &Setting, cause: &str) -> ConfigError {
    ConfigError::new(format!("{name}: {cause}"), setting.expectation())
}

fn unknown(name: &str) -> ConfigError {
    let known: HashSet<String> = SETTINGS.iter().map(Setting::variable).collect();
    let known = known.iter().map(String::as_str).chain(["LARDER_CONFIG", "LARDER_SERVER", "LARDER_KEY"]);
    let remedy = match nearest(name, known) {
        Some(near) => format!("did you mean {near}? docs/configuration.md lists all settings"),
        None => "unset it; docs/configuration.md lists all settings".to_owned(),
    };
    ConfigError::new(format!("the environment variable {name} is no setting"), remedy)
}

/// Kubernetes and Docker links describe a service named `larder` by variables of that prefix.
fn is_service_link(rest: &str, value: &str) -> bool {
    rest.starts_with("SERVICE_") || rest.starts_with("PORT_") || (rest == "PORT" && value.contains("://"))
}

fn set_preset(config: &mut Config, name: &str, recipe: &str) -> Result<(), String> {
    recipe.parse::<larder_image::Recipe>().map_err(|error| error.to_string())?;
    config.presets.insert(name.to_owned(), recipe.to_owned());
    Ok(())
}

/// Names one field of a bucket's policy; the value is read as TOML, else as text.
fn set_bucket_field(config: &mut Config, bucket: &str, field: &[String], value: &str) -> Result<(), String> {
    let bucket: BucketName = bucket.parse().map_err(|error: larder_core::KeyError| error.to_string())?;
    let mut entry = config.buckets.get(&bucket).cloned().unwrap_or_default();
    entry.set(field, toml_value(value))?;
    config.policy_of(&bucket, &entry, None)?;
    config.buckets.insert(bucket, entry);
    Ok(())
}

fn toml_value(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}
