//! The run of a move: pages of records, copies at a time, what came of them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use larder_catalog::{Class, CopyState, SpareCopy, StoreFilter};
use larder_core::{Code, Fault, FaultKind};
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep},
};

use super::{
    CONCURRENCY, GRACE, MigrateCount, MigrateEvent, MigrateFailed, MigrateFailure, MigrateOptions,
    MigrateReport, Moved, Watch,
    copying::{Copied, Landed},
    item::Item,
    rate::Rate,
};
use crate::{fail_point, larder::Larder, spare::Forget};

/// Records of a page. The notes of a page are one commit.
const PAGE: u32 = 256;

/// How often a store is gone through: what came while one pass ran is moved by the next.
const PASSES_MAX: usize = 10;

/// How often one thing is tried: it may be replaced while it is copied.
const ATTEMPTS: u32 = 6;

/// How long to wait before the second attempt; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(100);

/// After so many failures in a row by stores that do not answer, there is no sense in going on.
const AWAY_MAX: u32 = 32;

/// Age at which the note of a copy on its way is renewed: well before a sweep takes it for one that was
/// cut off.
const NOTE_RENEWED: Duration = Duration::from_secs(600);

/// Failures of one reason that are told one by one.
const FIRST_MAX: usize = 10;

/// How one thing ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Copied,
    /// The right bytes were there already.
    Adopted,
    /// What was left is gone.
    Removed,
    /// There is nothing (more) to do.
    Skipped,
}

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
        let rate = options.rate_bytes.map(|bytes| Arc::new(Rate::new(bytes)));
        for _ in 0..PASSES_MAX {
            let before = run.handled;
            let mut last = None;
            loop {
                let page = self.catalog().assets_in_store(filter, last.as_ref(), PAGE).await?;
                let items = page.iter().cloned().map(|asset| Item::Asset(Box::new(asset))).collect();
                run.move_page(items, rate.as_ref()).await?;
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
                run.move_page(items, rate.as_ref()).await?;
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

    /// Moves one thing, and whatever it becomes while it is moved.
    async fn move_item(
        &self,
        mut item: Item,
        to: &str,
        mut noted: Option<Instant>,
        rate: Option<&Arc<Rate>>,
    ) -> Result<Outcome, Fault> {
        if let Item::Variant(variant, None) = &item {
            // Its asset is gone for good: so is it, with the next collection or now.
            self.remove_variant(variant).await?;
            return Ok(Outcome::Skipped);
        }
        if noted.is_none() {
            let (natural, _) = item.targets(self).await?;
            self.announce_copy(&item, to, &natural).await?;
            noted = Some(Instant::now());
        }
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
            }
            let copied = match self.copy_item(&item, to, rate).await {
                Err(fault) if fault.kind() == FaultKind::Unavailable && attempt + 1 < ATTEMPTS => continue,
                copied => copied?,
            };
            if let Copied::To(landed) = &copied {
                fail_point::reached("migrate.copied");
                if self.is_noted(&item, to, landed, noted).await? && self.switch(&item, to, landed).await? {
                    return Ok(if landed.adopted { Outcome::Adopted } else { Outcome::Copied });
                }
            }
            let Some(now) = self.look_again(&item, to, &copied).await? else { return Ok(Outcome::Skipped) };
            item = now;
            let (natural, _) = item.targets(self).await?;
            self.announce_copy(&item, to, &natural).await?;
            noted = Some(Instant::now());
        }
        Err(Fault::new(Code::Conflict, "it changes all the time").remedy("run it again later"))
    }

    /// The record as it is now, after it was found to be another one, or its bytes were not there; `None`
    /// if there is nothing to move any more. A copy of what it was before is taken back.
    async fn look_again(&self, item: &Item, to: &str, copied: &Copied) -> Result<Option<Item>, Fault> {
        if let Item::Asset(asset) = item {
            // Waits for whoever writes there, and settles what a dead writer left.
            let held = self.hold(&asset.bucket, &asset.key).await?;
            self.release(&held).await;
        }
        let now = item.again(self).await?;
        let same = |now: &Item| {
            (now.at(), now.sha256(), now.fingerprint(), now.kind())
                == (item.at(), item.sha256(), item.fingerprint(), item.kind())
        };
        match (copied, now) {
            (Copied::To(landed), now) => {
                if !now.as_ref().is_some_and(same) {
                    self.take_copy_back(item, to, landed).await?;
                }
                Ok(now)
            }
            (Copied::Outdated, Some(now)) if same(&now) => match &now {
                // They can be made again, and are, by whoever asks for them.
                Item::Variant(variant, _) => {
                    tracing::warn!(
                        place = variant.place,
                        "a variant's bytes are gone; it will be made again"
                    );
                    self.remove_lost_variant(variant).await?;
                    Ok(None)
                }
                Item::Asset(asset) => Err(Fault::new(
                    Code::StoredBytesCorrupt,
                    format!(
                        "the bytes at {} in {} are gone or not those of the record",
                        now.at(),
                        asset.store
                    ),
                )
                .remedy("restore the file from a backup, or delete the asset")),
            },
            (Copied::Outdated | Copied::Displaced, now) => Ok(now),
        }
    }

    /// Removes a copy that no record will name.
    async fn take_copy_back(&self, item: &Item, to: &str, landed: &Landed) -> Result<(), Fault> {
        let noted = self.catalog().spare_copy(to, landed.place.as_str()).await?;
        let ours = |copy: &SpareCopy| copy.state != CopyState::Left && copy.sha256 == item.sha256();
        if let Some(copy) = noted.filter(ours) {
            self.remove_spare(&copy, Forget::Now).await?;
        }
        Ok(())
    }

    /// Whether the copy is still noted as on its way; renews a note that got old, and looks whether its
    /// bytes outlived it.
    async fn is_noted(
        &self,
        item: &Item,
        to: &str,
        landed: &Landed,
        noted: Option<Instant>,
    ) -> Result<bool, Fault> {
        if noted.is_some_and(|at| at.elapsed() < NOTE_RENEWED) {
            return Ok(true);
        }
        self.announce_copy(item, to, &landed.place).await?;
        Ok(self.lies_at(to, landed.place.as_str()).await?.is_some_and(|found| found == landed.fingerprint))
    }

    /// Notes the copies of a page in one commit; answers which of them are noted so.
    async fn note_all(&self, copies: Vec<Option<SpareCopy>>) -> Result<Vec<bool>, Fault> {
        let noted = self.catalog().commit(Class::Durable, move |tx| {
            Box::pin(async move {
                let mut noted = Vec::with_capacity(copies.len());
                for copy in &copies {
                    noted.push(match copy {
                        Some(copy) => tx.note_coming(copy).await?,
                        None => false,
                    });
                }
                Ok(noted)
            })
        });
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
        Self {
            larder,
            options,
            watch,
            tasks: JoinSet::new(),
            concurrency: options.concurrency.unwrap_or(CONCURRENCY),
            report: MigrateReport::default(),
            failures: BTreeMap::new(),
            failed: HashSet::new(),
            away: 0,
            handled: 0,
        }
    }

    async fn move_page(&mut self, items: Vec<Item>, rate: Option<&Arc<Rate>>) -> Result<(), Fault> {
        let items: Vec<Item> = items.into_iter().filter(|item| !self.failed.contains(&id_of(item))).collect();
        let to = &self.options.to;
        let mut notes = Vec::with_capacity(items.len());
        for item in &items {
            // Whatever is wrong with an item is told when its turn comes.
            let targets = item.targets(self.larder).await;
            notes.push(targets.ok().and_then(|(natural, _)| item.copy_at(to, &natural)));
        }
        if notes.is_empty() {
            return Ok(());
        }
        let (noted, at) = (self.larder.note_all(notes).await?, Instant::now());
        fail_point::reached("migrate.noted");
        for (item, noted) in items.into_iter().zip(noted) {
            let noted = noted.then_some(at);
            self.drain(self.concurrency - 1).await?;
            let (larder, to, rate) = (self.larder.clone(), to.clone(), rate.cloned());
            self.tasks.spawn(async move {
                let (id, kind, name, bytes) = (id_of(&item), item.kind(), item.name(), item.size_bytes());
                let outcome = larder.move_item(item, &to, noted, rate.as_ref()).await;
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
