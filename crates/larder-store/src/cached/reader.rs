//! One reader's way: page by page, from the layers or from a run.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{
    ObjectId, Shared,
    meters::Origin,
    page::Paging,
    runs::{Failure, Runs, Seat, Wanted},
};
use crate::{
    body::Body,
    error::{BoxError, Error},
    place::Place,
    store::{Opened, Stat, Store},
};

pub(super) struct Reader<S> {
    shared: Arc<Shared<S>>,
    place: Place,
    known: Stat,
    object: ObjectId,
    paging: Paging,
    /// The bytes that are still to be given.
    rest: Range<u64>,
    seat: Option<Seat>,
}

impl<S: Store> Reader<S> {
    /// Opens a range of the known bytes that is not empty. When this returns, their first page is there, and
    /// so is the first one that the cache does not have: the store has been asked whether they still lie
    /// there, unless it does not need to be asked at all.
    pub(super) async fn open(
        shared: Arc<Shared<S>>,
        place: Place,
        known: Stat,
        range: Range<u64>,
    ) -> Result<Opened, Failure> {
        let object = ObjectId::of(&shared.identity, &place, &known, shared.page_bytes);
        let paging = Paging { page_bytes: shared.page_bytes, size_bytes: known.size_bytes };
        let stat = known.clone();
        let mut reader = Self { shared, place, known, object, paging, rest: range.clone(), seat: None };
        let first = reader.next(false).await?;
        if reader.seat.is_none() && !reader.rest.is_empty() {
            let pages = reader.paging.pages_of(&reader.rest);
            if let Some(missing) = reader.shared.layers.first_missing(object, pages) {
                reader.fetch(missing).await?;
            }
        }
        let body = if reader.rest.is_empty() { Body::Bytes(first) } else { reader.into_body(first) };
        Ok(Opened { stat, range, body })
    }

    fn into_body(self, first: Bytes) -> Body {
        let others = stream::try_unfold(self, |mut reader| async move {
            if reader.rest.is_empty() {
                return Ok(None);
            }
            match reader.next(true).await {
                Ok(bytes) => Ok(Some((bytes, reader))),
                Err(failure) => Err(BoxError::from(reader.broken_off(failure))),
            }
        });
        Body::Stream(stream::once(async { Ok(first) }).chain(others).boxed())
    }

    /// The next bytes: as far as their page goes.
    async fn next(&mut self, goes_on: bool) -> Result<Bytes, Failure> {
        let number = self.paging.page_of(self.rest.start);
        let page = self.page(number, goes_on).await?;
        let of_page = self.paging.bytes_of(number..number + 1);
        let end = of_page.end.min(self.rest.end);
        let from = (self.rest.start - of_page.start) as usize;
        let bytes = page.slice(from..(end - of_page.start) as usize);
        self.rest.start = end;
        if self.rest.is_empty() {
            self.seat = None;
        }
        Ok(bytes)
    }

    async fn page(&mut self, page: u64, goes_on: bool) -> Result<Bytes, Failure> {
        loop {
            if let Some(seat) = self.seat.as_ref().filter(|seat| seat.from <= page) {
                if let Some(bytes) = seat.page(page).await? {
                    self.shared.layers.meters.got(seat.source(), bytes.len());
                    return Ok(bytes);
                }
                self.seat = None;
            }
            if let Some(bytes) = self.shared.layers.get(self.object.page(page)).await {
                if bytes.len() as u64 == self.length_of(page) {
                    return Ok(bytes);
                }
                // Not to be thought of, and still no reason to panic: forget it and read it anew.
                Runs::forget(&self.shared, self.object.place);
            }
            self.seat = self.board(page, goes_on);
        }
    }

    /// Has a page fetched that is to be read later, and keeps the seat by which it is to be had.
    async fn fetch(&mut self, page: u64) -> Result<(), Failure> {
        if let Some(seat) = self.board(page, false) {
            seat.page(page).await?;
            self.seat = Some(seat);
        }
        Ok(())
    }

    fn board(&self, page: u64, goes_on: bool) -> Option<Seat> {
        let wanted = Wanted {
            place: self.place.clone(),
            known: self.known.clone(),
            object: self.object,
            paging: self.paging,
            page,
            end: self.paging.pages_of(&self.rest).end,
            goes_on,
        };
        Runs::board(&self.shared, wanted)
    }

    fn length_of(&self, page: u64) -> u64 {
        let range = self.paging.bytes_of(page..page + 1);
        range.end - range.start
    }

    fn broken_off(&self, failure: Failure) -> Error {
        match failure {
            Failure::Store(error) => error.for_another(),
            Failure::Differs => Error::Corrupt {
                place: self.place.clone(),
                detail: "they were replaced while they were read".to_owned(),
            },
        }
    }
}

impl Seat {
    fn source(&self) -> Origin {
        if self.began { Origin::Store } else { Origin::Joined }
    }
}
