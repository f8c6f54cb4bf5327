//! The effective configuration as it may be printed: each value and where it came from.

use serde::Serialize;

use super::{Config, Origin, settings};

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownSetting {
    /// Its path.
    pub setting: &'static str,
    /// Its value as text, secrets masked; none where it is unset.
    pub value: Option<String>,
    /// The kind of place where it came from: `default`, `file`, `environment`, `flag` or `derived`.
    pub source: &'static str,
    /// The file, variable or flag, or what it follows from; none for defaults.
    pub from: Option<String>,
}

impl Config {
    /// Every setting, in the order of the documentation.
    pub fn shown_settings(&self) -> Vec<ShownSetting> {
        settings::all().map(|setting| self.shown_setting(setting.path)).collect()
    }

    fn shown_setting(&self, setting: &'static str) -> ShownSetting {
        if let Some((value, from)) = self.following.get(setting) {
            let from = Some(from.clone());
            return ShownSetting { setting, value: Some(value.clone()), source: "derived", from };
        }
        let value = match (setting, &self.database_url) {
            // More than a mask can be told of it.
            ("database_url", Some(_)) => Some(self.database_label()),
            _ => self.shown.get(setting).cloned(),
        };
        let (source, from) = match self.origins.get(setting) {
            None => ("default", None),
            Some(origin) => {
                let source = match origin {
                    Origin::File(_) => "file",
                    Origin::Variable(_) | Origin::Overlay(_) => "environment",
                    Origin::Flag(_) => "flag",
                };
                (source, Some(origin.to_string()))
            }
        };
        ShownSetting { setting, value, source, from }
    }
}
