//! From marks of changes to a batch in the store.

use std::{collections::BTreeSet, time::Duration};

use larder_catalog::{Class, MetaChange, MetaKind, MetaLog, Tx};
use larder_core::{Code, Fault};
use larder_store::{Condition, ListOptions, PutOptions, StoreExt};

use super::{
    Ownership, batch,
    places::{LogName, log_prefix},
    record::{About, MetaRecord},
};
use crate::{larder::Larder, liveness::ProcessName};

/// Changes of one batch. Its records are read in one transaction of some 10 ms.
const BATCH: u32 = 500;

/// Batches of one call; what remains is written by the next.
const ROUNDS_MAX: usize = 10_000;

/// How long a writer holds the log without asking again: far longer than a store takes for a batch.
const HELD_FOR: Duration = Duration::from_secs(60);

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Records.
    pub records: u64,
    /// Batches.
    pub batches: u64,
    /// Nothing was written: the store holds the records of another catalogue.
    pub is_foreign: bool,
}

/// What one transaction read.
struct Snapshot {
    log: MetaLog,
    changes: Vec<MetaChange>,
    abouts: Vec<About>,
}

impl Larder {
    /// Writes what changed to the store, so that a rebuilt catalogue has it. Does nothing while another
    /// process does it.
    ///
    /// # Errors
    /// The catalogue's and the store's; what is not written stays marked.
    pub async fn record_meta(&self) -> Result<Recorded, Fault> {
        let mut recorded = Recorded::default();
        for _ in 0..ROUNDS_MAX {
            if self.catalog().meta_changes(1).await?.is_empty() {
                break;
            }
            let Some(snapshot) = self.meta_snapshot().await? else { break };
            let outcome = self.write_snapshot(&snapshot).await;
            if !matches!(outcome, Ok(Written::Batch)) {
                self.release_meta().await;
            }
            match outcome? {
                Written::Batch => {
                    recorded.records += snapshot.abouts.len() as u64;
                    recorded.batches += 1;
                }
                Written::Taken => {}
                Written::Foreign => {
                    recorded.is_foreign = true;
                    break;
                }
            }
        }
        if recorded.batches > 0 {
            self.release_meta().await;
        }
        Ok(recorded)
    }

    async fn meta_snapshot(&self) -> Result<Option<Snapshot>, Fault> {
        let until = self.ambient().now().plus(HELD_FOR);
        let taken = self.catalog().commit(Class::Durable, move |tx| {
            Box::pin(async move {
                let Some(log) = tx.take_meta_log(&holder(), until).await? else { return Ok(None) };
                let changes = tx.meta_changes(BATCH).await?;
                let abouts = abouts(tx, &changes).await?;
                Ok(Some(Snapshot { log, changes, abouts }))
            })
        });
        Ok(taken.await?)
    }

    async fn write_snapshot(&self, snapshot: &Snapshot) -> Result<Written, Fault> {
        let Snapshot { log, changes, abouts } = snapshot;
        if let Ownership::Foreign(_) = self.claim_meta(&log.catalogue).await? {
            return Ok(Written::Foreign);
        }
        let records: Vec<MetaRecord> =
            abouts.iter().map(|about| MetaRecord { seq: log.seq, about: about.clone() }).collect();
        if !records.is_empty() && !self.put_batch(log, &records).await? {
            return Ok(Written::Taken);
        }
        let marks: Vec<i64> = changes.iter().map(|change| change.mark).collect();
        self.catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.forget_meta_changes(&marks).await }))
            .await?;
        Ok(Written::Batch)
    }

    /// `false` if there is a batch of this number already: the catalogue was brought back from a copy.
    /// The next one has a number behind all there are.
    async fn put_batch(&self, log: &MetaLog, records: &[MetaRecord]) -> Result<bool, Fault> {
        let at = LogName { first: log.seq, last: log.seq }.place()?;
        let file = batch::encode(&log.catalogue, records)?;
        let options = PutOptions { condition: Condition::IfAbsent, ..PutOptions::default() };
        match self.stores().primary().put_bytes(&at, file, options).await {
            Ok(_) => Ok(true),
            Err(larder_store::Error::Precondition { .. }) => {
                let newest = self.newest_meta().await?;
                self.raise_meta_seq(newest).await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The highest number in the store; 0 if there is none.
    pub(crate) async fn newest_meta(&self) -> Result<i64, Fault> {
        let (mut newest, mut options) = (0, ListOptions::under(log_prefix()));
        loop {
            let page = self.stores().primary().list(options.clone()).await?;
            let numbers = page.entries.iter().filter_map(|entry| LogName::of(&entry.place));
            newest = numbers.map(|name| name.last).fold(newest, i64::max);
            match page.next {
                Some(next) => options.after = Some(next),
                None => break,
            }
        }
        let base = super::MetaFiles::newest_base(self).await?;
        Ok(newest.max(base.map_or(0, |base| base.seq)))
    }

    pub(crate) async fn raise_meta_seq(&self, seq: i64) -> Result<(), Fault> {
        self.catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.raise_meta_seq(seq).await }))
            .await?;
        Ok(())
    }

    /// Takes the log for a moment: its next number, and who this catalogue is.
    ///
    /// # Errors
    /// [`Code::Conflict`] while another process holds it.
    pub(crate) async fn next_meta_seq(&self) -> Result<MetaLog, Fault> {
        let until = self.ambient().now().plus(HELD_FOR);
        let log = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    let log = tx.take_meta_log(&holder(), until).await?;
                    if log.is_some() {
                        tx.release_meta_log(&holder()).await?;
                    }
                    Ok(log)
                })
            })
            .await?;
        log.ok_or_else(|| {
            Fault::new(Code::Conflict, "another process writes records to the store at this moment")
                .remedy("try again in a minute")
        })
    }

    async fn release_meta(&self) {
        let released = self
            .catalog()
            .commit(Class::Durable, |tx| Box::pin(async move { tx.release_meta_log(&holder()).await }));
        if let Err(error) = released.await {
            tracing::debug!(%error, "the log of records could not be given back; its lease will run out");
        }
    }
}

/// How the writing of a batch ended.
enum Written {
    Batch,
    /// Its number was taken.
    Taken,
    Foreign,
}

fn holder() -> String {
    ProcessName::current().to_string()
}

/// What is known now of all that changed, each thing once.
async fn abouts(tx: &mut Tx, changes: &[MetaChange]) -> larder_catalog::Result<Vec<About>> {
    let of = |kind| -> Vec<String> {
        let ids: BTreeSet<&str> =
            changes.iter().filter(|change| change.kind == kind).map(|change| change.id.as_str()).collect();
        ids.into_iter().map(str::to_owned).collect()
    };
    let mut abouts = Vec::with_capacity(changes.len());
    let (assets, variants) = (of(MetaKind::Asset), of(MetaKind::Variant));
    let mut present = BTreeSet::new();
    if !assets.is_empty() {
        for asset in tx.assets_of_ids(&assets).await? {
            present.insert((MetaKind::Asset, asset.id.to_string()));
            abouts.push(asset.into());
        }
    }
    if !variants.is_empty() {
        for variant in tx.variants_of_ids(&variants).await? {
            present.insert((MetaKind::Variant, variant.id.to_string()));
            abouts.extend(About::of_variant(variant));
        }
    }
    for name in of(MetaKind::Bucket) {
        if let Some(bucket) = tx.buckets().await?.into_iter().find(|bucket| bucket.name.as_str() == name) {
            present.insert((MetaKind::Bucket, name));
            abouts.push(bucket.into());
        }
    }
    for name in of(MetaKind::Preset) {
        if let Some(preset) = tx.preset(&name).await? {
            present.insert((MetaKind::Preset, name));
            abouts.push(preset.into());
        }
    }
    let gone: BTreeSet<(MetaKind, String)> = changes
        .iter()
        .map(|change| (change.kind, change.id.clone()))
        .filter(|identity| !present.contains(identity))
        .collect();
    abouts.extend(gone.into_iter().map(|(kind, id)| About::gone(kind, id)));
    Ok(abouts)
}
