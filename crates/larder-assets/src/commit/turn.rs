//! The turn of a key: one writer at a time, across processes, for a limited time.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use larder_catalog::{Class, Fence, PlaceWrite};
use larder_core::{BucketName, Code, Fault, ObjectKey};
use larder_store::{Place, Store};

use super::settle::Turn;
use crate::{larder::Larder, liveness::ProcessName};

/// How long a writer may hold a key without asking again. Moving bytes and storing a record take
/// milliseconds; a writer that is slower than this is fenced off.
pub(crate) const HELD_FOR: Duration = Duration::from_secs(30);

/// How much of its time a writer must have left to move bytes. A writer that was stopped for long moves
/// nothing any more, since the next one may have moved its own.
const LEFT_TO_MOVE: Duration = Duration::from_secs(5);

/// How long a writer waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(40);

/// A key's turn, with the time since it was taken by this process's own clock.
#[derive(Debug)]
pub(crate) struct Held {
    fence: Fence,
    since: Instant,
    /// Whether something that was asked for in it may still happen.
    in_doubt: AtomicBool,
}

impl Held {
    pub(crate) fn new(fence: Fence, since: Instant) -> Self {
        Self { fence, since, in_doubt: AtomicBool::new(false) }
    }

    /// Whether bytes may still be moved in this turn.
    ///
    /// # Errors
    /// [`Code::Conflict`] if it is nearly over.
    pub(crate) fn may_move(&self) -> Result<(), Fault> {
        match self.since.elapsed() + LEFT_TO_MOVE < HELD_FOR {
            true => Ok(()),
            false => Err(self.is_over()),
        }
    }

    /// Removes what must not be removed after the turn is over. If it is not certain what became of that,
    /// the turn is not given back but runs out.
    ///
    /// # Errors
    /// [`Code::Conflict`] if it takes longer, or the turn is nearly over; the store's.
    pub(crate) async fn remove(&self, store: &Arc<dyn Store>, at: &Place) -> Result<bool, Fault> {
        self.may_move()?;
        let left = HELD_FOR.saturating_sub(self.since.elapsed());
        let removed = match tokio::time::timeout(left, store.remove(at)).await {
            Ok(removed) => removed.map_err(Fault::from),
            Err(_) => Err(self.is_over()),
        };
        self.in_doubt.fetch_or(removed.is_err(), Ordering::SeqCst);
        removed
    }

    fn is_over(&self) -> Fault {
        let detail = format!("writing {}/{} took longer than its turn", self.fence.bucket, self.fence.key);
        Fault::new(Code::Conflict, detail).remedy("try again")
    }
}

impl Deref for Held {
    type Target = Fence;

    fn deref(&self) -> &Fence {
        &self.fence
    }
}

/// The turns that a record is stored in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns<'a> {
    pub(crate) key: &'a Fence,
    /// That of the content, if the bytes lie where others may share them.
    pub(crate) content: Option<&'a Fence>,
    /// Whether the records of others that share them may say otherwise of these bytes.
    pub(crate) corrects: bool,
}

impl Larder {
    /// Takes the turn to write a key, settling what a dead writer left.
    pub(crate) async fn hold(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Held, Fault> {
        loop {
            let (row, since) = self.wait_for_turn(bucket, key).await?;
            let held = Held::new(row.fence(), since);
            if let Some(intent) = row.intent
                && self.settle(&held, intent).await? == Turn::GivenBack
            {
                continue;
            }
            return Ok(held);
        }
    }

    /// Waits until a row is ours; answers it as it was left, and since when it is held.
    pub(crate) async fn wait_for_turn(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<(PlaceWrite, Instant), Fault> {
        let deadline = Instant::now() + WAIT_MAX;
        let mut pause = Duration::from_millis(5);
        loop {
            let since = Instant::now();
            match self.try_hold(bucket, key).await {
                Ok(row) => return Ok((row, since)),
                Err(larder_catalog::Error::Precondition { .. }) if Instant::now() < deadline => {
                    if self.free_of_dead(bucket, key).await? {
                        continue;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(250));
                }
                Err(larder_catalog::Error::Precondition { .. }) => {
                    return Err(Fault::new(
                        Code::Conflict,
                        format!("{bucket}/{key} is being written by others all the time"),
                    )
                    .remedy("try again"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the turn from a holder whose process is certainly dead, so that nobody waits until it runs
    /// out. Its intent stays for whoever takes the turn next.
    async fn free_of_dead(&self, bucket: &BucketName, key: &ObjectKey) -> Result<bool, Fault> {
        let Some(row) = self.catalog().place_write(bucket, key).await? else { return Ok(false) };
        let holder = row.holder.as_deref().and_then(|name| name.parse::<ProcessName>().ok());
        if !holder.is_some_and(|process| process.is_certainly_dead()) {
            return Ok(false);
        }
        let fence = row.fence();
        let freed = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.release_holder(&fence).await }));
        match freed.await {
            Ok(()) => Ok(true),
            // Somebody else was faster.
            Err(larder_catalog::Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn try_hold(&self, bucket: &BucketName, key: &ObjectKey) -> larder_catalog::Result<PlaceWrite> {
        let (bucket, key) = (bucket.clone(), key.clone());
        let until = self.ambient().now().plus(HELD_FOR);
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.take_place(&bucket, &key, &ProcessName::current().to_string(), until).await
                })
            })
            .await
    }

    /// Gives the turn back. If that fails, it runs out by itself.
    pub(crate) async fn release(&self, held: &Fence) {
        let released = held.clone();
        let outcome = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.release_place(&released).await }))
            .await;
        if let Err(error) = outcome {
            tracing::debug!(bucket = %held.bucket, key = %held.key, %error, "a key could not be released; its lease will run out");
        }
    }

    /// Gives turns back after a removal, those that are not in doubt.
    pub(crate) async fn give_back(&self, turns: impl IntoIterator<Item = &Held>) {
        for held in turns {
            if !held.in_doubt.load(Ordering::SeqCst) {
                self.release(held).await;
            }
        }
    }

    /// Gives the turn back with its intent: whoever takes the key next settles what may have happened. If
    /// this fails, the turn runs out by itself.
    pub(crate) async fn hand_on(&self, held: &Fence) {
        let handed = held.clone();
        let outcome = self
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.release_holder(&handed).await }))
            .await;
        if let Err(error) = outcome {
            tracing::debug!(bucket = %held.bucket, key = %held.key, %error, "a key could not be handed on; its lease will run out");
        }
    }
}
