//! Buckets of file and environment: the fields that they name, over what is there without them.

use larder_assets::{BucketPolicy, Visibility};
use larder_core::{BucketName, limits::ARTWORK_BYTES_MAX, text::ByteSize};
use toml::{Table, Value};

use super::{Config, StoreBackend};

/// The buckets of a first start and the presets that each makes. `media` is what doors use that name
/// no bucket.
pub const SHIPPED: [(&str, &str); 4] =
    [("artwork", "artwork"), ("keeps", "keep"), ("designs", "design"), ("media", "artwork")];

/// What file and environment say of one bucket.
#[derive(Debug, Clone, Default)]
pub struct BucketEntry {
    /// Whether the file defines it: then all that is not named is as it would be without catalogue.
    /// The environment alone changes single fields of the bucket that is there.
    pub in_file: bool,
    /// The fields that are named, in the shape of a [`BucketPolicy`].
    pub fields: Table,
}

impl BucketEntry {
    /// Sets one field, as `["cors", "origins"]`, to a value.
    ///
    /// # Errors
    /// The way leads through something that has no fields.
    pub(super) fn set(&mut self, field: &[String], value: Value) -> Result<(), String> {
        let (last, way) = field.split_last().ok_or("the field is missing")?;
        let mut place = &mut self.fields;
        for step in way {
            let inner = place.entry(step.clone()).or_insert_with(|| Value::Table(Table::new()));
            place = inner.as_table_mut().ok_or_else(|| format!("{step} is no table"))?;
        }
        place.insert(last.clone(), value);
        Ok(())
    }
}

impl Config {
    /// The policy of a bucket that file or environment name; `present` is what the catalogue holds.
    ///
    /// # Errors
    /// A sentence that says which field is wrong.
    pub fn policy_of(
        &self,
        name: &BucketName,
        entry: &BucketEntry,
        present: Option<&BucketPolicy>,
    ) -> Result<BucketPolicy, String> {
        let present = present.filter(|_| !entry.in_file).cloned();
        let base = present.or_else(|| shipped_policy(name)).unwrap_or_default();
        let mut table = Table::try_from(self.reshaped(name, base)).map_err(|error| error.to_string())?;
        lay_over(&mut table, &entry.fields);
        table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }

    /// What settings make of a shipped bucket.
    pub fn reshaped(&self, name: &BucketName, mut policy: BucketPolicy) -> BucketPolicy {
        if name.as_str() == "artwork" && self.origins.contains_key("limits.artwork_bytes") {
            policy.max_bytes = self.limits.artwork_bytes;
        }
        let counts = self.store.backend == StoreBackend::S3
            && SHIPPED.iter().any(|(shipped, _)| *shipped == name.as_str());
        if let Some(public) = self.store.s3.public_bucket.filter(|_| counts) {
            policy.visibility = if public { Visibility::Public } else { Visibility::Private };
        }
        policy
    }
}

/// The policy of a shipped bucket without any configuration.
pub fn shipped_policy(name: &BucketName) -> Option<BucketPolicy> {
    let (_, set) = SHIPPED.iter().find(|(shipped, _)| *shipped == name.as_str())?;
    let mut policy = BucketPolicy { presets: vec![(*set).to_owned()], ..BucketPolicy::default() };
    if name.as_str() == "artwork" {
        policy.max_bytes = ByteSize(ARTWORK_BYTES_MAX);
    }
    Some(policy)
}

/// Sets the named fields, those inside tables one by one.
fn lay_over(table: &mut Table, fields: &Table) {
    for (name, value) in fields {
        match (table.get_mut(name), value) {
            (Some(Value::Table(inner)), Value::Table(fields)) => lay_over(inner, fields),
            _ => drop(table.insert(name.clone(), value.clone())),
        }
    }
}
