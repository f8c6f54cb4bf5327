//! Conveniences over every store.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    body::stream_of,
    error::{Error, Result},
    listing::ListOptions,
    place::Place,
    store::{OpenOptions, PutOptions, Stat, Store},
};

/// What can be said in terms of [`Store`]; nobody implements it.
#[async_trait]
pub trait StoreExt: Store {
    /// What lies at a place, `None` for nothing.
    ///
    /// # Errors
    /// As [`Store::stat`], but for `NotFound`.
    async fn find(&self, place: &Place) -> Result<Option<Stat>> {
        match self.stat(place).await {
            Ok(stat) => Ok(Some(stat)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether anything lies at a place.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    async fn exists(&self, place: &Place) -> Result<bool> {
        Ok(self.find(place).await?.is_some())
    }

    /// Puts bytes that are in memory.
    ///
    /// # Errors
    /// As [`Store::put`].
    async fn put_bytes<B>(&self, place: &Place, bytes: B, mut options: PutOptions) -> Result<Stat>
    where
        B: Into<Bytes> + Send,
    {
        let bytes = bytes.into();
        options.size_hint = Some(bytes.len() as u64);
        self.put(place, stream_of(bytes), options).await
    }

    /// Reads all bytes at a place.
    ///
    /// # Errors
    /// As [`Store::open`]; [`Error::Invalid`] if there are more than `limit_bytes`.
    async fn read_all(&self, place: &Place, limit_bytes: u64) -> Result<Bytes> {
        self.open(place, OpenOptions::default()).await?.exact().body.read_all(limit_bytes).await
    }

    /// Removes everything whose place begins with `prefix` (bytewise: end it with a slash to mean a
    /// folder) and says how many there were. Not atomic: cut short, it has removed some.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty prefix; else as [`Store::list`] and [`Store::remove`].
    async fn remove_prefix(&self, prefix: &str) -> Result<u64> {
        if prefix.is_empty() {
            return Err(Error::Invalid { detail: "an empty prefix would remove the whole store".to_owned() });
        }
        let mut removed = 0;
        let mut options = ListOptions::under(prefix);
        loop {
            let page = self.list(options.clone()).await?;
            for entry in page.entries {
                removed += u64::from(self.remove(&entry.place).await?);
            }
            match page.next {
                Some(next) => options.after = Some(next),
                None => return Ok(removed),
            }
        }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}
