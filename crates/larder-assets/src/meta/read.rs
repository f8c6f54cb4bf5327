//! The files of records that count, the newest first.

use larder_core::Fault;
use larder_store::{ListOptions, Place, StoreExt};
use serde::{Deserialize, Serialize};

use super::{
    batch::{self, Batch, FILE_BYTES_MAX},
    places::{self, LogName},
};
use crate::larder::Larder;

/// Bytes of the file that ends a base.
const END_BYTES_MAX: u64 = 4_096;

/// What ends a base: written after all of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BaseEnd {
    pub(super) larder_meta: u32,
    pub(crate) seq: i64,
    pub(crate) parts: u32,
    pub(crate) bytes: u64,
}

/// A file that can't be relied on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Where it lies.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

/// The files that count.
#[derive(Debug, Default)]
pub(crate) struct MetaFiles {
    /// Places, the newest first.
    files: Vec<Place>,
    /// Batches of the log with their sizes, the oldest first.
    pub(super) log: Vec<(LogName, u64)>,
    pub(super) base: Option<BaseEnd>,
}

impl MetaFiles {
    /// Looks what is there.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn find(larder: &Larder) -> Result<Self, Fault> {
        let base = Self::newest_base(larder).await?;
        let from = base.map_or(0, |base| base.seq);
        let mut log = Vec::new();
        let mut options = ListOptions::under(places::log_prefix());
        loop {
            let page = larder.stores().primary().list(options.clone()).await?;
            let named = page
                .entries
                .iter()
                .filter_map(|entry| LogName::of(&entry.place).map(|name| (name, entry.size_bytes)));
            // What a base holds counts no more; its removal was cut off.
            log.extend(named.filter(|(name, _)| name.last > from));
            match page.next {
                Some(next) => options.after = Some(next),
                None => break,
            }
        }
        log.sort_by_key(|(name, _)| (name.last, std::cmp::Reverse(name.first)));
        let mut files: Vec<Place> =
            log.iter().rev().map(|(name, _)| name.place()).collect::<Result<_, _>>()?;
        for part in 0..base.map_or(0, |base| base.parts) {
            files.push(places::base_part(from, part)?);
        }
        Ok(Self { files, log, base })
    }

    /// The newest base that was written to its end.
    pub(crate) async fn newest_base(larder: &Larder) -> Result<Option<BaseEnd>, Fault> {
        let mut bases = base_numbers(larder).await?;
        bases.sort_unstable();
        for seq in bases.into_iter().rev() {
            let bytes = match larder.stores().primary().read_all(&places::base_end(seq)?, END_BYTES_MAX).await
            {
                Err(larder_store::Error::NotFound { .. }) => continue,
                bytes => bytes?,
            };
            match serde_json::from_slice::<BaseEnd>(&bytes) {
                Ok(end) if end.seq == seq => return Ok(Some(end)),
                _ => tracing::warn!(seq, "the end of a base of records can't be read; an older one is used"),
            }
        }
        Ok(None)
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Reads each file, the newest first.
    pub(crate) fn places(&self) -> &[Place] {
        &self.files
    }
}

/// Reads a file of records; one that is damaged or gone is told, and no error.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn read_file(larder: &Larder, place: &Place) -> Result<Result<Batch, Unreadable>, Fault> {
    let bad = |why: String| Unreadable { place: place.to_string(), why };
    let opened = match larder.stores().primary().open(place, Default::default()).await {
        Err(larder_store::Error::NotFound { .. }) => return Ok(Err(bad("it is gone".to_owned()))),
        opened => opened?,
    };
    if opened.stat.size_bytes > FILE_BYTES_MAX {
        return Ok(Err(bad(format!(
            "it has {} bytes, far more than is ever written",
            opened.stat.size_bytes
        ))));
    }
    let bytes = opened.body.read_all(FILE_BYTES_MAX).await?;
    Ok(batch::decode(&bytes).map_err(bad))
}

pub(super) async fn base_numbers(larder: &Larder) -> Result<Vec<i64>, Fault> {
    let mut numbers = Vec::new();
    let mut options = ListOptions { delimiter: true, ..ListOptions::under(places::base_prefix()) };
    loop {
        let page = larder.stores().primary().list(options.clone()).await?;
        numbers.extend(page.prefixes.iter().filter_map(|prefix| {
            let inner: Place = format!("{prefix}x").parse().ok()?;
            places::base_of(&inner)
        }));
        match page.next {
            Some(next) => options.after = Some(next),
            None => return Ok(numbers),
        }
    }
}
