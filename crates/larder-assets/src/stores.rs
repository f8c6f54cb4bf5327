//! The stores of a process: each has a name, by which records say where their bytes lie, and one is
//! the primary, where new bytes go.

use std::{collections::BTreeMap, sync::Arc};

use larder_core::{Code, Fault};
use larder_store::{Place, Stat, Store, StoreExt};

use crate::larder::Larder;

/// Name of the store in a folder of this machine.
pub const LOCAL: &str = "local";

/// Stores by name; one of them is the primary.
#[derive(Debug, Clone)]
pub struct Stores {
    primary: String,
    all: BTreeMap<String, Arc<dyn Store>>,
}

impl Stores {
    /// A primary store and no other.
    pub fn new(name: impl Into<String>, store: Arc<dyn Store>) -> Self {
        let primary = name.into();
        Self { all: BTreeMap::from([(primary.clone(), store)]), primary }
    }

    /// With another store, from which bytes are read and to which they can be moved. The primary stays,
    /// whatever it is called.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, store: Arc<dyn Store>) -> Self {
        self.all.entry(name.into()).or_insert(store);
        self
    }

    /// Name of the primary store.
    pub fn primary_name(&self) -> &str {
        &self.primary
    }

    /// The primary store.
    pub fn primary(&self) -> &Arc<dyn Store> {
        &self.all[&self.primary]
    }

    /// The store of this name.
    ///
    /// # Errors
    /// [`Code::BackendUnavailable`] if this process has none: what lies there can't be reached by it.
    pub fn named(&self, name: &str) -> Result<&Arc<dyn Store>, Fault> {
        self.all.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            Fault::new(
                Code::BackendUnavailable,
                format!("the store \"{name}\" is not configured here; there is {}", known.join(", ")),
            )
            .remedy("configure that store as it was; what lies in it stays there until it is moved")
        })
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(String::as_str)
    }

    /// All stores with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<dyn Store>)> {
        self.all.iter().map(|(name, store)| (name.as_str(), store))
    }
}

impl Larder {
    /// What lies at a place, and in which store: the one that a record from a lost catalogue names, if this
    /// process has it and the bytes are there, else the primary, whatever it was called then.
    pub(crate) async fn found_in(&self, store: &str, at: &Place) -> Result<Option<(String, Stat)>, Fault> {
        let stores = self.stores();
        let mut names = vec![store, stores.primary_name()];
        names.dedup();
        for name in names {
            if let Ok(store) = stores.named(name)
                && let Some(stat) = store.find(at).await?
            {
                return Ok(Some((name.to_owned(), stat)));
            }
        }
        Ok(None)
    }
}

/// The usual set-up: one store, called [`LOCAL`].
impl<S: Store> From<S> for Stores {
    fn from(store: S) -> Self {
        Self::new(LOCAL, Arc::new(store))
    }
}

#[cfg(test)]
mod tests {
    use larder_store::MemoryStore;

    use super::*;

    #[test]
    fn a_store_that_is_not_configured_is_named() {
        let stores =
            Stores::new("one", Arc::new(MemoryStore::new())).with("two", Arc::new(MemoryStore::new()));
        assert_eq!(stores.names().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(stores.primary_name(), "one");
        let fault = stores.named("three").unwrap_err();
        assert_eq!(fault.code, Code::BackendUnavailable);
        assert!(fault.detail.contains("\"three\"") && fault.detail.contains("one, two"), "{fault}");
    }
}
