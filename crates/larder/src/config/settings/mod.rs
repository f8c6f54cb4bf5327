//! The table of every setting, in groups.

mod alias;
mod cdn;
mod databases;
mod media;
mod process;
mod serving;
mod stats;
mod store;

use larder_image::OutputFormat;

use super::{Config, Origin, Raw, StoreBackend, StoreChoice, sections::ImageFormat};

use self::alias::foreign;
pub use self::alias::{Alias, Belongs, Strength};

/// The groups, in the order of the documentation. Tables of free names (`[buckets.…]`, `[presets]`) are no
/// settings and are read beside them.
const GROUPS: &[&[Setting]] = &[
    process::SETTINGS,
    store::SETTINGS,
    databases::SETTINGS,
    media::SETTINGS,
    serving::SETTINGS,
    cdn::SETTINGS,
    stats::SETTINGS,
];

/// Every setting, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().copied().flatten()
}

/// One setting: its name in the file, its meaning, and how it is set.
pub struct Setting {
    /// Its place in the file: `a.b` is `b` in the table `[a]`.
    pub path: &'static str,
    /// What is expected, for the documentation and for messages.
    pub kind: Kind,
    /// Its default as text; none where the setting is optional.
    pub default: Option<&'static str>,
    /// What it decides.
    pub doc: &'static str,
    /// Other environment names for it.
    pub aliases: &'static [Alias],
    set: fn(&mut Config, &Raw) -> Result<(), String>,
}

/// What a setting expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Address and port.
    Address,
    /// A path in the file system.
    Path,
    /// An `http:` or `https:` URL.
    Url,
    /// Text that is never printed.
    Secret,
    /// The public part of a key: printed by its end alone, as the tools of AWS do.
    KeyId,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A format that pictures are encoded in.
    Format,
    /// A size in bytes.
    Bytes,
    /// A span of time.
    Duration,
    /// A whole number.
    Count,
    /// A number, such as a price.
    Number,
    /// True or false.
    Flag,
    /// Several texts.
    List,
    /// When something comes by itself.
    Schedule,
    /// Any text.
    Text,
}

impl Kind {
    /// What to write, for people.
    pub fn expects(self) -> String {
        match self {
            Self::Address => "address and port, such as `127.0.0.1:8000`".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Url => "URL".to_owned(),
            Self::Secret => "secret text".to_owned(),
            Self::KeyId => "id of a key".to_owned(),
            Self::Choice(words) => choice(words.iter().copied()),
            Self::Format => choice(ImageFormat::all().map(OutputFormat::name)),
            Self::Bytes => "size in bytes, or with a unit such as `10 MiB`".to_owned(),
            Self::Duration => {
                "duration in seconds, or with a unit such as `90s`, `15m`, `24h`, `7d`".to_owned()
            }
            Self::Count => "whole number".to_owned(),
            Self::Number => "number, such as `0.023`".to_owned(),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::List => "list of texts; in the environment separated by commas".to_owned(),
            Self::Schedule => {
                "`off`, or five fields as cron has them, in UTC, such as `0 * * * *`".to_owned()
            }
            Self::Text => "text".to_owned(),
        }
    }
}

impl Kind {
    /// A value as it may be printed; none where it unsets the setting.
    pub fn shown(self, raw: &Raw) -> Option<String> {
        let text = match raw {
            Raw::Text(text) => text.clone(),
            Raw::List(items) => items.join(", "),
        };
        match self {
            _ if text.is_empty() => None,
            Self::Secret => Some(MASK.to_owned()),
            Self::KeyId => {
                let (shown, count) = (text.chars().rev().take(4), text.chars().count());
                // The end of a short one would be most of it.
                let end: String = if count >= 12 { shown.collect() } else { String::new() };
                Some(format!("{MASK}{}", end.chars().rev().collect::<String>()))
            }
            _ => Some(text),
        }
    }

    /// Whether its values may stand in messages.
    pub fn may_be_told(self) -> bool {
        !matches!(self, Self::Secret | Self::KeyId)
    }
}

/// What is printed in the place of a secret.
const MASK: &str = "****";

fn choice<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

impl Setting {
    /// The setting at `path`.
    ///
    /// # Panics
    /// No setting has this path: only for paths written in the code, held by a test.
    pub fn at(path: &str) -> &'static Self {
        all().find(|setting| setting.path == path).expect("the path of a setting")
    }

    /// The environment variable: `LARDER_A__B` for `a.b`.
    pub fn variable(&self) -> String {
        format!("LARDER_{}", self.path.replace('.', "__").to_uppercase())
    }

    /// What set it, for messages: the setting's path where that is the file.
    pub fn told_by(&self, origin: &Origin) -> String {
        match origin {
            Origin::File(path) => format!("{} in {}", self.path, path.display()),
            other => other.to_string(),
        }
    }

    /// The environment names that count where a store is asked for in this way, for remedies: `A, B or C`.
    pub fn names_for(&self, choice: StoreChoice) -> String {
        let counts = |alias: &&Alias| alias.belongs.counts(choice, StoreBackend::S3);
        let names: Vec<&str> = self.aliases.iter().filter(counts).map(|alias| alias.name).collect();
        match names.split_last() {
            None => self.variable(),
            Some((only, [])) => (*only).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
        }
    }

    /// Sets it.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn set(&self, config: &mut Config, raw: &Raw) -> Result<(), String> {
        (self.set)(config, raw)?;
        match self.kind.shown(raw) {
            Some(text) => drop(config.shown.insert(self.path, text)),
            None => drop(config.shown.remove(self.path)),
        }
        Ok(())
    }

    /// The remedy for a value that can't be read.
    pub fn expectation(&self) -> String {
        let default = self.default.map_or_else(String::new, |text| format!(" (default: {text})"));
        format!("{} expects: {}{default}", self.path, self.kind.expects().replace('`', ""))
    }
}
