//! Single flight: of all who want pages that are nowhere in the cache, one asks the store.
//!
//! A [`Run`] reads an object from one page on, in a task of its own, which no reader's going away stops
//! half-way through a page. Readers who are near take a [`Seat`]; the run reads at most [`AHEAD`] pages
//! further than the foremost of them has asked for, and ends when nobody sits in it any more.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::{Notify, watch};

use super::{
    Shared,
    page::{ObjectId, PageKey, Paging, PlaceId},
};
use crate::{
    body::{ByteStream, read_error},
    error::Error,
    place::Place,
    store::{OpenOptions, Stat, Store},
};

/// Pages that are read before somebody asks for them: while one is sent, the next one comes.
const AHEAD: u64 = 1;

/// Pages that a run still hands out after it read them: for readers a little behind, whether a layer kept
/// the pages or not. Together with the one in hand these are all that a run holds.
const RECENT: usize = 3;

/// Why a page can't be had.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Something else lies at the place, or nothing.
    Differs,
    /// The store failed. Shared by all who waited.
    Store(Arc<Error>),
}

/// The runs of a cache.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<HashMap<ObjectId, Vec<Arc<Run>>>>);

/// What is to be read.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) place: Place,
    /// What lies there as far as is known.
    pub(super) known: Stat,
    pub(super) object: ObjectId,
    pub(super) paging: Paging,
    /// The page that is wanted now.
    pub(super) page: u64,
    /// Behind the last page that will be.
    pub(super) end: u64,
    /// Whether the others are certain to be wanted, or this page may be all.
    pub(super) goes_on: bool,
}

/// One reading of the store.
#[derive(Debug)]
pub(super) struct Run {
    wanted: Wanted,
    state: Mutex<State>,
    /// Told that the state has changed.
    progress: watch::Sender<()>,
    /// Told that a reader wants more, or none any more.
    demand: Notify,
    readers: AtomicUsize,
    /// What lies at the place was changed: nothing of this run may be kept.
    stale: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// The page that is read now, or next.
    next: u64,
    /// Pages before this one are to be read.
    demanded: u64,
    recent: VecDeque<(u64, Bytes)>,
    /// Set at the end; `None` if it was a good one.
    ended: Option<Option<Failure>>,
}

/// A reader's place in a run.
#[derive(Debug)]
pub(super) struct Seat {
    run: Arc<Run>,
    /// The page for which it was taken: earlier ones are not to be had here.
    pub(super) from: u64,
    /// Whether the run began for this reader.
    pub(super) began: bool,
}

impl Runs {
    /// A seat in a run that comes by the wanted page, begun now if there is none; `None` if the page is in
    /// the cache by now.
    pub(super) fn board<S: Store>(shared: &Arc<Shared<S>>, mut wanted: Wanted) -> Option<Seat> {
        let mut runs = shared.runs.lock();
        let of_object = runs.entry(wanted.object).or_default();
        if let Some(run) = of_object.iter().find(|run| run.comes_by(wanted.page)) {
            return Some(Seat::take(run, wanted.page, false));
        }
        if shared.layers.holds(&wanted.object.page(wanted.page)) {
            if of_object.is_empty() {
                runs.remove(&wanted.object);
            }
            return None;
        }
        let others = wanted.page + 1..wanted.end;
        wanted.end = shared.layers.first_held(wanted.object, others).unwrap_or(wanted.end);
        let state = State {
            next: wanted.page,
            demanded: wanted.page + 1,
            recent: VecDeque::with_capacity(RECENT),
            ended: None,
        };
        let run = Arc::new(Run {
            wanted,
            state: Mutex::new(state),
            progress: watch::Sender::default(),
            demand: Notify::new(),
            readers: AtomicUsize::new(0),
            stale: AtomicBool::new(false),
        });
        of_object.push(Arc::clone(&run));
        let seat = Seat::take(&run, run.wanted.page, true);
        let landing = Landing { shared: Arc::clone(shared), run };
        tokio::spawn(landing.fly());
        Some(seat)
    }

    /// Lets go of all that the cache has of a place, and of what is on its way.
    pub(super) fn forget<S>(shared: &Shared<S>, place: PlaceId) {
        let runs = shared.runs.lock();
        for run in runs.values().flatten().filter(|run| run.wanted.object.place == place) {
            run.stale.store(true, Ordering::Relaxed);
        }
        // Under the lock, as in `publish`: no page of a run gets in after this.
        shared.layers.forget(place);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectId, Vec<Arc<Run>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a page is still in its hands, or soon will be.
    fn comes_by(&self, page: u64) -> bool {
        let state = self.lock();
        let soon = state.next..(state.next + 1 + AHEAD).min(self.wanted.end);
        !self.stale.load(Ordering::Relaxed)
            && (state.ended.is_none() && soon.contains(&page)
                || state.recent.iter().any(|(number, _)| *number == page))
    }

    /// The next page to read, as soon as somebody wants it; `None` when it is all read.
    async fn next_demanded(&self) -> Option<u64> {
        loop {
            {
                let state = self.lock();
                if state.next >= self.wanted.end {
                    return None;
                }
                if state.next < state.demanded {
                    return Some(state.next);
                }
                if self.readers.load(Ordering::Acquire) == 0 {
                    return None;
                }
            }
            self.demand.notified().await;
        }
    }

    fn end(&self, failure: Option<Failure>) {
        let mut state = self.lock();
        if state.ended.is_none() {
            state.ended = Some(failure);
        }
        drop(state);
        self.progress.send_replace(());
    }
}

impl Seat {
    fn take(run: &Arc<Run>, from: u64, began: bool) -> Self {
        run.readers.fetch_add(1, Ordering::AcqRel);
        Self { run: Arc::clone(run), from, began }
    }

    /// A page, as soon as it is read; `None` if this run has passed it or does not come so far.
    pub(super) async fn page(&self, page: u64) -> Result<Option<Bytes>, Failure> {
        let run = &self.run;
        let mut progress = run.progress.subscribe();
        let mut first = true;
        loop {
            {
                let mut state = run.lock();
                if std::mem::take(&mut first) {
                    // The first page is opened for by itself: whether more is wanted shows here.
                    let ahead = if page > run.wanted.page || run.wanted.goes_on { AHEAD } else { 0 };
                    state.demanded = state.demanded.max(page + 1 + ahead);
                    run.demand.notify_one();
                }
                if let Some((_, bytes)) = state.recent.iter().find(|(number, _)| *number == page) {
                    return Ok(Some(bytes.clone()));
                }
                match &state.ended {
                    Some(Some(failure)) => return Err(failure.clone()),
                    Some(None) => return Ok(None),
                    None if page < state.next || page >= run.wanted.end => return Ok(None),
                    None => {}
                }
            }
            if progress.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.run.readers.fetch_sub(1, Ordering::AcqRel);
        self.run.demand.notify_one();
    }
}

/// The task of a run. However it ends, a runtime that stops included, nobody waits for it afterwards.
struct Landing<S: Store> {
    shared: Arc<Shared<S>>,
    run: Arc<Run>,
}

impl<S: Store> Landing<S> {
    async fn fly(self) {
        let mut source = None;
        while let Some(page) = self.run.next_demanded().await {
            match self.read(&mut source, page).await {
                Ok(bytes) => self.publish(page, bytes),
                Err(failure) => return self.run.end(Some(failure)),
            }
        }
        self.run.end(None);
    }

    async fn read(&self, source: &mut Option<Source>, page: u64) -> Result<Bytes, Failure> {
        let wanted = &self.run.wanted;
        let source = match source {
            Some(source) if page < source.end => source,
            none => none.insert(self.open(page).await?),
        };
        let range = wanted.paging.bytes_of(page..page + 1);
        source.take((range.end - range.start) as usize).await.map_err(|error| {
            let error = error.unwrap_or_else(|| Error::Corrupt {
                place: wanted.place.clone(),
                detail: "fewer bytes came than the store said".to_owned(),
            });
            Failure::Store(Arc::new(error))
        })
    }

    /// Asks the store: for one page if that may be all, else for all that is left.
    async fn open(&self, page: u64) -> Result<Source, Failure> {
        let wanted = &self.run.wanted;
        let end = if page == wanted.page && !wanted.goes_on { page + 1 } else { wanted.end };
        let range = wanted.paging.bytes_of(page..end);
        let options = OpenOptions { range: Some(range.clone()), known: Some(wanted.known.clone()) };
        let opened = match self.shared.inner.open(&wanted.place, options).await {
            Ok(opened) => opened,
            Err(Error::NotFound { .. } | Error::Range { .. }) => return Err(self.differs()),
            Err(error) => return Err(Failure::Store(Arc::new(error))),
        };
        let is_known = opened.stat.fingerprint == wanted.known.fingerprint
            && opened.stat.size_bytes == wanted.known.size_bytes
            && opened.range == range;
        if is_known {
            Ok(Source { stream: opened.body.into_stream(), left: Bytes::new(), end })
        } else {
            Err(self.differs())
        }
    }

    /// What was known of the place is not so any more.
    fn differs(&self) -> Failure {
        Runs::forget(&self.shared, self.run.wanted.object.place);
        Failure::Differs
    }

    fn publish(&self, page: u64, bytes: Bytes) {
        {
            let _no_forgetting = self.shared.runs.lock();
            if !self.run.stale.load(Ordering::Relaxed) {
                self.shared.layers.keep(PageKey { object: self.run.wanted.object, number: page }, &bytes);
            }
        }
        let mut state = self.run.lock();
        if state.recent.len() == RECENT {
            state.recent.pop_front();
        }
        state.recent.push_back((page, bytes));
        state.next = page + 1;
        drop(state);
        self.run.progress.send_replace(());
    }
}

impl<S: Store> Drop for Landing<S> {
    fn drop(&mut self) {
        let mut runs = self.shared.runs.lock();
        if let Some(of_object) = runs.get_mut(&self.run.wanted.object) {
            of_object.retain(|run| !Arc::ptr_eq(run, &self.run));
            if of_object.is_empty() {
                runs.remove(&self.run.wanted.object);
            }
        }
        drop(runs);
        self.run.end(None);
    }
}

/// An open body of the store.
struct Source {
    stream: ByteStream,
    left: Bytes,
    /// Behind the last page that it gives.
    end: u64,
}

impl Source {
    /// The next `length` bytes in a piece of memory of their own; an error of `None` if there are fewer.
    async fn take(&mut self, length: usize) -> Result<Bytes, Option<Error>> {
        let mut page = BytesMut::with_capacity(length);
        while page.len() < length {
            if self.left.is_empty() {
                let chunk = self.stream.next().await.ok_or(None::<Error>)?;
                self.left = chunk.map_err(|error| Some(read_error(error)))?;
            }
            let part = self.left.split_to(self.left.len().min(length - page.len()));
            page.extend_from_slice(&part);
        }
        Ok(page.freeze())
    }
}
