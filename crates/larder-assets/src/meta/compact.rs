//! Keeps the files of records few, and no larger than twice what they say.
//!
//! Small batches at the end of the log are merged into one. When the log has grown as large as the base,
//! a new base is written from the catalogue, and what it replaces is removed.

use std::collections::HashMap;

use larder_core::{AssetId, Fault, VariantId};
use larder_store::{Condition, ListOptions, Place, PutOptions, StoreExt};

use super::{
    MetaFiles, Ownership, batch,
    places::{self, LogName},
    read::{BaseEnd, base_numbers, read_file},
    record::{About, MetaRecord},
};
use crate::{jobs::JobContext, larder::Larder};

/// Small batches at the end of the log that are left alone.
const SMALL_MAX: usize = 64;

/// From this size on a batch is not merged any more.
const SMALL_BYTES: u64 = 4 << 20;

/// The least size of a log that makes a new base worth its writing.
const LOG_BYTES_MIN: u64 = 16 << 20;

/// Records of one part of a base, some 8 MB.
const PART_RECORDS: usize = 8_000;

/// Records read at a time.
const PAGE: u32 = 1_000;

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Batches that were merged.
    pub merged: u64,
    /// Whether a new base was written.
    pub is_rebased: bool,
}

impl Larder {
    /// Merges what is small, and writes a new base when it is worth it.
    ///
    /// # Errors
    /// The catalogue's and the store's. Cut off anywhere, the records are as good as before.
    pub async fn compact_meta(&self, job: Option<&JobContext>) -> Result<Compacted, Fault> {
        self.compact_meta_beyond(LOG_BYTES_MIN, job).await
    }

    /// As [`compact_meta`](Self::compact_meta), with another size of the log that makes a new base worth it.
    pub(crate) async fn compact_meta_beyond(
        &self,
        log_bytes_min: u64,
        job: Option<&JobContext>,
    ) -> Result<Compacted, Fault> {
        let mut compacted = Compacted::default();
        let Some(log) = self.catalog().meta_log().await? else { return Ok(compacted) };
        if self.claim_meta(&log.catalogue).await? != Ownership::Ours {
            return Ok(compacted);
        }
        let files = MetaFiles::find(self).await?;
        let log_bytes: u64 = files.log.iter().map(|(_, bytes)| bytes).sum();
        // A store that became the primary one has only what was written since then.
        let is_partial = files.base.is_none() && files.log.first().is_some_and(|(name, _)| name.first > 1);
        if is_partial || log_bytes >= log_bytes_min.max(files.base.map_or(0, |base| base.bytes)) {
            self.write_base(job).await?;
            compacted.is_rebased = true;
            return Ok(compacted);
        }
        let small = files.log.iter().rev().take_while(|(_, bytes)| *bytes < SMALL_BYTES).count();
        if small > SMALL_MAX {
            let names: Vec<LogName> =
                files.log[files.log.len() - small..].iter().map(|(name, _)| *name).collect();
            if self.merge(&log.catalogue, &names, job).await? {
                compacted.merged = names.len() as u64;
            }
        }
        Ok(compacted)
    }

    /// Merges batches that follow each other, the oldest first, into as few as their sizes allow.
    async fn merge(
        &self,
        catalogue: &str,
        names: &[LogName],
        job: Option<&JobContext>,
    ) -> Result<bool, Fault> {
        let mut newest: HashMap<(String, String), MetaRecord> = HashMap::new();
        for name in names {
            if let Some(job) = job {
                job.check()?;
            }
            let batch = match read_file(self, &name.place()?).await? {
                Ok(batch) if batch.unknown == 0 => batch,
                Ok(_) => {
                    tracing::warn!(?name, "a batch of a newer Larder is not merged");
                    return Ok(false);
                }
                Err(bad) => {
                    tracing::warn!(place = bad.place, why = bad.why, "a batch of records can't be merged");
                    return Ok(false);
                }
            };
            for record in batch.records {
                let identity = record.about.identity();
                if newest.get(&identity).is_none_or(|known| known.seq <= record.seq) {
                    newest.insert(identity, record);
                }
            }
        }
        let (Some(first), Some(last)) = (names.first(), names.last()) else { return Ok(false) };
        let merged = LogName { first: first.first, last: last.last };
        let mut records: Vec<MetaRecord> = newest.into_values().collect();
        records.sort_by_key(|record| record.seq);
        let options = PutOptions { condition: Condition::IfAbsent, ..PutOptions::default() };
        let file = batch::encode(catalogue, &records)?;
        match self.stores().primary().put_bytes(&merged.place()?, file, options).await {
            // Another process does the same.
            Err(larder_store::Error::Precondition { .. }) => return Ok(false),
            put => drop(put?),
        }
        for name in names.iter().filter(|name| **name != merged) {
            self.stores().primary().remove(&name.place()?).await?;
        }
        Ok(true)
    }

    /// Writes all there is. The records are read after the base got its number: what changes meanwhile is
    /// marked, and written to the log with a higher one.
    pub(crate) async fn write_base(&self, job: Option<&JobContext>) -> Result<(), Fault> {
        let log = self.next_meta_seq().await?;
        let mut base =
            BaseWriter { larder: self, catalogue: log.catalogue, seq: log.seq, ..BaseWriter::new(self) };
        for bucket in self.catalog().buckets().await? {
            base.add(bucket.into()).await?;
        }
        for preset in self.catalog().presets().await? {
            base.add(preset.into()).await?;
        }
        let mut after: Option<AssetId> = None;
        loop {
            check(job)?;
            let page = self.catalog().assets_by_id(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for asset in page {
                base.add(asset.into()).await?;
            }
        }
        let mut after: Option<VariantId> = None;
        loop {
            check(job)?;
            let page = self.catalog().variants_by_id(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for variant in page {
                if let Some(about) = About::of_variant(variant) {
                    base.add(about).await?;
                }
            }
        }
        let seq = base.end().await?;
        self.remove_meta_before(seq).await
    }

    /// Removes what a base replaces.
    pub(crate) async fn remove_meta_before(&self, seq: i64) -> Result<(), Fault> {
        let log = self.listed(places::log_prefix()).await?;
        for place in log {
            if LogName::of(&place).is_some_and(|name| name.last <= seq) {
                self.stores().primary().remove(&place).await?;
            }
        }
        for older in base_numbers(self).await?.into_iter().filter(|older| *older < seq) {
            // Its end first: a base without its end does not count.
            self.stores().primary().remove(&places::base_end(older)?).await?;
            for place in self.listed(format!("{}{older:020}/", places::base_prefix())).await? {
                self.stores().primary().remove(&place).await?;
            }
        }
        Ok(())
    }

    async fn listed(&self, prefix: String) -> Result<Vec<Place>, Fault> {
        let (mut places, mut options) = (Vec::new(), ListOptions::under(prefix));
        loop {
            let page = self.stores().primary().list(options.clone()).await?;
            places.extend(page.entries.into_iter().map(|entry| entry.place));
            match page.next {
                Some(next) => options.after = Some(next),
                None => return Ok(places),
            }
        }
    }
}

struct BaseWriter<'a> {
    larder: &'a Larder,
    catalogue: String,
    seq: i64,
    records: Vec<MetaRecord>,
    parts: u32,
    bytes: u64,
}

impl<'a> BaseWriter<'a> {
    fn new(larder: &'a Larder) -> Self {
        Self { larder, catalogue: String::new(), seq: 0, records: Vec::new(), parts: 0, bytes: 0 }
    }

    async fn add(&mut self, about: About) -> Result<(), Fault> {
        self.records.push(MetaRecord { seq: self.seq, about });
        if self.records.len() >= PART_RECORDS { self.write_part().await } else { Ok(()) }
    }

    async fn write_part(&mut self) -> Result<(), Fault> {
        if self.records.is_empty() {
            return Ok(());
        }
        let file = batch::encode(&self.catalogue, &self.records)?;
        self.bytes += file.len() as u64;
        let at = places::base_part(self.seq, self.parts)?;
        self.larder.stores().primary().put_bytes(&at, file, PutOptions::default()).await?;
        self.parts += 1;
        self.records.clear();
        Ok(())
    }

    async fn end(mut self) -> Result<i64, Fault> {
        self.write_part().await?;
        let end = BaseEnd { larder_meta: 1, seq: self.seq, parts: self.parts, bytes: self.bytes };
        let text = serde_json::json!(end).to_string();
        self.larder
            .stores()
            .primary()
            .put_bytes(&places::base_end(self.seq)?, text, PutOptions::default())
            .await?;
        Ok(self.seq)
    }
}

fn check(job: Option<&JobContext>) -> Result<(), Fault> {
    job.map_or(Ok(()), JobContext::check)
}
