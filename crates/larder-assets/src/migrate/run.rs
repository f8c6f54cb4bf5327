//! The run of a move: pages of records, copies at a time, what came of them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use larder_catalog::{Class, CopyState, SpareCopy, StoreFilter};
use larder_core::{Code, Fault, FaultKind};
use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
    time::Instant,
};

use super::{
    CONCURRENCY, GRACE, MigrateCount, MigrateEvent, MigrateFailed, MigrateFailure, MigrateOptions,
    MigrateReport, Moved, Watch,
    batch::{LANDED_MAX, Switcher},
    item::Item,
    one::{Outcome, Way},
    rate::Rate,
};
use crate::{fail_point, larder::Larder};

/// Records of a page, as many as the catalogue answers at a time. The notes of a page are one commit.
const PAGE: u32 = 1_000;

/// How often a store is gone through: what came while one pass ran is moved by the next.
const PASSES_MAX: usize = 10;

/// After so many failures in a row by stores that do not answer, there is no sense in going on.
const AWAY_MAX: u32 = 32;

/// Failures of one reason that are told one by one.
const FIRST_MAX: usize = 10;

/// What came of one thing.
struct Ended {
    id: String,
    kind: Moved,
    name: String,
    bytes: u64,
    outcome: Result<Outcome, Fault>,
}

impl Larder {
    pub(super) async fn move_all(
        &self,
        options: &MigrateOptions,
        filter: &StoreFilter,
        watch: &Watch<'_>,
    ) -> Result<MigrateReport, Fault> {
        let (assets, variants) = self.catalog().store_usage(filter).await?;
        watch(&MigrateEvent::Begun {
            objects: assets.objects + variants.objects,
            bytes: assets.bytes + variants.bytes,
        })?;
        if options.dry_run {
            return self.count_to_move(filter).await;
        }
        let mut run = Run::new(self, options, watch);
        for _ in 0..PASSES_MAX {
            let before = run.handled;
            let mut last = None;
            loop {
                let page = self.catalog().assets_in_store(filter, last.as_ref(), PAGE).await?;
                let items = page.iter().cloned().map(|asset| Item::Asset(Box::new(asset))).collect();
                run.move_page(items).await?;
                last = page.into_iter().last();
                if last.is_none() {
                    break;
                }
            }
            let mut last = None;
            loop {
                let page = self.catalog().variants_in_store(filter, last.as_ref(), PAGE).await?;
                let mut assets = HashMap::new();
                let mut items = Vec::with_capacity(page.len());
                for variant in &page {
                    let asset = match assets.get(&variant.asset_id) {
                        Some(asset) => Option::clone(asset),
                        None => self.catalog().asset(variant.asset_id).await?.map(Box::new),
                    };
                    assets.insert(variant.asset_id, asset.clone());
                    items.push(Item::Variant(Box::new(variant.clone()), asset));
                }
                run.move_page(items).await?;
                last = page.into_iter().last();
                if last.is_none() {
                    break;
                }
            }
            run.drain(0).await?;
            if run.handled == before {
                break;
            }
        }
        let mut report = run.finish().await?;
        let (assets, variants) = self.catalog().store_usage(filter).await?;
        report.remaining =
            MigrateCount { objects: assets.objects + variants.objects, bytes: assets.bytes + variants.bytes };
        Ok(report)
    }

    /// What a move would move.
    async fn count_to_move(&self, filter: &StoreFilter) -> Result<MigrateReport, Fault> {
        let mut report = MigrateReport::default();
        let mut last = None;
        loop {
            let page = self.catalog().assets_in_store(filter, last.as_ref(), 1_000).await?;
            for asset in &page {
                report.add(Item::Asset(Box::new(asset.clone())).kind(), asset.size_bytes);
            }
            last = page.into_iter().last();
            if last.is_none() {
                break;
            }
        }
        let (_, variants) = self.catalog().store_usage(filter).await?;
        report.variants = MigrateCount { objects: variants.objects, bytes: variants.bytes };
        report.remaining = report.done();
        Ok(report)
    }

    pub(super) async fn remove_left(
        &self,
        options: &MigrateOptions,
        watch: &Watch<'_>,
    ) -> Result<MigrateReport, Fault> {
        let before = self.ambient().now().minus(options.grace.map_or(GRACE, |grace| grace.0));
        let due = |copy: &SpareCopy| {
            copy.state != CopyState::Coming
                && copy.noted_at <= before
                && options.bucket.as_ref().is_none_or(|bucket| *bucket == copy.bucket)
                && options.prefix.as_deref().is_none_or(|prefix| copy.key.as_str().starts_with(prefix))
        };
        let total = self.left_in(&options.from, due).await?;
        watch(&MigrateEvent::Begun { objects: total.objects, bytes: total.bytes })?;
        let mut run = Run::new(self, options, watch);
        let mut after: Option<String> = None;
        loop {
            let page = self.catalog().spare_copies_in(&options.from, after.as_deref(), PAGE).await?;
            for copy in page.iter().filter(|copy| due(copy)) {
                match options.dry_run {
                    true => run.report.add(kind_of(copy), copy.size_bytes),
                    false => run.clean_up(copy.clone()).await?,
                }
            }
            after = page.into_iter().last().map(|copy| copy.place);
            if after.is_none() {
                break;
            }
        }
        let mut report = run.finish().await?;
        report.remaining = self.left_in(&options.from, |_| true).await?;
        Ok(report)
    }

    async fn left_in(&self, store: &str, counts: impl Fn(&SpareCopy) -> bool) -> Result<MigrateCount, Fault> {
        let (mut count, mut after) = (MigrateCount::default(), None::<String>);
        loop {
            let page = self.catalog().spare_copies_in(store, after.as_deref(), 1_000).await?;
            for copy in page.iter().filter(|copy| counts(copy)) {
                count.objects += 1;
                count.bytes += copy.size_bytes;
            }
            after = page.into_iter().last().map(|copy| copy.place);
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    /// Notes the copies of a page in one commit; answers which of them are noted so.
    async fn note_all(&self, copies: Vec<SpareCopy>) -> Result<Vec<bool>, Fault> {
        let noted = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.note_all_coming(&copies).await }));
        Ok(noted.await?)
    }
}

fn kind_of(copy: &SpareCopy) -> Moved {
    match copy.variant_id {
        Some(_) => Moved::Variant,
        None if copy.place.starts_with(crate::larder::OWN_FOLDER) => Moved::Deleted,
        None => Moved::Original,
    }
}

impl MigrateReport {
    fn add(&mut self, kind: Moved, bytes: u64) {
        let count = match kind {
            Moved::Original => &mut self.originals,
            Moved::Deleted => &mut self.deleted,
            Moved::Variant => &mut self.variants,
        };
        count.objects += 1;
        count.bytes += bytes;
    }
}

/// A run with what is under way.
struct Run<'a> {
    larder: &'a Larder,
    options: &'a MigrateOptions,
    watch: &'a Watch<'a>,
    /// Dropped with the run, they stop where they are.
    tasks: JoinSet<Ended>,
    concurrency: usize,
    way: Way,
    report: MigrateReport,
    failures: BTreeMap<&'static str, MigrateFailure>,
    /// What failed is not tried again by a later pass.
    failed: HashSet<String>,
    away: u32,
    /// Things that are not as they were before.
    handled: u64,
}

impl<'a> Run<'a> {
    fn new(larder: &'a Larder, options: &'a MigrateOptions, watch: &'a Watch<'a>) -> Self {
        let concurrency = options.concurrency.unwrap_or(CONCURRENCY);
        Self {
            larder,
            options,
            watch,
            tasks: JoinSet::new(),
            concurrency,
            way: Way {
                to: options.to.clone(),
                copies: Arc::new(Semaphore::new(concurrency)),
                rate: options.rate_bytes.map(|bytes| Arc::new(Rate::new(bytes))),
                answers: Arc::default(),
                switcher: Switcher::start(larder, &options.to),
            },
            report: MigrateReport::default(),
            failures: BTreeMap::new(),
            failed: HashSet::new(),
            away: 0,
            handled: 0,
        }
    }

    async fn move_page(&mut self, items: Vec<Item>) -> Result<(), Fault> {
        let items: Vec<Item> = items.into_iter().filter(|item| !self.failed.contains(&id_of(item))).collect();
        let mut notes = Vec::with_capacity(items.len());
        for item in &items {
            // Whatever is wrong with an item is told when its turn comes.
            let targets = item.targets(self.larder).await;
            notes.push(targets.ok().and_then(|(natural, _)| item.copy_at(&self.way.to, &natural)));
        }
        if notes.is_empty() {
            return Ok(());
        }
        let can_be_noted: Vec<bool> = notes.iter().map(Option::is_some).collect();
        let (noted, at) =
            (self.larder.note_all(notes.into_iter().flatten().collect()).await?, Instant::now());
        fail_point::reached("migrate.noted");
        let mut noted = noted.into_iter();
        for (item, can_be_noted) in items.into_iter().zip(can_be_noted) {
            let noted = (can_be_noted && noted.next().unwrap_or(false)).then_some(at);
            // Who copies does not wait for those whose copies have landed.
            self.drain(self.concurrency + LANDED_MAX - 1).await?;
            let (larder, way) = (self.larder.clone(), self.way.clone());
            self.tasks.spawn(async move {
                let (id, kind, name, bytes) = (id_of(&item), item.kind(), item.name(), item.size_bytes());
                let outcome = larder.move_item(item, &way, noted).await;
                Ended { id, kind, name, bytes, outcome }
            });
        }
        Ok(())
    }

    async fn clean_up(&mut self, copy: SpareCopy) -> Result<(), Fault> {
        self.drain(self.concurrency - 1).await?;
        let (larder, options) = (self.larder.clone(), self.options.clone());
        self.tasks.spawn(async move {
            let outcome = larder.clean_up(&copy, &options).await;
            Ended {
                id: copy.place.clone(),
                kind: kind_of(&copy),
                name: format!("{}/{} at {}", copy.bucket, copy.key, copy.place),
                bytes: copy.size_bytes,
                outcome,
            }
        });
        Ok(())
    }

    /// Waits until at most so many are under way.
    async fn drain(&mut self, at_most: usize) -> Result<(), Fault> {
        while self.tasks.len() > at_most {
            let Some(ended) = self.tasks.join_next().await else { break };
            self.take(ended)?;
        }
        Ok(())
    }

    fn take(&mut self, ended: Result<Ended, JoinError>) -> Result<(), Fault> {
        let Ended { id, kind, name, bytes, outcome } =
            ended.map_err(|error| Fault::internal("moving an object broke off").caused_by(error))?;
        let event = match outcome {
            Ok(outcome) => {
                self.away = 0;
                self.handled += 1;
                if outcome == Outcome::Skipped {
                    self.report.skipped += 1;
                    MigrateEvent::Skipped { name }
                } else {
                    self.report.adopted += u64::from(outcome == Outcome::Adopted);
                    self.report.add(kind, bytes);
                    MigrateEvent::Done { kind, name, bytes }
                }
            }
            Err(fault) => {
                tracing::warn!(%name, %fault, "an object could not be moved or cleaned up");
                self.note_failure(id, &name, &fault)?;
                MigrateEvent::Failed { name, error: fault }
            }
        };
        (self.watch)(&event)
    }

    fn note_failure(&mut self, id: String, name: &str, fault: &Fault) -> Result<(), Fault> {
        if fault.code == Code::CatalogUnavailable {
            return Err(fault.clone());
        }
        self.failed.insert(id);
        let failure = self.failures.entry(fault.code.as_str()).or_insert_with(|| MigrateFailure {
            code: fault.code,
            objects: 0,
            first: Vec::new(),
        });
        failure.objects += 1;
        if failure.first.len() < FIRST_MAX {
            failure.first.push(MigrateFailed { name: name.to_owned(), error: fault.clone() });
        }
        match fault.kind() {
            FaultKind::Unavailable => self.away += 1,
            _ => self.away = 0,
        }
        match self.away < AWAY_MAX {
            true => Ok(()),
            false => Err(Fault::new(
                fault.code,
                format!("{AWAY_MAX} objects in a row failed, the last by: {}", fault.detail),
            )
            .remedy("see that both stores answer, then run it again: what is done is not done twice")),
        }
    }

    async fn finish(mut self) -> Result<MigrateReport, Fault> {
        self.drain(0).await?;
        self.report.failures = self.failures.into_values().collect();
        Ok(self.report)
    }
}

fn id_of(item: &Item) -> String {
    match item {
        Item::Asset(asset) => asset.id.to_string(),
        Item::Variant(variant, _) => variant.id.to_string(),
    }
}
