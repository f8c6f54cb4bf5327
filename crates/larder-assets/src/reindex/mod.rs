//! Rebuilding a lost catalogue from what lies in the store.
//!
//! First come the records that lie beside the bytes ([`crate::meta`]): ids, keys, metadata, versions and
//! the trash are as they were. Each is held against what lies at its place now. Then what no record names
//! is adopted by its path. At the end this catalogue becomes the one that writes its records to the store.
//! Nothing in the store is moved or removed. What was done stays done if it is cut off; with `merge` it
//! goes on.

mod assets;
mod files;
mod named;
#[cfg(test)]
mod tests;
mod variants;

use std::collections::{HashMap, HashSet};

use larder_core::{AssetId, BucketName, Code, Fault, VariantId};
use serde::{Deserialize, Serialize};

use crate::{
    adopt::AdoptReport,
    follow::Follow,
    larder::Larder,
    meta::{About, MetaFiles, MetaRecord, Unreadable, read_file},
};

/// Findings that a report names; more are only counted.
const FINDINGS_MAX: usize = 10_000;

/// Records that are held against the store at a time.
const AT_A_TIME: usize = 16;

/// How to rebuild.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReindexOptions {
    /// Also into a catalogue that holds assets; what it holds stays.
    pub merge: bool,
    /// Hash every byte, and decode what is adopted in full.
    pub verify: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was, or would be, rebuilt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReindexReport {
    /// Whether nothing was stored in fact.
    pub dry_run: bool,
    /// Files of records that were read.
    pub record_files: u64,
    /// Files of records that can't be relied on.
    pub unreadable: Vec<Unreadable>,
    /// Records of a kind that a newer Larder wrote.
    pub unknown: u64,
    /// Buckets as they were.
    pub buckets: u64,
    /// Presets as they were.
    pub presets: u64,
    /// Assets as they were, less those in the trash.
    pub assets: u64,
    /// Their bytes.
    pub asset_bytes: u64,
    /// Assets in the trash as they were.
    pub deleted: u64,
    /// Variants as they were.
    pub variants: u64,
    /// Variants whose bytes are gone or changed; they are made again when they are asked for.
    pub variants_dropped: u64,
    /// Records of assets that the catalogue holds already.
    pub present: u64,
    /// What differs from the records.
    pub differences: u64,
    /// How; the first 10,000 of them.
    pub findings: Vec<Difference>,
    /// What had no record.
    pub by_path: AdoptReport,
}

/// Something in the store that is not as its record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What it is.
    pub kind: DifferenceKind,
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: String,
    /// The asset.
    pub asset: AssetId,
    /// Where its bytes lie, or should.
    pub place: String,
    /// What was made of it.
    pub detail: String,
}

/// How something differs from its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Its bytes are gone.
    Missing,
    /// Its bytes are damaged.
    Damaged,
    /// Newer bytes lie there.
    Newer,
    /// It was deleted after its record was written.
    Deleted,
    /// It was brought back after its record was written.
    Restored,
    /// Its key is another asset's.
    KeyTaken,
}

/// A rebuilding under way.
struct Reindex<'a> {
    larder: &'a Larder,
    options: ReindexOptions,
    follow: &'a dyn Follow,
    report: ReindexReport,
    /// Assets that are there now, or would be: whose variants count.
    sources: HashMap<AssetId, Source>,
    /// Places that records name; only kept in a dry run, in which the catalogue does not learn them.
    places: HashSet<String>,
}

/// What the variants of an asset depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    sha256: [u8; 8],
    is_live: bool,
}

impl Larder {
    /// Rebuilds the catalogue from the store; see [`ReindexOptions`].
    ///
    /// # Errors
    /// [`Code::Conflict`] if the catalogue holds assets and `merge` is not set; the catalogue's and the
    /// store's.
    pub async fn reindex(
        &self,
        options: ReindexOptions,
        follow: &dyn Follow,
    ) -> Result<ReindexReport, Fault> {
        if !options.merge && !self.catalog().assets_by_id(None, 1).await?.is_empty() {
            return Err(Fault::new(Code::Conflict, "the catalogue holds assets already")
                .remedy("give --merge to add what it lacks, or name the catalogue that is to be rebuilt"));
        }
        let mut reindex = Reindex {
            larder: self,
            options,
            follow,
            report: ReindexReport { dry_run: options.dry_run, ..ReindexReport::default() },
            sources: HashMap::new(),
            places: HashSet::new(),
        };
        let files = MetaFiles::find(self).await?;
        follow.expect(2 * files.len() as u64);
        reindex.buckets_and_assets(&files).await?;
        reindex.variants(&files).await?;
        reindex.files().await?;
        if !options.dry_run {
            self.become_owner().await?;
        }
        Ok(reindex.report)
    }

    /// From now on this catalogue's records are the ones that are written to the store, with numbers
    /// behind all there are.
    async fn become_owner(&self) -> Result<(), Fault> {
        let log = self.next_meta_seq().await?;
        self.raise_meta_seq(self.newest_meta().await?).await?;
        self.take_meta(&log.catalogue).await?;
        self.record_meta().await.map(drop)
    }
}

impl Reindex<'_> {
    /// Reads the buckets, presets and assets, the newest record of each.
    async fn buckets_and_assets(&mut self, files: &MetaFiles) -> Result<(), Fault> {
        let mut seen: HashMap<AssetId, i64> = HashMap::new();
        let mut named = named::Named::default();
        for place in files.places() {
            let Some(records) = self.read(place, true).await? else { continue };
            let mut assets = Vec::new();
            for MetaRecord { seq, about } in records {
                match about {
                    About::Asset(meta) => {
                        let asset = larder_catalog::AssetRecord::from(*meta);
                        if is_newest(&mut seen, asset.id, seq) {
                            assets.push(asset);
                        }
                    }
                    About::Gone(gone) if gone.kind == "asset" => {
                        if let Ok(id) = gone.id.parse() {
                            is_newest(&mut seen, id, seq);
                        }
                    }
                    other => named.take(seq, other),
                }
            }
            self.assets(assets).await?;
        }
        self.named(named).await
    }

    async fn variants(&mut self, files: &MetaFiles) -> Result<(), Fault> {
        let mut seen: HashMap<VariantId, i64> = HashMap::new();
        for place in files.places() {
            let Some(records) = self.read(place, false).await? else { continue };
            let mut variants = Vec::new();
            for MetaRecord { seq, about } in records {
                match about {
                    About::Variant(meta) => {
                        let record = meta.record(self.larder.ambient().now());
                        variants.extend(record.filter(|record| is_newest(&mut seen, record.id, seq)));
                    }
                    About::Gone(gone) if gone.kind == "variant" => {
                        if let Ok(id) = gone.id.parse() {
                            is_newest(&mut seen, id, seq);
                        }
                    }
                    _ => {}
                }
            }
            self.variants_of_file(variants).await?;
        }
        Ok(())
    }

    /// The records of a file; `None` for one that is told to be unreadable.
    async fn read(
        &mut self,
        place: &larder_store::Place,
        is_first: bool,
    ) -> Result<Option<Vec<MetaRecord>>, Fault> {
        self.follow.check()?;
        self.follow.advance(1);
        let batch = read_file(self.larder, place).await?;
        match batch {
            Ok(batch) => {
                if is_first {
                    self.report.record_files += 1;
                    self.report.unknown += batch.unknown as u64;
                }
                Ok(Some(batch.records))
            }
            Err(bad) => {
                if is_first {
                    tracing::warn!(place = bad.place, why = bad.why, "a file of records is left out");
                    self.report.unreadable.push(bad);
                }
                Ok(None)
            }
        }
    }

    fn differs(&mut self, difference: Difference) {
        self.report.differences += 1;
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(difference);
        }
    }
}

/// Files are read the newest first, so the first record of a thing is its newest.
fn is_newest<K: std::hash::Hash + Eq>(seen: &mut HashMap<K, i64>, id: K, seq: i64) -> bool {
    use std::collections::hash_map::Entry;
    match seen.entry(id) {
        Entry::Vacant(entry) => {
            entry.insert(seq);
            true
        }
        Entry::Occupied(_) => false,
    }
}

/// Enough of a digest to tell versions of one asset apart.
fn short(sha256: &str) -> [u8; 8] {
    let mut bytes = [0; 8];
    // A digest that is none is equal to no other's.
    let _ = hex::decode_to_slice(sha256.get(..16).unwrap_or_default(), &mut bytes);
    bytes
}
