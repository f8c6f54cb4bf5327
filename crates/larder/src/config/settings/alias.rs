//! Other environment names of a setting: those that applications, platforms and tools use already.

use crate::config::{Config, Raw, StoreBackend, StoreChoice};

/// Another environment name of a setting.
#[derive(Clone, Copy)]
pub struct Alias {
    /// The variable.
    pub name: &'static str,
    /// Who uses this name, for the documentation.
    pub style: &'static str,
    /// How strong it is.
    pub strength: Strength,
    /// The store for which it counts.
    pub belongs: Belongs,
    /// What its values mean, where they differ from the setting's.
    pub doc: &'static str,
    /// Whether a value of it is meant for this setting.
    pub takes: fn(&str) -> bool,
    /// Turns its text into the setting's value, in one spelling for one meaning.
    pub read: fn(&Config, &str) -> Result<Raw, String>,
}

/// How strong an alias is. Two of one strength that disagree contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// As `Foreign`, where no foreign name is set: a name that is documented to yield, or a general one.
    Yielding,
    /// A name that other applications use too: the file wins over it.
    Foreign,
    /// A name that the platform sets for this very process: it wins over the file.
    Platform,
}

/// For which store a name counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belongs {
    /// Whatever the store is.
    Always,
    /// The local disk.
    Local,
    /// Any S3 store.
    S3,
    /// S3 stores but the one that is selected as `minio`, which has names of its own.
    Aws,
    /// The S3 store that is selected as `minio`, or found by what is set.
    Minio,
}

impl Belongs {
    /// Whether the name counts for the selected store.
    pub fn counts(self, choice: StoreChoice, backend: StoreBackend) -> bool {
        let s3 = backend == StoreBackend::S3;
        match self {
            Self::Always => true,
            Self::Local => matches!(backend, StoreBackend::Local | StoreBackend::Local2),
            Self::S3 => s3,
            Self::Aws => s3 && choice != StoreChoice::Minio,
            Self::Minio => s3 && matches!(choice, StoreChoice::Auto | StoreChoice::Minio),
        }
    }

    /// The stores, for the documentation.
    pub fn stores(self) -> &'static str {
        match self {
            Self::Always => "all",
            Self::Local => "`local`",
            Self::S3 => "`s3`, `minio`, `tigris`",
            Self::Aws => "`s3`, `tigris`",
            Self::Minio => "`minio`",
        }
    }
}

/// A name that other applications use as well.
pub(super) const fn foreign(name: &'static str, style: &'static str) -> Alias {
    Alias {
        name,
        style,
        strength: Strength::Foreign,
        belongs: Belongs::Always,
        doc: "",
        takes: |_| true,
        read: |_, text| Ok(Raw::text(text)),
    }
}

impl Alias {
    /// A name that the platform sets for this process.
    pub(super) const fn platform(name: &'static str, style: &'static str) -> Self {
        Self { strength: Strength::Platform, ..foreign(name, style) }
    }

    /// It counts for these stores only.
    pub(super) const fn of(self, belongs: Belongs) -> Self {
        Self { belongs, ..self }
    }

    /// Another name of the setting wins over it.
    pub(super) const fn yielding(self) -> Self {
        Self { strength: Strength::Yielding, ..self }
    }

    /// Its values have a meaning of their own.
    pub(super) const fn meaning(
        self,
        doc: &'static str,
        read: fn(&Config, &str) -> Result<Raw, String>,
    ) -> Self {
        Self { doc, read, ..self }
    }

    /// Only these of its values are meant for the setting.
    pub(super) const fn taking(self, doc: &'static str, takes: fn(&str) -> bool) -> Self {
        Self { doc, takes, ..self }
    }
}
