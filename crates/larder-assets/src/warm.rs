//! Decoded pictures between the job that checked them and the job that makes their variants, so that
//! each upload is decoded once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use larder_image::{Decoded, Recipe};

use crate::pixels::MemoryShare;

/// A decoded picture with its share of the memory budget.
pub(crate) struct Warm {
    pub(crate) recipes: Vec<Recipe>,
    pub(crate) decoded: Decoded,
    pub(crate) share: MemoryShare,
}

/// Pictures by the SHA-256 of their files, each with its share of the memory budget.
#[derive(Default)]
pub struct WarmPictures(Mutex<HashMap<String, Warm>>);

impl WarmPictures {
    pub(crate) fn put(&self, sha256: &str, warm: Warm) {
        self.lock().insert(sha256.to_owned(), warm);
    }

    pub(crate) fn take(&self, sha256: &str) -> Option<Warm> {
        self.lock().remove(sha256)
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Warm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for WarmPictures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WarmPictures({})", self.lock().len())
    }
}
