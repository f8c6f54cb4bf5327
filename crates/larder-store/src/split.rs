//! Originals in one store, variants in another.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use url::Url;

use crate::{
    body::ByteStream,
    error::Result,
    listing::{ListOptions, Listing},
    place::Place,
    store::{
        Capabilities, CopyOptions, OpenOptions, Opened, PutOptions, RenameOptions, SignedAction, Stat, Store,
        UnfinishedOptions,
    },
};

/// The folder, below a bucket's prefix, in which variants lie.
const VARIANTS: &str = "_variants";

/// Two stores as one: what lies in a folder `_variants` is in the second, everything else in the first. Keys
/// can't begin with that folder, so an original is never taken for a variant; one of `a/_variants/b` lies with
/// the variants, and is found there.
#[derive(Debug)]
pub struct SplitStore<O, V> {
    originals: O,
    variants: V,
}

impl<O: Store, V: Store> SplitStore<O, V> {
    /// Two stores as one.
    pub fn new(originals: O, variants: V) -> Self {
        Self { originals, variants }
    }

    fn of(&self, place: &Place) -> &dyn Store {
        match is_variant(place) {
            true => &self.variants,
            false => &self.originals,
        }
    }

    /// Copies from one store into the other.
    async fn carry(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        let opened = self.of(from).open(from, OpenOptions::default()).await?;
        let attributes = options.attributes.unwrap_or(opened.stat.attributes);
        let options =
            PutOptions { attributes, condition: options.condition, size_hint: Some(opened.stat.size_bytes) };
        self.of(to).put(to, opened.body.into_stream(), options).await
    }
}

fn is_variant(place: &Place) -> bool {
    let mut segments = place.segments().peekable();
    while let Some(segment) = segments.next() {
        if segment == VARIANTS && segments.peek().is_some() {
            return true;
        }
    }
    false
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<O: Store, V: Store> Store for SplitStore<O, V> {
    /// What both can do.
    fn capabilities(&self) -> Capabilities {
        let (one, two) = (self.originals.capabilities(), self.variants.capabilities());
        Capabilities {
            attributes: one.attributes && two.attributes,
            create_if_absent: one.create_if_absent && two.create_if_absent,
            replace_if_match: one.replace_if_match && two.replace_if_match,
            local_files: one.local_files && two.local_files,
            rename_keeps_fingerprint: false,
            folders_block: one.folders_block || two.folders_block,
            fingerprints_tell_puts: one.fingerprints_tell_puts && two.fingerprints_tell_puts,
            puts_tell_time: one.puts_tell_time && two.puts_tell_time,
        }
    }

    fn local_path(&self, place: &Place) -> Option<PathBuf> {
        self.of(place).local_path(place)
    }

    fn public_url(&self, place: &Place) -> Option<Url> {
        self.of(place).public_url(place)
    }

    async fn signed_url(&self, place: &Place, action: &SignedAction, life: Duration) -> Result<Option<Url>> {
        self.of(place).signed_url(place, action, life).await
    }

    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat> {
        self.of(place).put(place, body, options).await
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        self.of(place).open(place, options).await
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        self.of(place).stat(place).await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        self.of(place).settle(place).await
    }

    /// Both lists, merged in their order.
    async fn list(&self, options: ListOptions) -> Result<Listing> {
        let (one, two) =
            futures::try_join!(self.originals.list(options.clone()), self.variants.list(options.clone()))?;
        Ok(merged(one, two, options.page_limit()))
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        self.of(place).remove(place).await
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        match is_variant(from) == is_variant(to) {
            true => self.of(to).copy(from, to, options).await,
            false => self.carry(from, to, options).await,
        }
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        if is_variant(from) == is_variant(to) {
            return self.of(to).rename(from, to, options).await;
        }
        let RenameOptions { condition, attributes } = options;
        let stat = self.carry(from, to, CopyOptions { condition, attributes }).await?;
        self.of(from).remove(from).await?;
        Ok(stat)
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        Ok(self.originals.remove_unfinished(options).await?
            + self.variants.remove_unfinished(options).await?)
    }
}

/// The first `limit` of two pages. A page that has a successor is complete only up to its last item, so what
/// the other has beyond that waits for the next call.
fn merged(one: Listing, two: Listing, limit: usize) -> Listing {
    let until = [&one, &two].into_iter().filter_map(|page| page.next.clone()).min();
    let mut entries = one.entries;
    entries.extend(two.entries);
    entries.sort_by(|one, two| one.place.cmp(&two.place));
    let mut prefixes = one.prefixes;
    prefixes.extend(two.prefixes);
    prefixes.sort();
    prefixes.dedup();
    if let Some(until) = &until {
        entries.retain(|entry| entry.place.as_str() <= until.as_str());
        prefixes.retain(|prefix| prefix <= until);
    }
    let mut unnameable = one.unnameable;
    unnameable.extend(two.unnameable);
    let mut page = Listing { next: until, unnameable, ..Listing::default() };
    let (mut entries, mut prefixes) = (entries.into_iter().peekable(), prefixes.into_iter().peekable());
    loop {
        let entry_is_next = match (entries.peek(), prefixes.peek()) {
            (None, None) => return page,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(entry), Some(prefix)) => entry.place.as_str() < prefix.as_str(),
        };
        if page.entries.len() + page.prefixes.len() == limit {
            let last = page.entries.last().map(|entry| entry.place.to_string());
            page.next = last.max(page.prefixes.last().cloned());
            return page;
        }
        match entry_is_next {
            true => page.entries.extend(entries.next()),
            false => page.prefixes.extend(prefixes.next()),
        }
    }
}
