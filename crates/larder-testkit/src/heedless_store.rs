//! A store that ignores conditions and answers with success, as some servers do.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use larder_store::{
    ByteStream, Capabilities, Condition, CopyOptions, ListOptions, Listing, OpenOptions, Opened, Place,
    PutOptions, RenameOptions, Result, SignedAction, Stat, Store, UnfinishedOptions,
};
use url::Url;

/// Ignores what must hold for bytes to be put, and says so in its capabilities.
#[derive(Debug)]
pub struct HeedlessStore<S>(pub S);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for HeedlessStore<S> {
    fn capabilities(&self) -> Capabilities {
        Capabilities { create_if_absent: false, replace_if_match: false, ..self.0.capabilities() }
    }

    fn local_path(&self, place: &Place) -> Option<PathBuf> {
        self.0.local_path(place)
    }

    fn public_url(&self, place: &Place) -> Option<Url> {
        self.0.public_url(place)
    }

    async fn signed_url(&self, place: &Place, action: &SignedAction, life: Duration) -> Result<Option<Url>> {
        self.0.signed_url(place, action, life).await
    }

    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat> {
        self.0.put(place, body, PutOptions { condition: Condition::None, ..options }).await
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        self.0.open(place, options).await
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        self.0.stat(place).await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        self.0.settle(place).await
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        self.0.list(options).await
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        self.0.remove(place).await
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        self.0.copy(from, to, CopyOptions { condition: Condition::None, ..options }).await
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        self.0.rename(from, to, RenameOptions { condition: Condition::None, ..options }).await
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        self.0.remove_unfinished(options).await
    }
}
