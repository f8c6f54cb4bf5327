//! Bodies that must get on, in both directions.

use std::{
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{circuit::Ticket, limits::BreakerLimits};
use crate::{
    body::ByteStream,
    error::{BoxError, Error},
};

/// How far a `put` is.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<Mutex<Turn>>);

/// Who has to do something.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// The store: it has what came so far, since then.
    Store(Instant),
    /// The client: the store waits for its next bytes.
    Client,
    /// The store: it has everything, since then.
    StoreAtItsEnd(Instant),
}

impl Default for Turn {
    fn default() -> Self {
        Self::Store(Instant::now())
    }
}

impl Progress {
    /// The body, whose way into the store is watched.
    pub(super) fn watch(&self, mut body: ByteStream) -> ByteStream {
        let progress = self.clone();
        stream::poll_fn(move |context| {
            let polled = body.poll_next_unpin(context);
            progress.set(match &polled {
                Poll::Pending => Turn::Client,
                Poll::Ready(Some(_)) => Turn::Store(Instant::now()),
                Poll::Ready(None) => Turn::StoreAtItsEnd(Instant::now()),
            });
            polled
        })
        .boxed()
    }

    /// Ends when the store has done nothing for longer than it may, and says how long that is.
    pub(super) async fn stalls(&self, limits: &BreakerLimits) -> Duration {
        loop {
            let (since, limit) = match self.get() {
                // Looks again when the store could have had its turn for as long.
                Turn::Client => {
                    sleep(limits.idle_within).await;
                    continue;
                }
                Turn::Store(since) => (since, limits.idle_within),
                Turn::StoreAtItsEnd(since) => (since, limits.move_within),
            };
            match since.checked_add(limit) {
                Some(deadline) if deadline <= Instant::now() => return limit,
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        }
    }

    fn set(&self, turn: Turn) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }

    fn get(&self) -> Turn {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body on its way out. Only the time in which its reader waits counts.
pub(super) fn outgoing(body: ByteStream, idle_within: Duration, ticket: Ticket) -> ByteStream {
    stream::unfold(Some((body, ticket)), move |state| async move {
        let (mut body, mut ticket) = state?;
        match timeout(idle_within, body.next()).await {
            Ok(Some(Ok(chunk))) => {
                ticket.got_on();
                Some((Ok(chunk), Some((body, ticket))))
            }
            Ok(Some(Err(error))) => {
                ticket.break_off(&*error);
                Some((Err(error), None))
            }
            Ok(None) => {
                ticket.succeed();
                None
            }
            Err(_) => {
                let what = format!("the store gave nothing for {} s", idle_within.as_secs_f64());
                let error = BoxError::from(Error::unavailable("an open body", what));
                ticket.break_off(&*error);
                Some((Err(error), None))
            }
        }
    })
    .boxed()
}
