//! The environment as a source of settings. Messages name the exact variable.

use std::collections::{BTreeMap, HashSet};

use larder_core::BucketName;

use super::{
    Config, ConfigError, Origin, Raw, StoreBackend, StoreChoice,
    error::nearest,
    settings::{self, Alias, Belongs, Setting, Strength},
};

/// Variables and their values, as given to the process.
pub type Environment = BTreeMap<String, String>;

/// Names the file whose variables were laid under those of the process.
pub const ENV_FILE: &str = "LARDER_ENV_FILE";

/// Variables with our prefix that are no settings: arguments of the command line, and what tests use.
const NO_SETTINGS: [&str; 6] =
    ["LARDER_CONFIG", ENV_FILE, "LARDER_SERVER", "LARDER_KEY", "LARDER_CORPUS", "LARDER_FAIL_POINT"];

/// Names that say nothing to a media store, but belong to what the same environments run beside it.
const UNRELATED: [&str; 1] = ["ORG_ID"];

/// A setting that is set, and by what.
pub struct Given {
    /// Its value; masked where it is a secret.
    pub text: String,
    /// Variable, file or flag.
    pub name: String,
    /// Whether it is set for Larder itself, and not by a name that other applications use.
    pub own: bool,
}

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
            if let Some(setting) = settings::all().find(|setting| setting.variable() == *name) {
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

    /// The variables as they are.
    pub fn environment(&self) -> &'a Environment {
        self.environment
    }

    /// The switch between stores by the names of other applications. What is set already was set by Larder's
    /// own names.
    pub fn apply_switch(&self, config: &mut Config) -> Result<(), ConfigError> {
        self.apply_aliases_of(config, Setting::at("store.backend"))
    }

    /// All other names that applications and platforms use, as far as they count for the selected store.
    pub fn apply_aliases(&self, config: &mut Config) -> Result<(), ConfigError> {
        let others = settings::all().filter(|setting| setting.path != "store.backend");
        others.into_iter().try_for_each(|setting| self.apply_aliases_of(config, setting))
    }

    /// The strongest name that is set decides; what wins over a name makes it irrelevant, even where its value
    /// is wrong.
    fn apply_aliases_of(&self, config: &mut Config, setting: &'static Setting) -> Result<(), ConfigError> {
        let (by_file, by_us) = match config.origins.get(setting.path) {
            None => (false, false),
            Some(Origin::File(_)) => (true, false),
            Some(_) => (false, true),
        };
        for strength in [Strength::Platform, Strength::Foreign, Strength::Yielding] {
            if by_us || (by_file && strength != Strength::Platform) {
                return Ok(());
            }
            let counts = |alias: &&Alias| {
                alias.strength == strength && alias.belongs.counts(config.store.choice, config.store.backend)
            };
            let mut read = Vec::new();
            for (alias, value) in self.set_aliases(setting).filter(|(alias, _)| counts(alias)) {
                let raw = (alias.read)(config, value).map_err(|cause| refuse(alias.name, setting, &cause))?;
                read.push((alias, raw));
            }
            let Some((winner, raw)) = read.first() else { continue };
            if let Some(other) = read.iter().find(|(_, other)| other != raw) {
                return Err(contradiction(setting, &read[0], other));
            }
            setting.set(config, raw).map_err(|cause| refuse(winner.name, setting, &cause))?;
            config.origins.insert(setting.path, Origin::Variable(winner.name));
            if strength == Strength::Foreign {
                self.tell_weaker(config, setting, winner, raw);
            }
            return Ok(());
        }
        Ok(())
    }

    /// Names with a value that is meant for the setting.
    fn set_aliases(&self, setting: &'static Setting) -> impl Iterator<Item = (&'static Alias, &'a str)> {
        setting.aliases.iter().filter_map(|alias| {
            let value = self.environment.get(alias.name).filter(|value| !value.is_empty())?;
            (alias.takes)(value).then_some((alias, value.as_str()))
        })
    }

    /// A name that yields and says otherwise is worth a line.
    fn tell_weaker(&self, config: &mut Config, setting: &'static Setting, winner: &Alias, raw: &Raw) {
        let local = |raw: &Raw| *raw == Raw::text("local");
        for (alias, value) in
            self.set_aliases(setting).filter(|(alias, _)| alias.strength == Strength::Yielding)
        {
            let Ok(other) = (alias.read)(config, value) else { continue };
            // `USE_LOCAL_STORAGE=false` says no more than that the store is another.
            let agrees = other == *raw || (setting.path == "store.backend" && !local(&other) && !local(raw));
            if !agrees {
                config.notices.push(format!("{} has no effect: {} wins over it", alias.name, winner.name));
            }
        }
    }

    /// Whether and by what an S3 setting is set, before names of other applications are applied.
    pub fn given(&self, config: &Config, setting: &'static Setting) -> Option<Given> {
        if let Some(origin) = config.origins.get(setting.path) {
            // An empty value unsets it.
            let text = config.shown.get(setting.path)?.clone();
            return Some(Given {
                text,
                name: setting.told_by(origin),
                own: !matches!(origin, Origin::Variable(_)),
            });
        }
        let counts = |alias: &Alias| alias.belongs.counts(config.store.choice, StoreBackend::S3);
        let mut set: Vec<_> = self.set_aliases(setting).filter(|(alias, _)| counts(alias)).collect();
        set.sort_by_key(|(alias, _)| std::cmp::Reverse(alias.strength));
        let (alias, value) = set.into_iter().next()?;
        let text = setting.kind.shown(&Raw::text(value))?;
        Some(Given { text, name: alias.name.to_owned(), own: false })
    }

    /// Names that are set and do not count for the selected store.
    pub fn ignored(&self, config: &Config) -> Vec<&'static str> {
        let counts = |alias: &Alias| alias.belongs.counts(config.store.choice, config.store.backend);
        let all = settings::all().flat_map(|setting| self.set_aliases(setting));
        all.filter(|(alias, _)| !counts(alias)).map(|(alias, _)| alias.name).collect()
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
    pub fn notices(&self, config: &Config) -> Vec<String> {
        let mut notices = Vec::new();
        let ignored = self.ignored(config);
        if !ignored.is_empty() {
            let store = match (config.store.choice, config.store.backend) {
                (StoreChoice::Minio, _) => "minio",
                (_, backend) => backend.name(),
            };
            let names_addresses =
                |name: &&str| Setting::at("store.public_url").aliases.iter().any(|alias| alias.name == *name);
            let hint = match ignored.iter().any(names_addresses) {
                true => " (the address of Larder itself is LARDER_PUBLIC_URL)",
                false => "",
            };
            notices.push(format!("ignored, since the store is {store}: {}{hint}", ignored.join(", ")));
        }
        let set = |name: &&&str| self.environment.get(**name).is_some_and(|value| !value.is_empty());
        let unrelated: Vec<&str> = UNRELATED.iter().filter(set).copied().collect();
        if !unrelated.is_empty() {
            notices.push(format!("ignored, since media have no use for it: {}", unrelated.join(", ")));
        }
        notices
    }
}

/// Two names of one strength say different things of one setting.
fn contradiction(setting: &Setting, one: &(&Alias, Raw), other: &(&Alias, Raw)) -> ConfigError {
    let told = |(alias, raw): &(&Alias, Raw)| match (setting.kind.may_be_told(), raw) {
        (true, Raw::Text(text)) => format!("{} ({text})", alias.name),
        _ => alias.name.to_owned(),
    };
    let of_minio = |(alias, _): &(&Alias, Raw)| alias.belongs == Belongs::Minio;
    let choose = match of_minio(one) == of_minio(other) {
        true => "",
        false => ", or say with MEDIA_STORAGE_BACKEND=minio or s3 whose names count",
    };
    ConfigError::new(
        format!("{} and {} disagree on {}", told(one), told(other), setting.path),
        format!("unset one of them, or set {}, which wins over both{choose}", setting.variable()),
    )
}

fn refuse(name: &str, setting: &Setting, cause: &str) -> ConfigError {
    ConfigError::new(format!("{name}: {cause}"), setting.expectation())
}

fn unknown(name: &str) -> ConfigError {
    let known: HashSet<String> = settings::all().map(Setting::variable).collect();
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
