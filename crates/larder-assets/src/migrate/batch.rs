//! Switching records together: those whose copies have landed while the last ones were switched.
//!
//! A transaction costs a sync and a dozen trips to the thread of the database, whatever it holds. So landed
//! copies come to one task, which switches all that are there with one transaction, a few times a second. What
//! is not as usual is handed back, and is switched by itself.

use std::iter::repeat;

use larder_catalog::{BatchMove, Class, MovingRecord};
use larder_core::Fault;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant, timeout_at},
};

use super::{copying::Landed, item::Item};
use crate::{content::is_shared, fail_point, larder::Larder, variants::source_of_shared};

/// Most copies that have landed and wait for a transaction or its end. Beside the copies that are under way, this is
/// what a move that is killed repeats.
pub(super) const LANDED_MAX: usize = 128;

/// Most records of one transaction: while it runs, as many others can land.
const BATCH_MAX: usize = LANDED_MAX / 2;

/// The shortest time from one transaction to the next, unless as many have landed as it may hold. One that lands after
/// a pause is switched at once.
const GATHERED_WITHIN: Duration = Duration::from_millis(50);

/// What hands landed copies to the task of a run. The task ends when the last one is dropped.
#[derive(Debug, Clone)]
pub(super) struct Switcher(mpsc::Sender<Request>);

#[derive(Debug)]
struct Request {
    of: BatchMove,
    answer: oneshot::Sender<bool>,
}

impl Switcher {
    pub(super) fn start(larder: &Larder, to: &str) -> Self {
        let (sender, requests) = mpsc::channel(LANDED_MAX);
        // Not stopped with the run: what it has handed to the catalogue is committed in any case, and then
        // the records that are remembered have to be forgotten.
        tokio::spawn(serve(larder.clone(), to.to_owned(), requests));
        Self(sender)
    }

    /// Switches the record of an item together with others; answers `false` if it was not, for whatever
    /// reason.
    async fn switch(&self, item: &Item, landed: &Landed) -> bool {
        let Some(of) = batch_move(item, landed) else { return false };
        let (answer, switched) = oneshot::channel();
        self.0.send(Request { of, answer }).await.is_ok() && switched.await.unwrap_or(false)
    }
}

/// What an item is in a batch; nothing for one that is rare or takes more than its own turn.
fn batch_move(item: &Item, landed: &Landed) -> Option<BatchMove> {
    let place = landed.place.as_str();
    let record = match item {
        Item::Asset(asset) if asset.deleted_at.is_none() && !is_shared(place, &asset.sha256) => {
            MovingRecord::Asset(asset.clone())
        }
        Item::Variant(variant, Some(_)) if source_of_shared(place).is_none() => {
            MovingRecord::Variant(variant.clone())
        }
        _ => return None,
    };
    let (left, fingerprint) = (item.left()?, landed.fingerprint.clone());
    Some(BatchMove { record, left, place: place.to_owned(), fingerprint })
}

async fn serve(larder: Larder, to: String, mut requests: mpsc::Receiver<Request>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut gathered_by = Instant::now();
    while requests.recv_many(&mut batch, BATCH_MAX).await > 0 {
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            let more = requests.recv_many(&mut batch, room);
            // Nobody else comes, or not in time.
            if timeout_at(gathered_by, more).await.unwrap_or(0) == 0 {
                break;
            }
        }
        gathered_by = Instant::now() + GATHERED_WITHIN;
        let (mut moves, mut answers) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        // Whoever does not wait any more was stopped before its record was switched.
        for request in batch.drain(..).filter(|request| !request.answer.is_closed()) {
            moves.push(request.of);
            answers.push(request.answer);
        }
        let moved = larder.switch_together(&to, moves).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "records could not be switched together; each is switched by itself");
            Vec::new()
        });
        for (answer, moved) in answers.into_iter().zip(moved.into_iter().chain(repeat(false))) {
            // Who was stopped meanwhile need not know.
            let _ = answer.send(moved);
        }
    }
}

impl Larder {
    /// Switches the record of an item, with others if it can be, else by itself; answers `false` if the
    /// record is another one by now, or the copy was removed.
    pub(super) async fn switch(
        &self,
        switcher: &Switcher,
        item: &Item,
        to: &str,
        landed: &Landed,
    ) -> Result<bool, Fault> {
        Ok(switcher.switch(item, landed).await || self.switch_alone(item, to, landed).await?)
    }

    async fn switch_together(&self, to: &str, moves: Vec<BatchMove>) -> larder_catalog::Result<Vec<bool>> {
        let to = to.to_owned();
        let work = self.catalog().commit(Class::Durable, move |tx| {
            Box::pin(async move { Ok((tx.move_batch(&to, &moves).await?, moves)) })
        });
        let (moved, moves) = work.await?;
        fail_point::reached("migrate.switched");
        for of in moves {
            match of.record {
                MovingRecord::Asset(asset) => self.record_cache().forget(&asset.bucket, &asset.key),
                MovingRecord::Variant(variant) => self.record_cache().forget_variants(variant.asset_id),
            }
        }
        Ok(moved)
    }
}
