//! Collecting: versions that nobody keeps, and objects of which little is needed.
//!
//! What takes time, listing and reading and the putting of packs that nothing names yet, is done beside a writer that goes
//! on committing ([`plan`]). What changes what others read is done by the holder, step by step between its commits, and
//! only while its lease is certain ([`Collection::step`]).

mod listing;
mod moves;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use self::moves::Moves;
pub(crate) use self::plan::plan;
use crate::{
    clock::since_boot,
    error::{Error, Result},
    fail_point,
    format::PageMap,
    hash::Digest,
    remote::{Listed, Object, Remote},
    retention::Retention,
    session::{Session, Waiting},
};

/// The youngest that may go: readers and writers that stood still for less are safe.
pub const AGE_MIN: Duration = Duration::from_secs(24 * 3_600);

/// How often a collection is planned anew, since a version was marked meanwhile.
const PLANS: u32 = 16;

/// Objects that are removed at a time.
const AT_A_TIME: usize = 16;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectOptions {
    /// Which versions.
    pub retention: Retention,
    /// Objects that are not older are not touched. Whoever reads or writes and stands still for longer may fail.
    pub age_min: Duration,
    /// Only count.
    pub dry_run: bool,
}

impl Default for CollectOptions {
    /// 24 hours, 7 days, 4 weeks.
    fn default() -> Self {
        Self { retention: Retention::default(), age_min: AGE_MIN, dry_run: false }
    }
}

/// What was collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CollectReport {
    /// Versions that can be restored afterwards, those of the last hours by each of their entries.
    pub versions: u64,
    /// Objects that were removed.
    pub removed: u64,
    /// Bytes of them.
    pub removed_bytes: u64,
    /// Bytes of objects that were put anew, since little of the old ones was needed.
    pub rewritten_bytes: u64,
    /// Whether nothing was done, only counted.
    pub dry_run: bool,
}

/// A collection of which everything is known and nothing done that others could notice.
pub(crate) struct Collection {
    /// That of the holder. Should anybody else have held the database since, all of this is void.
    epoch: u64,
    report: CollectReport,
    floor: u64,
    moves: Moves,
    /// The names of backups when it was planned.
    backups: BTreeSet<String>,
    /// Versions that are kept and have no map yet.
    unstored: BTreeMap<u64, PageMap>,
    steps: VecDeque<Step>,
}

/// A step of it. Each is safe to be the last.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The newest version names the new places.
    Move,
    /// The newest version gets a map, since readers begin with one that is to go.
    MapNewest,
    /// The map of a version names the new places, or is put for the first time.
    Map(u64),
    /// All maps are there.
    Kept,
    /// Entries below it may be gone from now on.
    Floor,
    /// An object goes, and the bytes of it.
    Remove(Object, u64),
    /// A floor goes that is lower than the new one.
    RemoveFloor(u64),
    /// All is done.
    Collected,
}

/// How far the steps of a collection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There are more.
    More,
    /// The lease has to be renewed before there can be more.
    Stale,
    /// Somebody else has held the database meanwhile, or a version was marked: there will be no more by this plan.
    Void,
    /// That was all of it.
    Done(CollectReport),
}

impl Collection {
    /// Goes on for a time, or to its end. The session holds the database. Packs that were put since the plan was made
    /// stay, whatever the plan says: `put_since` has them.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Corrupt`], [`Error::Store`]. Whatever was done until then is safe; the rest is given up.
    pub async fn step(
        &mut self,
        session: &mut Session,
        put_since: &HashSet<Digest>,
        at_most: Option<Duration>,
    ) -> Result<Progress> {
        let begun_at = since_boot();
        let remote = session.remote().clone();
        let removes = self.steps.iter().any(|step| matches!(step, Step::Remove(..)));
        if removes && !self.honours_new_backups(&remote).await? {
            return Ok(Progress::Void);
        }
        while let Some(step) = self.steps.front() {
            if session.newest().epoch != self.epoch {
                return Ok(Progress::Void);
            }
            if !session.is_lease_certain() {
                return Ok(Progress::Stale);
            }
            match step {
                Step::Map(_) | Step::Remove(..) | Step::RemoveFloor(_) => {
                    session.holding(self.some_objects(&remote, put_since)).await??;
                }
                Step::Move => {
                    let mut newest = PageMap::clone(session.newest());
                    if self.moves.apply(&mut newest) {
                        session.moved(newest).await?;
                    } else {
                        session.write_map().await?;
                    }
                    self.pop();
                    self.maps_since(&remote, session.newest().seq).await?;
                    fail_point::reached("db.rewritten");
                }
                Step::MapNewest => {
                    session.write_map().await?;
                    self.pop();
                }
                Step::Kept => {
                    fail_point::reached("db.kept");
                    self.pop();
                }
                Step::Floor => {
                    remote.create_floor(self.floor).await?;
                    fail_point::reached("db.floored");
                    self.pop();
                }
                Step::Collected => {
                    fail_point::reached("db.collected");
                    self.pop();
                }
            }
            if at_most.is_some_and(|at_most| since_boot().saturating_sub(begun_at) >= at_most) {
                return Ok(if self.steps.is_empty() { Progress::Done(self.report) } else { Progress::More });
            }
        }
        Ok(Progress::Done(self.report))
    }

    /// Whether no version was marked since the plan that may be among those that are to go.
    async fn honours_new_backups(&mut self, remote: &Remote) -> Result<bool> {
        for name in listing::names_of_backups(remote).await? {
            if self.backups.contains(&name) {
                continue;
            }
            match remote.keep(&name).await {
                Ok(Some(keep)) if keep.seq < self.floor => return Ok(false),
                Ok(_) | Err(Error::Corrupt { .. } | Error::Version { .. } | Error::Invalid { .. }) => {}
                Err(error) => return Err(error),
            }
            self.backups.insert(name);
        }
        Ok(true)
    }

    fn pop(&mut self) {
        self.steps.pop_front();
    }

    /// Maps above the floor name the places that are about to change, too. They are listed once nothing names those
    /// any more that is written from then on.
    async fn maps_since(&mut self, remote: &Remote, newest: u64) -> Result<()> {
        let going: HashSet<u64> = self
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Remove(Object::Map(seq), _) | Step::Map(seq) => Some(*seq),
                _ => None,
            })
            .collect();
        let listed = remote.list("map/", Some(&Object::Map(self.floor))).await?;
        let above = listed.iter().filter_map(Listed::seq);
        for seq in above.filter(|seq| *seq != newest && !going.contains(seq)) {
            self.steps.push_front(Step::Map(seq));
        }
        Ok(())
    }

    /// Some of the next steps that are of one kind, at a time. Maps are put one after the other, since their order counts,
    /// and all maps that go have gone before the first object that they may name.
    async fn some_objects(&mut self, remote: &Remote, put_since: &HashSet<Digest>) -> Result<()> {
        let kind = |step: &Step| match step {
            Step::Remove(Object::Map(_), _) => 1,
            Step::Remove(..) => 2,
            Step::RemoveFloor(_) => 3,
            _ => 0,
        };
        let mut some = Vec::new();
        some.extend(self.steps.pop_front());
        while some.len() < AT_A_TIME
            && let Some(step) = self.steps.front()
            && kind(step) > 0
            && some.first().is_some_and(|first| kind(first) == kind(step))
        {
            some.extend(self.steps.pop_front());
        }
        let (moves, unstored) = (&self.moves, &self.unstored);
        let done = stream::iter(some)
            .map(|step| async move {
                match step {
                    Step::Map(seq) => put_map(remote, seq, unstored.get(&seq), moves).await.map(|()| None),
                    Step::RemoveFloor(seq) => remote.remove(&Object::Floor(seq)).await.map(|_| None),
                    Step::Remove(Object::Pack(digest), _) if put_since.contains(&digest) => Ok(None),
                    Step::Remove(object, bytes) => remote.remove(&object).await.map(|_| Some(bytes)),
                    other => Err(Error::Internal(format!("{other:?} is of another kind"))),
                }
            })
            .buffer_unordered(AT_A_TIME)
            .try_collect::<Vec<Option<u64>>>()
            .await?;
        for bytes in done.into_iter().flatten() {
            self.report.removed += 1;
            self.report.removed_bytes += bytes;
        }
        Ok(())
    }

    /// What a dry run tells.
    fn counted(&self) -> CollectReport {
        let mut report = self.report;
        for step in &self.steps {
            if let Step::Remove(_, bytes) = step {
                report.removed += 1;
                report.removed_bytes += bytes;
            }
        }
        report
    }
}

/// Puts the map of a version if there is none yet, or if it has places that moved.
async fn put_map(remote: &Remote, seq: u64, unstored: Option<&PageMap>, moves: &Moves) -> Result<()> {
    let stored = match unstored {
        Some(map) => Some(map.clone()),
        None => remote.map(seq).await?,
    };
    let Some(mut map) = stored else { return Ok(()) };
    let has_moved = moves.apply(&mut map);
    if has_moved || unstored.is_some() { remote.put_map(&map).await } else { Ok(()) }
}

/// Removes what is not kept. The session holds the database, and renews its lease on the way.
///
/// # Errors
/// [`Error::Fenced`], [`Error::Corrupt`], [`Error::Store`]. Whatever was done until then is safe.
pub async fn collect(session: &mut Session, options: &CollectOptions) -> Result<CollectReport> {
    for _ in 0..PLANS {
        let planned = plan(session.remote().clone(), Arc::clone(session.newest()), *options);
        if options.dry_run {
            return Ok(planned.await?.counted());
        }
        let mut collection = session.holding(planned).await??;
        loop {
            match collection.step(session, &HashSet::new(), None).await? {
                Progress::Done(report) => return Ok(report),
                Progress::More | Progress::Stale => session.renew().await?,
                Progress::Void if session.newest().epoch != collection.epoch => {
                    return Err(Error::Fenced { detail: "somebody else has held the database".to_owned() });
                }
                Progress::Void => break,
            }
        }
    }
    Err(Error::Internal("old versions are marked all the time: nothing can be collected".to_owned()))
}

/// As [`collect`], by a writer that takes the database for it, if nobody holds it. Nothing is written where nothing is
/// to be removed.
///
/// # Errors
/// [`Error::Held`] at once if somebody does: whoever holds it does not let go of it for this. [`Error::Absent`] if there
/// is no database; [`Error::NoConditions`] unless `single_writer` says that there is never a second one; those of
/// [`collect`].
pub async fn collect_unheld(
    remote: &Remote,
    options: &CollectOptions,
    single_writer: bool,
) -> Result<CollectReport> {
    let mut session = Session::open(remote.clone(), None, single_writer).await?;
    let newest = session.newest();
    if newest.page_size == 0 {
        return Err(Error::Absent { detail: format!("there is no database at {}", remote.label()) });
    }
    if newest.lease.held_ms > 0 && !options.dry_run {
        return Err(Error::Held { owner: newest.lease.owner.clone() });
    }
    let counted = collect(&mut session, &CollectOptions { dry_run: true, ..*options }).await?;
    if options.dry_run || counted.removed == 0 {
        return Ok(CollectReport { dry_run: options.dry_run, ..counted });
    }
    let mut refuse = |waiting: Waiting<'_>| {
        let (Waiting::For(owner) | Waiting::Wrote(owner)) = waiting;
        Err(Error::Held { owner: owner.to_owned() })
    };
    session.claim(&mut refuse).await?;
    let collected = collect(&mut session, options).await;
    session.release().await?;
    collected
}
